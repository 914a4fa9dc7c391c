"""What must have been charged, judged by what the provider sent and what clients received. Pure.

A response is *owed* when its usage reached a gateway. The provider's log says what was sent, and a
client that received a ``response.done`` proves that the gateway had it. What was sent and not seen
by a client is owed too, unless its gateway was killed in that moment: then nobody can know whether
it was read from the socket. Those are counted apart.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

# How long before its kill a gateway may have left something unread in its socket, on a loaded
# machine.
UNREAD_S = 2.0


@dataclass(frozen=True, slots=True)
class Sent:
    """A usage in the provider's log: ``via`` names the gateway process that it was sent to."""

    response_id: str
    via: str
    at: float  # wall clock
    tokens: int


@dataclass(frozen=True, slots=True)
class Row:
    """A charged row."""

    response_ids: tuple[str, ...]
    tokens: int
    is_estimate: bool


@dataclass
class Verdict:
    """What was found. ``lost``, ``doubled``, ``invented`` and ``misstated`` must be empty."""

    sent: int = 0
    received: int = 0
    charged: int = 0
    estimated: int = 0
    in_flight: int = 0  # in the socket of a killed gateway, so not charged
    lost: list[Sent] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    invented: list[str] = field(default_factory=list)  # charged and never sent
    misstated: list[Row] = field(default_factory=list)  # rows of other tokens than were sent

    @property
    def is_clean(self) -> bool:
        """Whether every response was charged exactly once."""
        return not (self.lost or self.doubled or self.invented or self.misstated)


def judge(
    sent: Iterable[Sent],
    *,
    received: set[str],
    rows: Iterable[Row],
    unread_since: Mapping[str, float],
) -> Verdict:
    """Compare. ``unread_since`` has, for every gateway process that was killed, the wall clock at
    which it was last certain to read: its kill, or the stop before its kill.
    """
    log = {entry.response_id: entry for entry in sent}
    rows = list(rows)
    charged = Counter(name for row in rows if not row.is_estimate for name in row.response_ids)
    every = Counter(name for row in rows for name in row.response_ids)
    verdict = Verdict(
        sent=len(log),
        received=len(received),
        charged=len(charged),
        estimated=sum(1 for row in rows if row.is_estimate),
        doubled=[name for name, count in every.items() if count > 1],
        invented=[name for name in charged if name not in log],
        misstated=[row for row in rows if not row.is_estimate and _is_misstated(row, log)],
    )
    for entry in log.values():
        if entry.response_id in charged:
            continue
        since = unread_since.get(entry.via)
        if entry.response_id not in received and since and entry.at > since - UNREAD_S:
            verdict.in_flight += 1
        else:
            verdict.lost.append(entry)
    verdict.lost += [Sent(name, "?", 0, 0) for name in received - log.keys() - charged.keys()]
    return verdict


def read_log(entries: Iterable[Mapping[str, Any]]) -> list[Sent]:
    """The provider's usage log. A client names its gateway's process in the query."""
    return [
        Sent(
            response_id=entry["response_id"],
            via=dict(pair.partition("=")[::2] for pair in entry["query"].split("&"))["via"],
            at=entry["at"],
            tokens=entry["usage"]["total_tokens"],
        )
        for entry in entries
    ]


def read_row(row: Mapping[str, Any]) -> Row:
    """A row of ``accountctl usage --json``."""
    return Row(tuple(row["response_ids"]), row["total_tokens"], row["kind"] == "estimate")


def _is_misstated(row: Row, log: Mapping[str, Sent]) -> bool:
    known = [log[name].tokens for name in row.response_ids if name in log]
    return len(known) == len(row.response_ids) and sum(known) != row.tokens
