"""Whether a provider serves, by what the sessions see of it anyway. Pure.

``Health`` is a circuit breaker for one provider, ``ProviderHealth`` holds one for each. Nothing is
sent to find out: dials that fail or are slow, responses that fail, and connections that break, are
what counts. The life
of a provider is a table (``TRANSITIONS``)::

    HEALTHY ──▶ UNHEALTHY ──▶ HALF_OPEN ──▶ HEALTHY
                    ▲             │
                    └─────────────┘

A healthy provider becomes unhealthy after three failures, three slow dials, or three answers in a
row that were slow to begin (``HealthRule``). It is left alone for a while; then one session tries
it, the probe, and its dial decides: a fast one makes it healthy, a slow or failed one leaves it
alone for twice as long. Times are monotonic seconds. Called by ``door.dialer``.

Beside that an operator may *drain* a provider (``accountctl providers drain``): then it is the last
choice of every model, whatever its health is, and still serves what no other can (``Standing``).
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from enum import Enum, IntEnum, auto
from typing import Final

from gateway.limits import DIAL_S
from gateway.providers.observations import Observations
from shared.state_machine import advance

# The original system's rule: a provider that takes more than half a second, or fails three times in
# a row, is not used. A single slow dial is a lost packet (TCP sends again after 1 s): so slow ones
# count in a row, too, and as many.
SLOW_S: Final = 0.5
FAILURES_MAX: Final = 3
# A model that thinks first may take some seconds to answer a user; nobody waits longer than this.
SLOW_ANSWER_S: Final = 10.0
# How long it is left alone: longer than a restart of a provider's front end, and short beside a
# call. It doubles with each probe that fails, up to the second number: an outage of hours costs a
# client's dial every five minutes.
OPEN_S: Final = 10.0
OPEN_S_MAX: Final = 300.0
# A probe that said nothing for this long was a client that left: two dials (a redirect) are over.
PROBE_S: Final = 2 * DIAL_S

assert OPEN_S < OPEN_S_MAX
assert SLOW_S < DIAL_S


class HealthState(Enum):
    """Whether new sessions go to a provider."""

    HEALTHY = auto()
    UNHEALTHY = auto()  # none, until some time has passed
    HALF_OPEN = auto()  # one at a time: the probe


class Standing(IntEnum):
    """How a provider stands among those of a model: the lowest is chosen, of equal ones the first
    of the model's list. One that is drained serves before one that fails: a drain must not end
    calls.
    """

    SERVES = auto()
    DRAINED = auto()
    FAILS = auto()
    DRAINED_AND_FAILS = auto()


TRANSITIONS: Final = {
    HealthState.HEALTHY: {HealthState.UNHEALTHY},
    HealthState.UNHEALTHY: {HealthState.HALF_OPEN},
    HealthState.HALF_OPEN: {HealthState.HEALTHY, HealthState.UNHEALTHY},
}


@dataclass(frozen=True, slots=True)
class HealthRule:
    """What makes a provider unhealthy: so many failures in a row, or so many slow dials in a row.
    One that takes longer than ``slow_s`` seconds is slow: a gateway that is far away may need more.
    An answer is slow that begins later than ``slow_answer_s`` after the user's speech.
    """

    slow_s: float = SLOW_S
    failures_max: int = FAILURES_MAX
    slow_answer_s: float = SLOW_ANSWER_S


USUAL: Final = HealthRule()


class Failure(Enum):
    """What failed. Each kind has a row of its own: a dial that succeeds says nothing about a
    provider that drops every session a moment later.
    """

    DIAL = "dial"
    CONNECTION = "connection"
    RESPONSE = "response"


class Health:
    """The health of one provider."""

    __slots__ = (
        "_failures", "_healthy_since", "_open_s", "_probe_until", "_retry_at", "_rule", "_slow",
        "_slow_answers", "reason", "state",
    )  # fmt: skip

    def __init__(self, rule: HealthRule = USUAL) -> None:
        self._rule = rule
        self.state = HealthState.HEALTHY
        self.reason = ""  # why it is not healthy
        self._failures = dict.fromkeys(Failure, 0)
        self._slow = self._slow_answers = 0
        self._open_s = OPEN_S
        self._healthy_since = 0.0
        self._retry_at = 0.0
        self._probe_until = 0.0

    def is_available(self, now: float) -> bool:
        """Whether a new session may be led to it. It says nothing of the session that comes: only
        ``admits`` takes the place of the probe.
        """
        if self.state is HealthState.UNHEALTHY:
            return now >= self._retry_at
        return self.state is HealthState.HEALTHY or now >= self._probe_until

    def admits(self, now: float) -> bool:
        """Whether a session may dial it now. A yes to one that is not healthy is the probe: it is
        followed by ``succeeded``, ``failed`` or ``given_up``.
        """
        if not self.is_available(now):
            return False
        if self.state is not HealthState.HEALTHY:
            self._half_open()
            self._probe_until = now + PROBE_S
        return True

    def succeeded(self, latency_s: float, now: float) -> None:
        """A dial was answered after ``latency_s`` seconds."""
        self._failures[Failure.DIAL] = 0
        is_slow = latency_s > self._rule.slow_s
        self._slow = self._slow + 1 if is_slow else 0
        if self.state is HealthState.UNHEALTHY and now >= self._retry_at:
            self._half_open()  # somebody had to dial it, as there was no other
        if self.state is HealthState.HALF_OPEN:
            if is_slow:
                self._open(f"a dial took {latency_s:.1f} s", now)
            else:
                self._close(now)
        elif self.state is HealthState.HEALTHY and self._slow >= self._rule.failures_max:
            self._open(f"{self._slow} dials in a row took over {self._rule.slow_s:g} s", now)

    def answered(self, wait_s: float, now: float) -> None:
        """An answer began ``wait_s`` seconds after the user's speech had ended."""
        is_slow = wait_s > self._rule.slow_answer_s
        self._slow_answers = self._slow_answers + 1 if is_slow else 0
        is_healthy = self.state is HealthState.HEALTHY
        if is_healthy and self._slow_answers >= self._rule.failures_max:
            limit = f"{self._rule.slow_answer_s:g} s"
            self._open(f"{self._slow_answers} answers in a row began after over {limit}", now)

    def served(self, kind: Failure) -> None:
        """A connection ended as it should, or a response did."""
        self._failures[kind] = 0

    def failed(self, now: float, reason: str, kind: Failure = Failure.DIAL) -> None:
        """A dial or a response failed, or a connection broke. ``reason`` is for the operator."""
        self._failures[kind] += 1
        if self.state is HealthState.UNHEALTHY and now >= self._retry_at and kind is Failure.DIAL:
            self._half_open()
        is_probe = self.state is HealthState.HALF_OPEN and kind is Failure.DIAL
        is_row = (
            self.state is HealthState.HEALTHY and self._failures[kind] >= self._rule.failures_max
        )
        if is_probe or is_row:
            self._open(f"{self._failures[kind]} failures in a row, the last: {reason}", now)

    def given_up(self) -> None:
        """A dial was cancelled, or failed for a reason that is not the provider's health: if it was
        the probe, the next session is.
        """
        self._probe_until = 0.0

    # --- helpers ----------------------------------------------------------------------------------

    def _half_open(self) -> None:
        if self.state is HealthState.UNHEALTHY:
            self._move(HealthState.HALF_OPEN)

    def _open(self, reason: str, now: float) -> None:
        # One that keeps failing soon after each recovery is left alone for longer each time.
        was_good_for_long = now - self._healthy_since >= OPEN_S_MAX
        if self.state is HealthState.HEALTHY and was_good_for_long:
            self._open_s = OPEN_S
        self._move(HealthState.UNHEALTHY)
        self.reason = reason
        self._retry_at = now + self._open_s
        self._open_s = min(2 * self._open_s, OPEN_S_MAX)
        self._probe_until = 0.0

    def _close(self, now: float) -> None:
        self._move(HealthState.HEALTHY)
        self.reason = ""
        self._failures = dict.fromkeys(Failure, 0)
        self._slow = self._slow_answers = 0
        self._healthy_since = now

    def _move(self, state: HealthState) -> None:
        self.state = advance(TRANSITIONS, self.state, state)


