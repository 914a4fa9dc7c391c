"""The seconds of audio that a provider bills beside tokens (xAI). Pure.

Each response reports the total of its conversation, as recordings show (turns of 0.7, 0.7 and 0.9 s
report 1, 2 and 3), so the difference to the last total is charged. Audio behind the last total, or
in a session without a response, is in no total. It is estimated at the end by its length, because
all audio that is sent and received is billed (docs.x.ai, Speech to Speech).
"""

from collections.abc import Sequence
from typing import Any, Final

from gateway.metering.base import Metered, MeterResult, RecentIds, Unreadable
from gateway.metering.openai.audio import ClientAudio
from gateway.metering.openai.usage import read_billable_ms
from gateway.metering.parsing import UnreadableUsageError, as_json, rows_of
from shared.usage import TOKENS_PER_RESPONSE_MAX, Kind, Usage

# A total is rounded up to whole seconds, so half a second of what follows is paid on average: a
# shorter rest is not estimated.
_REST_MS_MIN: Final = 500


class BilledSeconds:
    """The seconds of one session. Nothing is charged unless ``is_billed``."""

    __slots__ = (
        "_is_billed",
        "_is_resumed",
        "_resumes",
        "_seen",
        "_spoken_bytes",
        "_told_ms",
        "audio",
    )

    def __init__(self, *, is_billed: bool, resumes: str) -> None:
        """``resumes`` is the conversation that was named; empty: none."""
        self._is_billed = is_billed
        self._resumes = resumes
        self._is_resumed = bool(resumes)  # the conversation began on another connection
        self._seen = RecentIds()
        self._told_ms: int | None = None  # the highest total so far
        self._spoken_bytes = 0
        self.audio = ClientAudio()  # since the last row, as ``_spoken_bytes``

    def begun(self, conversation_id: str) -> None:
        """The provider says which conversation it is: where it does not know the one that was
        named any more, a new one.
        """
        self._is_resumed = bool(self._resumes) and conversation_id == self._resumes

    def listen(self, base64_bytes: int) -> None:
        """So much audio came from the client."""
        if self._is_billed:
            self.audio.add(base64_bytes)

    def spoke(self, base64_bytes: int) -> None:
        """So much audio came from the provider."""
        self._spoken_bytes += base64_bytes

    def reported(
        self, response_id: str, name: str, usage: Any, *, model: str
    ) -> MeterResult | None:
        """What the seconds in a response's ``usage`` charge, once for each ``name``.

        A response that reports no total is part of the next one's total, or of the rest.
        """
        if not self._is_billed or self._seen.is_repeated(name):
            return None
        try:
            total_ms = read_billable_ms(usage)
        except UnreadableUsageError as exc:
            return Unreadable(response_id or name, model, str(exc), as_json(usage))
        if total_ms is None:
            return None
        new_ms = max(0, total_ms - (self._told_ms or 0))
        relayed_ms = self._take()
        if self._told_ms is None and self._is_resumed:
            # What came before this connection was charged on the one that it was relayed by.
            new_ms = min(new_ms, relayed_ms)
        if new_ms > TOKENS_PER_RESPONSE_MAX:  # does not fit into a row: no response is so long
            detail = f"found {new_ms} ms of audio since the last response"
            return Unreadable(response_id or name, model, detail, as_json(usage))
        self._told_ms = max(total_ms, self._told_ms or 0)
        counts = Usage(billed_ms=new_ms)
        return Metered(response_id, model, counts, kind=Kind.DURATION) if new_ms else None

    def unreported(self, response_id: str, *, model: str) -> Sequence[Metered]:
        """An estimate for a response that will not end."""
        return self._estimate(response_id, self._take(), model)

    def rest(self, *, model: str) -> Sequence[Metered]:
        """The session is over: an estimate of the audio behind its last total."""
        ms, told_ms = self._take(), self._told_ms
        if told_ms is not None and ms < _REST_MS_MIN:
            return ()
        return self._estimate(f"after {told_ms or 0} ms", ms, model, is_local=True)

    # --- helpers ----------------------------------------------------------------------------------

    def _take(self) -> int:
        """The milliseconds of both directions since the last call."""
        ms = self.audio.take() + self.audio.length_ms(self._spoken_bytes)
        self._spoken_bytes = 0
        return ms

    def _estimate(
        self, name: str, ms: int, model: str, *, is_local: bool = False
    ) -> Sequence[Metered]:
        """An estimate as one row, or as several where it does not fit into one."""
        kind = Kind.ESTIMATED_DURATION
        return [
            Metered(
                f"{name} {number}" if number > 1 else name, model, Usage(billed_ms=row_ms),
                kind=kind, is_local=is_local or number > 1,
            )
            for number, row_ms in enumerate(rows_of(ms if self._is_billed else 0), 1)
        ]  # fmt: skip
