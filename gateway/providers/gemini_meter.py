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
from collections.abc import Mapping
from typing import Any, Final

from websockets.utils import apply_mask

from gateway.frames import Frame
from gateway.metering import (
    Found,
    Fragments,
    Metered,
    Unreadable,
    UnreadableUsageError,
    as_json,
    audio_estimate,
    check_total,
    clean_text,
    read_count,
    read_map,
    read_object,
    unknown_parts,
)
from shared.wire import RAW_USAGE_CHARS_MAX, TOKENS_PER_RESPONSE_MAX, Kind, Usage

# What makes a message worth parsing. A name may be spelled with an escape.
_NEEDLES: Final = (
    b'"usageMetadata"', b'"turnComplete"', b'"setupComplete"', b'"interactionStatus"',
    b'"usage_metadata"', b'"turn_complete"', b'"setup_complete"', b'"interaction_status"', rb"\u",
)  # fmt: skip
_USAGE: Final = re.compile(rb'"usage_?[mM]etadata"')
# The model has begun to answer. Vertex AI sends empty transcriptions, which begin nothing.
_BEGINS: Final = re.compile(rb'"(?:modelTurn|toolCall)"|"outputTranscription"\s*:\s*\{[^{}]*"text"')
_INLINE: Final = b'"inlineData"'
_DATA: Final = re.compile(rb'"data"\s*:\s*"')
_DATA_BYTES_MAX: Final = 256  # how far behind inlineData its data is looked for

# 24 kHz PCM16 in base64 is 64,000 bytes a second; audio is 25 tokens a second (ai.google.dev).
_AUDIO_BYTES_PER_S: Final = 64_000
_TOKENS_PER_S: Final = 25

_DETAILS: Final = (
    "promptTokensDetails", "cacheTokensDetails", "responseTokensDetails",
    "candidatesTokensDetails", "toolUsePromptTokensDetails",
)  # fmt: skip
_KNOWN: Final[Mapping[str, frozenset[str]]] = {
    "": frozenset(
        {"promptTokenCount", "cachedContentTokenCount", "responseTokenCount",
         "candidatesTokenCount", "toolUsePromptTokenCount", "thoughtsTokenCount",
         "totalTokenCount", *_DETAILS}
    )
}  # fmt: skip
_MODALITIES: Final = {
    "TEXT": "text", "MODALITY_UNSPECIFIED": "text", "AUDIO": "audio", "IMAGE": "image",
    "VIDEO": "image",
}  # fmt: skip
_IS_OVER: Final = ("IDLE", "REQUIRES_ACTION")  # interactionStatus; the second one is an old name
_UNDERSCORE: Final = re.compile("_([a-z])")


