"""The order of the conversation's items, as the client sees it and as it is kept. Pure."""

from gateway.translate.conversation import Conversation, Item


class Items:
    """The items of one session. ``last_id`` is the newest one's, complete or not; None before."""

    def __init__(self, conversation: Conversation) -> None:
        self.conversation = conversation
        self.last_id: str | None = None
        if conversation.items:
            self.last_id = conversation.items[-1].get("id")

    def place(self, item_id: str) -> str | None:
        """Put a new item at the end; the id of the one before it."""
        previous, self.last_id = self.last_id, item_id
        return previous

    def keep(self, item: Item) -> None:
        """Keep a complete item."""
        self.conversation.add(item)

    def changed(self, item: Item) -> None:
        """More is known of an item that is kept."""
        self.conversation.replace(item)

    def find(self, item_id: str) -> Item | None:
        """The item ``item_id``, where it is kept."""
        return next((x for x in self.conversation.items if x.get("id") == item_id), None)

    def call(self, call_id: str) -> Item | None:
        """The function call ``call_id``, where it is kept."""
        calls = (x for x in self.conversation.items if x.get("type") == "function_call")
        return next((call for call in calls if call.get("call_id") == call_id), None)

    def remove(self, item_id: str) -> None:
        """The client deleted an item."""
        self.conversation.remove(item_id)
        if self.last_id == item_id:
            kept = self.conversation.items
            self.last_id = kept[-1].get("id") if kept else None

    def ids(self) -> frozenset[str]:
        """The ids of all items that are kept."""
        return frozenset(item.get("id", "") for item in self.conversation.items)
