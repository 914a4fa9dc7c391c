"""What is owed for transcriptions: which transcriber heard how much, and what was reported. Pure.

A transcriber works on the audio between two commits. Most report what they used with
``…transcription.completed``, under the item that the commit made; streaming ones deliver words
(``….delta``) before any commit, and some never report anything. What was delivered or committed and
is not reported is estimated by the length of the audio.

The transcriber that is billed is the one that was in force at the commit: a later
``session.update`` changes nothing for what was said before.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

from websockets.utils import apply_mask

from gateway.frames import Frame, Opcode
from gateway.limits import RESPONSE_IDS_MAX
from gateway.metering import Metered, clean_text
from shared.wire import TOKENS_PER_RESPONSE_MAX, Kind, Usage

# Shorter messages hold no audio worth counting (20 ms of G.711 are 214 characters), and of longer
# ones so much is not audio: names, quotes, an event id.
_AUDIO_MESSAGE_BYTES_MIN: Final = 200
_ENVELOPE_BYTES: Final = 60
_HEAD_BYTES: Final = 128  # how far into a message its type is looked for
_TEXT: Final = int(Opcode.TEXT)
_APPEND: Final = b"input_audio_buffer.append"
_TYPE: Final = b'"type"'

# Bytes of base64 for a second of audio, by the type of its format: 16 bits at 24 kHz, 8 at 8 kHz.
PCM_BYTES_PER_S: Final = 64_000
_G711_BYTES_PER_S: Final = 32_000 // 3
_BYTES_PER_S: Final = {
    "audio/pcmu": _G711_BYTES_PER_S, "audio/pcma": _G711_BYTES_PER_S,
    "g711_ulaw": _G711_BYTES_PER_S, "g711_alaw": _G711_BYTES_PER_S,
}  # fmt: skip

_RATE_MIN: Final = 4_000  # samples a second: below and above no audio that speaks
_RATE_MAX: Final = 192_000

UNCOMMITTED: Final = "uncommitted audio"


class Heard(NamedTuple):
    """Audio that was committed: its transcriber, and its length in milliseconds."""

    model: str
    ms: int


class Transcripts:
    """The transcriptions of one session. Without ``is_billed`` nothing is estimated."""

    __slots__ = (
        "_bytes", "_bytes_per_s", "_committed", "_estimates", "_has_delivered", "_is_billed",
        "_reported", "is_on", "model",
    )  # fmt: skip

    def __init__(self, *, is_billed: bool) -> None:
        self._is_billed = is_billed
        self._bytes, self._bytes_per_s = 0, PCM_BYTES_PER_S
        self._has_delivered = False
        self._committed: dict[str, Heard] = {}
        self._reported: dict[str, None] = {}
        self._estimates = 0
        self.is_on = False
        self.model = ""

    @property
    def in_flight(self) -> Iterator[str]:
        """What was committed and is not reported, and words of audio that nobody committed."""
        yield from self._committed
        if self.is_uncommitted:
            yield UNCOMMITTED

    @property
    def is_uncommitted(self) -> bool:
        """Whether words were delivered of audio that was not committed: they are owed."""
        return self._is_billed and self._has_delivered and self._bytes > 0

    def configure(self, audio_input: Mapping[str, Any], transcription: object) -> None:
        """The session's ``audio.input`` (or what the beta has for it) and its transcription."""
        self._set_format(audio_input.get("format"))
        self.is_on = isinstance(transcription, dict)
        if isinstance(transcription, dict):
            self.model = clean_text(transcription.get("model")) or self.model

    def listen(self, frame: Frame) -> None:
        """Count the audio in a frame of the client's."""
        if not self.is_on or len(frame.raw) < _AUDIO_MESSAGE_BYTES_MIN:
            return
        if frame.opcode == _TEXT:
            start = frame.start
            head = apply_mask(frame.raw[start : start + _HEAD_BYTES], frame.raw[start - 4 : start])
            if _TYPE in head and _APPEND not in head:
                return
            self._bytes += len(frame.raw) - _ENVELOPE_BYTES
        else:  # a later fragment, or xAI's binary audio
            self._bytes += len(frame.raw)

    @property
    def heard_ms(self) -> int:
        """The audio since the last commit, in milliseconds."""
        return self._ms()

    def take_ms(self) -> int:
        """``heard_ms``, and begin again."""
        return self._take().ms

    def delivered(self) -> None:
        """Words arrived."""
        self._has_delivered = True

    def committed(self, item_id: str) -> None:
        """What was heard since the last commit is an item; xAI transcribes it before that."""
        heard = self._take()
        if self.is_on and item_id not in self._reported:
            if len(self._committed) >= RESPONSE_IDS_MAX:
                del self._committed[next(iter(self._committed))]
            self._committed[item_id] = heard

    def cleared(self) -> Metered | None:
        """The client threw away what was heard; the words that were delivered are owed."""
        is_owed, heard = self.is_uncommitted, self._take()
        return self._estimate(UNCOMMITTED, heard) if is_owed else None

    def ended(self, item_id: str) -> Heard:
        """An item is transcribed, or failed: what it was, as far as that is known.

        Several ends may come for one item; the later ones heard nothing more.
        """
        heard = self._committed.pop(item_id, None)
        if heard is None:
            is_repeated = item_id in self._reported
            heard = Heard(self.model, 0 if is_repeated else self._ms())
        self._reported[item_id] = None
        if len(self._reported) > RESPONSE_IDS_MAX:
            del self._reported[next(iter(self._reported))]
        return heard

    def unreported(self, item_id: str, heard: Heard) -> Metered | None:
        """``item_id`` was transcribed, and no usage was told."""
        return self._estimate(item_id, heard)

    def give_up(self) -> list[Metered]:
        """The session is over: estimates of what will never be reported."""
        is_owed, rest = self.is_uncommitted, self._take()
        owed = [*self._committed.items(), *([(UNCOMMITTED, rest)] if is_owed else [])]
        self._committed = {}
        return [found for name, heard in owed if (found := self._estimate(name, heard))]

    # --- helpers ----------------------------------------------------------------------------------

    def _set_format(self, found: object) -> None:
        if isinstance(found, dict):
            rate = found.get("rate")
            pcm = PCM_BYTES_PER_S
            if isinstance(rate, int) and _RATE_MIN <= rate <= _RATE_MAX:
                pcm = rate * 8 // 3  # 16 bits, in base64 4 characters for 3 bytes
            self._bytes_per_s = _BYTES_PER_S.get(str(found.get("type")), pcm)
        elif isinstance(found, str):
            self._bytes_per_s = _BYTES_PER_S.get(found, PCM_BYTES_PER_S)

    def _ms(self) -> int:
        return min(self._bytes * 1000 // self._bytes_per_s, TOKENS_PER_RESPONSE_MAX)

    def _take(self) -> Heard:
        heard = Heard(self.model, self._ms())
        self._bytes, self._has_delivered = 0, False
        return heard

    def _estimate(self, name: str, heard: Heard) -> Metered | None:
        if not self._is_billed or not heard.ms:
            return None
        self._estimates += 1
        usage = Usage(billed_ms=heard.ms)
        kind = Kind.ESTIMATED_TRANSCRIPTION
        return Metered(f"{name} {self._estimates}", heard.model, usage, kind=kind, is_local=True)
