"""``translate.beta``: nothing raises, nothing is lost, and both ways of reading audio agree."""

import base64
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from msgspec import json

from gateway.translate.beta import BetaTranslator
from gateway.translate.beta_events import DROPPED, RENAMED, beta_event, ga_event
from gateway.translate.beta_fields import SESSION_PLACES

Event = dict[str, Any]

FORMATS = st.sampled_from(["pcm16", "g711_ulaw", "g711_alaw"])
SESSIONS = st.fixed_dictionaries(
    {},
    optional={
        "modalities": st.sampled_from([["text"], ["text", "audio"]]),
        "instructions": st.text(),
        "voice": st.text(),
        "speed": st.floats(0.25, 1.5),
        "input_audio_format": FORMATS,
        "output_audio_format": FORMATS,
        "input_audio_transcription": st.none() | st.just({"model": "whisper-1"}),
        "input_audio_noise_reduction": st.none() | st.just({"type": "far_field"}),
        "turn_detection": st.none() | st.just({"type": "server_vad", "threshold": 0.5}),
        "max_response_output_tokens": st.integers(1, 4096) | st.just("inf"),
        "tools": st.just([]),
        "tool_choice": st.sampled_from(["auto", "none", "required"]),
    },
)
KINDS = st.sampled_from(
    [*RENAMED, *sorted(DROPPED), "session.update", "session.created", "session.updated",
     "transcription_session.update", "response.create", "response.created", "response.done",
     "conversation.item.create", "conversation.item.deleted", "error", "ping",
     "conversation.item.input_audio_transcription.completed", "input_audio_buffer.append"]
)  # fmt: skip
NAMES = st.sampled_from(
    ["type", "session", "response", "item", "part", "error", "audio", "input", "output", "content",
     "format", "voice", "modalities", "output_modalities", "param", "usage", "status_details",
     "turn_detection", "id", "item_id", "role", "obfuscation", "transcript", "output_audio_format"]
)  # fmt: skip
WORDS = st.sampled_from(["message", "assistant", "text", "output_audio", "audio", "pcm16", "r"])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | WORDS | KINDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=6),
    max_leaves=20,
)
EVENTS = st.builds(
    lambda fields, kind: {**fields, "type": kind}, st.dictionaries(NAMES, VALUES, max_size=6), KINDS
)


@given(flat=SESSIONS)
def test_a_session_comes_back(flat: Event) -> None:
    """What GA makes of the beta's settings is, told to the client, what the client had set."""
    update, dropped = ga_event({"type": "session.update", "session": flat})
    assert dropped == []
    assert update["session"].keys().isdisjoint(SESSION_PLACES)
    told = beta_event({"type": "session.updated", "session": update["session"]})
    assert told is not None
    assert told["session"] == {"temperature": 0.8, **flat}


@given(events=st.lists(st.tuples(EVENTS | VALUES, st.booleans()), max_size=8))
def test_no_event_raises(events: list[tuple[object, bool]]) -> None:
    """Whatever either side says becomes at most one message for the other side."""
    session = BetaTranslator(seed="s")
    for event, is_client in events:
        take = session.from_client if is_client else session.from_provider
        made = take(json.encode(event))
        messages = made.to_provider if is_client else made.to_client
        assert len(messages) <= 1
        assert len(made.to_client) + len(made.to_provider) == len(messages)
        for message in messages:
            json.decode(message)
    for made in (session.provider_closed(), session.provider_opened()):
        for message in (*made.to_client, *made.to_provider):
            json.decode(message)


GA_AUDIO, BETA_AUDIO = b'{"type":"response.output_audio.delta",', b'{"type":"response.audio.delta",'


@given(message=st.binary())
def test_no_bytes_raise(message: bytes) -> None:
    """What is no JSON is passed on; audio is known by its beginning alone."""
    session = BetaTranslator(seed="s")
    assert session.from_client(message).to_provider == [message]
    rest = message.removeprefix(GA_AUDIO)
    expected = message if rest == message else BETA_AUDIO + rest
    assert session.from_provider(message).to_client == [expected]


@given(audio=st.binary(max_size=600), item_id=st.text(), indent=st.integers(-1, 2))
def test_both_paths_of_audio_agree(audio: bytes, item_id: str, indent: int) -> None:
    """A delta is the same event however it is written; the client's audio is untouched."""
    delta = base64.b64encode(audio).decode()
    event = {"type": "response.output_audio.delta", "item_id": item_id, "delta": delta}
    written = json.format(json.encode(event), indent=indent)
    (made,) = BetaTranslator(seed="s").from_provider(written).to_client
    assert json.decode(made) == beta_event(event)
    append = {"event_id": item_id, "audio": delta, "type": "input_audio_buffer.append"}
    message = json.format(json.encode(append), indent=indent)
    assert BetaTranslator(seed="s").from_client(message).to_provider == [message]
