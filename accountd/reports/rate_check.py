"""Finds usage, and units of known models, that a rate card has no price for.

Runs on the reader thread: it reads every usage row once, a portion in each snapshot.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from operator import add
from typing import Any, Final

from peewee import fn

from accountd.data.models import UsageMetric
from accountd.data.snapshots import in_snapshots
from accountd.request_params import Json, Params, RequestError
from accountd.times import iso_of_ms, ms_of_iso
from shared.billed_units import BILLED_MODELS
from shared.other_units import OTHER_UNIT, other_units
from shared.rate_card import CARD_BYTES_MAX, RateCardError, read_rates
from shared.rates import COUNT_BY_PIECE, TOKEN_UNITS, Rates
from shared.usage import USAGE_FIELDS, Usage, UsageBatch

_GROUP: Final = (UsageMetric.provider, UsageMetric.model, UsageMetric.kind)
# The fields of a usage that are not tokens. A card need not price these units.
_COUNTED: Final = ("billed_ms", "web_searches", "grounding_queries", "tool_calls")
# Names of fields come from providers' usage objects, so their number is bounded here.
_FIELDS_MAX: Final = 1_000
ROWS_TOGETHER: Final = 50_000  # in a snapshot of about a tenth of a second


def checking(rates_in_force: Callable[[], Rates]) -> Callable[[Params], Json]:
    """Make the report. Its parameter ``text`` is the card to check as TOML.

    Without it the card in force is checked.
    """

    def check(params: Params) -> Json:
        rates = _card(params) or rates_in_force()
        past = past_usage(rates, since=params.optional_time("since"))
        known = known_models(rates)
        return {"version": rates.version, "ok": not past, "past": past, "known": known}

    return check


def past_usage(rates: Rates, *, since: str | None) -> list[Json]:
    """Usage that ``rates`` has no price for, by provider, model and unit.

    Fields for which there is no unit (``other``) are listed by their name.
    """
    reading = _Reading(rates, since_ms=ms_of_iso(since) if since is not None else None)
    return in_snapshots(reading.read_some, reading.found)


class _Reading:
    """What was found in the rows that were read so far."""

    def __init__(self, rates: Rates, *, since_ms: int | None) -> None:
        self._rates, self._since_ms = rates, since_ms
        self._counted: dict[tuple[str, ...], list[int]] = {}  # rows, the last, and _COUNTED
        self._others: dict[tuple[str, ...], Json] = {}
        self._row = 0

    def read_some(self) -> bool:
        """Read the next rows; true when there are no more."""
        last = UsageMetric.select(fn.MAX(UsageMetric.id)).scalar() or 0
        row = min(self._row + ROWS_TOGETHER, last)
        counted, others = list(self._read_counted(row)), list(self._read_others(row))
        for *group, count, last_ms, some in counted:
            before = self._counted.get(tuple(group), [0, 0, *(0 for _ in some)])
            added = map(add, before[2:], some)
            self._counted[tuple(group)] = [before[0] + count, max(before[1], last_ms), *added]
        for provider, model, kind, created_at, raw in others:
            for field, amount in other_units(json.loads(raw)).items():
                self._add_other((provider, model, kind, field), created_at, amount)
        self._row = row
        return bool(row == last)

    def found(self) -> list[Json]:
        """The report of them."""
        found: list[Json] = []
        for (provider, model, kind), (count, last_ms, *amounts) in self._counted.items():
            counts = dict(zip(_COUNTED, amounts, strict=True))
            one = {
                "provider": provider,
                "model": model,
                "kind": kind,
                "rows": count,
                "last": iso_of_ms(last_ms),
            }
            batch = UsageBatch("", "", provider, model, kind, 1, (), Usage(**counts), 0)
            found += [
                {**one, "unit": unit, "field": "", "amount": _amount(unit, counts)}
                for unit in self._rates.unpriced(batch)
            ]
        found += self._others.values()
        return sorted(found, key=lambda one: tuple(one[n] for n in ("provider", "model", "unit")))

    def _read_counted(self, through: int) -> Iterable[Any]:
        sums = [fn.SUM(getattr(UsageMetric, name)) for name in _COUNTED]
        rows = self._some(
            through, *_GROUP, fn.COUNT(), fn.MAX(UsageMetric.metered_at), *sums
        ).group_by(*_GROUP)
        for provider, model, kind, count, last_ms, *amounts in rows.tuples():
            yield provider, model, kind, count, last_ms, [total or 0 for total in amounts]

    def _read_others(self, through: int) -> Iterable[Any]:
        """Rows whose ``raw_usage`` may have fields for which there is no unit."""
        columns = (*_GROUP, UsageMetric.created_at, UsageMetric.raw_usage)
        rows = self._some(through, *columns).where(UsageMetric.raw_usage != "[]")
        return (row for row in rows.tuples() if not self._rates.frees_others(row[0], row[1]))

    def _some(self, through: int, *columns: Any) -> Any:
        rows: Any = UsageMetric.select(*columns)
        rows = rows.where((UsageMetric.id > self._row) & (UsageMetric.id <= through))
        if self._since_ms is not None:
            rows = rows.where(UsageMetric.metered_at >= self._since_ms)
        return rows

    def _add_other(self, name: tuple[str, ...], created_at: str, amount: float) -> None:
        if name not in self._others and len(self._others) >= _FIELDS_MAX:
            return
        provider, model, kind, field = name
        one = self._others.setdefault(
            name,
            {"provider": provider, "model": model, "kind": kind, "rows": 0, "last": created_at,
             "unit": OTHER_UNIT, "field": field, "amount": 0.0},
        )  # fmt: skip
        one["rows"] += 1
        one["amount"] += amount
        one["last"] = max(one["last"], created_at)


def known_models(rates: Rates) -> list[Json]:
    """Units that known models bill and that no entry of ``rates`` names.

    Such a token costs one credit, which may be intended; any other unit costs nothing.
    """
    return [
        {"provider": one.provider, "model": one.model, "unit": unit, "costs": _otherwise(unit)}
        for one in BILLED_MODELS
        for unit in one.units
        if not rates.names(one.provider, one.model, unit)
    ]


def _otherwise(unit: str) -> str:
    return "1 credit" if unit in TOKEN_UNITS else "nothing"


def _amount(unit: str, counts: Mapping[str, int]) -> float:
    """The amount of the unit: pieces, or seconds."""
    return counts[COUNT_BY_PIECE[unit]] if unit in COUNT_BY_PIECE else counts["billed_ms"] / 1000


def _card(params: Params) -> Rates | None:
    text = params.optional_document("text", bytes_max=CARD_BYTES_MAX)
    if text is None:
        return None
    try:
        return read_rates(text.encode())
    except RateCardError as exc:
        raise RequestError("bad_request", f"rate card: {exc}") from None


assert set(_COUNTED) <= set(USAGE_FIELDS)
