"""Finds usage, and units of known models, that a rate card has no price for.

Runs on the reader thread: it reads every usage row once.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any, Final

from peewee import fn

from accountd.data.models import UsageMetric
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
    sums = [fn.SUM(getattr(UsageMetric, name)) for name in _COUNTED]
    rows: Any = UsageMetric.select(*_GROUP, fn.COUNT(), fn.MAX(UsageMetric.metered_at), *sums)
    if since is not None:
        rows = rows.where(UsageMetric.metered_at >= ms_of_iso(since))
    found: list[Json] = []
    for provider, model, kind, count, last, *amounts in rows.group_by(*_GROUP).tuples():
        counts = {name: total or 0 for name, total in zip(_COUNTED, amounts, strict=True)}
        one = {
            "provider": provider,
            "model": model,
            "kind": kind,
            "rows": count,
            "last": iso_of_ms(last),
        }
        usage = Usage(**counts)
        units = rates.unpriced(UsageBatch("", "", provider, model, kind, 1, (), usage, 0))
        found += [
            {**one, "unit": unit, "field": "", "amount": _amount(unit, counts)} for unit in units
        ]
    found += _others(rates, since=since)
    return sorted(found, key=lambda one: tuple(one[n] for n in ("provider", "model", "unit")))


def _others(rates: Rates, *, since: str | None) -> list[Json]:
    """The fields in the rows' ``raw_usage`` for which there is no unit."""
    columns = (*_GROUP, UsageMetric.created_at, UsageMetric.raw_usage)
    rows: Any = UsageMetric.select(*columns).where(UsageMetric.raw_usage != "[]")
    if since is not None:
        rows = rows.where(UsageMetric.metered_at >= ms_of_iso(since))
    found: dict[tuple[str, ...], Json] = {}
    for provider, model, kind, created_at, raw in rows.tuples().iterator():
        if rates.frees_others(provider, model):
            continue
        for field, amount in other_units(json.loads(raw)).items():
            name = (provider, model, kind, field)
            if name not in found and len(found) >= _FIELDS_MAX:
                continue
            one = found.setdefault(
                name,
                {"provider": provider, "model": model, "kind": kind, "rows": 0, "last": created_at,
                 "unit": OTHER_UNIT, "field": field, "amount": 0.0},
            )  # fmt: skip
            one["rows"] += 1
            one["amount"] += amount
            one["last"] = max(one["last"], created_at)
    return list(found.values())


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
