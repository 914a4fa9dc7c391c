"""The meter of Gemini Live (Developer API and Vertex AI). Pure.

Server messages are binary frames of pretty-printed JSON. ``usageMetadata`` counts one turn: the
prompt is the whole context and is billed again every turn, so the usages of turns add up. Usually
it stands beside ``turnComplete``, but the API allows it on any message. So a usage is kept as a
*snapshot*, of which a newer one takes the place, and charged at ``turnComplete`` or at the end of
the session. What is charged where it comes earlier or later:

=================================================  ====================================
messages of the server                             charged
=================================================  ====================================
``modelTurn``, usage A, usage B, ``turnComplete``  B, at ``turnComplete``
``modelTurn``, ``turnComplete``, usage A           A, at once: the turn still lacked it
``modelTurn``, ``turnComplete`` with A, usage A    A once: the second repeats the first
``modelTurn``, ``turnComplete`` with A, usage B    A; and B, when the next turn begins
=================================================  ====================================

A ``turnComplete`` with ``interactionStatus`` IN_PROGRESS ends a part of the answer only: the usage
beside it is charged, and the turn stays open. ``turn`` holds these states.

Sources: ``google.genai.types.UsageMetadata``, and recordings in which every usage stands beside a
``turnComplete``.
"""

import re
from collections.abc import Sequence
from typing import Any, Final

