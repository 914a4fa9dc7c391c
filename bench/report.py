"""What a scenario of the bench is given and what it reports, as text and as JSON. Pure.

A scenario is a module with one function, named in ``bench.scenarios``::

    def measure(scale: Scale) -> Outcome:
        rounds = scale.pick(5, quick=1)
        for number in range(rounds):
            scale.tell(f"round {number + 1} of {rounds}")   # progress; not part of the report
            ...
        return Outcome(
            tables=(Table("CPU of a round trip", ("relay", "µs"), (("gateway", 25.1),)),),
            curves=(Curve("Rate by size", "rows", "batches/s", {"accountd": ((0, 69e3), ...)}),),
            bars=(at_most("CPU / haproxy", 1.13, 1.25), unmeasured("16 kB", 1.25, "no haproxy")),
            checks=(Check("tokens charged", found=600, expected=600),),
        )

With ``--quick`` it takes about a second or two in all, and does everything once: tests run it so.
Then bars mean nothing, and checks (bytes, charges: what must be exact at any speed) mean as much as
ever. Units stand in titles, columns and names. What cannot run here (a program is missing) is left
out of the table and gets an ``unmeasured`` bar, if it has one.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any, Final, TypeVar

Cell = str | int | float | None  # None: not measured
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Scale:
    """How much a scenario measures. ``tell`` shows a line of progress."""

    is_quick: bool
    tell: Callable[[str], None]

    def pick(self, full: T, *, quick: T) -> T:
        """The one that this run is for."""
        return quick if self.is_quick else full


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of as many cells as there are columns."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]

    def __post_init__(self) -> None:
        """A row that is too short would shift its figures below another head."""
        assert all(len(row) == len(self.columns) for row in self.rows), self.title


@dataclass(frozen=True, slots=True)
class Curve:
    """A figure against its size. Labels have their unit; a series goes from left to right."""

    title: str
    x_label: str
    y_label: str
    points_by_series: Mapping[str, Sequence[tuple[float, float]]]
    is_x_log: bool = False


class Side(StrEnum):
    """On which side of its bound a figure has to be."""

    AT_MOST = "at most"
    AT_LEAST = "at least"


@dataclass(frozen=True, slots=True)
class Bar:
    """A figure and its bound. Without ``found`` it could not be measured, and ``why`` says why."""

    name: str
    found: float | None
    side: Side
    bound: float
    why: str = ""

    def __post_init__(self) -> None:
        """A gap in the report has its reason."""
        assert (self.found is None) == bool(self.why), self.name

    @property
    def is_met(self) -> bool | None:
        """Whether the bound is kept; None when that was not measured."""
        if self.found is None:
            return None
        return self.found <= self.bound if self.side is Side.AT_MOST else self.found >= self.bound


def at_most(name: str, found: float, bound: float) -> Bar:
    """A bar that a figure must not exceed."""
    return Bar(name, found, Side.AT_MOST, bound)


def at_least(name: str, found: float, bound: float) -> Bar:
    """A bar that a figure must reach."""
    return Bar(name, found, Side.AT_LEAST, bound)


def unmeasured(name: str, bound: float, why: str, *, side: Side = Side.AT_MOST) -> Bar:
    """A bar that could not be measured here."""
    return Bar(name, None, side, bound, why)


@dataclass(frozen=True, slots=True)
class Check:
    """A count that must be exact, whatever the speed: bytes echoed, tokens charged."""

    name: str
    found: int
    expected: int

    @property
    def is_right(self) -> bool:
        """Whether nothing is missing and nothing too much."""
        return self.found == self.expected


@dataclass(frozen=True, slots=True)
class Outcome:
    """All that a scenario has measured."""

    tables: tuple[Table, ...] = ()
    curves: tuple[Curve, ...] = ()
    bars: tuple[Bar, ...] = ()
    checks: tuple[Check, ...] = ()

    @property
    def is_right(self) -> bool:
        """Whether each count is exact."""
        return all(check.is_right for check in self.checks)

    @property
    def is_met(self) -> bool:
        """Whether no bar is missed; one that could not be measured is not."""
        return not any(bar.is_met is False for bar in self.bars)


_VERDICTS: Final = {True: "met", False: "NOT met", None: "not measured"}


def text_of(outcome: Outcome) -> str:
    """The outcome for a terminal; its tables are aligned Markdown."""
    blocks = [f"{table.title}\n\n{markdown_of(table)}" for table in outcome.tables]
    lines = [f"bar: {_bar_line(bar)}" for bar in outcome.bars]
    lines += [
        f"check: {check.name}: {check.found:,}" if check.is_right
        else f"check: {check.name}: {check.found:,}, WRONG, expected {check.expected:,}"
        for check in outcome.checks
    ]  # fmt: skip
    return "\n\n".join([*blocks, *(["\n".join(lines)] if lines else [])])


def markdown_of(table: Table) -> str:
    """A table in Markdown, with aligned columns; figures stand to the right."""
    cells = [table.columns, *(tuple(shown(cell) for cell in row) for row in table.rows)]
    widths = [max(len(row[at]) for row in cells) for at in range(len(table.columns))]
    to_right = [
        all(not isinstance(row[at], str) for row in table.rows) for at in range(len(widths))
    ]

    def line(row: Sequence[str]) -> str:
        parts = (
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(row, widths, to_right, strict=True)
        )
        return f"| {' | '.join(parts)} |"

    rule = [
        "-" * (width - 1) + (":" if right else "-")
        for width, right in zip(widths, to_right, strict=True)
    ]
    return "\n".join([line(cells[0]), f"| {' | '.join(rule)} |", *map(line, cells[1:])])


def shown(cell: Cell) -> str:
    """A figure with as many digits as it is worth: three, or all before the point."""
    if cell is None:
        return "-"
    if isinstance(cell, str):
        return cell
    if isinstance(cell, int) or abs(cell) >= 100:
        return f"{cell:,.0f}"
    return f"{cell:.1f}" if abs(cell) >= 10 else f"{cell:.2f}"


def json_of(outcome: Outcome) -> dict[str, Any]:
    """The outcome for programs: its fields, and the verdict on each bar and check."""
    return {
        "tables": [asdict(table) for table in outcome.tables],
        "curves": [asdict(curve) for curve in outcome.curves],
        "bars": [{**asdict(bar), "verdict": _VERDICTS[bar.is_met]} for bar in outcome.bars],
        "checks": [{**asdict(check), "is_right": check.is_right} for check in outcome.checks],
    }


def _bar_line(bar: Bar) -> str:
    bound = f"{bar.side} {shown(bar.bound)}"
    if bar.found is None:
        return f"{bar.name}: {_VERDICTS[None]}, {bar.why} ({bound})"
    return f"{bar.name}: {shown(bar.found)} ({bound}): {_VERDICTS[bar.is_met]}"
