"""How long a user waits for an answer: from the end of what they say to its first audio. Pure.

What says so in each protocol: ``translate.marks``. No message is looked at for it that was not
before. Not measured: the answer to the output of a function, and to what the user says beside
another answer.
"""

from collections.abc import Callable
from typing import Final

from gateway.translate.marks import Mark

# Speech that was not answered (noise) must not be taken for what is answered at last.
WAIT_S_MAX: Final = 60.0


class AnswerWait:
    """The wait of one session. ``clock`` tells monotonic seconds; ``on_answer`` gets each wait, and
    ``on_end`` at the end of each answer whether it failed.
    """

    __slots__ = ("_clock", "_is_answering", "_is_certain", "_on_answer", "_on_end", "_since")

    def __init__(
        self,
        clock: Callable[[], float],
        on_answer: Callable[[float], None],
        on_end: Callable[[bool], None],
    ) -> None:
        self._clock = clock
        self._on_answer = on_answer
        self._on_end = on_end
        self._since: float | None = None
        self._is_certain = False  # it is known when the user ended
        self._is_answering = False

    def note(self, mark: Mark | None) -> None:
        """What a message of the provider, or of the client, says of it."""
        if mark is None:
            return
        if mark is Mark.STOPPED or mark is Mark.TRANSCRIBED:
            self._stopped(is_certain=mark is Mark.STOPPED)
        elif mark is Mark.BEGUN:
            self._begun()
        else:
            self._since = None
            is_end = mark is not Mark.FORGOTTEN
            self._is_answering = self._is_answering and not is_end
            if is_end:
                self._on_end(mark is Mark.FAILED)

    def forget(self) -> None:
        """The provider's connection is gone, and the answer with it."""
        self._since, self._is_answering = None, False

    def _stopped(self, *, is_certain: bool) -> None:
        if self._is_answering or (self._since is not None and self._is_certain and not is_certain):
            return
        self._since, self._is_certain = self._clock(), is_certain

    def _begun(self) -> None:
        since, self._since = self._since, None
        if since is not None and not self._is_answering:
            wait_s = self._clock() - since
            if wait_s <= WAIT_S_MAX:
                self._on_answer(wait_s)
        self._is_answering = True
