"""Which words of a transcript the client has not read yet. Pure.

OpenAI sends the words one by one (``delta``) and then all of them (``completed``), or only the
latter. xAI sends each time all that it has understood so far, and corrects itself.
"""

from collections import OrderedDict
from itertools import takewhile
from typing import Final

ITEMS_MAX: Final = 32  # whose words are remembered


class HeardWords:
    """What the client has read of each item of the user."""

    __slots__ = ("_told",)

    def __init__(self) -> None:
        self._told: OrderedDict[str, str] = OrderedDict()

    def more(self, item_id: str, words: str) -> str:
        """Further words of an item, which are returned."""
        self._told[item_id] = self._told.get(item_id, "") + words
        if len(self._told) > ITEMS_MAX:
            self._told.popitem(last=False)
        return words

    def all(self, item_id: str, words: str, *, corrects: bool) -> str:
        """All words of an item so far: what is new of them.

        Where they are not what the client has read, it has a provisional text. It is left at that,
        or else, if the provider ``corrects``, gets what follows the part that is the same.
        """
        told = self._told.get(item_id, "")
        if not words.startswith(told) and not corrects:
            return ""
        same = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(told, words)))  # noqa: B905
        new = words[same:]
        self.more(item_id, "")
        self._told[item_id] = words
        return new
