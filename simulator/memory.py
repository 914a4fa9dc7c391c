"""Conversations that may go on in another session. Pure."""

from collections import OrderedDict
from typing import Final

from simulator.conversation import Conversation

CONVERSATIONS_MAX: Final = 1_000  # the oldest is forgotten


class Memory:
    """Conversations by the name under which another session may ask for them."""

    def __init__(self) -> None:
        self._by_name: OrderedDict[str, Conversation] = OrderedDict()

    def keep(self, name: str, conversation: Conversation) -> None:
        """Remember one."""
        self._by_name[name] = conversation
        if len(self._by_name) > CONVERSATIONS_MAX:
            self._by_name.popitem(last=False)

    def find(self, name: str | None) -> Conversation | None:
        """The conversation of that name, if its session allowed it."""
        found = self._by_name.get(name or "")
        return found if found is not None and found.may_resume else None
