"""The mutation score of the modules that compute charges: at least 90 % of the mutants of each.

In ``make mutation`` mutmut makes several hundred single changes (mutants) to these modules, e.g. a
``-`` for a ``+``, and runs their tests for each; this reads the results. A mutant counts as noticed
when a test fails or times out. A mutant that survives shows a rule that no test checks:
``mutmut show NAME`` prints it.
"""

import subprocess
import sys
import tomllib
from collections import Counter
from pathlib import Path
from typing import Final

SCORE_MIN: Final = 90.0
NOTICED: Final = frozenset({"killed", "timeout", "caught by type check"})
ROOT: Final = Path(__file__).resolve().parent.parent
MUTMUT: Final = Path(sys.executable).with_name("mutmut")


def wanted() -> set[str]:
    """The modules that ``[tool.mutmut]`` names. One of them without results is an error: it was
    renamed.
    """
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["mutmut"]
    return {path.removesuffix(".py").replace("/", ".") for path in settings["only_mutate"]}


def results() -> list[tuple[str, str]]:
    """The name and the result of every mutant."""
    done = subprocess.run(
        [str(MUTMUT), "results", "--all", "true"], capture_output=True, text=True, check=True
    )
    lines = (line.strip().partition(": ") for line in done.stdout.splitlines())
    return [(name, status) for name, _, status in lines if "__mutmut_" in name]


def main() -> int:
    """Print the score of each module and every survivor; the exit code is 1 below the bound."""
    counts: dict[str, Counter[bool]] = {}
    for name, status in results():
        module = name.partition(".x")[0]
        counts.setdefault(module, Counter())[status in NOTICED] += 1
        if status not in NOTICED:
            print(f"{status}: {name}")
    absent = sorted(wanted() - counts.keys())
    for module in absent:
        print(f"{module:34} no mutant was made of it: is it gone, or renamed?")
    is_low = bool(absent)
    for module, noticed in sorted(counts.items()):
        score = 100.0 * noticed[True] / noticed.total()
        is_low |= score < SCORE_MIN
        print(
            f"{module:34} {noticed[True]:4} of {noticed.total():4} mutants noticed  {score:5.1f} %"
        )
    if is_low:
        print(f"expected at least {SCORE_MIN:g} % of each module")
    return 1 if is_low else 0


if __name__ == "__main__":
    sys.exit(main())
