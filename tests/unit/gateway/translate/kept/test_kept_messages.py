"""What a message is, found without parsing audio."""

import pytest
from msgspec import json

from gateway.translate.kept.messages import event_of, is_append, is_speech
from gateway.translate.to_gemini.reading import DEPTH_MAX

AUDIO = "AAAA" * 500


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (b'{"type":"input_audio_buffer.append","audio":"AAAA"}', True),
        (f'{{"event_id": "e", "audio": "{AUDIO}", "type": "input_audio_buffer.append"}}', True),
        (b'{ "type" :\n"input_audio_buffer.append"}', True),
        (b'{"type":"input_audio_buffer.append.x"}', False),
        (b'{"text":"\\"type\\":\\"input_audio_buffer.append\\""}', False),
        (b'{"type":"input_audio_buffer.commit"}', False),
        (f'{{"a":"{AUDIO}","type":"input_audio_buffer.append","b":"{AUDIO}"}}', False),
        (b"", False),
    ],
)
def test_the_clients_audio_is_known_by_its_edges(message: bytes | str, expected: bool) -> None:
    """The type is near the beginning, or near the end; elsewhere it is parsed."""
    raw = message if isinstance(message, bytes) else message.encode()
    assert is_append(raw) is expected


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (b'{"type":"response.output_audio.delta","delta":"AAAA"}', True),
        (b' { "type" : "response.output_audio.delta", "delta":"AAAA"}', True),
        (b'{"event_id":"e","type":"response.output_audio.delta"}', False),
        (b'{"type":"response.output_audio.done"}', False),
    ],
)
def test_the_providers_audio_is_known_by_its_beginning(message: bytes, expected: bool) -> None:
    """Behind the head of a frame."""
    assert is_speech(b"\x81\x05" + message, 2) is expected


@pytest.mark.parametrize("message", [b"", b"{", b"[1]", b'{"type":7}', b'{"a":1}', b"\xff"])
def test_what_is_no_event_is_none(message: bytes) -> None:
    """It goes on as it came."""
    assert event_of(message) is None


def test_what_is_nested_too_deeply_is_none() -> None:
    """It could not be written again."""

    def nested(depth: int) -> bytes:
        return b'{"type":"a","b":' + b"[" * depth + b"]" * depth + b"}"

    event = event_of(nested(DEPTH_MAX - 1))
    assert event is not None
    json.encode(event)
    assert event_of(nested(DEPTH_MAX)) is None
