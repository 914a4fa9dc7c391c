"""What a client may configure, what has no effect, and what is refused."""

from typing import Any

import pytest

from gateway.translate.base import Renewal
from gateway.translate.to_gemini.configuration import default_session, updated
from gateway.translate.to_gemini.session_fields import Reading
from tests.support.translation_to_gemini import OpenAITalk

INPUT = "session.audio.input"
OUTPUT = "session.audio.output"


def audio_in(**fields: Any) -> dict[str, Any]:
    """A session in which this of the input is given."""
    return {"audio": {"input": fields}}


def audio_out(**fields: Any) -> dict[str, Any]:
    """A session in which this of the output is given."""
    return {"audio": {"output": fields}}


REFUSED: list[tuple[dict[str, Any], str, str]] = [
    ({"prompt": {"id": "p"}}, "unsupported_by_provider", "session.prompt"),
    ({"tools": [{"type": "mcp"}]}, "unsupported_by_provider", "session.tools[0].type"),
    ({"tools": [{"type": "robot"}]}, "invalid_value", "session.tools[0].type"),
    ({"tools": [{"type": "function"}]}, "missing_required_parameter", "session.tools[0].name"),
    (
        {"tools": [{"type": "function", "name": "f", "parameters": 1}]},
        "invalid_value", "session.tools[0].parameters",
    ),
    ({"tools": ["f"]}, "invalid_value", "session.tools[0]"),
    ({"tools": {}}, "invalid_value", "session.tools"),
    ({"tool_choice": "required"}, "unsupported_by_provider", "session.tool_choice"),
    ({"tool_choice": {"name": "f"}}, "unsupported_by_provider", "session.tool_choice"),
    ({"tool_choice": "some"}, "invalid_value", "session.tool_choice"),
    ({"output_modalities": ["audio", "text"]}, "invalid_value", "session.output_modalities"),
    ({"instructions": 1}, "invalid_value", "session.instructions"),
    ({"max_output_tokens": 0}, "invalid_value", "session.max_output_tokens"),
    ({"max_output_tokens": True}, "invalid_value", "session.max_output_tokens"),
    ({"truncation": "much"}, "invalid_value", "session.truncation"),
    ({"voice": "ash"}, "unknown_parameter", "session.voice"),
    ({"audio": 1}, "invalid_value", "session.audio"),
    (audio_in(format={"type": "audio/opus"}), "invalid_value", f"{INPUT}.format"),
    (audio_in(transcription=1), "invalid_value", f"{INPUT}.transcription"),
    (audio_in(turn_detection="none"), "invalid_value", f"{INPUT}.turn_detection"),
    (audio_in(turn_detection={"type": "x"}), "invalid_value", f"{INPUT}.turn_detection.type"),
    (audio_in(gain=1), "unknown_parameter", f"{INPUT}.gain"),
    (audio_out(speed=1.2), "unsupported_by_provider", f"{OUTPUT}.speed"),
    (audio_out(voice={"id": "v"}), "unsupported_by_provider", f"{OUTPUT}.voice"),
    (audio_out(voice=1), "invalid_value", f"{OUTPUT}.voice"),
    ({"type": "transcription"}, "unsupported_by_provider", "session.type"),
    ({"type": "telepathy"}, "invalid_value", "session.type"),
]  # fmt: skip
DETECTION_REFUSED: list[tuple[dict[str, Any], str, str]] = [
    ({"create_response": False}, "unsupported_by_provider", "create_response"),
    ({"create_response": 1.5}, "invalid_value", "create_response"),
    ({"interrupt_response": 1}, "invalid_value", "interrupt_response"),
    ({"idle_timeout_ms": 5_000}, "unsupported_by_provider", "idle_timeout_ms"),
    ({"threshold": 1.5}, "invalid_value", "threshold"),
    ({"silence_duration_ms": -1}, "invalid_value", "silence_duration_ms"),
    ({"prefix_padding_ms": 0.5}, "invalid_value", "prefix_padding_ms"),
    ({"type": "semantic_vad", "eagerness": "wild"}, "invalid_value", "eagerness"),
    ({"type": "semantic_vad", "threshold": 0.5}, "unknown_parameter", "threshold"),
]