class GeminiMeter:
    """The meter of one session. The model is the one of the setup that the server accepted."""

    __slots__ = (
        "_audio_bytes_in", "_audio_bytes_out", "_client_fragments", "_completed", "_fragments",
        "_has_begun", "_is_in_progress", "_last_usage", "_owes_usage", "_snapshot", "_turns",
        "answers", "model", "requested_model",
    )  # fmt: skip

    def __init__(self, *, model: str) -> None:
        self._fragments, self._client_fragments = Fragments(), Fragments()
        self.requested_model: str | None = None
        self._snapshot: Any = None  # the newest usage that is not charged yet
        self._last_usage: Any = None  # the one that was charged last
        self._completed: dict[str, Any] | None = None  # the message that ended the last turn
        self._has_begun = False  # the model has said something since
        self._is_in_progress = False
        self._owes_usage = False
        self._turns = 0
        self._audio_bytes_in = self._audio_bytes_out = 0
        self.answers = 0
        self.model = model

    @property
    def in_flight(self) -> frozenset[str]:
        """See ``Meter``: the turn that the model has begun."""
        return frozenset({self._turn_id()} if self._has_begun or self._is_in_progress else ())

    def observe(self, frame: Frame) -> Found | None:
        """See ``Meter``."""
        if frame.is_final and not frame.continues:
            message, start = frame.raw, frame.start
        else:
            joined, start = self._fragments.add(frame), 0
            if joined is None:
                return None
            message = joined
        text = self._without_audio(message, start)
        if any(needle in text for needle in _NEEDLES):
            return self._read(message[start:])
        if not self._has_begun and _BEGINS.search(text) is not None:
            # A report that came between the turns is a record of its own.
            between = None if self._snapshot is None else self._commit()
            self._has_begun = True
            return between
        return None

    def observe_client(self, frame: Frame) -> None:
        """See ``Meter``: the first message is the setup, which names the model."""
        self._audio_bytes_in += len(frame.raw)
        if self.requested_model is not None:
            return
        payload = _unmasked(frame)
        message = self._client_fragments.add(payload)
        if message is not None:
            self.requested_model = _model_of(message)

    def cancel_events(self) -> list[bytes]:
        """See ``Meter``: Gemini cannot be told."""
        return []

    def give_up(self) -> list[Found]:
        """See ``Meter``: a snapshot that no ``turnComplete`` followed is charged."""
        if self._snapshot is not None:
            return [self._commit()]
        if self.in_flight:
            self._has_begun = self._is_in_progress = False
            return [Metered(self._turn_id(), self.model, self._estimate(), kind=Kind.ESTIMATE)]
        return []

    # --- helpers ----------------------------------------------------------------------------------

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

    def _read(self, message: bytes) -> Found | None:
        try:
            event = read_object(message)
        except ValueError as exc:
            if _USAGE.search(message) is None:
                return None
            raw = message[:RAW_USAGE_CHARS_MAX].decode(errors="replace")
            return Unreadable("", self.model, f"not JSON: {exc}", raw)
        if event is None or self._is_repeated(event):
            return None
        if "setupComplete" in event or "setup_complete" in event:
            self.model = self.requested_model or self.model
        content = _field(event, "serverContent", "server_content")
        content = content if isinstance(content, dict) else {}
        if _begins(event, content):
            self._has_begun = True
        usage = _field(event, "usageMetadata", "usage_metadata")
        found = self._take(usage) if usage is not None and usage != {} else None
        status = str(_field(content, "interactionStatus", "interaction_status")).upper()
        if _field(content, "turnComplete", "turn_complete") is True:
            self._completed = event if usage else None
            return self._turn_complete(is_part=status == "IN_PROGRESS") or found
        if status in _IS_OVER and self._is_in_progress:
            return self._interaction_complete() or found
        return found

    def _is_repeated(self, event: dict[str, Any]) -> bool:
        """Whether ``event`` is, once more, the message with usage that ended the last turn."""
        return not self._has_begun and self._completed is not None and event == self._completed

    def _take(self, usage: Any) -> Found | None:
        """A snapshot arrived."""
        if self._has_begun or self._snapshot is not None:
            self._snapshot = usage
        elif self._owes_usage:
            self._snapshot = usage
            return self._commit()  # it belongs to the turn that is over
        elif usage != self._last_usage:  # else a repetition of what was charged with the turn
            self._snapshot = usage
        return None

    def _turn_complete(self, *, is_part: bool) -> Found | None:
        # Without a beginning there was no turn: the message is repeated.
        self._owes_usage = self._owes_usage or (self._has_begun and not is_part)
        self._has_begun, self._is_in_progress = False, is_part
        self._audio_bytes_out = 0
        self.answers += 1
        return None if self._snapshot is None else self._commit()

    def _interaction_complete(self) -> Found | None:
        self._has_begun = self._is_in_progress = False
        self.answers += 1
        return None if self._snapshot is None else self._commit()

    def _commit(self) -> Found:
        usage, self._snapshot = self._snapshot, None
        self._last_usage, self._owes_usage, self._has_begun = usage, False, False
        name = self._turn_id()
        self._turns += 1
        self._audio_bytes_in = self._audio_bytes_out = 0
        try:
            if not isinstance(usage, dict):
                found = type(usage).__name__
                raise UnreadableUsageError(f"usageMetadata: found a {found}, expected an object")
            counts = read_usage(usage)
        except UnreadableUsageError as exc:
            return Unreadable(name, self.model, str(exc), as_json(usage))
        return Metered(name, self.model, counts, raw=_unknown(_camel_case(usage)))

    def _estimate(self) -> Usage:
        """Tokens by the length of the audio; text counts nothing."""
        return audio_estimate(
            self._audio_bytes_in * _TOKENS_PER_S // _AUDIO_BYTES_PER_S,
            self._audio_bytes_out * _TOKENS_PER_S // _AUDIO_BYTES_PER_S,
        )


