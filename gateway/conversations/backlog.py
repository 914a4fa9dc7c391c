"""States of conversations that accountd has not taken yet. Pure.

Of each connection the newest state is kept. The oldest give way where there are too many, or too
many bytes of them: they are lost, unless their session is still live and stores again.
"""

from collections import OrderedDict
from collections.abc import Iterable
from typing import Final, NamedTuple

from msgspec import Struct

from gateway.conversations.encoding import Texts
from shared.fields import REQUEST_BYTES_MAX
from shared.wire import CONVERSATIONS_MAX

# While accountd is away, states of sessions that have ended wait here. 20,000 short conversations,
# or 50 of the longest; a restart of accountd takes seconds.
STATES_MAX: Final = 20_000
BYTES_MAX: Final = 32 * 1024 * 1024
# Of the states in one request; the rest is for what stands around all of them.
PORTION_BYTES_MAX: Final = REQUEST_BYTES_MAX - 1024
# Of the fields of one state beside its texts and names: their own names, and the holder.
_FIELDS_BYTES: Final = 128


class Key(NamedTuple):
    """A conversation's name: the same session of another account is another one."""

    account_id: str
    session_id: str


class State(Struct, frozen=True):
    """What a conversation was at one moment, as ``encoding`` writes it.

    ``holder`` is the connection that writes it. ``texts`` are None where accountd has them, or they
    are too large: then it is only asked whether that connection is still the newest.
    ``revision`` is the conversation's. ``is_last``: that connection will write nothing more.
    """

    key: Key
    holder: bytes
    texts: Texts | None
    revision: int = 0
    is_last: bool = False

    @property
    def size(self) -> int:
        """Bytes, at least: of characters beyond ASCII there are up to four for each."""
        return sum(map(len, self.texts or ()))


class Backlog:
    """States in the order in which they came."""

    def __init__(self) -> None:
        self._states: OrderedDict[tuple[Key, bytes], State] = OrderedDict()
        self._bytes = 0
        self.dropped = 0

    def __len__(self) -> int:
        """How many states wait."""
        return len(self._states)

    @property
    def fills_a_message(self) -> bool:
        """Whether it is time to send one."""
        return len(self._states) >= CONVERSATIONS_MAX or self._bytes >= PORTION_BYTES_MAX

    def put(self, state: State) -> None:
        """A newer state of a conversation: it takes the place of the one before."""
        self._remove(state)
        self._states[state.key, state.holder] = state
        self._bytes += state.size
        while len(self._states) > STATES_MAX or self._bytes > BYTES_MAX:
            self._remove(next(iter(self._states.values())))
            self.dropped += 1

    def newest(self, key: Key) -> State | None:
        """The state of a conversation that came last; None where none waits."""
        found = [state for state in self._states.values() if state.key == key]
        return found[-1] if found else None

    def portion(self) -> list[State]:
        """The oldest states, as many as fit into one message; one at least, if any waits."""
        found: list[State] = []
        room = PORTION_BYTES_MAX
        for state in self._states.values():
            room -= _bytes_in_message(state)
            if found and (room < 0 or len(found) == CONVERSATIONS_MAX):
                break
            found.append(state)
        return found

    def settle(self, states: Iterable[State]) -> None:
        """accountd has answered for these; a newer state of the same conversation stays."""
        for state in states:
            if self._states.get((state.key, state.holder)) is state:
                self._remove(state)

    def _remove(self, state: State) -> None:
        before = self._states.pop((state.key, state.holder), None)
        if before is not None:
            self._bytes -= before.size


def _bytes_in_message(state: State) -> int:
    texts = (*state.key, *(state.texts or ()))
    return _FIELDS_BYTES + sum(len(x) if x.isascii() else len(x.encode()) for x in texts)
