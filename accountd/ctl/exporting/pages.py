"""Reads the rows of an export from the daemon, one bounded page after the other."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from accountd.ctl.client import call
from accountd.ctl.export import Progress
from accountd.ctl.exporting.rows import Row
from accountd.ctl.output import tell_archived
from shared.errors import NotNowError


@dataclass(frozen=True, slots=True)
class Selection:
    """Which rows are asked for: of all ``accounts`` when that is empty; a period as in reports."""

    accounts: tuple[str, ...] = ()
    since: str | None = None
    until: str | None = None

    @property
    def has_period(self) -> bool:
        """Whether it leaves out some times."""
        return (self.since, self.until) != (None, None)

    @property
    def params(self) -> dict[str, Any]:
        """The parameters of a request."""
        accounts = {"accounts": list(self.accounts)} if self.accounts else {}
        return {**accounts, "since": self.since, "until": self.until}


@dataclass(frozen=True, slots=True)
class Cut:
    """The rows of an export: after ``after`` up to ``through``, fixed at its beginning.

    ``ledger`` is the id of the database, which every copy of it has; ``history`` changes when it
    goes back to an older state (an accountd of before does not say). ``archived`` is how many rows
    were in archives at the beginning: those are not among the rows.
    """

    after: int
    through: int
    ledger: str = ""
    archived: int = 0
    history: str = ""


def begin(endpoint: str, selection: Selection, *, after: int) -> Cut:
    """Where an export that begins after the row ``after`` ends, if it begins now."""
    cut = _cut(endpoint, selection, after)
    if not after:
        tell_archived(cut.archived, "an export does not have them")
    return cut


def check_whole(endpoint: str, selection: Selection, cut: Cut) -> None:
    """Raise ``NotNowError`` when rows have moved to an archive since ``cut``: some are missing."""
    if _cut(endpoint, selection, cut.after).archived != cut.archived:
        raise NotNowError("rows have moved to an archive meanwhile", hint="run it again")


def _cut(endpoint: str, selection: Selection, after: int) -> Cut:
    found = call(endpoint, "export.begin", {**selection.params, "after": after})
    return Cut(
        after, found["through"], found["ledger"], found["archived_rows"], found.get("history", "")
    )


def pages(endpoint: str, selection: Selection, cut: Cut) -> Iterator[Sequence[Row]]:
    """The rows in the order of their ids. A page may be empty."""
    after = cut.after
    with Progress(cut.through - cut.after) as progress:
        while after is not None and after < cut.through:
            asked = {**selection.params, "after": after, "through": cut.through}
            found = call(endpoint, "export.rows", asked)
            columns = found["columns"]
            yield [dict(zip(columns, values, strict=True)) for values in found["rows"]]
            after = found["next_after"]
            progress.show((cut.through if after is None else after) - cut.after)


def row_at(endpoint: str, row_id: int) -> Row | None:
    """The row with this id; 0 is none."""
    cut = Cut(max(0, row_id - 1), row_id)
    return next((row for page in pages(endpoint, Selection(), cut) for row in page), None)
