"""The meter of the OpenAI family: OpenAI, Azure OpenAI, xAI. Pure.

Messages start with ``{"type":"…"``: the type is read from the first bytes in constant time. One
that does not start so is searched for the names that matter (or a ``\\u`` escape, by which a name
may be spelled) and parsed only on a hit.

Where usage stands, by the SDK's types and by recordings:

* ``response.done``: ``response.usage``, or ``usage`` of the event (xAI, where ``response.usage`` is
  ``{}``). Its status may be any, and the usage may be absent, null, empty, zero or partial.
* ``conversation.item.input_audio_transcription.completed``: ``usage`` of another model, in tokens
  or in seconds. It comes before, between or after the events of a response.

An event may come twice. A response is charged once by its own id, a transcription by the id of its
event.

In flight are responses that began and have not ended, and, while transcriptions are on, audio whose
transcription was not reported (``transcripts``).

xAI bills seconds of audio, and its usages hold tokens as well. Each is a row of its own kind, and
the rate card says which has a price (``billed_seconds``). Images that tools made are tokens of
another model, and rows of their own, too (``images``).
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

from mypy_extensions import mypyc_attr

from gateway.frames import Frame, Span
from gateway.handles.handle import HandleKind, IssuedHandle
from gateway.limits import DRAIN_S
from gateway.metering.account_errors import MAY_FAIL, mask_account_error, may_hold_error
from gateway.metering.base import (
    NO_RESULTS,
    Fragments,
    MaskedError,
    Metered,
    MeterResult,
    Unreadable,
    results_of,
)
from gateway.metering.openai.audio import AppendedAudio
from gateway.metering.openai.billed_seconds import BilledSeconds
from gateway.metering.openai.cancel import CANCEL_ID, COMMIT_ID, answers_cancel, encode_event
from gateway.metering.openai.charges import Charges, id_of, is_nothing
from gateway.metering.openai.events import (
    AUDIO_HEAD_BYTES,
    AUDIO_TYPES,
    BINARY,
    NEEDLES,
    TYPE_BYTES_MAX,
    WATCHED_TYPES,
    WORDS,
    match_object,
    match_type,
    unparsable,
    written_bytes,
)
from gateway.metering.openai.questions import Questions
from gateway.metering.openai.transcripts import Transcripts
from gateway.metering.openai.usage import (
    KNOWN_SECONDS,
    KNOWN_TOKENS,
    KNOWN_XAI,
    counts_nothing,
    is_by_duration,
    read_transcription,
)
from gateway.metering.parsing import (
    clean_text,
    estimate,
    read_object,
)
from shared.usage import Kind, Usage

# User audio is one token per 100 ms, assistant audio one per 50 ms
# (developers.openai.com/api/docs/guides/realtime-costs).
_INPUT_TOKENS_PER_S: Final = 10
_OUTPUT_TOKENS_PER_S: Final = 20


@mypyc_attr(allow_interpreted_subclasses=True)
class OpenAIMeter:
    """The meter of one session. ``model`` is what the client asked for. ``bills_seconds``: the
    provider bills the seconds of audio, in which transcriptions are included (xAI).
    """

    __slots__ = (
        "_appended",
        "_audio_bytes_in",
        "_audio_bytes_out",
        "_audio_head",
        "_bills_seconds",
        "_charges",
        "_fragments",
        "_in_flight",
        "_questions",
        "_seconds",
        "_text_bytes_out",
        "_transcripts",
        "cancels_answered",
        "is_shared",
        "issued_handle",
        "masked_error",
        "model",
    )  # fmt: skip

    def __init__(
        self,
        *,
        model: str,
        bills_seconds: bool = False,
        bills_transcripts: bool = True,
        resumes: str = "",
        is_shared: bool = False,
    ) -> None:
        """``bills_transcripts``: transcriptions have a price of their own, so those that report no
        usage are estimated. ``resumes`` is a conversation that began on another connection.
        ``is_shared``: another connection may hear the same responses.
        """
        self.is_shared = is_shared
        self._bills_seconds = bills_seconds
        self._seconds = BilledSeconds(is_billed=bills_seconds, resumes=resumes)
        self._fragments = Fragments()
        self._charges = Charges(counts_calls=bills_seconds)
        self._in_flight: dict[str, None] = {}
        self._questions = Questions()
        self._appended = AppendedAudio()
        self._audio_bytes_in = self._audio_bytes_out = self._text_bytes_out = 0
        self._audio_head: bytes | None = None  # how the provider's messages of audio begin
        self._transcripts = Transcripts(is_billed=bills_transcripts and not bills_seconds)
        self.cancels_answered = 0
        self.model = model
        self.masked_error: MaskedError | None = None
        self.issued_handle: IssuedHandle | None = None

    @property
    def in_flight(self) -> frozenset[str]:
        """See ``Meter``."""
        return frozenset((*self._in_flight, *self._transcripts.in_flight))

    @property
    def streaming(self) -> frozenset[str]:
        """See ``Meter``."""
        return frozenset(self._in_flight)

    @property
    def is_asked(self) -> bool:
        """See ``Meter``."""
        return self._questions.is_asked

    @property
    def may_answer(self) -> bool:
        """See ``Meter``."""
        return self._questions.may_answer

    @property
    def is_continuous(self) -> bool:
        """See ``Meter``: one that only transcribes."""
        return self._questions.is_transcription

    @property
    def drain_s(self) -> float:
        """See ``Meter``: always the whole time, as every cancel is answered (``cancel_events``)."""
        return DRAIN_S

    def skim(self, read: bytes, span: Span) -> bool:
        """See ``Meter``: audio begins as the audio before it did, type included, or it is raw."""
        opcode, at, start, end = span
        if opcode == BINARY and match_object(read, start, end) is None:
            self._spoke((end - at) * 4 // 3)  # raw audio (xAI), as its length in base64
            return True
        head = start + AUDIO_HEAD_BYTES
        if head <= end and read[start:head] == self._audio_head:
            self._spoke(end - start)
            return True
        return False

    def skim_client(self, read: bytes, span: Span) -> bool:
        """See ``Meter``: an append is told by its beginning."""
        size = self._appended.skim(read, span)
        if size < 0:
            return False
        self._hear(size)
        return True

    def observe(self, frame: Frame) -> Sequence[MeterResult]:
        """See ``Meter``."""
        if frame.is_final and not frame.continues:
            if self.skim(frame.raw, frame.span) or self._is_irrelevant(frame.raw, frame.start):
                return NO_RESULTS
            return self._read(frame.raw[frame.start :])
        message = self._fragments.add(frame)
        if message is None:
            return NO_RESULTS
        if self._fragments.is_binary and match_object(message) is None:
            self._spoke(len(message) * 4 // 3)  # as above
            return NO_RESULTS
        return NO_RESULTS if self._is_irrelevant(message, 0) else self._read(message)

    def observe_client(self, frame: Frame) -> Sequence[MeterResult]:
        """See ``Meter``: the length of the audio is kept for estimates."""
        size = self._appended.size(frame)
        if size:
            self._hear(size)
        else:
            self._questions.observe_client(frame)
        return NO_RESULTS

    def cancel_events(self) -> list[bytes]:
        """See ``Meter``.

        A cancel names its response, because one outside the conversation is cancelled only by its
        id. Without a response in flight the provider answers a cancel with an error, which comes
        behind everything that the client had asked for before. Audio whose words were delivered is
        committed, because only then its transcription is reported.
        """
        cancel = {"type": "response.cancel", "event_id": CANCEL_ID}
        named = [
            {**cancel, "response_id": response_id}
            for response_id in sorted(self._in_flight)
            if response_id
        ]
        commit = {"type": "input_audio_buffer.commit", "event_id": COMMIT_ID}
        commits = [commit] if self._transcripts.is_uncommitted else []
        return [encode_event(event) for event in [*commits, *(named or [cancel])]]

    def finish(self) -> list[MeterResult]:
        """See ``Meter``."""
        estimates = [*self._transcripts.finish(), *self._estimate_responses(self._in_flight)]
        return [*estimates, *self._seconds.rest(model=self.model)]

    # --- helpers ----------------------------------------------------------------------------------

    def _estimate_responses(self, names: Collection[str]) -> list[MeterResult]:
        """Estimates of the responses ``names``, which are no longer in flight."""
        estimates: list[MeterResult] = []
        for response_id in sorted(names):
            self._in_flight.pop(response_id, None)
            if not self._charges.is_repeated(Kind.RESPONSE, response_id):
                estimates.append(
                    Metered(response_id, self.model, self._estimate(), kind=Kind.ESTIMATE)
                )
                estimates += self._seconds.unreported(response_id, model=self.model)
            self._audio_bytes_in = self._audio_bytes_out = self._text_bytes_out = 0
        return estimates

    def _is_irrelevant(self, data: bytes, start: int) -> bool:
        found = match_type(data, start, start + TYPE_BYTES_MAX)
        if found is not None:
            if found[1] in AUDIO_TYPES:
                self._spoke(len(data) - start)
                if found.end() <= start + AUDIO_HEAD_BYTES <= len(data):
                    self._audio_head = data[start : start + AUDIO_HEAD_BYTES]
            if found[1] == WORDS:
                self._transcripts.delivered()
            return found[1] not in WATCHED_TYPES
        if WORDS in data:
            self._transcripts.delivered()
        return not any(needle in data for needle in NEEDLES)

    def _hear(self, base64_bytes: int) -> None:
        self._audio_bytes_in += base64_bytes
        if self._bills_seconds:
            self._seconds.listen(base64_bytes)
        else:
            self._transcripts.listen(base64_bytes)

    def _spoke(self, base64_bytes: int) -> None:
        self._audio_bytes_out += base64_bytes
        if self._bills_seconds:
            self._seconds.spoke(base64_bytes)

    def _read(self, message: bytes) -> Sequence[MeterResult]:
        try:
            event = read_object(message)
        except ValueError as exc:
            return results_of(unparsable(message, self.model, str(exc)))
        if event is None:
            return NO_RESULTS
        kind = clean_text(event.get("type"))
        self._text_bytes_out += written_bytes(kind, event)
        self._questions.observe(kind)
        if kind in MAY_FAIL and may_hold_error(kind, message):
            self.masked_error = mask_account_error(event)
        elif kind == "conversation.created":
            self.issued_handle = issued = _issued_handle(event.get("conversation"))
            self._seconds.begun(issued.value if issued is not None else "")
        return self._read_event(event)

    def _read_event(self, event: Mapping[str, Any]) -> Sequence[MeterResult]:
        match event.get("type"):
            case "response.done":
                return self._read_done(event)
            case "response.created":
                self._in_flight[id_of(event.get("response"))] = None
                self._audio_bytes_out = self._text_bytes_out = 0
            case (
                "session.created" | "session.updated"
                | "transcription_session.created" | "transcription_session.updated"
            ):  # fmt: skip
                self._read_session(event.get("session"))
            case "input_audio_buffer.committed":
                return self._transcripts.committed(clean_text(event.get("item_id")))
            case "input_audio_buffer.cleared":
                return self._transcripts.cleared()
            case "conversation.item.input_audio_transcription.completed":
                return self._read_transcription(event)
            case "conversation.item.input_audio_transcription.failed":
                self._transcripts.ended(clean_text(event.get("item_id")))
            case "error":
                self.cancels_answered += answers_cancel(event)
            case "response.cancel":
                # No provider sends this type: one that echoes what it gets sends our own back.
                self.cancels_answered += event.get("event_id") == CANCEL_ID
        return NO_RESULTS

    def _read_session(self, session: object) -> None:
        """The server names the model that it really runs, and the one that transcribes."""
        if not isinstance(session, dict):
            return
        self.model = clean_text(session.get("model")) or self.model
        self._questions.configured(session)
        # xAI: another connection may go on with this conversation while this one still hears it.
        resumption = session.get("resumption")
        if isinstance(resumption, dict) and resumption.get("enabled") is True:
            self.is_shared = True
        audio = session.get("audio")
        nested = audio.get("input") if isinstance(audio, dict) else None
        if isinstance(audio, dict):
            self._transcripts.audio.set_format(audio.get("format"))  # GPT-Live, both directions
        if isinstance(nested, dict):
            self._transcripts.audio.set_format(nested.get("format"))
        if isinstance(nested, dict) and "transcription" in nested:  # GA
            self._transcripts.configure(nested["transcription"])
        elif "input_audio_transcription" in session:  # beta
            self._transcripts.audio.set_format(session.get("input_audio_format"))
            self._transcripts.configure(session["input_audio_transcription"])
        self._seconds.audio.bytes_per_s = self._transcripts.audio.bytes_per_s

    def _read_done(self, event: Mapping[str, Any]) -> Sequence[MeterResult]:
        """``response.done`` of any status: what was cancelled or is incomplete is billed, too."""
        response = event.get("response")
        response_id = id_of(response) or clean_text(event.get("response_id"))
        self._in_flight.pop(response_id, None)
        self.cancels_answered += 1
        usage = response.get("usage") if isinstance(response, dict) else None
        other = event.get("usage")
        if not is_nothing(other) and counts_nothing(usage):
            usage = other  # xAI: the one in the response is {}
        name = response_id or clean_text(event.get("event_id"))
        known = KNOWN_XAI if self._bills_seconds else KNOWN_TOKENS
        found = self._charges.usage(
            response_id, usage, self.model, name=name, known=known, holder=response
        )
        seconds = None
        if not is_nothing(usage):
            if not isinstance(found, Unreadable):  # else the quarantine has it, seconds included
                seconds = self._seconds.reported(response_id, name, usage, model=self.model)
            self._audio_bytes_in = self._audio_bytes_out = self._text_bytes_out = 0
        return results_of(found, seconds, self._charges.images(name, response))

    def _read_transcription(self, event: Mapping[str, Any]) -> Sequence[MeterResult]:
        """One item may have several of these events (xAI), so each is charged by its event's id."""
        item_id, usage = clean_text(event.get("item_id")), event.get("usage")
        heard = self._transcripts.ended(item_id)
        if is_nothing(usage):
            return self._transcripts.unreported(item_id, heard)
        charged = self._charges.usage(
            item_id,
            usage,
            heard.model or self.model,
            name=clean_text(event.get("event_id")) or item_id,
            kind=Kind.TRANSCRIPTION,
            read=read_transcription,
            known=KNOWN_SECONDS if is_by_duration(usage) else KNOWN_TOKENS,
        )
        return results_of(charged)

    def _estimate(self) -> Usage:
        """Tokens by the length of what was relayed: of audio, and of what the model wrote. What the
        client wrote counts nothing, nor do the words of what is spoken. Both directions of audio
        are taken to have one format.
        """
        bytes_per_s = self._transcripts.audio.bytes_per_s
        return estimate(
            audio_in=self._audio_bytes_in * _INPUT_TOKENS_PER_S // bytes_per_s,
            audio_out=self._audio_bytes_out * _OUTPUT_TOKENS_PER_S // bytes_per_s,
            text_bytes_out=self._text_bytes_out,
        )


def _issued_handle(conversation: object) -> IssuedHandle | None:
    value = conversation.get("id") if isinstance(conversation, dict) else None
    return (
        IssuedHandle(HandleKind.CONVERSATION, value) if isinstance(value, str) and value else None
    )
