"""Formats what ``accountctl providers`` answers as text. Pure."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from accountd.ctl.tables import table
from accountd.rpc_types import REPORT_S

COLUMNS: Final = (
    "provider", "health", "drained", "gateways", "sessions", "calls", "dial_ms_p50/p95",
    "answer_ms_p50/p95", "failures",
)  # fmt: skip
Json = Mapping[str, Any]


def overview_text(found: Json) -> str:
    """All providers, one line each, and below what needs more words."""
    rows = found["providers"]
    if not rows:
        return f"no gateway has reported yet; each does every {REPORT_S:g} s"
    lines = [table((_cells(row) for row in rows), COLUMNS)]
    for row in rows:
        lines += _notes(row)
    return "\n".join(lines)


def drained_text(row: Json) -> str:
    """What a drain does, and what it does not do."""
    name = row["provider"]
    was = "" if row["changed"] else f" (since {row['drained_at']})"
    lines = [
        f"{name} is drained{was}: gateways obey within {REPORT_S:g} s",
        f"{row['sessions']:,} sessions and {row['calls']:,} calls at {row['gateways']:,} gateways;"
        " watch them leave: accountctl providers",
    ]
    if not row["gateways"]:
        lines.append("no gateway has it now")
    elif not row["has_choice"]:
        lines.append(
            f"WARNING: no model has another provider in service beside {name}: all of its sessions"
            " stay, and new ones still go there; resume one, or name one in the models file"
        )
    lines += _needs(row)
    return "\n".join(lines)


def resumed_text(found: Json) -> str:
    """The end of a drain."""
    return (
        f"{found['provider']} is in service again (drained since {found['was_drained_at']}):"
        f" new sessions may go there within {REPORT_S:g} s"
    )


def _cells(row: Json) -> Json:
    return {
        **row,
        "drained": "yes" if row["drained_at"] else "no",
        "dial_ms_p50/p95": _times(row["dial_p50_ms"], row["dial_p95_ms"]),
        "answer_ms_p50/p95": _times(row["answer_p50_ms"], row["answer_p95_ms"]),
        "failures": sum(row["failures"].values()),
    }


def _times(p50: int | None, p95: int | None) -> str | None:
    return None if p50 is None else f"{p50:,} / {p95:,}"


def _notes(row: Json) -> Iterator[str]:
    name, failure = row["provider"], row["last_failure"]
    for at in row["by_gateway"]:
        if at["reason"]:
            yield f"{name} is {at['health']} at {at['gateway']}: {at['reason']}"
    if failure is not None:
        where = f"at {failure['gateway']} ({failure['kind']})"
        yield f"{name} failed last {failure['at']} {where}: {failure['reason']}"
    if row["drained_at"] is None:
        return
    moving = row["sessions"] - row["bound"]
    yield (
        f"{name} is drained since {row['drained_at']}: {moving:,} sessions leave between turns,"
        f" {row['bound']:,} sessions and {row['calls']:,} calls stay until they end"
    )
    yield from _needs(row)


def _needs(row: Json) -> Iterator[str]:
    """The models that have no other provider."""
    if row["only_for"]:
        more = f" and {row['only_for_more']:,} more" if row["only_for_more"] else ""
        models = ", ".join(row["only_for"])
        yield f"{row['provider']} still serves, as nobody else does: {models}{more}"
