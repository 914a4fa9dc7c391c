"""Notices usage that the rate card has no price for: counted, and told once for each model."""

from collections.abc import Iterable
from typing import Final

import structlog

from accountd.ingest import Charge
from shared.metrics import Metric

log = structlog.get_logger()

# Models are what providers and clients call them: a bound, because anybody may invent names.
_TOLD_MAX: Final = 1_024


class UnpricedUsage:
    """What was written without a price since the start. ``forget`` when another card comes."""

    def __init__(self) -> None:
        self._rows: dict[str, int] = {}
        self._told: set[tuple[str, str, str]] = set()

    def count(self, charges: Iterable[Charge], *, rate_card: str) -> None:
        """Look at charges that were committed."""
        for charge in charges:
            for unit in charge.unpriced:
                self._rows[unit] = self._rows.get(unit, 0) + 1
                self._tell(charge.batch.provider, charge.batch.model, unit, rate_card)

    def forget(self) -> None:
        """Another card is in force: what it does not price is news."""
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

    def _tell(self, provider: str, model: str, unit: str, rate_card: str) -> None:
        name = (provider, model, unit)
        if name in self._told or len(self._told) >= _TOLD_MAX:
            return
        self._told.add(name)
        log.warning(
            "usage has no price",
            provider=provider,
            model=model,
            unit=unit,
            rate_card=rate_card,
            hint=f"name {unit} in an entry that matches the model (0: free), then SIGHUP;"
            " accountctl rates check lists all",
        )
