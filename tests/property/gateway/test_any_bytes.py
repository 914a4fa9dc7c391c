"""Bytes of strangers, right and wrong in places: what ``make chaos`` looks for at length, in short.

What has to be true is said by the targets (``tests.support.fuzz_parts``, ``fuzz_gateway``): nothing
raises, logs a traceback or waits without a deadline, and nobody is left when all have gone.
"""

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.support import fuzz_parts
from tests.support.fuzz_gateway import Gateways
from tests.support.fuzz_seeds import seeds, words
from tests.support.mutated_bytes import mutated

SEEDS, WORDS = seeds(), words()
CASES = settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])


@pytest.fixture(scope="module")
def gateways() -> Iterator[Gateways]:
    """Two gateways in this process."""
    with Gateways() as running:
        yield running


@CASES
@given(mutated(SEEDS["frames"], WORDS), st.binary(min_size=1, max_size=1))
@example(b"\x01\x81\x01", b"\x01")
def test_frames_are_what_the_library_finds(data: bytes, how: bytes) -> None:
    """Whole, byte by byte and by the short way, up to the first that is wrong."""
    fuzz_parts.frames(data)
    fuzz_parts.frames(how + data[1:])


@CASES
@given(mutated(SEEDS["prelude"], WORDS))
def test_a_proxy_s_header_is_read_or_refused(data: bytes) -> None:
    """With each byte that comes the same is said."""
    fuzz_parts.prelude(data)


@CASES
@given(mutated(SEEDS["meters"], WORDS))
def test_any_messages_are_metered(data: bytes) -> None:
    """What is found can be told to accountd, and is the same in fragments."""
    fuzz_parts.meters(data)


@CASES
@given(mutated(SEEDS["door"], WORDS))
def test_a_client_that_begins_is_answered(gateways: Gateways, data: bytes) -> None:
    """Or upgraded, or has a deadline."""
    gateways.door(data)


@CASES
@given(mutated(SEEDS["relay"], WORDS))
def test_a_session_survives_what_happens_in_it(gateways: Gateways, data: bytes) -> None:
    """Both sides are sent frames, and the next session is served."""
    gateways.relay(data)


@pytest.mark.parametrize("name", SEEDS)
def test_the_seeds_pass(gateways: Gateways, name: str) -> None:
    """They are right: a target that refused them would find nothing else."""
    target = {"door": gateways.door, "relay": gateways.relay}.get(name)
    for seed in SEEDS[name]:
        (target or getattr(fuzz_parts, name))(seed)
