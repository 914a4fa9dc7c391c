"""Estimates: what no provider ever reported, and from when on an account pays for it. Pure.

An estimate is not charged unless the operator wants it: a provider's fault is not the caller's. But
a caller can also bring it about, and would talk for free. So what is waived for an account has a
bound in any hour by the gateways' clocks; what goes beyond it is charged, and so is every estimate
after that, until the operator forgives it.
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
    """The waiver of a group. ``ask`` is asked about accounts of which it holds estimates, each with
    the Unix time in ms after which they matter: of most groups nothing.
    """
    wanted: dict[str, int] = {}
    for batch in batches:
        if batch.kind in ESTIMATES and not policy.are_charged:
            after_ms = batch.metered_at_ms - PERIOD_MS
            wanted[batch.account_id] = min(wanted.get(batch.account_id, after_ms), after_ms)
    return EstimateWaiver(policy, ask(wanted) if wanted else {})