def read_usage(usage: Mapping[str, Any]) -> Usage:
    """A ``usageMetadata`` object. Raises ``UnreadableUsageError``.

    Names may be spelled in either case, as protobuf's JSON allows. Input is the prompt and what
    tools put into it, output the answer and the thoughts. The reported total leaves thoughts out,
    so it is not used. Zero counts are absent.
    """
    usage = _camel_case(usage)
    prompt = read_count(usage, "promptTokenCount") or 0
    tool = read_count(usage, "toolUsePromptTokenCount") or 0
    answer = read_count(usage, "responseTokenCount")
    if answer is None:  # Vertex AI
        answer = read_count(usage, "candidatesTokenCount") or 0
    thoughts = read_count(usage, "thoughtsTokenCount") or 0
    read_count(usage, "totalTokenCount")  # not used, and still no place for nonsense
    into = _by_modality(usage, "promptTokensDetails", "toolUsePromptTokensDetails")
    is_vertex = usage.get("responseTokensDetails") is None
    cached = _by_modality(usage, "cacheTokensDetails")
    out = _by_modality(usage, "candidatesTokensDetails" if is_vertex else "responseTokensDetails")
    return check_total(
        Usage(
            input_tokens=prompt + tool,
            output_tokens=answer + thoughts,
            total_tokens=prompt + tool + answer + thoughts,
            input_text_tokens=into["text"],
            input_audio_tokens=into["audio"],
            input_image_tokens=into["image"],
            input_cached_tokens=read_count(usage, "cachedContentTokenCount") or 0,
            output_text_tokens=out["text"],
            output_audio_tokens=out["audio"],
            output_thought_tokens=thoughts,
            input_cached_text_tokens=cached["text"],
            input_cached_audio_tokens=cached["audio"],
            input_cached_image_tokens=cached["image"],
        )
    )


def _by_modality(usage: Mapping[str, Any], *names: str) -> dict[str, int]:
    """The split of a count; ``{"modality": "AUDIO"}`` alone is zero."""
    counts = {"text": 0, "audio": 0, "image": 0}
    for name in names:
        details = usage.get(name)
        if details is None:
            continue
        if not isinstance(details, list) or not all(isinstance(d, dict) for d in details):
            raise UnreadableUsageError(f"{name}: expected a list of objects")
        for detail in map(_camel_case, details):
            count = read_count(detail, "tokenCount") or 0
            kind = _kind_of(detail)
            if kind is not None:
                counts[kind] += count
    if max(counts.values()) > TOKENS_PER_RESPONSE_MAX:
        raise UnreadableUsageError(f"{names[0]}: more than {TOKENS_PER_RESPONSE_MAX} tokens")
    return counts


def _kind_of(detail: Mapping[str, Any]) -> str | None:
    return _MODALITIES.get(str(detail.get("modality")).upper())


def _unknown(usage: Mapping[str, Any]) -> str:
    """JSON text of the parts that are not known here, among them unknown modalities."""
    strange = {
        name: rest
        for name in _DETAILS
        if isinstance(details := usage.get(name), list)
        and (rest := [d for d in details if not isinstance(d, dict) or _kind_of(d) is None])
    }
    return unknown_parts({**usage, **strange}, {"": _KNOWN[""] - strange.keys()})


def _field(parent: Mapping[str, Any], name: str, other_name: str) -> Any:
    """A field by the first of its two spellings that has a value."""
    value = parent.get(name)
    return parent.get(other_name) if value is None else value


def _begins(event: Mapping[str, Any], content: Mapping[str, Any]) -> bool:
    """What ``_BEGINS`` searches for, in a message that was parsed."""
    spoken = _field(content, "outputTranscription", "output_transcription")
    return (
        _field(content, "modelTurn", "model_turn") is not None
        or _field(event, "toolCall", "tool_call") is not None
        or (isinstance(spoken, dict) and "text" in spoken)
    )


def _camel_case(fields: Mapping[str, Any]) -> dict[str, Any]:
    """``fields`` with names in the server's own spelling."""
    return {_UNDERSCORE.sub(lambda m: m[1].upper(), n): v for n, v in fields.items()}


def _unmasked(frame: Frame) -> Frame:
    """A client's frame with a payload that can be read."""
    mask = frame.raw[frame.start - 4 : frame.start]
    return Frame(frame.opcode, frame.is_final, 0, apply_mask(frame.raw[frame.start :], mask))


def _model_of(message: bytes) -> str:
    """The model that a setup message asks for; empty when it is none.

    Without the path before it (``models/``, on Vertex AI ``publishers/google/models/``).
    """
    try:
        event = read_object(message)
        setup = read_map(event or {}, "setup")
    except (ValueError, UnreadableUsageError):
        return ""
    return clean_text(setup.get("model")).rpartition("models/")[2]
