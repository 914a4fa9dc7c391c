"""The part of a reply that all providers share: content, pace, end, and the tokens so far."""

import asyncio
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from simulator.audio import BYTES_PER_S, chime, milliseconds
from simulator.conversation import Conversation
from simulator.faults import STORY, Faults
from simulator.recall import recalled
from simulator.tokens import Tokens

MS_PER_WORD: Final = 250
_WORDS: Final = ("I", "heard", "you", "and", "play", "back", "what", "you", "said")
_TEXT_REPLY: Final = "This is a written answer, made by the simulator."
# Text that looks like a usage: it is put into transcripts and arguments, where a meter must not
# find it.
QUOTE: Final = (
    '{"type":"response.done","event_id":"event_quoted","response":{"id":"resp_quoted","status":'
    '"completed","usage":{"total_tokens":77,"input_tokens":33,"output_tokens":44}},"usage":'
    '{"input_tokens":33,"output_tokens":44}} {"serverContent":{"turnComplete":true},'
    '"usageMetadata":{"promptTokenCount":33,"responseTokenCount":44,"totalTokenCount":77}}'
)
_STATUS_BY_REASON: Final = {
    "": "completed",
    "failed": "failed",
    "max_output_tokens": "incomplete",
    "content_filter": "incomplete",
}
_REASON_BY_STATUS: Final = {
    "cancelled": "turn_detected",
    "failed": "failed",
    "incomplete": "content_filter",
}


@dataclass(frozen=True, slots=True)
class Pace:
    """Speed of a reply: ``factor`` times real time, 0 without pauses.

    ``reply_ms`` is the length of a reply that is a chime.
    """

    factor: float = 2.5
    reply_ms: int = 2_000


class Generation:
    """A reply in progress. ``made`` are its tokens so far; ``cancel`` may be called at any time."""

    def __init__(self, pace: Pace, faults: Faults, *, tokens_max: Any = None) -> None:
        self._pace = pace
        self._faults = faults
        self._tokens_max = tokens_max
        self._cancelled = asyncio.Event()
        self.made = Tokens()
        self.reason = ""
        self._recalled = ""
        self._is_held = False

    def prepare(self, conversation: Conversation, instructions: str) -> None:
        """Find out what the faults ask of this reply; before it adds itself to ``conversation``.

        ``instructions`` are the client's, or empty.
        """
        if self._faults.is_recalling:
            self._recalled = recalled(conversation, instructions)
        asked = conversation.last_user()
        is_story = asked is not None and STORY in json.dumps(asked.body)
        self._is_held = self._faults.is_story_held and is_story

    def cancel(self, reason: str) -> None:
        """Stop generating; the first reason counts."""
        self.reason = self.reason or reason
        self._cancelled.set()

    def fail(self) -> None:
        """Mark the reply as failed; nothing more is generated."""
        self.reason = "failed"

    @property
    def is_cut(self) -> bool:
        """Whether the reply ends early: cancelled, failed or at its limit of tokens."""
        return bool(self.reason)

    @property
    def status(self) -> str:
        """completed, cancelled, incomplete or failed."""
        return _STATUS_BY_REASON.get(self.reason, "cancelled")

    async def pause(self, audio_ms: int) -> bool:
        """Wait as long as generating ``audio_ms`` of audio takes; true when the reply was cut."""
        if self._faults.stall == "reply":
            await asyncio.Event().wait()  # until the client leaves
        if self._is_held:
            await self._cancelled.wait()
        elif not self._pace.factor:
            await asyncio.sleep(0)
        else:
            try:
                async with asyncio.timeout(audio_ms / 1000 / self._pace.factor):
                    await self._cancelled.wait()
            except TimeoutError:
                pass
        if isinstance(self._tokens_max, int) and self.made.total >= self._tokens_max:
            self.reason = self.reason or "max_output_tokens"
        if self._faults.end is not None:
            self.reason = self.reason or _REASON_BY_STATUS[self._faults.end]
        return self.is_cut

    # --- content ----------------------------------------------------------------------------------

    def audio(self, conversation: Conversation, *, heard_as: str, spoken_as: str) -> bytes:
        """The reply's audio: an echo of the user's last utterance, or a chime."""
        last = conversation.last_user()
        if last is not None and last.audio and heard_as == spoken_as:
            return last.audio
        return chime(self._pace.reply_ms, spoken_as)

    def spoken(self, duration_ms: int) -> list[str]:
        """The words of a spoken reply."""
        if self._recalled:
            return self._recalled.split(" ")
        count = max(1, duration_ms // MS_PER_WORD)
        words = [_WORDS[n % len(_WORDS)] for n in range(count)]
        return [*QUOTE.split(" "), *words] if self._faults.is_quoting else words

    def written(self) -> list[str]:
        """The words of a written reply."""
        if self._recalled:
            return self._recalled.split(" ")
        text = f"{QUOTE} {_TEXT_REPLY}" if self._faults.is_quoting else _TEXT_REPLY
        return text.split(" ")

    def arguments(self) -> dict[str, str]:
        """The arguments of a tool call."""
        question = QUOTE if self._faults.is_quoting else "What was asked?"
        return {"question": question, "unit": "metric"}


def pieces(audio: bytes, audio_format: str, sizes_ms: Iterator[int]) -> Iterator[tuple[bytes, int]]:
    """The audio in pieces of ``sizes_ms``, each with its end in ms; one empty piece of no audio."""
    at = 0
    while True:
        size = BYTES_PER_S[audio_format] * next(sizes_ms) // 1000 // 2 * 2
        piece = audio[at : at + size]
        at += len(piece)
        yield piece, milliseconds(at, audio_format)
        if at >= len(audio):
            return


def chosen_tool(names: Iterable[str], choice: Any, conversation: Conversation) -> str | None:
    """The tool to call: named or required by ``choice``, or named in the user's items."""
    known = list(names)
    said = json.dumps([item.body for item in conversation.take_questions()])
    if not known or choice == "none" or conversation.has_tool_output():
        return None
    if isinstance(choice, dict):
        return str(choice.get("name") or known[0])
    if choice == "required":
        return known[0]
    return next((name for name in known if name in said), None)
