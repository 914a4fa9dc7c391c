"""The meter of Gemini Live (Developer API and Vertex AI). Pure.

Server messages are binary frames of pretty-printed JSON. ``usageMetadata`` is *per turn*: the
prompt is the whole context and is billed again every turn, so turns are summed. It comes beside
``turnComplete``; the API allows it on any message, so the newest snapshot since the last
``turnComplete`` is kept and charged there, or at the end of the session:

* a snapshot before ``turnComplete`` belongs to that turn;
* one after a ``turnComplete`` that had none belongs to the turn that is over;
* one after a ``turnComplete`` that had one, and equal to it, is a repetition; any other begins the
  next record.

With ``interactionStatus`` IN_PROGRESS a ``turnComplete`` ends a part of the answer only: the usage
beside it is charged, and the turn stays open.

Sources: ``google.genai.types.UsageMetadata``, and recordings in which every usage stands beside a
``turnComplete``.
"""

import re
from collections.abc import Sequence
from typing import Any, Final

from gateway.frames import Frame
from gateway.handles.handle import IssuedHandle
from gateway.limits import ANSWER_S, DRAIN_S
from gateway.metering.base import (
    NO_RESULTS,
    Fragments,
    MaskedError,
    Metered,
    MeterResult,
    Unreadable,
    results_of,
)
from gateway.metering.gemini.client import GeminiClient
from gateway.metering.gemini.events import (
    BEGINS,
    MAY_BEGIN,
    NEEDLES,
    TRANSCRIBED_TEXT,
    TRANSCRIBES,
    USAGE,
    ServerMessage,
    read_message,
)
from gateway.metering.gemini.transcribed_audio import TranscribedAudio
from gateway.metering.gemini.turn import Debt, Happening, Turn
from gateway.metering.gemini.usage import GroundingQueries, camel_case, read_usage, unknown_usage
from gateway.metering.reading import UnreadableUsageError, as_json, audio_estimate, read_object
from shared.usage import RAW_USAGE_CHARS_MAX, Kind, Usage

_INTERRUPT: Final = b'{"clientContent":{"turnComplete":false}}'
_INLINE: Final = b'"inlineData"'
_DATA: Final = re.compile(rb'"data"\s*:\s*"')
_DATA_BYTES_MAX: Final = 256  # how far behind inlineData its data is looked for

# 24 kHz PCM16 in base64 is 64,000 bytes a second; audio is 25 tokens a second (ai.google.dev).
_AUDIO_BYTES_PER_S: Final = 64_000
_TOKENS_PER_S: Final = 25