@pytest.mark.parametrize(("given", "code", "param"), REFUSED)
def test_what_cannot_be_is_refused(given: dict[str, Any], code: str, param: str) -> None:
    """The error names the field, and nothing of the update is applied."""
    talk = OpenAITalk.ready()
    before = dict(talk.translator.conversation.session)
    talk.client(
        "session.update", event_id="e_1",
        session={"type": "realtime", "instructions": "Be kind.", **given},
    )  # fmt: skip

    assert talk.heard_kinds == ["error"]
    found = {name: talk.error[name] for name in ("type", "code", "param", "event_id")}
    assert found == {
        "type": "invalid_request_error", "code": code, "param": param, "event_id": "e_1",
    }  # fmt: skip
    assert talk.translator.conversation.session == before
    assert talk.told == talk.renewals == talk.ignored == []


@pytest.mark.parametrize(("given", "code", "name"), DETECTION_REFUSED)
def test_turn_detection_that_cannot_be_is_refused(
    given: dict[str, Any], code: str, name: str
) -> None:
    """What Gemini always does, or never, cannot be configured otherwise."""
    talk = OpenAITalk.ready()
    talk.client("session.update", session={"type": "realtime", **audio_in(turn_detection=given)})

    assert (talk.error["code"], talk.error["param"]) == (code, f"{INPUT}.turn_detection.{name}")


@pytest.mark.parametrize("session", [None, 1, {}])
def test_an_update_without_a_session_is_refused(session: object) -> None:
    """The session, and its type, are required."""
    talk = OpenAITalk.ready()
    talk.client("session.update", session=session)

    assert talk.error["param"] in ("session", "session.type")


def test_what_changes_nothing_that_is_said_is_ignored() -> None:
    """It is accepted, reported, and null in the session in effect."""
    talk = OpenAITalk.ready()
    given = {
        "tracing": "auto",
        "include": ["item.input_audio_transcription.logprobs"],
        "parallel_tool_calls": True,
        "reasoning": {"effort": "low"},
        "temperature": 0.8,
        "metadata": {"a": "b"},
        "truncation": {"type": "retention_ratio", "retention_ratio": 0.8},
        "model": "gpt-realtime",
        **audio_in(noise_reduction={"type": "near_field"}),
        "audio": {"input": {"noise_reduction": {"type": "near_field"}}},
    }
    talk.client("session.update", session={"type": "realtime", **given})

    session = talk.only("session.updated")["session"]
    assert talk.ignored == [
        "session.tracing", "session.include", "session.parallel_tool_calls", "session.reasoning",
        "session.temperature", "session.metadata", "session.truncation", "session.model",
        f"{INPUT}.noise_reduction",
    ]  # fmt: skip
    assert session["tracing"] is session["include"] is session["parallel_tool_calls"] is None
    assert session["model"] == "gemini-2.5-flash-native-audio"
    assert session["truncation"] == "auto"
    assert not {"temperature", "metadata"} & set(session)


def test_a_client_may_return_the_session_that_it_was_shown() -> None:
    """What only the server says in it changes nothing."""
    talk = OpenAITalk.ready()
    before = talk.translator.conversation.session
    talk.client("session.update", session={**before, "id": "other", "expires_at": 1})

    assert talk.only("session.updated")["session"] == {**before, "expires_at": None}
    assert talk.ignored == talk.told == talk.renewals == []


def test_null_leaves_most_fields_as_they_are() -> None:
    """SDKs write null for what was not set."""
    given = {
        "instructions": "Be kind.", "tools": [{"type": "function", "name": "f"}],
        "tool_choice": "none", "max_output_tokens": 50, "truncation": "disabled",
        "output_modalities": ["text"],
    }  # fmt: skip
    talk = OpenAITalk.ready(**given, audio={"output": {"voice": "marin"}})
    nothing: dict[str, Any] = dict.fromkeys(given) | {"max_output_tokens": 50}
    audio = {"input": {"format": None}, "output": {"format": None, "voice": None, "speed": None}}
    for sound in (audio, None, {"input": None}):
        talk.client("session.update", session={"type": "realtime", **nothing, "audio": sound})

    session = talk.translator.conversation.session
    assert {name: session[name] for name in given} == given
    assert session["audio"]["output"]["voice"] == "marin"
    assert talk.heard_kinds == ["session.updated"] * 3


