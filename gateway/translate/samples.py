"""Audio as samples: G.711, and a resampler whose delay is small and steady. Pure.

Loads numpy, so ``translate.audio`` imports it for a conversion that needs samples, and nobody else.

The resampler is a polyphase filter of our own, because of the libraries with wheels for all our
versions of Python none has both a small delay and a clean band. Measured with chunks of 20 ms, to
24 kHz and back, for noise below 7 kHz (the bars: 60 dB, 5 ms)::

    resampler                    signal to noise   delay, 16 to 24 kHz    CPU for 1 s of audio
    this one                     86 dB             2.5 ms, steady         1.4 ms
    samplerate 0.2.4, medium     47 dB             2.9 ms, steady         8 ms
    samplerate 0.2.4, best       94 dB             9 ms (18 ms to 8 kHz)  24 ms
    soxr 1.1.0, HQ               80 dB             up to 37 ms, bursts    0.6 ms
    soxr 1.1.0, QQ               18 dB             0.1 ms, steady         0.5 ms

Source of G.711: ITU-T G.711; for negative samples, the reference code of G.191.
"""

from collections.abc import Iterator
from fractions import Fraction
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Samples = NDArray[np.int16]

# Half of the filter's length, which is its delay. With the attenuation below, its band ends 500 Hz
# around half of the lower rate: 7.5 to 8.5 kHz between 16 and 24 kHz, 3.5 to 4.5 kHz for telephony.
HALF_LENGTH_S: Final = 0.0025
# The attenuation for which the Kaiser window is made, in dB: a sample of 14 bits has no more.
ATTENUATION_DB: Final = 80.0
# The filter has a form for each of so many positions between two samples. All rates in use need at
# most 320 (11,025 Hz to 24 kHz). Another is taken for the nearest one that needs no more, which is
# off by less than 0.2 %: a thirtieth of a semitone.
PHASES_MAX: Final = 320
# A longer piece is resampled in parts, because each sample is copied for every filter it is in.
SAMPLES_AT_ONCE: Final = 4_096
_FLOAT_BYTES: Final = 4
_PCM16: Final = np.dtype("<i2")  # whatever the machine's own order is


