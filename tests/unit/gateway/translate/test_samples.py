"""``translate.samples``: how good the resampler is."""

import numpy as np
import pytest
from numpy.typing import NDArray

from gateway.translate.samples import HALF_LENGTH_S, Resampler, decoded, encoded

PEAK = 30_000


def noise(rate_hz: int, *, below_hz: int, seconds: int = 2) -> NDArray[np.int16]:
    """Noise of all frequencies from 50 Hz to ``below_hz``."""
    count = rate_hz * seconds
    spectrum = np.fft.rfft(np.random.default_rng(4711).normal(size=count))
    frequencies = np.fft.rfftfreq(count, 1 / rate_hz)
    spectrum[(frequencies < 50) | (frequencies > below_hz)] = 0
    wave = np.fft.irfft(spectrum)
    return np.rint(wave * PEAK / np.abs(wave).max()).astype(np.int16)


def tone(rate_hz: int, hz: float, *, seconds: float = 1) -> NDArray[np.int16]:
    """A sine."""
    times = np.arange(int(rate_hz * seconds)) / rate_hz
    return np.rint(PEAK * np.sin(2 * np.pi * hz * times)).astype(np.int16)


def resampled(samples: NDArray[np.int16], source_hz: int, target_hz: int) -> NDArray[np.int16]:
    """``samples`` in chunks of 20 ms."""
    resampler = Resampler(source_hz, target_hz)
    size = source_hz // 50
    chunks = [resampler.feed(samples[at : at + size]) for at in range(0, len(samples), size)]
    return np.concatenate([*chunks, resampler.flush()])


def decibels(signal: NDArray[np.int16], error: NDArray[np.float64]) -> float:
    """The ratio of two powers."""
    return float(10 * np.log10(np.mean(signal.astype(float) ** 2) / np.mean(error**2)))


@pytest.mark.parametrize(
    ("rate_hz", "over_hz", "below_hz"),
    [
        (16_000, 24_000, 7_000),
        (8_000, 24_000, 3_400),
        (24_000, 44_100, 11_000),
        (24_000, 48_000, 11_000),
        (11_025, 24_000, 4_800),
    ],
)
def test_speech_survives_another_rate_and_back(rate_hz: int, over_hz: int, below_hz: int) -> None:
    """What is heard after two conversions differs from what was said by less than 60 dB."""
    said = noise(rate_hz, below_hz=below_hz)
    heard = resampled(resampled(said, rate_hz, over_hz), over_hz, rate_hz)
    inner = slice(rate_hz // 50, len(said) - rate_hz // 50)
    assert decibels(said[inner], heard[inner].astype(float) - said[inner]) > 60


@pytest.mark.parametrize("hz", [4_600, 6_000, 11_000])
def test_what_telephony_has_no_room_for_is_filtered_out(hz: int) -> None:
    """A tone above half of the new rate does not come back as another one: it is 70 dB lower."""
    heard = resampled(tone(24_000, hz), 24_000, 8_000)
    assert np.abs(heard[200:-200]).max() < PEAK / 10 ** (70 / 20)


@pytest.mark.parametrize(
    "rate_hz", [4_000, 8_000, 11_025, 12_000, 16_000, 22_050, 44_100, 48_000, 96_000, 192_000]
)
def test_a_tone_keeps_its_pitch_and_its_level(rate_hz: int) -> None:
    """At any rate in use a tone of 1 kHz is the same tone at 24 kHz."""
    expected = tone(24_000, 1_000)
    heard = resampled(tone(rate_hz, 1_000), rate_hz, 24_000)
    assert len(heard) == len(expected)
    inner = slice(400, -400)
    assert decibels(expected[inner], heard[inner].astype(float) - expected[inner]) > 60


def test_a_step_is_delayed_by_two_and_a_half_milliseconds() -> None:
    """A chunk is complete once as much audio as half the filter's length has followed it."""
    resampler = Resampler(16_000, 24_000)
    assert HALF_LENGTH_S == 0.0025
    assert len(resampler.feed(np.zeros(320, np.int16))) == 480 - 60


def test_loud_audio_is_clipped_and_does_not_wrap() -> None:
    """A full square wave overshoots behind the filter, and stays at the limits of 16 bits."""
    square = np.where(tone(16_000, 200) > 0, 32_767, -32_768).astype(np.int16)
    heard = resampled(square, 16_000, 24_000)
    assert heard.max() == 32_767
    assert heard.min() == -32_768
    assert np.mean(np.sign(heard[600:-600:120]) != 0) == 1


@pytest.mark.parametrize(("encoding", "least_db"), [("ULAW", 36), ("ALAW", 36)])
def test_g711_keeps_speech(encoding: str, least_db: int) -> None:
    """G.711 costs what it is known for: some 38 dB of signal to noise."""
    said = noise(8_000, below_hz=3_400)
    heard = decoded(encoded(said, encoding), encoding)
    assert decibels(said, heard.astype(float) - said) > least_db


@pytest.mark.parametrize("encoding", ["ULAW", "ALAW"])
def test_every_code_of_g711_keeps_its_value(encoding: str) -> None:
    """What a code stands for becomes the same code again; µ-law has two codes for zero."""
    codes = bytes(code for code in range(256) if (encoding, code) != ("ULAW", 0x7F))
    assert encoded(decoded(codes, encoding), encoding) == codes
