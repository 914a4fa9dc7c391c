"""What transcriptions cost: which transcriber heard how much audio, and what was reported. Pure.

A transcriber works on the audio between two commits. Most report what they used with
``…transcription.completed``, under the item that the commit made. Streaming ones deliver words
(``….delta``) before any commit, and some report nothing. Audio that was committed, or of which
words were delivered, is estimated by its length where no usage was reported.

The transcriber that is billed is the one that was configured at the commit: a later
``session.update`` does not change what was said before.
"""

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from gateway.limits import RESPONSE_IDS_MAX
from gateway.metering.base import Metered
from gateway.metering.openai.audio import ClientAudio
from gateway.metering.parsing import clean_text, rows_of
from shared.usage import Kind, Usage

UNCOMMITTED: Final = "uncommitted audio"


class CommittedAudio(NamedTuple):
    """Audio that was committed: its transcriber, and its length in milliseconds."""

    model: str
    ms: int


class Transcripts:
    """The transcriptions of one session. Nothing is estimated unless ``is_billed``."""

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
        """Items that were committed and not reported, and uncommitted audio of which words were
        delivered.
        """
        yield from self._committed
        if self.is_uncommitted:
            yield UNCOMMITTED

    @property
    def is_uncommitted(self) -> bool:
        """Whether words were delivered of audio that is not committed: it has to be charged."""
        return self._is_billed and self._has_delivered and self.audio.ms > 0

    def configure(self, transcription: object) -> None:
        """What the session says of its transcription; None where it is switched off."""
        self.is_on = isinstance(transcription, dict)
        if isinstance(transcription, dict):
            self.model = clean_text(transcription.get("model")) or self.model

    def listen(self, base64_bytes: int) -> None:
        """So much audio came from the client. It counts before the transcriber is on as well,
        because it may be committed after that.
        """
        if self._is_billed:
            self.audio.add(base64_bytes)

    def delivered(self) -> None:
        """Words arrived, so the audio is charged even if it is never committed."""
        self._has_delivered = True

    def committed(self, item_id: str) -> Sequence[Metered]:
        """The audio since the last commit becomes the item ``item_id``, whose usage is awaited,
        unless it was reported already (xAI reports before the commit).

        When too many items wait, the oldest one is estimated. Without a transcriber no usage is
        awaited, but words that were delivered before are charged.
        """
        if not self.is_on:
            return self.cleared()
        heard = self._take()
        if item_id in self._reported:
            return ()
        given_up: Sequence[Metered] = ()
        if item_id not in self._committed and len(self._committed) >= RESPONSE_IDS_MAX:
            oldest = next(iter(self._committed))
            given_up = self._estimate(oldest, self._committed.pop(oldest))
        self._committed[item_id] = heard
        return given_up

    def cleared(self) -> Sequence[Metered]:
        """The client cleared its audio; it is charged where words of it were delivered."""
        is_chargeable, heard = self.is_uncommitted, self._take()
        return self._estimate(UNCOMMITTED, heard) if is_chargeable else ()

    def ended(self, item_id: str) -> CommittedAudio:
        """An item was transcribed, or that failed: what was heard, as far as it is known.

        One item may end several times (xAI); only the first time it heard something.
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
        """``item_id`` was transcribed, and its event has no usage."""
        return self._estimate(item_id, heard)

    def finish(self) -> list[Metered]:
        """The session is over: estimates of what will never be reported."""
        is_chargeable, rest = self.is_uncommitted, self._take()
        unreported = [*self._committed.items()]
        if is_chargeable:
            unreported.append((UNCOMMITTED, rest))
        self._committed.clear()
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
