"""Which sessions live of the keys and accounts that may have only so many at a time. Pure.

A session that is counted holds a *lease*, under an id that its gateway has chosen. Its gateway says
once a second that it lives, and which leases it has released; of one that is not heard of for
``LEASE_S`` all leases are free. This lives in memory: after a restart, or after it was not heard
for too long, a gateway is not *known*, and tells all leases that it holds.
"""

from collections import Counter, OrderedDict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final, NamedTuple

# Ten renewals: a gateway that is busy, or an accountd that is, loses none.
LEASE_S: Final = 10.0


class Owner(NamedTuple):
    """Whose a session is. ``session`` is its name where another connection of this name takes its
    place, so that only the newest lives on; else empty.
    """

    key_hash: str
    account_id: str
    session: str = ""


@dataclass(slots=True)
class _Gateway:
    heard_at: float
    is_known: bool = False
    owner_by_lease: dict[str, Owner] = field(default_factory=dict)


class Leases:
    """The leases of all gateways. ``now`` is monotonic seconds, and never falls."""

    def __init__(self) -> None:
        # In the order in which they were heard last.
        self._gateways = OrderedDict[str, _Gateway]()
        # By name of the session as well; empty: all of them.
        self._by_key = Counter[tuple[str, str]]()
        self._by_account = Counter[tuple[str, str]]()
        self.total = 0

    def of_key(self, key_hash: str, *, but: str = "", now: float | None = None) -> int:
        """The live sessions of a key, ``but`` those with this name. Another thread may ask, without
        ``now``.
        """
        self._expire(now)
        return _count(self._by_key, key_hash, but)

    def of_account(self, account_id: str, *, but: str = "", now: float | None = None) -> int:
        """The same of an account, all its keys together."""
        self._expire(now)
        return _count(self._by_account, account_id, but)

    def is_held(self, gateway: str, lease: str, *, now: float) -> bool:
        """Whether the gateway holds this lease."""
        self._expire(now)
        found = self._gateways.get(gateway)
        return found is not None and lease in found.owner_by_lease

    def hold(self, gateway: str, lease: str, owner: Owner, *, now: float) -> None:
        """A session begins, or lives and was not known. It counts once, however often told."""
        self._expire(now)
        held = self._heard(gateway, now).owner_by_lease
        if lease in held:
            return
        held[lease] = owner
        self.total += 1
        for counts, name in self._counts(owner):
            counts[name] += 1

    def renew(self, gateway: str, released: Iterable[str], *, now: float) -> bool:
        """A gateway lives, and has released leases; whether it was known before: else it has to
        tell what it holds.
        """
        self._expire(now)
        found = self._heard(gateway, now)
        was_known, found.is_known = found.is_known, True
        for lease in released:
            owner = found.owner_by_lease.pop(lease, None)
            if owner is not None:
                self._free(owner)
        return was_known

    def leave(self, gateway: str) -> None:
        """A gateway stops, and holds nothing any more."""
        found = self._gateways.pop(gateway, None)
        if found is not None:
            for owner in found.owner_by_lease.values():
                self._free(owner)

    # --- helpers ----------------------------------------------------------------------------------

    def _heard(self, gateway: str, now: float) -> _Gateway:
        found = self._gateways.setdefault(gateway, _Gateway(now))
        found.heard_at = now
        self._gateways.move_to_end(gateway)
        return found

    def _expire(self, now: float | None) -> None:
        while now is not None and self._gateways:
            oldest = next(iter(self._gateways))
            if now - self._gateways[oldest].heard_at < LEASE_S:
                return
            self.leave(oldest)

    def _free(self, owner: Owner) -> None:
        self.total -= 1
        for counts, name in self._counts(owner):
            counts[name] -= 1
            if not counts[name]:
                del counts[name]

    def _counts(self, owner: Owner) -> Iterator[tuple[Counter[tuple[str, str]], tuple[str, str]]]:
        for session in {"", owner.session}:
            yield self._by_key, (owner.key_hash, session)
            yield self._by_account, (owner.account_id, session)


def _count(counts: Counter[tuple[str, str]], name: str, but: str) -> int:
    return counts.get((name, ""), 0) - (counts.get((name, but), 0) if but else 0)
