"""Whether a provider can go on with its conversation on another connection, as xAI can. Pure.

A session that has ``resumption`` enabled may be continued: the next connection names the
conversation (``?conversation_id=``, the id of ``conversation.created``), whose items xAI then
replays as ``conversation.item.added``. One that it does not know any more is a new conversation,
with another id. What is replayed comes before the answer to the configuration that the connection
is told first; until then the client waits.
"""

from typing import Final

# The items of a conversation that the client has heard of, the newest: as many as are kept.
HEARD_OF_MAX: Final = 400
# A name that is longer, or not ASCII, is none that a URL can have.
ID_CHARS_MAX: Final = 256


class Resumption:
    """Of one session. ``named`` is the conversation that the client's own request named."""

    __slots__ = (
        "_has_begun", "_has_followed", "_has_forgotten", "_heard_of", "_id", "_is_accepted",
        "_is_enabled", "_is_resumed", "_is_retried", "_named", "has_replayed",
    )  # fmt: skip

    def __init__(self, named: str = "") -> None:
        self._named = named
        self._id = ""  # of the provider's conversation
        self._is_enabled = False  # another connection may go on with it
        self._is_resumed = False  # this one has
        self._is_accepted = False  # it answers what it is told, so it replays no more
        self._has_begun = False  # there was a conversation, on any connection
        self._has_followed = False  # this connection is not the first that has one
        self._is_retried = False  # what the client named is named once more
        self.has_replayed = not named  # all that was said before this session
        self._heard_of: dict[str, None] = {}
        self._has_forgotten = False

    @property
    def name(self) -> str:
        """What the next connection is to name; empty: nothing."""
        if not self._has_begun:
            return self._named
        return self._id if self._is_enabled or self._is_resumed else ""

    @property
    def is_waiting(self) -> bool:
        """Whether the connection has named a conversation that the session had before, and may
        still replay it.
        """
        return self._has_followed and bool(self._named) and not self._is_accepted

    @property
    def is_replaying(self) -> bool:
        """Whether an item that is added may be one that was said on another connection."""
        return self._is_resumed and not self._is_accepted

    @property
    def is_resumed(self) -> bool:
        """Whether the provider goes on with the conversation that it was named."""
        return self._is_resumed

    @property
    def has_begun(self) -> bool:
        """Whether this connection's conversation is known."""
        return bool(self._id)

    @property
    def is_first(self) -> bool:
        """Whether the client named a conversation, and has not heard of one yet."""
        return bool(self._named) and not self._has_begun

    @property
    def has_forgotten(self) -> bool:
        """Whether there are items that the client has heard of, and that are not known here."""
        return self._has_forgotten

    # --- the connections --------------------------------------------------------------------------

    def connected(self) -> bool:
        """A connection is there: whether it has taken the place of another one, and names that
        one's conversation.
        """
        if self._has_begun:
            self._named, self._has_followed = self.name, True
        self._id, self._is_accepted, self._is_resumed = "", False, False
        return self.is_waiting

    def begun(self, conversation: object) -> None:
        """``conversation.created``."""
        found = conversation.get("id") if isinstance(conversation, dict) else None
        is_fit = isinstance(found, str) and found.isascii() and len(found) <= ID_CHARS_MAX
        self._id, self._has_begun = str(found) if is_fit else "", True
        self._is_resumed = bool(self._id) and self._id == self._named
        self.has_replayed |= not self._is_resumed

    def enabled(self, session: dict[str, object]) -> None:
        """The configuration ``session`` is in effect."""
        settings = session.get("resumption")
        self._is_enabled = isinstance(settings, dict) and settings.get("enabled") is True

    def accepted(self) -> None:
        """The provider has answered what it was told first: it has replayed what it will."""
        self._is_accepted = self.has_replayed = True

    def closed(self) -> None:
        """The connection is gone. A conversation that was not taken up is not named again, but for
        one more try to open what the client named.
        """
        if self.is_waiting or (self.is_first and self._is_retried):
            self.refused()
        self._is_retried = True

    def refused(self) -> None:
        """The next connection names no conversation: it is to another provider, or was refused."""
        self._id, self._named, self._is_resumed = "", "", False

    # --- what the client knows --------------------------------------------------------------------

    def told_of(self, item_id: str) -> None:
        """The client hears of an item."""
        if not self.name:
            self._has_forgotten |= bool(self._id)
            return
        self._heard_of[item_id] = None
        if len(self._heard_of) > HEARD_OF_MAX:
            self._heard_of.pop(next(iter(self._heard_of)))
            self._has_forgotten = True

    def has_heard_of(self, item_id: str) -> bool:
        """Whether the client has."""
        return item_id in self._heard_of
