"""``translate.audio``: streams that are cut anywhere, and what peers may write."""

import base64
from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from gateway.translate.audio import (
    ALAW_8K,
    PCM_24K,
    RATE_HZ_MAX,
    RATE_HZ_MIN,
    ULAW_8K,
    Converter,
    Encoding,
    Format,
    decode_base64,
    gemini_format,
    openai_format,
)

FORMATS = st.one_of(
    st.sampled_from([PCM_24K, ULAW_8K, ALAW_8K]),
    st.sampled_from([8_000, 11_025, 16_000, 44_100, 48_000]).map(
        lambda rate_hz: Format(Encoding.PCM16, rate_hz)
    ),
    st.integers(RATE_HZ_MIN, RATE_HZ_MAX).map(lambda rate_hz: Format(Encoding.PCM16, rate_hz)),
)
PCM = FORMATS.filter(lambda audio: audio.encoding is Encoding.PCM16)
AUDIO = st.binary(max_size=200).map(lambda pattern: pattern * 40)


@given(source=FORMATS, target=PCM, audio=AUDIO, cuts=st.lists(st.integers(0, 8_000)))
def test_cuts_change_nothing(source: Format, target: Format, audio: bytes, cuts: list[int]) -> None:
    """A stream gives the same bytes however it is cut, within a sample as well."""
    whole, parts = Converter(source, target), Converter(source, target)
    expected = whole.feed(audio) + whole.flush()
    places = sorted({0, len(audio), *(cut for cut in cuts if cut < len(audio))})
    heard = b"".join(parts.feed(audio[start:end]) for start, end in pairwise(places))
    heard += parts.flush()
    if whole.is_verbatim:  # half a sample is passed on as it is
        assert heard == expected
        return
    # Sums of floats are rounded otherwise where they are cut otherwise.
    difference = np.frombuffer(heard, "<i2").astype(int) - np.frombuffer(expected, "<i2")
    assert np.abs(difference).max(initial=0) <= (source.rate_hz != target.rate_hz)


@given(audio=st.binary(), is_padded=st.booleans(), is_url_safe=st.booleans())
def test_any_base64_is_read(audio: bytes, is_padded: bool, is_url_safe: bool) -> None:
    """Both alphabets, padded or not, give the bytes that were written."""
    write = base64.urlsafe_b64encode if is_url_safe else base64.b64encode
    text = write(audio).decode()
    assert decode_base64(text if is_padded else text.rstrip("=")) == audio


@given(value=st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists))
def test_what_peers_write_is_understood_or_refused(value: object) -> None:
    """Anything but a format raises ``ValueError`` and nothing else."""
    for read in (openai_format, gemini_format, decode_base64):
        try:
            read(value)
        except ValueError as error:
            assert "expected" in str(error)
