"""How long a client's audio is: the messages that are no plain append, and the formats."""

from typing import Any

import pytest
from websockets.frames import Frame as WireFrame
from websockets.frames import Opcode

from gateway.frame_scanner import FrameScanner
from gateway.frames import Frame
from gateway.metering.openai.audio import PCM_BYTES_PER_S, AppendedAudio, ClientAudio

G711 = 32_000 // 3
LONG = 1024 * 1024  # longer messages are not parsed


def sent(message: bytes, opcode: Opcode = Opcode.TEXT) -> Frame:
    """A message of a client as the relay gets it."""
    wire = WireFrame(opcode, message).serialize(mask=True)
    (frame,) = FrameScanner(expects_mask=True).feed(wire)
    return frame


def size_of(message: bytes, opcode: Opcode = Opcode.TEXT) -> int:
    """The audio that is found in one message."""
    return AppendedAudio().size(sent(message, opcode))


APPEND = b'{"type":"input_audio_buffer.append","audio":"AAAA"}'
SIZES = [
    # message; the bytes of base64 that are in it
    (APPEND, 4),
    (b'{"type":"input_audio_buffer.append"}', 0),
    (b'{"type":"input_audio_buffer.append","audio":5}', 0),
    (b'{"type":"input_audio_buffer.clear"}', 0),
    (b'{"t\\u0079pe":"input_audio_buffer.append","audio":"AAAA"}', 4),
    (b'{"type":"response.create","audio":"AAAA"}', 0),
    (b'["audio"]', 0),
    (b"no JSON", 7),  # nobody can read it, so it counts in full
    (b'{"type":"a.append\\u002e","audio":"AAAA","audio":"AA"}', 53),  # read in two ways
]


@pytest.mark.parametrize(("message", "size"), SIZES)
def test_a_message_has_the_audio_that_a_provider_reads(message: bytes, size: int) -> None:
    """However it is spelled; what could be audio in spite of its form counts in full."""
    assert size_of(message) == size


def test_a_long_message_that_is_no_plain_append_counts_in_full() -> None:
    """To parse it could take a second."""
    spelled = b'{"t\\u0079pe":"x","text":"%b"}'
    short = spelled % (b"A" * (LONG - len(spelled) + 2))
    assert len(short) == LONG
    assert size_of(short) == 0
    assert size_of(short[:-2] + b'A"}') == LONG + 1


def test_a_binary_message_is_the_audio_itself() -> None:
    """xAI's: three bytes are four of base64."""
    assert size_of(bytes(300), Opcode.BINARY) == 400


FORMATS: list[tuple[Any, int]] = [
    # what the session says of its format; the bytes of base64 in a second of it
    ({"type": "audio/pcm", "rate": 24_000}, 64_000),
    ({"type": "audio/pcm", "rate": 16_000}, 42_666),
    ({"type": "audio/pcm"}, PCM_BYTES_PER_S),
    ({"type": "audio/pcm", "rate": 3_999}, PCM_BYTES_PER_S),  # no speech is recorded so
    ({"type": "audio/pcm", "rate": 192_001}, PCM_BYTES_PER_S),
    ({"type": "audio/pcm", "rate": "16000"}, PCM_BYTES_PER_S),
    ({"type": "audio/pcmu"}, G711),
    ({"type": "audio/pcma", "rate": 8_000}, G711),
    ("pcm16", PCM_BYTES_PER_S),  # the beta's names
    ("g711_ulaw", G711),
    ("g711_alaw", G711),
]


@pytest.mark.parametrize(("found", "bytes_per_s"), FORMATS)
def test_a_format_says_how_long_a_second_is(found: Any, bytes_per_s: int) -> None:
    """By its type and its rate, as objects in GA and by a name in the beta."""
    audio = ClientAudio()
    audio.set_format("g711_ulaw" if bytes_per_s != G711 else "pcm16")
    audio.set_format(found)
    assert audio.bytes_per_s == bytes_per_s
    audio.add(bytes_per_s * 3)
    assert audio.ms == 3_000


@pytest.mark.parametrize("found", [None, 5, ["audio/pcmu"]])
def test_what_says_no_format_changes_none(found: Any) -> None:
    """A later session.updated may leave it out."""
    audio = ClientAudio()
    audio.set_format("g711_ulaw")
    audio.set_format(found)
    assert audio.bytes_per_s == G711


def test_audio_that_was_taken_counts_no_more() -> None:
    """A row holds it."""
    audio = ClientAudio()
    audio.add(PCM_BYTES_PER_S)
    assert audio.take() == 1_000
    assert audio.take() == 0


def test_what_came_before_does_not_change_what_is_found() -> None:
    """A meter remembers how the last append began; each message has what it has by itself."""
    messages = (
        [message for message, _ in SIZES]
        + [
            b'{"type":"input_audio_buffer.append","audio":"\\/\\/AA"}',  # an escape behind it
            b'{"event_id":"e1","type":"input_audio_buffer.append","audio":"AAAA"}',
            b'{"type":"input_audio_buffer.append","audio":""}',
            b'{"audio":"AAAA","type":"input_audio_buffer.append"}',  # the type is last
            b'{"audio":"AAAA","type":"response.create"}',
            b'{"type":"input_audio_buffer.append","audio":"',
            b"",
            APPEND[:-1] + b"A" * 300 + b'"}',
        ]
    )
    for before in messages:
        for message in messages:
            appended = AppendedAudio()
            for known in (APPEND, before):
                appended.size(sent(known))
            assert appended.size(sent(message)) == size_of(message), (before, message)
