"""The verdict on an attack finds every kind of fault."""

from dataclasses import replace
from typing import Any

import pytest

from tests.chaos.abuse.kinds import KINDS, Kind
from tests.chaos.abuse.scripts import SCRIPTS
from tests.chaos.abuse.verdict import Seen, percentile, table

KIND = Kind("floods", 10, "pings", 5.0, 64, cpu_max=0.5)
QUICK = [(at / 10, 0.01) for at in range(100)]
CASES: list[tuple[str, dict[str, Any], str]] = [
    ("all is well", {}, ""),
    ("slow handshakes", {"handshakes": [*QUICK, (5.0, 1.0)] * 2}, "handshakes took 1.00 s"),
    ("slow before", {"handshakes": [*QUICK, (0.5, 9.0)]}, ""),
    ("no handshakes", {"handshakes": []}, "was not there"),
    ("nothing relayed", {"round_trips": QUICK[:5]}, "was not there"),
    ("a failure", {"failures": ["TimeoutError: no"]}, "honest: TimeoutError: no"),
    ("not charged", {"charged": 2}, "3 answers, 2 charged"),
    ("late", {"gone_s": 10.1}, "gone after 10.1 s, due after 5"),
    ("not so late", {"gone_s": 9.9}, ""),
    ("never gone", {"left": 1}, "1 abusers were left"),
    ("nobody came", {"seen": 0}, "there was no abuser"),
    ("memory", {"peak_mib": 120.0}, "70 MiB more, 64 at most"),
    ("a spin", {"cpu": 0.9}, "CPU 90%"),
    ("a complaint", {"complaints": ["level=error"]}, "log: level=error"),
    ("the books", {"is_audit_ok": False}, "audit failed"),
]


@pytest.mark.parametrize(("_case", "facts", "expected"), CASES)
def test_the_verdict(_case: str, facts: dict[str, Any], expected: str) -> None:
    """What was seen, and what is reported; nothing where all is well."""
    well = Seen(
        KIND, begun=1.0, ended=9.0, handshakes=QUICK, round_trips=QUICK, answers=3, charged=3,
        before_mib=50.0, peak_mib=60.0, after_mib=51.0, cpu=0.1, seen=10, gone_s=4.0,
    )  # fmt: skip
    seen = replace(well, **facts)
    problems = seen.problems()
    assert (len(problems) == 1) is bool(expected)
    assert expected in "".join(problems)
    assert table([seen]).splitlines()[1].endswith("FAIL" if expected else "PASS")


def test_who_may_stay_is_not_late() -> None:
    """A kind without a deadline, one that comes again, and one that cannot be tried here."""
    stays = replace(KIND, deadline_s=None)
    assert not Seen(stays, seen=1, left=1, gone_s=99.0)._of_abusers()
    assert not Seen(replace(KIND, is_repeated=True), seen=1, left=1)._of_abusers()
    assert not Seen(KIND, skipped="it needs root").problems()


def test_percentiles_are_values_that_were_seen() -> None:
    """Of a hundred the 99th is the last but one."""
    values = [float(value) for value in range(1, 101)]
    assert [percentile(values, percent) for percent in (1, 50, 99, 100)] == [1, 50, 99, 100]
    assert percentile([7.0], 99) == 7.0


def test_every_kind_has_its_script() -> None:
    """Those beside it, too; and no two have one name."""
    assert {kind.script for kind in KINDS} <= set(SCRIPTS)
    assert {kind.beside for kind in KINDS} - {""} <= set(SCRIPTS)
    assert len({kind.name for kind in KINDS}) == len(KINDS)
