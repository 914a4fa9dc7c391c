"""What accountd took back of what it had allowed, as far as this gateway has heard. Pure.

A recall is announced, which may be lost, and told again in the answer to a question, which says up
to which number it is complete. So the log knows a range in which it has every recall, and perhaps a
few above it. An authorization carries the number that was the newest when it was given: only
recalls above that are about it.
"""

from bisect import bisect_left
from collections.abc import Iterable, Iterator
from operator import attrgetter
from typing import Final

from gateway.accountd_client.authorizations import Authorization
from shared.announcements import Recall

# Recalls that are remembered, for authorizations that were given before them: those in the cache,
# and of clients that are being admitted. Of older ones accountd is asked again.
REMEMBERED_MAX: Final = 10_000

_NUMBER: Final = attrgetter("number")


class RecallLog:
    """The recalls that were heard, in the order of their numbers."""

    def __init__(self) -> None:
        self._recalls: list[Recall] = []
        self._floor: int | None = None  # from here on up to ``heard`` every recall is known
        self.heard: int | None = None  # what to ask for: what came after it

    def admitted(self, mark: int) -> None:
        """Something is allowed since ``mark``: the recalls above that are about it."""
        if self._floor is None or mark < self._floor:
            self._floor = self.heard = mark

    def announced(self, recall: Recall) -> bool:
        """Whether an announced recall is news."""
        return self._add(recall)

    def answered(self, asked: int | None, mark: int, recalls: Iterable[Recall]) -> list[Recall]:
        """The news in an answer to what came after ``asked``, which is complete up to ``mark``."""
        news = [recall for recall in recalls if self._add(recall)]
        if self.heard == asked:  # else something older was admitted meanwhile, and is asked for
            self.heard = mark
            # accountd counts from lower numbers after its database and its clock both went back.
            self._floor = mark if self._floor is None else min(self._floor, mark)
        return news

    def since(self, mark: int) -> Iterator[Recall]:
        """The known recalls above ``mark``, the newest first."""
        for recall in reversed(self._recalls):
            if recall.number <= mark:
                return
            yield recall

    def knows_since(self, mark: int) -> bool:
        """Whether no recall above ``mark`` was forgotten."""
        return self._floor is not None and self._floor <= mark

    def refuses(self, authorization: Authorization, key_hash: str) -> Recall | None:
        """The newest recall after which ``authorization`` lets nobody in any more."""
        for recall in self.since(authorization.mark):
            if not recall.session_id and recall.names(authorization.account_id, key_hash, ""):
                return recall
        return None

    def _add(self, recall: Recall) -> bool:
        place = bisect_left(self._recalls, recall.number, key=_NUMBER)
        if any(known.number == recall.number for known in self._recalls[place : place + 1]):
            return False
        self._recalls.insert(place, recall)
        if len(self._recalls) > REMEMBERED_MAX:
            forgotten = self._recalls.pop(0).number
            if self._floor is not None and self._floor < forgotten:
                self._floor = forgotten
        return True
