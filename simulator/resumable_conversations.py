"""Conversations that another session may continue. Pure."""

from collections import OrderedDict
from typing import Final

from simulator.conversation import Conversation

CONVERSATIONS_MAX: Final = 1_000  # beyond it the oldest is removed


class Memory:
    """Conversations by name: xAI's ``conversation_id`` or Gemini's resumption handle."""

    def __init__(self) -> None:
        self._by_name: OrderedDict[str, Conversation] = OrderedDict()

    def keep(self, name: str, conversation: Conversation) -> None:
        """Store a conversation under ``name``."""
        self._by_name[name] = conversation
        if len(self._by_name) > CONVERSATIONS_MAX:
            self._by_name.popitem(last=False)

    def find(self, name: str | None) -> Conversation | None:
        """The conversation of that name, if its first session allowed others to continue it."""
        found = self._by_name.get(name or "")
        return found if found is not None and found.may_resume else None
