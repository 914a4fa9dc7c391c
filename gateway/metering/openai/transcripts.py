"""What transcriptions cost: which transcriber heard how much audio, and what was reported. Pure.

A transcriber works on the audio between two commits. Most report what they used with
``…transcription.completed``, under the item that the commit made; streaming ones deliver words
(``….delta``) before any commit, and some never report anything. What was delivered or committed and
is not reported is estimated by the length of the audio.

The transcriber that is billed is the one that was in force at the commit: a later
``session.update`` changes nothing for what was said before.
"""

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from gateway.limits import RESPONSE_IDS_MAX
from gateway.metering.base import Metered
from gateway.metering.openai.audio import ClientAudio
from gateway.metering.reading import clean_text, rows_of
from shared.usage import Kind, Usage

UNCOMMITTED: Final = "uncommitted audio"


class CommittedAudio(NamedTuple):
    """Audio that was committed: its transcriber, and its length in milliseconds."""

    model: str
    ms: int


class Transcripts:
    """The transcriptions of one session. Without ``is_billed`` nothing is estimated."""

    __slots__ = (
        "_committed", "_estimates", "_has_delivered", "_is_billed", "_reported", "audio", "is_on",
        "model",
    )  # fmt: skip

    def __init__(self, *, is_billed: bool) -> None:
        self._is_billed = is_billed
        self.audio = ClientAudio()  # since the last commit
        self._has_delivered = False
        self._committed: dict[str, CommittedAudio] = {}
        self._reported: dict[str, None] = {}
        self._estimates = 0
        self.is_on = False
        self.model = ""

    @property
    def in_flight(self) -> Iterator[str]:
        """Items that were committed and not reported, and delivered words of uncommitted audio."""
        yield from self._committed
        if self.is_uncommitted:
            yield UNCOMMITTED

    @property
    def is_uncommitted(self) -> bool:
        """Whether words were delivered of audio that was not committed: they have to be charged."""
        return self._is_billed and self._has_delivered and self.audio.ms > 0

    def configure(self, transcription: object) -> None:
        """What the session says of its transcription; None: there is none."""
        self.is_on = isinstance(transcription, dict)
        if isinstance(transcription, dict):
            self.model = clean_text(transcription.get("model")) or self.model

    def listen(self, base64_bytes: int) -> None:
        """So much audio came from the client. It may come before the transcriber is on, and
        be committed later.
        """
        if self._is_billed:
            self.audio.add(base64_bytes)

    def delivered(self) -> None:
        """Words of audio that may not be committed yet arrived: that audio is charged."""
        self._has_delivered = True

    def committed(self, item_id: str) -> Sequence[Metered]:
        """What was heard since the last commit is an item; xAI transcribes it before that.

        Of too many items that wait, the oldest is estimated. Without a transcriber no item is
        awaited; words that were delivered are charged all the same.
        """
        if not self.is_on:
            return self.cleared()
        heard = self._take()
        if item_id in self._reported:
            return ()
        given_up: Sequence[Metered] = ()
        if item_id not in self._committed and len(self._committed) >= RESPONSE_IDS_MAX:
            name = next(iter(self._committed))
            given_up = self._estimate(name, self._committed.pop(name))
        self._committed[item_id] = heard
        return given_up

    def cleared(self) -> Sequence[Metered]:
        """The client cleared its audio; words that were delivered of it are charged."""
        is_chargeable, heard = self.is_uncommitted, self._take()
        return self._estimate(UNCOMMITTED, heard) if is_chargeable else ()

    def ended(self, item_id: str) -> CommittedAudio:
        """An item is transcribed, or failed: what it was, as far as that is known.

        Several ends may come for one item; the later ones heard nothing more.
        """
        heard = self._committed.pop(item_id, None)
        if heard is None:
            is_repeated = item_id in self._reported
            heard = CommittedAudio(self.model, 0 if is_repeated else self.audio.ms)
        self._reported[item_id] = None
        if len(self._reported) > RESPONSE_IDS_MAX:
            del self._reported[next(iter(self._reported))]
        return heard

    def unreported(self, item_id: str, heard: CommittedAudio) -> Sequence[Metered]:
        """``item_id`` was transcribed, and no usage was told."""
        return self._estimate(item_id, heard)

    def finish(self) -> list[Metered]:
        """The session is over: estimates of what will never be reported."""
        is_chargeable, rest = self.is_uncommitted, self._take()
        unreported = [*self._committed.items()]
        if is_chargeable:
            unreported.append((UNCOMMITTED, rest))
        self._committed = {}
        return [found for name, heard in unreported for found in self._estimate(name, heard)]

    # --- helpers ----------------------------------------------------------------------------------

    def _take(self) -> CommittedAudio:
        self._has_delivered = False
        return CommittedAudio(self.model, self.audio.take())

    def _estimate(self, name: str, heard: CommittedAudio) -> Sequence[Metered]:
        return [self._row(name, heard.model, ms) for ms in rows_of(heard.ms) if self._is_billed]

    def _row(self, name: str, model: str, ms: int) -> Metered:
        self._estimates += 1
        usage, kind = Usage(billed_ms=ms), Kind.ESTIMATED_TRANSCRIPTION
        return Metered(f"{name} {self._estimates}", model, usage, kind=kind, is_local=True)
