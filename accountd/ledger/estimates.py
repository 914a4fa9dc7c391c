"""Which estimates are waived, and from when on an account's estimates are charged. Pure.

An estimate stands for usage that the provider never reported. It is waived by default, because that
is the provider's fault. But a caller can cause it by hanging up early, and would talk for free. So
the number that is waived for one account in an hour (by the gateways' clocks) is bounded. Example
with a bound of 3: the fourth estimate within an hour is charged, and so is every later one, until
the operator resets the account (``accountctl account estimates ID --reset``).
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from shared.usage import ESTIMATES, UsageBatch

PERIOD_MS: Final = 60 * 60 * 1000
UNCHARGED_DEFAULT: Final = 3
# All of an account's are read when another one comes.
UNCHARGED_MAX: Final = 1_000


@dataclass(frozen=True, slots=True)
class EstimatePolicy:
    """Whether estimates are charged; else how many responses an hour are waived per account."""

    are_charged: bool = False
    uncharged_max: int = UNCHARGED_DEFAULT


@dataclass(frozen=True, slots=True)
class WaivedEstimate:
    """An estimate that was not charged, although it would have cost something."""

    metered_at_ms: int
    responses: int


@dataclass(frozen=True, slots=True)
class EstimatesSeen:
    """What is committed of an account's estimates; ``charged_since`` is None before the bound."""

    charged_since: str | None = None
    waived: tuple[WaivedEstimate, ...] = ()


class EstimateWaiver:
    """Says, batch by batch in their order, which of a group's estimates are waived.

    ``begun`` are the accounts that have passed the bound on the way.
    """

    def __init__(
        self, policy: EstimatePolicy, seen_by_account: Mapping[str, EstimatesSeen]
    ) -> None:
        self._policy = policy
        self._waived = {account: list(seen.waived) for account, seen in seen_by_account.items()}
        self._charged = {a for a, seen in seen_by_account.items() if seen.charged_since is not None}
        self.begun: list[str] = []

    def waives(self, batch: UsageBatch, cost: int) -> bool:
        """Whether ``batch``, which costs so many credits, is not charged. It counts from now on."""
        if batch.kind not in ESTIMATES or self._policy.are_charged:
            return False
        account, at_ms = batch.account_id, batch.metered_at_ms
        if account in self._charged:
            return False
        if not cost:
            return True  # nothing is waived
        waived = self._waived.setdefault(account, [])
        used = sum(w.responses for w in waived if at_ms - PERIOD_MS < w.metered_at_ms <= at_ms)
        if used + batch.responses > self._policy.uncharged_max:
            self._charged.add(account)
            self.begun.append(account)
            return False
        waived.append(WaivedEstimate(at_ms, batch.responses))
        return True


def waiver_for(
    batches: Iterable[UsageBatch],
    policy: EstimatePolicy,
    ask: Callable[[Mapping[str, int]], Mapping[str, EstimatesSeen]],
) -> EstimateWaiver:
    """The waiver of a group. ``ask`` reads the earlier estimates of the accounts that have some in
    the group, after a Unix time in ms for each. It is not called for a group without estimates.
    """
    wanted: dict[str, int] = {}
    for batch in batches:
        if batch.kind in ESTIMATES and not policy.are_charged:
            after_ms = batch.metered_at_ms - PERIOD_MS
            wanted[batch.account_id] = min(wanted.get(batch.account_id, after_ms), after_ms)
    return EstimateWaiver(policy, ask(wanted) if wanted else {})
