"""The protocol holds in every world: nothing lost, nothing doubled, no drift."""

import random

import pytest

from simulation.run import first_fault, replay_command, run_seed

CHUNKS = 8
SEEDS_PER_CHUNK = 250
FIRST_SEED = random.SystemRandom().randrange(10**9)


@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_every_owed_response_is_charged_exactly_once(chunk: int) -> None:
    """Whichever process dies at whichever step. Each run has new seeds; a failure names its own."""
    first = FIRST_SEED + chunk * SEEDS_PER_CHUNK
    print(f"seeds {first} to {first + SEEDS_PER_CHUNK - 1}")
    fault = first_fault(first, SEEDS_PER_CHUNK)
    assert fault is None, f"seed {fault.seed}: {fault.detail}\n{replay_command(fault.seed)}"


def test_a_seed_is_one_world(capsys: pytest.CaptureFixture[str]) -> None:
    """A replayed seed repeats every event."""
    traces = []
    for _ in range(2):
        run_seed(7, is_traced=True)
        traces.append(capsys.readouterr().out)
    assert traces[0] == traces[1]
    assert len(traces[0].splitlines()) > 50