class Resampler:
    """A stream of samples at ``source_hz`` becomes one at ``target_hz``.

    What goes in comes out at once, except for the last 2.5 ms, which wait for what follows. The
    output is ``ceil(samples * target_hz / source_hz)`` samples when it is flushed.

    ``step`` samples become ``phases`` of the output, one row of a matrix product: a *block*.
    """

    __slots__ = ("_done", "_half", "_kept", "_matrix", "_phases", "_step", "_taps")

    def __init__(self, source_hz: int, target_hz: int) -> None:
        ratio = Fraction(source_hz, target_hz).limit_denominator(PHASES_MAX)
        self._step, self._phases = ratio.numerator, ratio.denominator
        self._half = int(HALF_LENGTH_S * source_hz)
        self._taps = 2 * self._half
        self._matrix = _matrix(source_hz, target_hz, self._step, self._phases)
        self._start()

    def feed(self, samples: Samples) -> Samples:
        """The samples that are complete now."""
        if len(samples) <= SAMPLES_AT_ONCE:
            return self._take(samples)
        return np.concatenate([self._take(part) for part in _cut(samples)])

    def flush(self) -> Samples:
        """The samples that waited for what follows, which is taken for silence; then begin anew."""
        rest = self._take(np.zeros(self._half, np.int16))
        self._start()
        return rest

    def _start(self) -> None:
        # From the first sample of the block that is not complete; before the stream was silence.
        self._kept: Floats = np.zeros(self._half - 1, np.float32)
        self._done = 0  # of that block's output

    def _take(self, samples: Samples) -> Samples:
        before = len(self._kept)
        length = before + len(samples)
        # Output ``k`` is made of the ``taps`` samples from ``k * step // phases`` on.
        complete = max(0, -(-(length - self._taps + 1) * self._phases // self._step))
        blocks = -(-complete // self._phases)
        height = len(self._matrix)
        kept = np.zeros(max(length, (blocks - 1) * self._step + height), np.float32)
        kept[:before] = self._kept
        kept[before:length] = samples
        windows: Floats = np.ndarray(
            (blocks, height), np.float32, kept, strides=(self._step * _FLOAT_BYTES, _FLOAT_BYTES)
        )
        made = (windows.copy() @ self._matrix).reshape(-1)[self._done : complete]
        whole = complete // self._phases
        self._kept = kept[whole * self._step : length].copy()
        self._done = max(self._done, complete) - whole * self._phases
        np.rint(made, out=made)
        np.minimum(np.maximum(made, -32_768, out=made), 32_767, out=made)
        return made.astype(np.int16)


def _cut(samples: Samples) -> Iterator[Samples]:
    for start in range(0, len(samples), SAMPLES_AT_ONCE):
        yield samples[start : start + SAMPLES_AT_ONCE]


@lru_cache(maxsize=16)
def _matrix(source_hz: int, target_hz: int, step: int, phases: int) -> Floats:
    """A column for each output sample of a block: the weights of the samples that it is made of.

    At most 3,500 by 320, which is 4.5 MB; 984 bytes between 16 and 24 kHz.
    """
    half = int(HALF_LENGTH_S * source_hz)
    cutoff = min(source_hz, target_hz) / source_hz  # of half the source's rate
    beta = 0.1102 * (ATTENUATION_DB - 8.7)  # Kaiser's formula for more than 50 dB
    matrix = np.zeros((2 * half + (phases - 1) * step // phases, phases), np.float32)
    for number in range(phases):
        first, phase = divmod(number * step, phases)
        offsets = np.arange(-half + 1, half + 1) - phase / phases
        window = np.i0(beta * np.sqrt(np.clip(1 - (offsets / half) ** 2, 0, 1)))
        weights = np.sinc(cutoff * offsets) * window
        # Divided so that a constant stays what it is.
        matrix[first : first + 2 * half, number] = weights / weights.sum()
    return matrix


def decoded(data: bytes, encoding: str) -> Samples:
    """The samples in ``data``, which are whole; ``encoding`` is "PCM16", "ULAW" or "ALAW"."""
    if encoding == "PCM16":
        return np.frombuffer(data, _PCM16)
    return np.take(_decoding(encoding), np.frombuffer(data, np.uint8))


def encoded(samples: Samples, encoding: str) -> bytes:
    """The bytes of ``samples``: two for each sample of PCM16, else one."""
    if encoding == "PCM16":
        return samples.astype(_PCM16, copy=False).tobytes()
    return np.take(_encoding(encoding), samples.view(np.uint16)).tobytes()


# What a code's magnitude is combined with on the wire (tables 1a and 2a of G.711).
_MASKS: Final = {"ULAW": 0x7F, "ALAW": 0x55}
_POSITIVE: Final = 0x80


def _magnitudes(law: str) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """For each of 128 magnitudes: its value in 16 bits, and the lowest value that becomes it."""
    codes = np.arange(128, dtype=np.int32)
    segment, step = codes >> 4, codes & 15
    if law == "ULAW":
        values = (((step << 3) + 0x84) << segment) - 0x84
        return values, values - (4 << segment)
    shift = np.maximum(segment - 1, 0)
    values = (((step + np.where(segment > 0, 16, 0)) << 4) + 8) << shift
    return values, values - (8 << shift)


@lru_cache(maxsize=2)
def _decoding(law: str) -> Samples:
    values, _ = _magnitudes(law)
    codes = np.arange(256, dtype=np.int32) ^ _MASKS[law]
    signs = np.where(codes & _POSITIVE, 1, -1)
    decoded_values: Samples = (signs * values[codes & 0x7F]).astype(np.int16)
    return decoded_values


@lru_cache(maxsize=2)
def _encoding(law: str) -> NDArray[np.uint8]:
    """A code for each sample, by its 16 bits."""
    _, lowest = _magnitudes(law)
    samples = np.arange(65_536, dtype=np.uint16).view(np.int16).astype(np.int32)
    magnitudes = np.where(samples < 0, ~samples, samples)
    codes = np.searchsorted(lowest, magnitudes, side="right") - 1
    return ((codes | np.where(samples < 0, 0, _POSITIVE)) ^ _MASKS[law]).astype(np.uint8)