@dataclass(frozen=True, slots=True)
class HealthChange:
    """A provider became healthy, or stopped to be; for the log."""

    provider: str
    is_healthy: bool
    reason: str


@dataclass(slots=True)
class ProviderHealth:
    """The health of providers, by name: of those between which a model has a choice. The others
    serve their models alone, so nothing is to be judged: they are always available. ``on_change``
    is called with each change.
    """

    health_by_provider: Mapping[str, Health]
    on_change: Callable[[HealthChange], None]
    seen: Mapping[str, Observations]  # of all
    drained: frozenset[str] = frozenset()

    @classmethod
    def of(
        cls,
        providers: Iterable[str],
        on_change: Callable[[HealthChange], None],
        rule: HealthRule = USUAL,
        *,
        judged: Collection[str],
    ) -> "ProviderHealth":
        """One in which all are healthy; those are judged that are in ``judged``."""
        names = list(providers)
        judges = {name: Health(rule) for name in names if name in judged}
        return cls(judges, on_change, {name: Observations() for name in names})

    def standing(self, provider: str, now: float) -> Standing:
        """How it stands for a new session."""
        if self.is_available(provider, now):
            return Standing.DRAINED if provider in self.drained else Standing.SERVES
        return Standing.DRAINED_AND_FAILS if provider in self.drained else Standing.FAILS

    def is_available(self, provider: str, now: float) -> bool:
        """See ``Health.is_available``."""
        health = self.health_by_provider.get(provider)
        return health is None or health.is_available(now)

    def admits(self, provider: str, now: float) -> bool:
        """See ``Health.admits``."""
        health = self.health_by_provider.get(provider)
        return health is None or health.admits(now)

    def given_up(self, provider: str) -> None:
        """See ``Health.given_up``."""
        self._judge(provider, Health.given_up)

    def succeeded(self, provider: str, latency_s: float, now: float) -> None:
        """See ``Health.succeeded``."""
        self.seen[provider].dialled(latency_s, now)
        self._judge(provider, lambda health: health.succeeded(latency_s, now))

    def answered(self, provider: str, wait_s: float, now: float) -> None:
        """See ``Health.answered``."""
        self.seen[provider].answered(wait_s, now)
        self._judge(provider, lambda health: health.answered(wait_s, now))

    def served(self, provider: str, kind: Failure) -> None:
        """See ``Health.served``."""
        self._judge(provider, lambda health: health.served(kind))

    def failed(self, provider: str, now: float, reason: str, kind: Failure = Failure.DIAL) -> None:
        """See ``Health.failed``."""
        self.seen[provider].failed(kind.value, reason, now)
        self._judge(provider, lambda health: health.failed(now, reason, kind))

    @property
    def failures(self) -> dict[str, int]:
        """Failed dials and responses, and broken connections, of each provider."""
        return {name: sum(seen.failures.values()) for name, seen in self.seen.items()}

    def is_healthy(self, provider: str) -> bool:
        """Whether nothing is known against it."""
        health = self.health_by_provider.get(provider)
        return health is None or health.state is HealthState.HEALTHY

    def healthy(self) -> dict[str, float]:
        """1 for each judged provider that is healthy, else 0."""
        return {
            name: float(health.state is HealthState.HEALTHY)
            for name, health in self.health_by_provider.items()
        }

    def _judge(self, provider: str, told: Callable[[Health], None]) -> None:
        """Tell the provider's health, and report a change; a probe that failed is none."""
        health = self.health_by_provider.get(provider)
        if health is None:
            return
        was_healthy = health.state is HealthState.HEALTHY
        told(health)
        is_healthy = health.state is HealthState.HEALTHY
        if was_healthy is not is_healthy:
            self.on_change(HealthChange(provider, is_healthy, health.reason))
