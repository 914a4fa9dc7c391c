"""How long a user waits for an answer, in a session of OpenAI's protocol. Pure.

From ``input_audio_buffer.speech_stopped`` to the first ``response.content_part.added``, which all
providers of the family send just before the first audio. Both are no audio, so nothing is looked at
for it that was not before. Not measured: an answer that the client asks for itself, as it may take
its time; one that is a call of a function; and what the user says beside another answer.
"""

from collections.abc import Callable
from typing import Final

STOPPED: Final = "input_audio_buffer.speech_stopped"
BEGUN: Final = "response.content_part.added"
ASK: Final = "response.create"
_ENDS: Final = frozenset({"input_audio_buffer.speech_started", "response.done", ASK})


class AnswerWait:
    """The wait of one session. ``clock`` tells monotonic seconds; ``on_answer`` gets each wait."""

    __slots__ = ("_clock", "_on_answer", "_since")

    def __init__(self, clock: Callable[[], float], on_answer: Callable[[float], None]) -> None:
        self._clock = clock
        self._on_answer = on_answer
        self._since: float | None = None

    def heard(self, kind: str) -> None:
        """An event of the provider, or of the client, that is no audio."""
        if kind == STOPPED:
            self._since = self._clock()
        elif self._since is None:
            return
        elif kind == BEGUN:
            since, self._since = self._since, None
            self._on_answer(self._clock() - since)
        elif kind in _ENDS:
            self._since = None

    def forget(self) -> None:
        """The provider's connection is gone, and the answer with it."""
        self._since = None
