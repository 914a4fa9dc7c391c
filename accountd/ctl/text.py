"""Formats the longer answers of ``accountctl`` as text. Pure."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from accountd.ctl.tables import details, plain, table

INCOMPLETE_COLUMNS: Final = ("producer", "applied_through", "ended_at", "missing_total", "missing")
UNPRICED_COLUMNS: Final = ("provider", "model", "kind", "unit", "field", "amount", "rows", "last")
NAMED_COLUMNS: Final = ("provider", "model", "unit", "costs")


def rejected_text(found: Mapping[str, Any]) -> str:
    """One message in quarantine."""
    flat = {name: value for name, value in found.items() if name not in ("fields", "payload")}
    read = found["fields"]
    if read is not None:
        flat |= {f"  {k}": json.dumps(v, ensure_ascii=False) for k, v in read.items()}
    return f"{details(flat)}\npayload  {plain(found['payload'])}"


def rates_text(found: Mapping[str, Any]) -> str:
    """The usage and the units of models that a rate card has no price for."""
    lines = [f"rate card {found['version']}"]
    if found["past"]:
        lines += ["used and not priced:", table(found["past"], UNPRICED_COLUMNS)]
    else:
        lines.append("every unit of past usage has a price")
    if found["known"]:
        lines += [
            "units of known models that no entry names:",
            table(found["known"], NAMED_COLUMNS),
        ]
    return "\n".join(lines)


def audit_text(found: Mapping[str, Any]) -> str:
    """The result of the audit: OK or NOT OK, the counts, and each check that failed."""
    producers, waiting = found["producers"], found["rejected_by_reason"]
    archived = found.get("archived_rows", 0)
    lines = [
        "OK: every balance equals its grants minus its deductions"
        if found["ok"]
        else "NOT OK: see below",
        f"accounts {found['accounts']:,}, usage rows {found['usage_rows']:,}"
        + (f" and {archived:,} in archives" if archived else "")
        + f" (estimates {found['estimates']:,}), heard again and not charged {found['repeated']:,}",
        f"producers {producers['total']:,}: complete {producers['complete']:,},"
        f" open {producers['open']:,}, incomplete {producers['incomplete_total']:,}",
        f"rejected {found['rejected']:,}"
        + "".join(f", {reason} {count:,}" for reason, count in sorted(waiting.items())),
    ]
    if found["unsettled"]:
        counts = ", ".join(f"{reason} {count:,}" for reason, count in found["unsettled"].items())
        lines.append(f"unsettled: {counts}; see accountctl rejected list, then retry or dismiss")
    lines += _wrong_sums(found) + _missing(found)
    if found["drift"]:
        lines.append(table(found["drift"], tuple(found["drift"][0])))
        lines += _cut(found["drift"], found["drift_total"], "accounts that drift")
    if producers["incomplete"]:
        lines.append(table(producers["incomplete"], INCOMPLETE_COLUMNS))
        lines += _cut(
            producers["incomplete"], producers["incomplete_total"], "incomplete producers"
        )
    return "\n".join(lines)


def _wrong_sums(found: Mapping[str, Any]) -> list[str]:
    """What is kept beside the rows, and differs from them; an older accountd does not say."""
    lines = []
    if found.get("wrong_segments"):
        numbers = ", ".join(map(str, found["wrong_segments"]))
        lines.append(f"the index of the usage rows differs from them in its segments {numbers}")
    if wrong := found.get("wrong_spending"):
        lines.append("what these keys spent in a day is not the sum of their usage rows")
        lines.append(table(wrong, tuple(wrong[0])))
    return lines


def _missing(found: Mapping[str, Any]) -> list[str]:
    """What was in the ledger once and is not; an older accountd does not say."""
    expected, lines = found.get("expected", {}), []
    if usage := expected.get("usage"):
        lines.append(
            f"missing usage: {expected['batches_total']:,} batches of {expected['usage_total']:,}"
            " producers that were durable once; their gateways send again what they still have"
        )
        lines.append(table(usage, tuple(usage[0])))
        lines += _cut(usage, expected["usage_total"], "producers")
    if changes := expected.get("changes"):
        lines.append(
            f"missing changes: {expected['changes_total']:,} changes of accounts, keys and grants"
            " are neither in the ledger nor in its journal; make them again"
        )
        lines.append(table(changes, tuple(changes[0])))
    if (after := expected.get("changes_unknown_after")) is not None:
        lines.append(
            "restored without its journal: changes of accounts, keys and grants after number"
            f" {after:,} may be missing, and nothing remembers them; compare them with what was"
            " asked for"
        )
    if lines:
        lines.append('what never comes: accountctl audit --settle "the reason"')
    return lines


def _cut(shown: Sequence[object], total: int, what: str) -> list[str]:
    """A line with the number of entries that are not shown; none when all are."""
    return [f"{len(shown):,} of {total:,} {what}"] if len(shown) < total else []