class GeminiMeter:
    """The meter of one session. The model is the one of the setup that the server accepted."""

    __slots__ = (
        "_audio_bytes_out",
        "_client",
        "_completed",
        "_fragments",
        "_is_set_up",
        "_last_usage",
        "_queries",
        "_snapshot",
        "_transcribed",
        "_turn",
        "_turns",
        "cancels_answered",
        "is_shared",
        "issued_handle",
        "masked_error",
        "model",
    )  # fmt: skip

    def __init__(self, *, model: str) -> None:
        self._fragments = Fragments()
        self._client = GeminiClient()
        self._turn = Turn()
        self._snapshot: Any = None  # the newest usage that is not charged yet
        self._last_usage: Any = None  # the newest usage that is charged
        # The message that ended the last turn, where a usage stood in it.
        self._completed: dict[str, Any] | None = None
        self._is_set_up = False  # the server accepted the setup
        self._queries = GroundingQueries()
        self._transcribed = TranscribedAudio()
        self._turns = 0  # that were charged
        self._audio_bytes_out = 0
        self.cancels_answered = 0
        self.model = model
        self.masked_error: MaskedError | None = None  # always: Gemini reports errors by closing
        self.issued_handle: IssuedHandle | None = None
        self.is_shared = False  # its turns have no ids

    @property
    def in_flight(self) -> frozenset[str]:
        """See ``Meter``: the turn that was asked for, has begun, or has not reported its usage."""
        is_due = self._turn.is_due or self._client.asked
        return frozenset({self._turn_id()} if is_due else ())

    @property
    def streaming(self) -> frozenset[str]:
        """See ``Meter``: a turn, until its usage is known."""
        return self.in_flight

    @property
    def drain_s(self) -> float:
        """See ``Meter``: what may have been speech is given time to be answered."""
        if self.in_flight:
            return DRAIN_S
        return ANSWER_S if self._client.may_follow else 0.0

    def observe(self, frame: Frame) -> Sequence[MeterResult]:
        """See ``Meter``."""
        found = self._find(frame)
        if self._transcribed.is_due:
            return results_of(found, *self._transcribed.take(self.model))
        return NO_RESULTS if found is None else (found,)

    def observe_client(self, frame: Frame) -> Sequence[MeterResult]:
        """See ``Meter``: the setup names the model, and an answer that is asked for is due."""
        is_heard = self._transcribed.is_on
        if self._client.observe(frame, is_answering=self._turn.is_speaking):
            self._turn.move(Happening.ANNOUNCED)
        if is_heard:
            self._transcribed.listen(self._client.message_bytes, rate_hz=self._client.rate_hz)
        elif not self._is_set_up:  # audio may follow the setup at once
            self._expect_words(self._client.model or "")
        return self._transcribed.take(self.model) if self._transcribed.is_due else NO_RESULTS

    def cancel_events(self) -> list[bytes]:
        """See ``Meter``: content interrupts, and unless it is complete it asks for no answer.

        The answer is ``interrupted``, then ``turnComplete`` with the usage so far. Where nothing is
        generated there is none.
        """
        return [_INTERRUPT]

    def finish(self) -> list[MeterResult]:
        """See ``Meter``: a snapshot that no ``turnComplete`` followed is charged."""
        if self._snapshot is not None:
            self._turn = Turn()
            return [self._commit()]
        return [*self._estimate_turn(), *self._transcribed.take(self.model)]

    # --- helpers ----------------------------------------------------------------------------------

    def _estimate_turn(self) -> list[MeterResult]:
        name, queries = self._turn_id(), self._queries.take()
        found: list[MeterResult] = []
        if queries.grounding_queries:  # reported, though the turn never was
            found.append(Metered(f"{name} queries", self.model, queries, is_local=True))
        if self.in_flight and (self._is_set_up or self._turn.is_speaking):
            self._turn = Turn()
            self._client.begun()
            found.append(
                Metered(name, self.model, self._estimate(), kind=Kind.ESTIMATE, is_local=True)
            )
        return found

    def _find(self, frame: Frame) -> MeterResult | None:
        if frame.is_final and not frame.continues:
            message, start = frame.raw, frame.start
        else:
            joined, start = self._fragments.add(frame), 0
            if joined is None:
                return None
            message = joined
        text = self._without_audio(message, start)
        if self._transcribed.is_on and TRANSCRIBED_TEXT.search(text) is not None:
            self._transcribed.delivered()
        if any(needle in text for needle in NEEDLES):
            return self._read(message[start:])
        if not self._turn.is_speaking and BEGINS.search(text) is not None:
            return self._begin(has_usage=False)
        if not self._turn.is_speaking and MAY_BEGIN in text:
            return self._read(message[start:])
        return None

    def _turn_id(self) -> str:
        return f"turn_{self._turns + 1}"

    def _without_audio(self, message: bytes, start: int) -> bytes:
        """The message without the texts of its audio, which are ten times as long as the rest.

        They are base64; whatever stands between two quotes of a value holds no name.
        """
        parts: list[bytes] = []
        found = message.find(_INLINE, start)
        while found >= 0:
            data = _DATA.search(message, found, found + _DATA_BYTES_MAX)
            end = message.find(b'"', data.end()) if data is not None else -1
            if data is None or end < 0:
                break
            self._audio_bytes_out += end - data.end()
            parts.append(message[start : data.end()])
            start = end
            found = message.find(_INLINE, start)
        return b"".join((*parts, message[start:]))

    def _read(self, message: bytes) -> MeterResult | None:
        try:
            event = read_object(message)
        except ValueError as exc:
            if USAGE.search(message) is None:
                return None
            raw = message[:RAW_USAGE_CHARS_MAX].decode(errors="replace")
            return Unreadable("", self.model, f"not JSON: {exc}", raw)
        if event is None or self._is_repeated(event):
            return None
        said = read_message(event)
        if said.is_over:
            self._completed = event if said.usage else None
        return self._follow(said)

    def _follow(self, said: ServerMessage) -> MeterResult | None:
        """One message may say several things: a turn that begins, its usage, and its end. They are
        taken in this order, and no more than one of them charges something.
        """
        self.issued_handle = said.issued_handle
        if said.is_setup:
            self._accept_setup()
        between = self._begin(has_usage=said.usage is not None) if said.is_begin else None
        self._queries.read(said.content)
        if said.is_ending:
            self._turn.move(Happening.ANNOUNCED)
        late = self._take(said)
        return self._end(said) or late or between

    def _accept_setup(self) -> None:
        self.model, self._is_set_up = self._client.model or self.model, True
        self._expect_words(self.model)

    def _expect_words(self, model: str) -> None:
        self._transcribed.is_on = self._client.wants_rate = TRANSCRIBES in model

    def _is_repeated(self, event: dict[str, Any]) -> bool:
        """Whether ``event`` is, once more, the message with usage that ended the last turn."""
        if self._turn.expects_end or self._completed is None:
            return False
        return event == self._completed

    def _begin(self, *, has_usage: bool) -> MeterResult | None:
        """The model says something. With the first thing that it says a turn begins.

        A snapshot that came since the last turn is a record of its own, unless this very message
        brings a newer one (``has_usage``), which takes its place.
        """
        if self._turn.is_speaking:
            return None
        between = None if has_usage or self._snapshot is None else self._commit()
        if not self._turn.is_open:
            self._queries.begin_turn()
        self._turn.move(Happening.BEGUN if between is None else Happening.BEGUN_PAID)
        self._client.begun()
        return between

    def _take(self, said: ServerMessage) -> MeterResult | None:
        """Keep the snapshot in ``said``, if there is one, until its turn ends. What is charged at
        once is the usage that a turn which has ended still owes.
        """
        usage = said.usage
        if usage is None or usage == {}:
            return None
        is_of_this_turn = self._turn.is_speaking or (said.is_over and self._turn.expects_end)
        if is_of_this_turn or self._snapshot is not None:
            self._snapshot = usage
        elif self._turn.debt is Debt.OWED:
            self._snapshot = usage
            return self._commit()
        elif usage != self._last_usage:  # an equal one is a repetition, which charges nothing
            self._snapshot = usage
        return None

    def _end(self, said: ServerMessage) -> MeterResult | None:
        """Where ``said`` ends the turn, or a part of it, the snapshot is charged."""
        if said.is_over:
            happening = self._turn.completed(
                is_part=said.is_in_progress,
                is_told=said.usage is not None,
                is_asked=self._client.asked > 0,
            )
        elif said.is_interaction_over and self._turn.is_open:
            happening = Happening.ENDED
        else:
            return None
        self._client.ended(was_begun=self._turn.is_speaking)
        self._turn.move(happening)
        if self._turn.debt is not Debt.OWED:  # else it is kept for the estimate
            self._audio_bytes_out = 0
        return None if self._snapshot is None else self._commit()

    def _commit(self) -> MeterResult:
        usage, self._snapshot = self._snapshot, None
        self._last_usage = usage
        self._turn.move(Happening.REPORTED)
        self._transcribed.is_on = False  # what is reported is not estimated
        name = self._turn_id()
        self._turns += 1
        self._client.bytes_in = self._audio_bytes_out = 0
        queries = self._queries.take()
        try:
            if not isinstance(usage, dict):
                found = type(usage).__name__
                raise UnreadableUsageError(f"usageMetadata: found a {found}, expected an object")
            counts = read_usage(usage) + queries
        except UnreadableUsageError as exc:
            kept = usage
            if queries.grounding_queries:  # they are this turn's, and for people to look at with it
                kept = {"usageMetadata": usage, "groundingQueries": queries.grounding_queries}
            return Unreadable(name, self.model, str(exc), as_json(kept))
        return Metered(
            name, self.model, counts, is_local=True, raw=unknown_usage(camel_case(usage))
        )

    def _estimate(self) -> Usage:
        """Tokens by the length of the audio; text counts nothing."""
        return audio_estimate(
            self._client.bytes_in * _TOKENS_PER_S // _AUDIO_BYTES_PER_S,
            self._audio_bytes_out * _TOKENS_PER_S // _AUDIO_BYTES_PER_S,
        )
