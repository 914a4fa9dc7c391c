"""Random gateways begin, end and renew sessions, fall silent and come back; accountd is restarted.

A gateway knows which of its sessions live. Whatever happens in between, accountd counts those of
the gateways that it hears, and lets in no more than a key and its account may have.
"""

from dataclasses import dataclass, field
from itertools import count

from hypothesis import given
from hypothesis import strategies as st

from accountd.accounts.leases import LEASE_S, Owner
from accountd.accounts.limits import LimitDefaults, LimitReader
from accountd.accounts.session_counts import SessionCounts
from accountd.request_params import RequestError
from shared.limits import Limits

KEY_MAX, ACCOUNT_MAX = 3, 4
LIMITS = LimitReader(
    LimitDefaults(Limits(sessions=KEY_MAX), Limits(sessions=ACCOUNT_MAX))
).effective("{}", "{}")
OWNERS = [Owner("k1", "a"), Owner("k2", "a"), Owner("k3", "b")]
GATEWAYS = ["g1", "g2", "g3"]
PACE_S = LEASE_S / 4

gateway = st.sampled_from(GATEWAYS)
begin = st.tuples(st.just("begin"), gateway, st.sampled_from(OWNERS))
end = st.tuples(st.just("end"), gateway, st.integers(0, 5))
STEPS = st.one_of(
    begin, begin, begin, end,
    st.tuples(st.just("again"), gateway, st.integers(0, 5)),
    st.tuples(st.just("pass"), st.sets(gateway), st.integers(1, 6)),
    st.tuples(st.just("stop"), gateway, st.none()),
    st.tuples(st.just("restart"), st.none(), st.none()),
)  # fmt: skip
NO_TROUBLE = st.one_of(begin, begin, end, st.tuples(st.just("pass"), st.just(set()), st.just(1)))


@dataclass
class Gateway:
    """One process: its live sessions, and those of which accountd has not heard that they ended."""

    name: str
    live: dict[str, Owner] = field(default_factory=dict)
    released: list[str] = field(default_factory=list)


@dataclass
class World:
    """All of it, at one time."""

    now: float = 1_000.0
    counts: SessionCounts = field(default_factory=SessionCounts)
    gateways: dict[str, Gateway] = field(default_factory=lambda: {n: Gateway(n) for n in GATEWAYS})
    ids: "count[int]" = field(default_factory=count)

    def begin(self, name: str, owner: Owner) -> None:
        """Let in exactly where both may have one more; a refusal changes nothing."""
        before = self.counted()
        may = before[owner.key_hash] < KEY_MAX and before[owner.account_id] < ACCOUNT_MAX
        lease = f"{next(self.ids)}"
        try:
            assert self.counts.begin(name, lease, owner, LIMITS, now=self.now)
        except RequestError as exc:
            assert (may, exc.code, self.counted()) == (False, "too_many_sessions", before)
            return
        assert may
        self.gateways[name].live[lease] = owner
        assert self.counted()[owner.key_hash] == before[owner.key_hash] + 1
        assert self.counted()[owner.account_id] == before[owner.account_id] + 1

    def end(self, name: str, number: int) -> None:
        """A session ends; accountd hears of it with the next renewal."""
        found = self.gateways[name]
        if number < len(found.live):
            lease = list(found.live)[number]
            del found.live[lease]
            found.released.append(lease)

    def again(self, name: str, number: int) -> None:
        """An answer was lost: a session that lives already is asked for again, and counted once."""
        live = self.gateways[name].live
        self.renew(name)
        if number < len(live):
            before = self.counted()
            lease = list(live)[number]
            assert self.counts.begin(name, lease, live[lease], LIMITS, now=self.now)
            assert self.counted() == before

    def passes(self, silent: set[str], steps: int) -> None:
        """Time passes, in which some gateways are not heard."""
        for _ in range(steps):
            self.now += PACE_S
            for name in self.gateways.keys() - silent:
                self.renew(name)

    def stop(self, name: str) -> None:
        """A gateway stops; the next one of its name has no sessions."""
        self.counts.leases.leave(name)
        self.gateways[name] = Gateway(name)

    def restart(self) -> None:
        """accountd forgets everything."""
        self.counts = SessionCounts()

    def renew(self, name: str) -> None:
        """What a gateway does every second: twice the same changes nothing."""
        found = self.gateways[name]
        is_known = self.counts.leases.renew(name, found.released, now=self.now)
        if not is_known:
            for lease, owner in found.live.items():
                self.counts.leases.hold(name, lease, owner, now=self.now)
        found.released.clear()
        held = self.counted()
        assert self.counts.leases.renew(name, ["never", *found.released], now=self.now)
        assert self.counted() == held

    def counted(self) -> dict[str, int]:
        """What accountd counts, by key and by account."""
        leases = self.counts.leases
        return {o.key_hash: leases.of_key(o.key_hash, now=self.now) for o in OWNERS} | {
            o.account_id: leases.of_account(o.account_id, now=self.now) for o in OWNERS
        }

    def alive(self) -> dict[str, int]:
        """What really lives."""
        owners = [owner for g in self.gateways.values() for owner in g.live.values()]
        return {o.key_hash: sum(x.key_hash == o.key_hash for x in owners) for o in OWNERS} | {
            o.account_id: sum(x.account_id == o.account_id for x in owners) for o in OWNERS
        }


def play(world: World, steps: list[tuple[str, object, object]]) -> None:
    """One step after the other."""
    for verb, *what in steps:
        match verb, what:
            case "begin", [str(name), Owner() as owner]:
                world.begin(name, owner)
            case "end", [str(name), int(number)]:
                world.end(name, number)
            case "again", [str(name), int(number)]:
                world.again(name, number)
            case "pass", [set() as silent, int(number)]:
                world.passes(silent, number)
            case "stop", [str(name), _]:
                world.stop(name)
            case "restart", _:
                world.restart()
        assert world.counts.leases.total >= 0


@given(st.lists(STEPS, max_size=60))
def test_what_is_counted_is_what_lives(steps: list[tuple[str, object, object]]) -> None:
    """Once every gateway was heard again; and of gateways that are gone nothing is left."""
    world = World()
    play(world, steps)
    world.passes(set(), 1)
    assert world.counted() == world.alive()
    assert world.counts.leases.total == sum(len(g.live) for g in world.gateways.values())
    world.now += LEASE_S
    assert set(world.counted().values()) == {0}
    assert world.counts.leases.total == 0


@given(st.lists(NO_TROUBLE, max_size=80))
def test_no_more_live_than_may(steps: list[tuple[str, object, object]]) -> None:
    """While gateways and accountd hear of each other, over all gateways and at any time."""
    world = World()
    for step in steps:
        play(world, [step])
        alive = world.alive()
        assert all(alive[owner.key_hash] <= KEY_MAX for owner in OWNERS)
        assert all(alive[owner.account_id] <= ACCOUNT_MAX for owner in OWNERS)