def test_an_update_merges_at_every_depth() -> None:
    """A field of the turn detection changes alone; another type begins with its own defaults."""
    session = default_session(session_id="sess_1", model="m")
    nothing: dict[str, Any] = dict.fromkeys(
        ("create_response", "interrupt_response", "prefix_padding_ms", "threshold")
    )
    server_vad: list[dict[str, Any]] = [{"silence_duration_ms": 900}, {"threshold": 0.9}, nothing]
    for detection in server_vad:
        given = {"type": "realtime", **audio_in(turn_detection=detection)}
        session = updated(session, given, Reading("m"))
    assert session["audio"]["input"]["turn_detection"] == {
        "type": "server_vad", "threshold": 0.9, "prefix_padding_ms": 300,
        "silence_duration_ms": 900, "idle_timeout_ms": None, "create_response": True,
        "interrupt_response": True,
    }  # fmt: skip

    semantic_vad: list[dict[str, Any]] = [{"type": "semantic_vad"}, {"eagerness": None}]
    for detection in semantic_vad:
        given = {"type": "realtime", **audio_in(turn_detection=detection)}
        session = updated(session, given, Reading("m"))
    assert session["audio"]["input"]["turn_detection"] == {
        "type": "semantic_vad", "eagerness": "auto", "create_response": True,
        "interrupt_response": True,
    }  # fmt: skip


def test_the_voice_cannot_change_once_it_was_heard() -> None:
    """As with OpenAI; the same voice may be named again."""
    talk = OpenAITalk.detected()
    talk.append()
    talk.speak("Hello")
    talk.client("session.update", session={"type": "realtime", **audio_out(voice="marin")})
    assert talk.error["code"] == "cannot_update_voice"
    talk.end()
    talk.forget()
    talk.client("session.update", session={"type": "realtime", **audio_out(voice="marin")})
    assert talk.error["code"] == "cannot_update_voice"
    talk.client("session.update", session={"type": "realtime", **audio_out(voice="alloy")})
    assert talk.heard_kinds == ["error", "session.updated"]


def test_a_voice_that_nobody_knows_is_the_providers_default() -> None:
    """It is reported, since another voice is heard."""
    talk = OpenAITalk.ready()
    talk.client("session.update", session={"type": "realtime", **audio_out(voice="hal")})

    assert talk.ignored == ["session.audio.output.voice"]
    assert talk.renewals == [Renewal.NOW]


def test_an_update_that_changes_nothing_for_gemini_is_in_effect_at_once() -> None:
    """Neither a connection nor a message is needed."""
    talk = OpenAITalk.ready(instructions="Be kind.")
    talk.client(
        "session.update", session={"type": "realtime", **audio_in(format={"type": "audio/pcma"})}
    )

    assert talk.heard_kinds == ["session.updated"]
    assert talk.told == talk.renewals == []


def test_the_newest_models_take_instructions_and_tools_by_a_message() -> None:
    """``contextUpdate`` needs no other connection; an empty list of tools takes them all away."""
    tool = {"type": "function", "name": "f"}
    talk = OpenAITalk.ready("gemini-3.8-live", instructions="Be kind.")
    talk.client("session.update", session={"type": "realtime", "tools": [tool]})
    talk.client("session.update", session={"type": "realtime", "instructions": "", "tools": []})

    declared = [{"name": "f", "behavior": "BLOCKING"}]
    assert talk.told == [
        {"contextUpdate": {"tools": {"tools": [{"functionDeclarations": declared}]}}},
        {
            "contextUpdate": {
                "systemInstruction": {"parts": [{"text": ""}]},
                "tools": {"tools": []},
            }
        },
    ]
    assert talk.heard_kinds == ["session.updated", "session.updated"]
    assert talk.renewals == []


@pytest.mark.parametrize("given", [{"max_output_tokens": 50}, audio_in(turn_detection=None)])
def test_the_rest_of_the_setup_takes_another_connection(given: dict[str, Any]) -> None:
    """At once where nothing is being said; the client hears when it is in effect."""
    talk = OpenAITalk.ready("gemini-3.8-live")
    talk.client("session.update", session={"type": "realtime", **given})
    assert talk.renewals == [Renewal.NOW]
    assert talk.translator.is_waiting
    assert talk.heard == []
    talk.disconnect()
    talk.connect()
    talk.provider(setupComplete={})

    assert talk.heard_kinds == ["session.updated"]
    assert talk.told_kinds == ["setup"]
    assert not talk.translator.is_waiting


def test_while_the_model_speaks_another_connection_waits_for_the_end_of_the_turn() -> None:
    """All updates until then are in effect with it."""
    talk = OpenAITalk.detected()
    talk.append()
    talk.speak("Once")
    for instructions in ("Be brief.", "Be kind."):
        talk.client("session.update", session={"type": "realtime", "instructions": instructions})
    assert talk.renewals == [Renewal.BETWEEN_TURNS] * 2
    assert not talk.translator.is_waiting
    talk.end()
    talk.forget()
    talk.disconnect()
    talk.connect()
    talk.provider(setupComplete={})

    assert talk.told[0]["setup"]["systemInstruction"] == {"parts": [{"text": "Be kind."}]}
    assert talk.heard_kinds == ["session.updated", "session.updated"]
