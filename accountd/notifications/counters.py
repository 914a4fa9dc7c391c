"""Counts the decisions about usage since the start for ``/metrics``, and logs exceptional ones."""

from collections.abc import Iterable

import structlog

from accountd.ledger.decision_types import Decision
from accountd.notifications.unpriced import UnpricedUsage
from shared.fields import RejectReason
from shared.metrics import Metric
from shared.usage import ESTIMATES

log = structlog.get_logger()


class Counters:
    """Counts decisions that were committed."""

    def __init__(self) -> None:
        self._applied = self._duplicates = self._conflicts = self._estimates = 0
        self._repeated = 0
        self._rejected: dict[str, float] = {}
        self._estimates_begun = 0
        self._unpriced = UnpricedUsage()

    def count(self, decision: Decision, *, rate_card: str) -> None:
        """Count and log a committed decision. ``rate_card``: version of the card that priced it."""
        self._applied += decision.applied
        self._duplicates += decision.duplicates
        self._conflicts += decision.conflicts
        self._repeated += len(decision.repeated)
        self._estimates += sum(c.batch.kind in ESTIMATES for c in decision.charges)
        self.estimates_begun(decision.estimates_begun)
        self._unpriced.count(decision.charges, rate_card=rate_card)
        for reason, count in decision.rejected.items():
            self._rejected[str(reason)] = self._rejected.get(str(reason), 0) + count
        _report(decision)

    def estimates_begun(self, accounts: Iterable[str]) -> None:
        """Count and log accounts whose estimates are charged from now on, after the commit."""
        for account_id in accounts:
            self._estimates_begun += 1
            log.warning(
                "estimates are charged from now on",
                account_id=account_id,
                hint="the account had more unreported responses in an hour than are waived; is"
                f" it the provider? accountctl account estimates {account_id} --reset forgives it",
            )

    def rates_changed(self) -> None:
        """Another rate card is in force: log the usage that it has no price for once more."""
        self._unpriced.forget()

    def metrics(self) -> Iterable[Metric]:
        """The metrics; counters begin at 0 with the process."""
        return [
            Metric(
                "rts_accountd_batches_applied", "counter",
                "Usage batches charged or recorded.", lambda: self._applied,
            ),
            Metric(
                "rts_accountd_duplicates", "counter",
                "Messages that had been applied before.", lambda: self._duplicates,
            ),
            Metric(
                "rts_accountd_conflicts", "counter",
                "Messages whose number was used before for other content.",
                lambda: self._conflicts,
            ),
            Metric(
                "rts_accountd_repeated", "counter",
                "Responses that another socket's message had charged.", lambda: self._repeated,
            ),
            Metric(
                "rts_accountd_estimates", "counter",
                "Batches that the provider never reported.", lambda: self._estimates,
            ),
            Metric(
                "rts_accountd_estimates_begun", "counter",
                "Accounts whose estimates began to be charged: they had passed the bound.",
                lambda: self._estimates_begun,
            ),
            Metric(
                "rts_accountd_rejected", "counter", "Messages put into quarantine.",
                lambda: dict(self._rejected), label="reason",
            ),
            *self._unpriced.metrics(),
        ]  # fmt: skip


def _report(decision: Decision) -> None:
    log.debug("usage applied", applied=decision.applied, duplicates=decision.duplicates)
    rejected = decision.rejected
    conflicts = rejected.pop(RejectReason.CONFLICT, 0)
    if conflicts:
        log.error(
            "usage conflicts",
            conflicts=conflicts,
            hint="two gateways use one producer id: is a machine or a spool a copy?"
            " see accountctl rejected list",
        )
    if decision.overrun:
        log.error(
            "usage beyond an end",
            producers=len(decision.overrun),
            producer=decision.overrun[0].hex(),
            hint="somebody goes on under the id of a gateway that ended: is a machine or a spool a"
            " copy? see accountctl audit",
        )
    if rejected:
        log.warning(
            "usage rejected",
            hint="accountctl rejected list shows them",
            **{str(reason): count for reason, count in rejected.items()},
        )
