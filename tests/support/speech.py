"""Speech for tests: tones that a voice detector takes for a voice, and silence."""

import array
import math

RATE_HZ = 24_000


def tone(seconds: float, *, hertz: float = 220.0) -> bytes:
    """A tone as 24 kHz 16-bit little-endian mono PCM."""
    samples = array.array(
        "h",
        (
            int(9_000 * math.sin(2 * math.pi * hertz * n / RATE_HZ))
            for n in range(int(seconds * RATE_HZ))
        ),
    )
    return samples.tobytes()


def silence(seconds: float) -> bytes:
    """Nothing, in the same format."""
    return bytes(2 * int(seconds * RATE_HZ))


def chunks(pcm: bytes, milliseconds: int = 20) -> list[bytes]:
    """The audio in pieces as clients send it."""
    size = RATE_HZ * 2 * milliseconds // 1000
    return [pcm[at : at + size] for at in range(0, len(pcm), size)]
