"""One session's right to write its conversation, and what of it accountd has. Pure."""

from collections.abc import Callable
from typing import Protocol

from gateway.conversations.backlog import Key, State
from gateway.conversations.encoding import Texts, encoded_configuration, encoded_items
from gateway.translate.conversation import Conversation


class StoredSession(Protocol):
    """A session whose conversation is stored.

    It calls ``on_concluded`` when its client is gone: nothing is added to the conversation then.
    """

    on_concluded: Callable[[], None]

    @property
    def conversation(self) -> Conversation:
        """What was configured and said."""

    def supersede(self) -> None:
        """Close the client: another connection goes on with this conversation."""


class Claim:
    """``holder`` may write the conversation ``key`` until another connection is opened for it.
    ``number`` tells which of two claims of this gateway is the newer one. ``conversation`` is what
    was stored before; None where nothing was. Where accountd did not answer it may know the session
    by the ``other`` holder.
    """

    __slots__ = (
        "_acknowledged", "conversation", "holder", "is_doubted", "is_too_large", "key", "number",
        "other", "session",
    )  # fmt: skip

    def __init__(
        self,
        key: Key,
        holder: bytes,
        *,
        number: int,
        conversation: Conversation | None = None,
        other: bytes | None = None,
    ) -> None:
        self.key = key
        self.holder = holder
        self.number = number
        self.other = other
        self.conversation = conversation
        self.session: StoredSession | None = None
        self.is_doubted = False  # another connection may be newer: accountd knows
        self.is_too_large = False  # the configuration is, so nothing is stored
        self._acknowledged: tuple[int, str | None] | None = None

    def news(self, *, is_last: bool = False) -> State | None:
        """What to tell accountd of the conversation now; None where it knows everything."""
        if self.session is None:
            return None
        conversation = self.session.conversation
        configuration = encoded_configuration(conversation)
        self.is_too_large = configuration is None
        mark = conversation.revision, configuration
        texts = None
        if configuration is not None and mark != self._acknowledged:
            texts = Texts(configuration, encoded_items(conversation))
        elif not (is_last or self.is_doubted):
            return None
        return State(self.key, self.holder, texts, mark[0], is_last)

    def refuse(self) -> bool:
        """accountd has refused a state: whether another connection is newer, for certain."""
        if self.other is None:
            return True
        self.holder, self.other = self.other, None
        return False

    def acknowledge(self, state: State) -> None:
        """accountd has taken ``state``."""
        self.is_doubted, self.other = False, None
        if state.texts is not None:
            self._acknowledged = state.revision, state.texts.configuration
