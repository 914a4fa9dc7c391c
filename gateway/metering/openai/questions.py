"""Which responses are to begin: what a client asked for, and what its user said. Pure.

A client asks with ``response.create``. With voice activity detection the provider answers by itself
when it has heard the end of a turn (``input_audio_buffer.committed``), unless the session's
configuration says that it does not.
"""

from collections.abc import Mapping
from typing import Any, Final

from gateway.frames import Frame, Opcode, unmask
from gateway.metering.openai.events import TYPE_BYTES_MAX, match_type

_TEXT: Final = int(Opcode.TEXT)


class Questions:
    """The questions of one session that have no answer yet."""

    __slots__ = ("_answers_turns", "_asked", "_is_speaking", "_is_turn_over", "is_transcription")

    def __init__(self) -> None:
        self._asked = 0
        self._answers_turns = False
        self._is_speaking = self._is_turn_over = False
        self.is_transcription = False  # the provider answers nothing, it writes down what it hears

    @property
    def is_asked(self) -> bool:
        """Whether a response is certain to begin: it was asked for, or the turn is over."""
        return self._asked > 0 or self._is_turn_over

    @property
    def may_answer(self) -> bool:
        """Whether the user speaks, so that the provider may yet hear the end of the turn."""
        return self._is_speaking and self._answers_turns

    def observe_client(self, frame: Frame) -> None:
        """A message of the client, which is no audio. One that is spelled in another way than
        SDKs do, or comes in fragments, is not recognised.
        """
        if frame.opcode != _TEXT or frame.continues or not frame.is_final:
            return
        raw, start = frame.raw, frame.start
        found = match_type(unmask(raw[start : start + TYPE_BYTES_MAX], raw[start - 4 : start]))
        self._asked += found is not None and found[1] == b"response.create"

    def configured(self, session: Mapping[str, Any]) -> None:
        """The provider says how the session is configured, perhaps only in part."""
        kind = f"{session.get('type', '')} {session.get('object', '')}"  # GA, and beta
        if not kind.isspace():
            self.is_transcription = "transcription" in kind
        audio = session.get("audio")
        heard = audio.get("input") if isinstance(audio, dict) else None
        holder = heard if isinstance(heard, dict) and "turn_detection" in heard else session
        if "turn_detection" not in holder:
            return
        found = holder["turn_detection"]
        is_on = isinstance(found, dict) and found.get("create_response") is not False
        self._answers_turns = is_on and not self.is_transcription

    def observe(self, kind: str) -> None:
        """An event of the provider's, by its type."""
        match kind:
            case "response.created":
                self._asked, self._is_turn_over = max(0, self._asked - 1), False
            case "error":  # perhaps there is no answer
                self._asked = max(0, self._asked - 1)
            case "input_audio_buffer.speech_started":
                self._is_speaking = True
            case "input_audio_buffer.committed":
                self._is_speaking, self._is_turn_over = False, self._answers_turns
            case "input_audio_buffer.cleared":
                self._is_speaking = False