from gateway.frames import Frame, Span
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
    ESCAPE,
    MAY_BEGIN,
    NAMES,
    TRANSCRIBED_TEXT,
    TRANSCRIBES,
    USAGE,
    End,
    ServerMessage,
    read_message,
)
from gateway.metering.gemini.transcribed_audio import TranscribedAudio
from gateway.metering.gemini.turn import Turn, TurnEvent, UsageState
from gateway.metering.gemini.usage import GroundingQueries, camel_case, read_usage, unknown_usage
from gateway.metering.parsing import UnreadableUsageError, as_json, estimate, read_object
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
        self._turns = 0  # how many were charged
        self._audio_bytes_out = 0
        self.cancels_answered = 0
        self.model = model
        self.masked_error: MaskedError | None = None  # always: Gemini reports errors by closing
        self.issued_handle: IssuedHandle | None = None
        self.is_shared = False  # turns have no ids of the provider's

    @property
    def in_flight(self) -> frozenset[str]:
        """See ``Meter``: a turn that was asked for, has begun, or has not reported its usage."""
        is_due = self._turn.is_due or self._client.asked
        return frozenset({self._turn_id()} if is_due else ())

    @property
    def streaming(self) -> frozenset[str]:
        """See ``Meter``: a turn, until its usage is known."""
        return self.in_flight

    @property
    def is_asked(self) -> bool:
        """See ``Meter``: what was asked for is among ``streaming``."""
        return False

    @property
    def may_answer(self) -> bool:
        """See ``Meter``: what is no silence may have been speech."""
        return self._client.may_follow and not self.in_flight

    @property
    def is_continuous(self) -> bool:
        """See ``Meter``: every session has turns."""
        return False

    @property
    def drain_s(self) -> float:
        """See ``Meter``: what may have been speech is given time to be answered (``ANSWER_S``)."""
        if self.in_flight:
            return DRAIN_S
        return ANSWER_S if self._client.may_follow else 0.0

    def skim(self, read: bytes, span: Span) -> bool:
        """See ``Meter``: no audio is told by its first bytes, since usage may stand behind it."""
        del read, span
        return False

    def skim_client(self, read: bytes, span: Span) -> bool:
        """See ``Meter``: any message may ask for an answer."""
        del read, span
        return False

    def observe(self, frame: Frame) -> Sequence[MeterResult]:
        """See ``Meter``."""
        found = self._find(frame)
        if self._transcribed.is_due:
            return results_of(found, *self._transcribed.take(self.model))
        return NO_RESULTS if found is None else (found,)

    def observe_client(self, frame: Frame) -> Sequence[MeterResult]:
        """See ``Meter``: its setup names the model, and its questions ask for answers."""
        is_heard = self._transcribed.is_on
        if self._client.observe(frame, is_answering=self._turn.is_speaking):
            self._turn.move(TurnEvent.ANNOUNCED)
        if is_heard:
            self._transcribed.listen(self._client.message_bytes, rate_hz=self._client.rate_hz)
        elif not self._is_set_up:  # audio may follow the setup at once
            self._expect_words(self._client.model or "")
        return self._transcribed.take(self.model) if self._transcribed.is_due else NO_RESULTS

    def cancel_events(self) -> list[bytes]:
        """See ``Meter``: ``clientContent`` interrupts the model, and asks for no answer as long as
        its ``turnComplete`` is false.

        The server says ``interrupted``, then ``turnComplete`` with the usage so far. It says
        nothing when it was not generating.
        """
        return [_INTERRUPT]

    def finish(self) -> list[MeterResult]:
        """See ``Meter``: a snapshot is charged, though no ``turnComplete`` followed it."""
        if self._snapshot is not None:
            self._turn = Turn()
            return [self._commit()]
        return [*self._estimate_turn(), *self._transcribed.take(self.model)]

    # --- helpers ----------------------------------------------------------------------------------

    def _estimate_turn(self) -> list[MeterResult]:
        name, queries = self._turn_id(), self._queries.take()
        found: list[MeterResult] = []
        if queries.grounding_queries:  # these are known, only the turn's tokens are not
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
        if NAMES.search(text) is not None or ESCAPE in text:
            return self._read(message[start:])
        if not self._turn.is_speaking and BEGINS.search(text) is not None:
            return self._begin(has_usage=False)
        if not self._turn.is_speaking and MAY_BEGIN in text:
            return self._read(message[start:])
        return None

    def _turn_id(self) -> str:
        return f"turn_{self._turns + 1}"

    def _without_audio(self, message: bytes, start: int) -> bytes:
        """The message without its audio, which is ten times as long as the rest.

        Audio is a value in base64, which holds no quotation mark: from one quotation mark to the
        next there is no name to find. Its length is counted for estimates.
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
        if said.is_turn_complete:
            self._completed = event if said.usage else None
        return self._follow(said)

    def _follow(self, said: ServerMessage) -> MeterResult | None:
        """A message may say at once that a turn begins, what it used, and that it is over. The
        steps follow this order, and at most one of them finds something to charge.
        """
        self.issued_handle = said.issued_handle
        if said.is_setup:
            self._accept_setup()
        between = self._begin(has_usage=said.usage is not None) if said.is_begin else None
        self._queries.read(said.content)
        if said.is_ending:
            self._turn.move(TurnEvent.ANNOUNCED)
        late = self._take(said)
        return self._end(said) or late or between

    def _accept_setup(self) -> None:
        self.model, self._is_set_up = self._client.model or self.model, True
        self._expect_words(self.model)

    def _expect_words(self, model: str) -> None:
        self._transcribed.is_on = self._client.wants_rate = TRANSCRIBES in model

    def _is_repeated(self, event: dict[str, Any]) -> bool:
        """Whether ``event`` is the message with usage that ended the last turn, sent again."""
        if self._turn.expects_end or self._completed is None:
            return False
        return event == self._completed

    def _begin(self, *, has_usage: bool) -> MeterResult | None:
        """The model says something, and with the first thing that it says a turn begins.

        A snapshot that came between the turns is charged now, unless this very message brings a
        newer one (``has_usage``), which takes its place.
        """
        if self._turn.is_speaking:
            return None
        between = None if has_usage or self._snapshot is None else self._commit()
        if not self._turn.is_open:
            self._queries.begin_turn()
        self._turn.move(TurnEvent.BEGUN if between is None else TurnEvent.BEGUN_AFTER_USAGE)
        self._client.begun()
        return between

    def _take(self, said: ServerMessage) -> MeterResult | None:
        """Keep the usage in ``said``, if there is one, as a snapshot. It is charged at once where
        it is the one that a turn which is over still lacks.
        """
        usage = said.usage
        if usage is None or usage == {}:
            return None
        is_of_this_turn = self._turn.is_speaking or (
            said.is_turn_complete and self._turn.expects_end
        )
        if is_of_this_turn or self._snapshot is not None:
            self._snapshot = usage
        elif self._turn.usage is UsageState.MISSING:
            self._snapshot = usage
            return self._commit()
        elif usage != self._last_usage:  # one that is equal repeats it, and charges nothing
            self._snapshot = usage
        return None

    def _end(self, said: ServerMessage) -> MeterResult | None:
        """Where ``said`` ends the turn or a part of it, charge the snapshot."""
        match said.end:
            case End.TURN:
                is_told, is_asked = said.usage is not None, self._client.asked > 0
                turn_event = self._turn.ended(is_told=is_told, is_asked=is_asked)
            case End.PART:
                turn_event = TurnEvent.PART_ENDED
            case End.INTERACTION if self._turn.is_open:
                turn_event = TurnEvent.ENDED
            case _:
                return None
        self._client.ended(was_begun=self._turn.is_speaking)
        self._turn.move(turn_event)
        if self._turn.usage is not UsageState.MISSING:  # else the length is needed for an estimate
            self._audio_bytes_out = 0
        return None if self._snapshot is None else self._commit()

    def _commit(self) -> MeterResult:
        usage, self._snapshot = self._snapshot, None
        self._last_usage = usage
        self._turn.move(TurnEvent.REPORTED)
        self._transcribed.is_on = False  # a model that reports its usage needs no estimates
        name = self._turn_id()
        self._turns += 1
        self._client.bytes_in = self._audio_bytes_out = 0
        queries = self._queries.take()
        try:
            if not isinstance(usage, dict):
                found = type(usage).__name__
                raise UnreadableUsageError(f"usageMetadata: found a {found}, expected an object")
            counts = read_usage(usage)
            if queries.grounding_queries:
                counts += queries
        except UnreadableUsageError as exc:
            kept = usage
            if queries.grounding_queries:  # whoever looks at the turn has to see its queries, too
                kept = {"usageMetadata": usage, "groundingQueries": queries.grounding_queries}
            return Unreadable(name, self.model, str(exc), as_json(kept))
        return Metered(
            name, self.model, counts, is_local=True, raw=unknown_usage(camel_case(usage))
        )

    def _estimate(self) -> Usage:
        """Tokens by the length of the audio that was relayed; text counts nothing."""
        return estimate(
            audio_in=self._client.bytes_in * _TOKENS_PER_S // _AUDIO_BYTES_PER_S,
            audio_out=self._audio_bytes_out * _TOKENS_PER_S // _AUDIO_BYTES_PER_S,
        )
