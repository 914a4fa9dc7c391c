"""The simulation can fail: it notices each of the mutants."""

import pytest

from simulation.mutants import NAMES, SUBTLE_NAMES
from simulation.run import first_fault
from tests.support.paths import ROOT

FIRST_SEED = 1
SEEDS_MAX = 300


@pytest.mark.parametrize("mutant", [*NAMES, *SUBTLE_NAMES])
def test_every_mutant_is_caught(mutant: str) -> None:
    """Within a few hundred worlds something is lost, doubled, or never comes to rest."""
    fault = first_fault(FIRST_SEED, SEEDS_MAX, mutant)
    assert fault is not None, f"{mutant}: {SEEDS_MAX} worlds did not notice it"
    print(f"{mutant}: seed {fault.seed}, {fault.detail[:200]}")


def test_the_real_cores_pass_the_same_worlds() -> None:
    """Without a mutant the same seeds pass: it is the mutants that fail."""
    fault = first_fault(FIRST_SEED, SEEDS_MAX)
    assert fault is None, f"seed {fault.seed}: {fault.detail}"


def test_the_documentation_says_how_many_there_are() -> None:
    """Where it says what the simulation proves."""
    said = f"the {len(NAMES)} mutants, and {len(SUBTLE_NAMES)} subtle ones"
    assert said in (ROOT / "docs" / "RELIABILITY.md").read_text()
