"""Audio that is found in a message without parsing it."""

import pytest

from gateway.translate.to_gemini.audio_shapes import appended, payload_of, spoken

APPEND = b'{"type":"input_audio_buffer.append","audio":"%b"}'


def test_a_message_like_the_last_one() -> None:
    """Only what is between the same bytes is looked at, and it has to be base64 again."""
    shape = appended()
    found = [shape.find(APPEND % audio) for audio in (b"AAAA", b"BBBBBBBB", b"", b'A","audio":"B')]

    assert [payload and payload.data for payload in found] == [b"AAAA", b"BBBBBBBB", b"", None]
    assert shape.find(APPEND % b"CCCC") is not None
    assert shape.find(APPEND.replace(b'"%b"', b'"')) is None


@pytest.mark.parametrize(
    "message",
    [
        b"{",
        b'{"type":"input_audio_buffer.append","audio":"AAAA',
        b'{"type":"input_audio_buffer.append","audio":"AAAA"',
        b'{"type":"input_audio_buffer.append","audio":"AAAA"}}',
        b'{"type":"input_audio_buffer.append","audio":"AA\\u0041A"}',
        b'{"event_id":"type","audio":"AAAA"}',
        b'{"type":"input_audio_buffer.append","type":"input_audio_buffer.append","audio":"AAAA"}',
    ],
)
def test_what_is_no_plain_append(message: bytes) -> None:
    """It is left to the parser."""
    assert appended().find(message) is None


@pytest.mark.parametrize(
    "around",
    [
        (b'{"serverContent":{"modelTurn":{"parts":[{"inlineData":{"mimeType":', b"}}]}}}"),
        (
            b'{"serverContent": {"modelTurn": {"role": "model", "parts": [ {"inlineData":'
            b' {"mimeType": ',
            b"}}]}}}\n",
        ),
        (
            b'{"serverContent":{"modelTurn":{"parts":[{"inlineData":{"mimeType":',
            b'}}], "role": "model"}}}',
        ),
    ],
)
def test_speech(around: tuple[bytes, bytes]) -> None:
    """The Developer API's, and Vertex AI's, which names the role."""
    before, after = around
    audio = b'"audio/pcm;rate=24000","data":"AAAA"'
    found = spoken().find(before + audio + after)

    assert found is not None
    assert found.data == b"AAAA"
    assert spoken().find(before + audio + b',"more":1' + after) is None
    assert spoken().find(before + audio[:-1]) is None


@pytest.mark.parametrize(
    ("data", "size"),
    [
        (b"", 0), (b"AAAA", 3), (b"AAA=", 2), (b"AA==", 1), (b"AAA", 2), (b"AA", 1), (b"A", None),
        (b"AAAA=", None), (b"AAA==", None), (b"A===", None), (b"AA=A", None), (b"A-_A", None),
        (b"AA A", None),
    ],
)  # fmt: skip
def test_base64(data: bytes, size: int | None) -> None:
    """Of the usual alphabet; the padding may be missing, and no more than that."""
    found = payload_of(data)
    assert (found and found.size) == size
