"""Which broken messages are kept, and how a type is found without parsing."""

import pytest

from gateway.metering.openai.events import match_object, match_type, unparsable
from shared.usage import RAW_USAGE_CHARS_MAX

TYPES = [
    (b'{"type":"response.done","x":1}', b"response.done"),
    (b' {\n "type" : "error"', b"error"),
    (b'{"event_id":"e","type":"error"}', None),
    (b'{"type":"resp\\u006fnse.done"}', None),
    (b'{"type":7}', None),
]


@pytest.mark.parametrize(("message", "kind"), TYPES)
def test_a_type_in_front_is_found(message: bytes, kind: bytes | None) -> None:
    """Where it does not stand there plainly, the message is searched."""
    found = match_type(message)
    assert (None if found is None else found[1]) == kind


OBJECTS = [
    (b'{"type":"x"}', True),
    (b'\xef\xbb\xbf { "a"', True),
    (b"{\x00\x01\x02", False),
    (bytes(48), False),
]


@pytest.mark.parametrize(("message", "is_object"), OBJECTS)
def test_binary_json_is_told_from_audio(message: bytes, is_object: bool) -> None:
    """By its beginning."""
    assert (match_object(message) is not None) is is_object


BROKEN = [
    # the message; whether it is kept
    (b'{"type":"response.done","response":{', True),
    (b'{"event_id":"e", "type" : "session.closed", ', True),
    (b'{"type":"conversation.item.input_audio_transcription.completed"', True),
    (b'{"type":"response.event","event":{"usage":', True),
    (b'{"type":"response.event","event":{', False),
    (b'{"type":"response.output_text.delta","delta":"\\"type\\":\\"response.done\\"', False),
    (b'{"type":"error"', False),
]


@pytest.mark.parametrize(("message", "is_kept"), BROKEN)
def test_a_broken_message_is_kept_when_it_carries_usage(message: bytes, is_kept: bool) -> None:
    """What only quotes such a message does not."""
    found = unparsable(message, "m", "why")
    assert (found is not None) is is_kept
    if found is not None:
        assert (found.model, found.detail, found.raw) == ("m", "not JSON: why", message.decode())


def test_of_a_broken_message_a_part_is_kept() -> None:
    """Whatever its bytes are."""
    found = unparsable(b'{"type":"response.done"' + b"\xff" * 2 * RAW_USAGE_CHARS_MAX, "m", "why")
    assert found is not None
    assert len(found.raw) == RAW_USAGE_CHARS_MAX
