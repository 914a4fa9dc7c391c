"""What Gemini's server messages say, and how the few that matter are found unparsed. Pure.

Every field has two spellings: the API's camelCase, and the snake_case that protobuf's JSON accepts.
"""

import re
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from gateway.handles.handle import HandleKind, IssuedHandle

# What makes a message worth parsing. A name may be spelled with an escape.
NEEDLES: Final = (
    b'"usageMetadata"', b'"turnComplete"', b'"setupComplete"', b'"interactionStatus"',
    b'"usage_metadata"', b'"turn_complete"', b'"setup_complete"', b'"interaction_status"',
    b'"interrupted"', b'"generationComplete"', b'"generation_complete"',
    b'"webSearchQueries"', b'"web_search_queries"',
    b'"sessionResumptionUpdate"', b'"session_resumption_update"', rb"\u",
)  # fmt: skip
USAGE: Final = re.compile(rb'"usage_?[mM]etadata"')
# Names by which the model begins a turn. A transcription may begin one, too; but Vertex AI sends
# empty ones, which begin nothing, so a message with one is parsed.
BEGINS: Final = re.compile(rb'"(?:modelTurn|toolCall)"')
MAY_BEGIN: Final = b'"outputTranscription"'
# What comes before the end of a turn even when the model said nothing in it.
_ENDINGS: Final = ("interrupted", "generationComplete", "generation_complete")
# Models that only transcribe, by their names, and the words that they deliver.
TRANSCRIBES: Final = "transcribe"
TRANSCRIBED_TEXT: Final = re.compile(rb'"input_?[tT]ranscription"\s*:\s*\{[^}]*"text"')
# Values of interactionStatus by which the model has finished; the second one is an old name.
_INTERACTION_OVER: Final = ("IDLE", "REQUIRES_ACTION")


class ServerMessage(NamedTuple):
    """What one message of the server's says, as far as the meter cares.

    ``usage`` is None where there is none, and an empty object where the server says that there is
    nothing to report.
    """

    content: Mapping[str, Any]  # serverContent; empty where there is none
    usage: Any
    issued_handle: IssuedHandle | None  # by which the session can be resumed
    is_setup: bool  # the setup is accepted
    is_begin: bool  # the model says something, with which a turn begins
    is_ending: bool  # the turn is about to end
    is_over: bool  # turnComplete
    is_in_progress: bool  # beside turnComplete: only a part of the answer is over
    is_interaction_over: bool  # without turnComplete: all parts of the answer are over


def read_message(event: Mapping[str, Any]) -> ServerMessage:
    """A message that was parsed; values of another kind than the API's say nothing."""
    content = field_of(event, "serverContent", "server_content")
    content = content if isinstance(content, dict) else {}
    status = str(field_of(content, "interactionStatus", "interaction_status")).upper()
    return ServerMessage(
        content=content,
        usage=field_of(event, "usageMetadata", "usage_metadata"),
        issued_handle=_issued_handle_in(event),
        is_setup="setupComplete" in event or "setup_complete" in event,
        is_begin=_begins_turn(event, content),
        is_ending=any(content.get(name) is True for name in _ENDINGS),
        is_over=field_of(content, "turnComplete", "turn_complete") is True,
        is_in_progress=status == "IN_PROGRESS",
        is_interaction_over=status in _INTERACTION_OVER,
    )


def field_of(parent: Mapping[str, Any], name: str, other_name: str) -> Any:
    """A field by the first of its two spellings that has a value."""
    value = parent.get(name)
    return parent.get(other_name) if value is None else value


def _issued_handle_in(event: Mapping[str, Any]) -> IssuedHandle | None:
    """The handle by which the session can be resumed, where ``event`` gives one."""
    update = field_of(event, "sessionResumptionUpdate", "session_resumption_update")
    value = field_of(update, "newHandle", "new_handle") if isinstance(update, dict) else None
    return IssuedHandle(HandleKind.SESSION, value) if isinstance(value, str) and value else None


def _begins_turn(event: Mapping[str, Any], content: Mapping[str, Any]) -> bool:
    """What ``BEGINS`` searches for, in a message that was parsed."""
    spoken = field_of(content, "outputTranscription", "output_transcription")
    return (
        field_of(content, "modelTurn", "model_turn") is not None
        or field_of(event, "toolCall", "tool_call") is not None
        or (isinstance(spoken, dict) and "text" in spoken)
    )
