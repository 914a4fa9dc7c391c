"""Counts usage that the rate card has no price for, and logs it once for each model and unit.

A field of a usage object for which there is no unit is logged by its name. A rate card cannot price
it; it can only say ``other = 0`` (free).
"""

from collections.abc import Iterable
from typing import Final

import structlog

from accountd.ledger.decision_types import Charge
from shared.metrics import Metric
from shared.other_units import OTHER_UNIT, other_units

log = structlog.get_logger()

# Combinations of model, unit and field that are logged. Clients can make up any number of names.
_TOLD_MAX: Final = 1_024


class UnpricedUsage:
    """Usage rows since the start that had a unit without a price."""

    def __init__(self) -> None:
        self._rows: dict[str, int] = {}
        self._told: set[tuple[str, str, str, str]] = set()

    def count(self, charges: Iterable[Charge], *, rate_card: str) -> None:
        """Count the unpriced units of committed charges, and log new ones."""
        for charge in charges:
            batch = charge.batch
            for unit in charge.unpriced:
                self._rows[unit] = self._rows.get(unit, 0) + 1
                fields = other_units(batch.raw) if unit == OTHER_UNIT else ("",)
                for field in fields:
                    self._tell(batch.provider, batch.model, unit, field, rate_card)

    def forget(self) -> None:
        """Another rate card is in force: log unpriced units once more."""
        self._told.clear()

    def metrics(self) -> list[Metric]:
        """For ``/metrics``."""
        return [
            Metric(
                "rts_accountd_unpriced", "counter",
                "Usage rows with a unit that the rate card has no price for.",
                lambda: dict(self._rows), label="unit",
            ),
        ]  # fmt: skip

    def _tell(self, provider: str, model: str, unit: str, field: str, rate_card: str) -> None:
        name = (provider, model, unit, field)
        if name in self._told or len(self._told) >= _TOLD_MAX:
            return
        self._told.add(name)
        log.warning(
            "usage has no price",
            provider=provider,
            model=model,
            unit=unit,
            **({"field": field} if field else {}),
            rate_card=rate_card,
            hint=_HINT_OTHER if field else _HINT.format(unit=unit),
        )


_HINT: Final = (
    "name {unit} in an entry that matches the model (0: free), then SIGHUP;"
    " accountctl rates check lists all"
)
_HINT_OTHER: Final = (
    "the provider counts what is not known here: if it bills for it, a newer release is needed; if"
    " not, other = 0 in an entry that matches the model says so"
)
