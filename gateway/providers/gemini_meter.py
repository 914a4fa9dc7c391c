"""The meter of Gemini Live (Developer API and Vertex AI). Pure.

Server messages are binary frames of pretty-printed JSON. ``usageMetadata`` is *per turn*: the
prompt is the whole context and is billed again every turn, so turns are summed. It comes beside
``turnComplete``; the API allows it on any message, so the newest snapshot since the last
``turnComplete`` is kept and charged there, or at the end of the session:

* a snapshot before ``turnComplete`` belongs to that turn;
* one after a ``turnComplete`` that had none belongs to the turn that is over;
* one after a ``turnComplete`` that had one, and equal to it, is a repetition; any other begins the
  next record.

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
    check_total,
    clean_text,
    read_count,
    read_map,
    read_object,
    unknown_parts,
)
from shared.wire import RAW_USAGE_CHARS_MAX, TOKENS_PER_RESPONSE_MAX, Kind, Usage

# What makes a message worth parsing. Audio is base64, which holds no quotes; a name may be spelled
# with an escape.
_NEEDLES: Final = (b'"usageMetadata"', b'"turnComplete"', b'"setupComplete"', b'"usage_metadata"',
                   b'"turn_complete"', rb"\u")  # fmt: skip
_USAGE: Final = re.compile(rb'"usage_?[mM]etadata"')
_AUDIO: Final = b'"inlineData"'
_BEGINS: Final = (b'"modelTurn"', b'"toolCall"', b'"outputTranscription"')

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
_MODALITIES: Final = {"TEXT": "text", "AUDIO": "audio", "IMAGE": "image", "VIDEO": "image"}


class GeminiMeter:
    """The meter of one session. The model is the one of the setup that the server accepted."""

    __slots__ = (
        "_audio_bytes_in", "_audio_bytes_out", "_client_fragments", "_committed", "_fragments",
        "_is_open_turn", "_owes_usage", "_snapshot", "_turns", "answers", "model",
        "requested_model",
    )  # fmt: skip

    def __init__(self, *, model: str) -> None:
        self._fragments, self._client_fragments = Fragments(), Fragments()
        self.requested_model: str | None = None
        self._snapshot: dict[str, Any] | None = None
        self._committed: dict[str, Any] | None = None
        self._owes_usage = False
        self._is_open_turn = False
        self._turns = 0
        self._audio_bytes_in = self._audio_bytes_out = 0
        self.answers = 0
        self.model = model

    @property
    def in_flight(self) -> frozenset[str]:
        """See ``Meter``: the turn that the model has begun."""
        return frozenset({self._turn_id()} if self._is_open_turn else ())

    def observe(self, frame: Frame) -> Found | None:
        """See ``Meter``."""
        if frame.is_final and not frame.continues:
            if self._is_irrelevant(frame.raw, frame.start):
                return None
            return self._read(frame.raw[frame.start :])
        message = self._fragments.add(frame)
        if message is None or self._is_irrelevant(message, 0):
            return None
        return self._read(message)

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
        if self._is_open_turn:
            self._is_open_turn = False
            return [Metered(self._turn_id(), self.model, self._estimate(), kind=Kind.ESTIMATE)]
        return []

    # --- helpers ----------------------------------------------------------------------------------

    def _turn_id(self) -> str:
        return f"turn_{self._turns + 1}"

    def _is_irrelevant(self, data: bytes, start: int) -> bool:
        if data.find(_AUDIO, start) >= 0:
            self._audio_bytes_out += len(data) - start
        if not self._is_open_turn and any(data.find(name, start) >= 0 for name in _BEGINS):
            self._is_open_turn = True
            self._audio_bytes_out = 0
        return not any(data.find(needle, start) >= 0 for needle in _NEEDLES)

    def _read(self, message: bytes) -> Found | None:
        try:
            event = read_object(message)
        except ValueError as exc:
            if _USAGE.search(message) is None:
                return None
            raw = message[:RAW_USAGE_CHARS_MAX].decode(errors="replace")
            return Unreadable("", self.model, f"not JSON: {exc}", raw)
        if event is None:
            return None
        if "setupComplete" in event or "setup_complete" in event:
            self.model = self.requested_model or self.model
        usage = event.get("usageMetadata", event.get("usage_metadata"))
        found = self._take(usage) if usage else None
        content = event.get("serverContent", event.get("server_content"))
        if isinstance(content, dict) and (
            content.get("turnComplete") or content.get("turn_complete")
        ):
            found = self._turn_complete() or found
        return found

    def _take(self, usage: Any) -> Found | None:
        """A snapshot arrived."""
        if not isinstance(usage, dict):
            detail = f"usageMetadata: found a {type(usage).__name__}, expected an object"
            return Unreadable(self._turn_id(), self.model, detail, as_json(usage))
        if self._snapshot is None and usage == self._committed and not self._is_open_turn:
            return None  # a repetition of what was charged with the turn
        self._snapshot = usage
        if self._owes_usage and not self._is_open_turn:
            return self._commit()  # it belongs to the turn that is over
        return None

    def _turn_complete(self) -> Found | None:
        self._is_open_turn = False
        self.answers += 1
        if self._snapshot is None:
            self._owes_usage = True
            return None
        return self._commit()

    def _commit(self) -> Found:
        usage, self._snapshot = self._snapshot, None
        assert usage is not None
        self._committed, self._owes_usage, self._is_open_turn = usage, False, False
        name = self._turn_id()
        self._turns += 1
        self._audio_bytes_in = self._audio_bytes_out = 0
        try:
            counts = read_usage(usage)
        except UnreadableUsageError as exc:
            return Unreadable(name, self.model, str(exc), as_json(usage))
        return Metered(name, self.model, counts, raw=unknown_parts(usage, _KNOWN))

    def _estimate(self) -> Usage:
        """Tokens by the length of the audio; text counts nothing."""
        most = TOKENS_PER_RESPONSE_MAX // 2
        tokens_in = min(self._audio_bytes_in * _TOKENS_PER_S // _AUDIO_BYTES_PER_S, most)
        tokens_out = min(self._audio_bytes_out * _TOKENS_PER_S // _AUDIO_BYTES_PER_S, most)
        return Usage(
            input_tokens=tokens_in,
            output_tokens=tokens_out,
            total_tokens=tokens_in + tokens_out,
            input_audio_tokens=tokens_in,
            output_audio_tokens=tokens_out,
        )


def read_usage(usage: Mapping[str, Any]) -> Usage:
    """A ``usageMetadata`` object. Raises ``UnreadableUsageError``.

    Input is the prompt and what tools put into it, output the answer and the thoughts. The reported
    total leaves thoughts out, so it is not used. Zero counts are absent.
    """
    prompt = read_count(usage, "promptTokenCount") or 0
    tool = read_count(usage, "toolUsePromptTokenCount") or 0
    answer = read_count(usage, "responseTokenCount")
    if answer is None:  # Vertex AI
        answer = read_count(usage, "candidatesTokenCount") or 0
    thoughts = read_count(usage, "thoughtsTokenCount") or 0
    read_count(usage, "totalTokenCount")  # not used, and still no place for nonsense
    into = _by_modality(usage, "promptTokensDetails", "toolUsePromptTokensDetails")
    out = _by_modality(usage, "responseTokensDetails", "candidatesTokensDetails")
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
        )
    )


def _by_modality(usage: Mapping[str, Any], *names: str) -> dict[str, int]:
    """The split of a count; ``{"modality": "AUDIO"}`` alone is zero."""
    counts = {"text": 0, "audio": 0, "image": 0}
    for name in names:
        details = usage.get(name) or []
        if not isinstance(details, list):
            raise UnreadableUsageError(f"{name}: expected a list")
        for detail in details:
            if not isinstance(detail, dict):
                raise UnreadableUsageError(f"{name}: expected objects")
            kind = _MODALITIES.get(str(detail.get("modality")))
            count = read_count(detail, "tokenCount") or 0
            if kind is not None:
                counts[kind] = min(counts[kind] + count, TOKENS_PER_RESPONSE_MAX)
    return counts


def _unmasked(frame: Frame) -> Frame:
    """A client's frame with a payload that can be read."""
    mask = frame.raw[frame.start - 4 : frame.start]
    return Frame(frame.opcode, frame.is_final, 0, apply_mask(frame.raw[frame.start :], mask))


def _model_of(message: bytes) -> str:
    """The model that a setup message asks for; empty when it is none."""
    try:
        event = read_object(message)
        setup = read_map(event or {}, "setup")
    except (ValueError, UnreadableUsageError):
        return ""
    return clean_text(setup.get("model")).removeprefix("models/")
