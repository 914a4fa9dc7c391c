"""The leases of this gateway's sessions: what accountd counts of them, and has to be told. Pure.

accountd counts the sessions of a key and an account over all gateways: each that is limited holds
a *lease* there. Its id is chosen here before accountd is asked, so that one is given back whose
answer was lost. The life of a lease is a table (``TRANSITIONS``)::

    FREE ◀──▶ ASKED ──▶ HELD
      └─────────┴────────┴──▶ RETURNED

accountd knows a gateway as long as it hears of it (``leases.renew``). One that is not known, as
accountd was started anew or heard nothing for too long, tells all that it holds. So does one that
has missed an answer: that may have been the one which said so. ``Leases`` carries what this book
says to accountd.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from enum import Enum, auto
from itertools import islice
from typing import Any, Final

from shared.state_machine import advance

# In one request: 17 bytes each, and 84 with the hash of the key, of the 64 KiB of a message.
RELEASED_MAX: Final = 500
HELD_MAX: Final = 500


class LeaseState(Enum):
    """What accountd counts."""

    FREE = auto()  # it was not asked, or counts nothing
    ASKED = auto()  # a request names the lease: it may be counted
    HELD = auto()  # it is counted, or will be once accountd is back
    RETURNED = auto()  # there is no session, or none any more


TRANSITIONS: Final = {
    LeaseState.FREE: {LeaseState.ASKED, LeaseState.RETURNED},
    LeaseState.ASKED: {LeaseState.FREE, LeaseState.HELD, LeaseState.RETURNED},
    LeaseState.HELD: {LeaseState.RETURNED},
    LeaseState.RETURNED: set[LeaseState](),
}


class Lease:
    """One session's. It is given back at the end of a ``with``, unless somebody took it over."""

    __slots__ = ("_asked_in", "_book", "_is_taken", "id", "key_hash", "session", "state")

    def __init__(self, book: "LeaseBook", name: str) -> None:
        self._book = book
        self._asked_in = 0
        self._is_taken = False
        self.id = name
        self.key_hash = ""
        self.session = ""  # its name, where it puts out another one with this name
        self.state = LeaseState.FREE

    def __enter__(self) -> "Lease":
        return self

    def __exit__(self, *_exception: object) -> None:
        if not self._is_taken:
            self.give_back()

    def take(self) -> "Lease | None":
        """A session or call begins with it, and gives it back when it has no client any more; None
        where accountd is not to count it.
        """
        self._is_taken = self.state is LeaseState.HELD
        return self if self._is_taken else None

    def asking(self, key_hash: str) -> dict[str, Any]:
        """What a request names so that accountd counts the session."""
        self._move(LeaseState.ASKED)
        self.key_hash, self._asked_in = key_hash, self._book.registrations
        named = {"session": self.session} if self.session else {}
        return {"gateway": self._book.gateway, "lease": self.id, **named}

    def answered(self, *, is_counted: bool) -> None:
        """accountd counts the session, or nothing: it refuses it, or nothing is limited."""
        self._move(LeaseState.HELD if is_counted else LeaseState.FREE)
        if is_counted:  # by an accountd that may have been started anew since
            self._book.add(self, is_unknown=self._asked_in != self._book.registrations)

    def assumed(self) -> None:
        """accountd is away, and would count the session: it is to hear of it."""
        self._move(LeaseState.HELD)
        self._book.add(self, is_unknown=True)

    def give_back(self) -> None:
        """The session has no client any more, or there is none. May be called again."""
        if self.state is LeaseState.RETURNED:
            return
        before = self.state
        self._move(LeaseState.RETURNED)
        if before is not LeaseState.FREE:
            self._book.remove(self)

    def _move(self, state: LeaseState) -> None:
        self.state = advance(TRANSITIONS, self.state, state)


@dataclass(frozen=True, slots=True)
class Renewal:
    """One request: ids that are ``released``, and pairs (id, hash of the key) that are ``held``."""

    released: list[str] = field(default_factory=list)
    held: list[tuple[str, str]] = field(default_factory=list)


class LeaseBook:
    """All leases of the process that is called ``gateway``."""

    def __init__(self, gateway: str) -> None:
        self.gateway = gateway
        self.registrations = 0  # how often all that is held was to be told
        self.on_news: Callable[[], None] = lambda: None  # of what others wait for
        self._key_by_held: dict[str, str] = {}
        self._released: dict[str, None] = {}
        self._unknown: dict[str, None] = {}  # held, and accountd may not know it

    def __len__(self) -> int:
        return len(self._key_by_held)

    @property
    def is_silent(self) -> bool:
        """Whether there is nothing to tell: nothing is held, and nothing was given back."""
        return not (self._key_by_held or self._released)

    @property
    def is_urgent(self) -> bool:
        """Whether something is to be told that others wait for."""
        return bool(self._released or self._unknown)

    def add(self, lease: Lease, *, is_unknown: bool) -> None:
        """It is held; ``is_unknown``: accountd may not know it."""
        self._key_by_held[lease.id] = lease.key_hash
        if is_unknown:
            self._unknown[lease.id] = None
            self.on_news()

    def remove(self, lease: Lease) -> None:
        """It was given back."""
        self._key_by_held.pop(lease.id, None)
        self._unknown.pop(lease.id, None)
        self._released[lease.id] = None
        self.on_news()

    def next(self) -> Renewal:
        """What to tell now."""
        held = [(each, self._key_by_held[each]) for each in islice(self._unknown, HELD_MAX)]
        return Renewal(list(islice(self._released, RELEASED_MAX)), held)

    def answered(self, renewal: Renewal, *, is_known: bool) -> None:
        """accountd has heard ``renewal``. Where it did not know this gateway before, it knows what
        that told, and all else that is held is to be told.
        """
        if not is_known:
            self.unheard()
        self._forget(renewal.released, (each for each, _ in renewal.held))

    def unheard(self) -> None:
        """No answer came, or one that this gateway is not known: all that is held is to be told."""
        self.registrations += 1
        self._unknown = dict.fromkeys(self._key_by_held)

    def unheeded(self, renewal: Renewal) -> None:
        """accountd is older than leases, and holds none."""
        self._forget(renewal.released, ())

    def _forget(self, released: Iterable[str], held: Iterable[str]) -> None:
        for each in released:
            self._released.pop(each, None)
        for each in held:
            self._unknown.pop(each, None)
