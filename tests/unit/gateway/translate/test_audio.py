"""``translate.audio``: formats, base64, and streams that change their format."""

import subprocess
import sys

import pytest

from gateway.translate.audio import (
    ALAW_8K,
    PCM_24K,
    ULAW_8K,
    Converter,
    Encoding,
    Format,
    decode_base64,
    encode_base64,
    for_gemini,
    gemini_format,
    gemini_mime_type,
    openai_format,
    openai_format_object,
)

PCM_16K = Format(Encoding.PCM16, 16_000)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, PCM_24K),
        ({"type": "audio/pcm"}, PCM_24K),
        ({"type": "audio/pcm", "rate": 24_000}, PCM_24K),
        ({"type": "audio/pcmu"}, ULAW_8K),
        ({"type": "audio/pcma"}, ALAW_8K),
    ],
)
def test_openai_names_three_formats(value: object, expected: Format) -> None:
    """Each of OpenAI's format objects has one meaning, and none at all is PCM at 24 kHz."""
    assert openai_format(value) == expected


@pytest.mark.parametrize(
    "value", [{"type": "audio/pcm", "rate": 16_000}, {"type": "audio/opus"}, {}, 7, {"type": []}]
)
def test_an_unknown_openai_format_is_refused(value: object) -> None:
    """What cannot be converted is refused with what was found, not heard as noise."""
    with pytest.raises(ValueError, match=r"audio format: found .*, expected audio/pcm"):
        openai_format(value)


@pytest.mark.parametrize(
    ("mime_type", "rate_hz"),
    [
        ("audio/pcm", 16_000),
        ("audio/pcm;rate=16000", 16_000),
        ("Audio/PCM; rate=48000; channels=1", 48_000),
        ("audio/pcm;rate=4000", 4_000),
        ("audio/pcm;rate=192000", 192_000),
        ("audio/L16;rate=24000", 24_000),
    ],
)
def test_gemini_names_the_rate_in_the_mime_type(mime_type: str, rate_hz: int) -> None:
    """A mime type's rate counts, and 16 kHz where it names none."""
    assert gemini_format(mime_type) == Format(Encoding.PCM16, rate_hz)


@pytest.mark.parametrize(
    "mime_type",
    [
        None, "", "audio/wav", "audio/pcm;rate=3999", "audio/pcm;rate=192001", "audio/pcm;rate=",
        "audio/pcm;rate=16000;rate=24000", "audio/pcm;rate=1e4", "audio/pcmu",
    ],
)  # fmt: skip
def test_an_unknown_mime_type_is_refused(mime_type: object) -> None:
    """A rate that is out of bounds, unreadable or named twice, and another codec, are refused."""
    with pytest.raises(ValueError, match=r"mime type: found .*, expected"):
        gemini_format(mime_type)


@pytest.mark.parametrize("text", ["+/8=", "-_8=", "-_8"])
def test_both_alphabets_of_base64_are_read(text: str) -> None:
    """Gemini's clients may write the URL-safe alphabet, and leave the padding out."""
    assert decode_base64(text) == b"\xfb\xff"


@pytest.mark.parametrize("text", ["a", "ab c", "ab=c", "é", "\ud800", None, 7])
def test_what_is_no_base64_is_refused(text: object) -> None:
    """Text that is no base64 raises and is not skipped over."""
    with pytest.raises(ValueError, match="expected base64"):
        decode_base64(text)


def test_the_same_format_is_passed_on() -> None:
    """Nothing is done to audio that the other side takes as it is."""
    converter = Converter(PCM_24K, PCM_24K)
    assert converter.is_verbatim
    assert converter.feed(b"abc") == b"abc"
    assert converter.flush() == b""


@pytest.mark.parametrize(
    ("source", "target"), [(PCM_16K, PCM_24K), (PCM_24K, ULAW_8K), (ULAW_8K, PCM_24K)]
)
def test_twenty_milliseconds_in_are_twenty_out(source: Format, target: Format) -> None:
    """But for the first 2.5 ms of delay, as much audio comes out as goes in, without bursts."""
    converter = Converter(source, target)
    chunk = bytes(source.rate_hz // 50 * (2 if source.encoding is Encoding.PCM16 else 1))
    size = 2 if target.encoding is Encoding.PCM16 else 1
    counts = [len(converter.feed(chunk)) // size for _ in range(10)]
    assert counts == [target.rate_hz * 175 // 10_000] + [target.rate_hz // 50] * 9
    assert len(converter.flush()) // size == target.rate_hz // 400


def test_a_gateway_that_converts_nothing_loads_no_numpy() -> None:
    """The modules that name formats leave numpy to the first converter."""
    loads = "import sys, gateway.cli, gateway.translate.audio as audio"
    makes = "audio.Converter(audio.PCM_24K, audio.PCM_24K)"
    check = f"{loads}; {makes}; sys.exit('numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", check], timeout=60, check=False).returncode == 0


@pytest.mark.parametrize(
    ("source", "mime_type"),
    [
        (PCM_24K, "audio/pcm;rate=24000"),
        (ULAW_8K, "audio/pcm;rate=8000"),
        (ALAW_8K, "audio/pcm;rate=8000"),
    ],
)
def test_nothing_is_resampled_for_gemini(source: Format, mime_type: str) -> None:
    """Gemini takes any rate that is named, and no G.711: only that is decoded."""
    target = for_gemini(source)
    assert gemini_mime_type(target) == mime_type
    assert gemini_format(mime_type) == target
    assert target.rate_hz == source.rate_hz


def test_a_format_is_named_as_openai_names_it() -> None:
    """A rate belongs to PCM alone."""
    assert openai_format_object(PCM_24K) == {"type": "audio/pcm", "rate": 24_000}
    assert openai_format_object(ALAW_8K) == {"type": "audio/pcma"}


def test_g711_is_that_of_the_recommendation() -> None:
    """Silence, the loudest samples and softer ones are as in its tables, in both laws."""
    samples = (0, 32_767, -32_768, 1_000, -1_000)
    pcm = b"".join(sample.to_bytes(2, "little", signed=True) for sample in samples)
    pcm_8k = Format(Encoding.PCM16, 8_000)
    assert Converter(pcm_8k, ULAW_8K).feed(pcm).hex() == "ff8000ce4e"
    assert Converter(pcm_8k, ALAW_8K).feed(pcm).hex() == "d5aa2afa7a"
    assert Converter(ULAW_8K, pcm_8k).feed(b"\xff\x80\x00")[2:].hex() == "7c7d8482"
    assert Converter(ALAW_8K, pcm_8k).feed(b"\xd5\xaa\x2a").hex() == "0800007e0082"


def test_what_follows_a_flush_is_a_new_stream() -> None:
    """After a flush the same audio gives the same bytes; half a sample before it is dropped."""
    converter = Converter(PCM_16K, PCM_24K)
    audio = bytes(range(256)) * 10
    first = converter.feed(audio + b"x") + converter.flush()
    assert converter.feed(audio) + converter.flush() == first
    assert len(first) == len(audio) * 3 // 2


@pytest.mark.parametrize("audio", [b"", b"x"])
def test_less_than_a_sample_gives_nothing(audio: bytes) -> None:
    """A chunk without a whole sample waits, and so does an empty one."""
    converter = Converter(PCM_16K, PCM_24K)
    assert converter.feed(audio) == b""
    assert converter.flush() == b""


def test_base64_is_written_in_one_line() -> None:
    """What is written is the standard alphabet with padding."""
    assert encode_base64(b"\xfb\xff" * 60).count("\n") == 0
    assert decode_base64(encode_base64(b"\xfb\xff")) == b"\xfb\xff"
