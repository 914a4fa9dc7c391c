"""What a message of Gemini says, in either spelling, and which messages are worth parsing."""

from typing import Any

import pytest

from gateway.metering.gemini.events import ESCAPE, NAMES, End, read_message

MATTERS = [
    "usageMetadata", "turnComplete", "setupComplete", "interactionStatus", "usage_metadata",
    "turn_complete", "setup_complete", "interaction_status", "interrupted", "generationComplete",
    "generation_complete", "webSearchQueries", "web_search_queries", "sessionResumptionUpdate",
    "session_resumption_update",
]  # fmt: skip


@pytest.mark.parametrize("name", MATTERS)
def test_names_that_matter_are_found(name: str) -> None:
    """As a whole word between its quotation marks, not where a text quotes it."""
    assert NAMES.search(b'{\n  "%b": 1\n}' % name.encode()) is not None
    assert NAMES.search(rb'{"text": "say \"%b\""}' % name.encode()) is None
    assert NAMES.search(b'{"%bs": 1}' % name.encode()) is None
    assert ESCAPE in rb'{"turn\u0043omplete": true}'


ENDS: list[tuple[dict[str, Any], End]] = [
    ({}, End.NOTHING),
    ({"turnComplete": True}, End.TURN),
    ({"turn_complete": True}, End.TURN),
    ({"turnComplete": False}, End.NOTHING),
    ({"turnComplete": 1}, End.NOTHING),
    ({"turnComplete": True, "interactionStatus": "IN_PROGRESS"}, End.PART),
    ({"turn_complete": True, "interaction_status": "in_progress"}, End.PART),
    ({"turnComplete": True, "interactionStatus": "IDLE"}, End.TURN),
    ({"turnComplete": True, "interactionStatus": None}, End.TURN),
    ({"interactionStatus": "IDLE"}, End.INTERACTION),
    ({"interactionStatus": "REQUIRES_ACTION"}, End.INTERACTION),
    ({"interactionStatus": "IN_PROGRESS"}, End.NOTHING),
    ({"interactionStatus": 5}, End.NOTHING),
]


@pytest.mark.parametrize(("content", "expected"), ENDS)
def test_what_a_message_ends(content: dict[str, Any], expected: End) -> None:
    """A turn, a part of it, or an interaction of several parts; most messages end nothing."""
    said = read_message({"serverContent": content})
    assert said.end is expected
    assert said.is_turn_complete == (expected in (End.TURN, End.PART))


BEGINS: list[tuple[dict[str, Any], bool]] = [
    ({"serverContent": {"modelTurn": {}}}, True),
    ({"server_content": {"model_turn": {}}}, True),
    ({"toolCall": {}}, True),
    ({"serverContent": {"outputTranscription": {"text": ""}}}, True),
    ({"serverContent": {"outputTranscription": {}}}, False),
    ({"serverContent": {"inputTranscription": {"text": "hi"}}}, False),
    ({"serverContent": {"modelTurn": None}}, False),
    ({"serverContent": ["modelTurn"]}, False),
    ({}, False),
]


@pytest.mark.parametrize(("event", "expected"), BEGINS)
def test_with_what_a_turn_begins(event: dict[str, Any], expected: bool) -> None:
    """With what the model says. Vertex AI's empty transcriptions say nothing."""
    assert read_message(event).is_begin is expected
