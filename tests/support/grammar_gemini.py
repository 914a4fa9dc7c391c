"""What a client of Gemini Live may see: the grammar of a session's server messages.

``Checker.see`` takes one message after the other and raises ``AssertionError`` with what is wrong.
The shapes are those of ``google-genai``'s ``LiveServerMessage``, which forbids other fields; the
order is that of its documentation and of recorded sessions.
"""

import base64
import binascii
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Any

from google.genai import _live_converters as converters
from google.genai import types
from pydantic import ValidationError

from tests.support.grammar_openai_response import fail_unless

Message = dict[str, Any]
AUDIO = "audio/pcm;rate=24000"


class Turn(Enum):
    """Where the model's turn is."""

    NONE = auto()  # nothing of it was sent
    CONTENT = auto()
    GENERATED = auto()  # generationComplete was sent
    INTERRUPTED = auto()
    CUT = auto()  # interrupted between turns: what was complete is not played, or the next one ends


_OPEN = (Turn.NONE, Turn.CONTENT, Turn.CUT)  # something may be said


@dataclass
class Checker:
    """The grammar of one session.

    ``is_vertex``: Vertex AI's names, and calls without ids. ``has_loose_usage``: usageMetadata may
    stand alone, and several times in a turn. ``may_cut_playback``: a turn is complete before it was
    played, so ``interrupted`` may come after it.
    """

    is_vertex: bool = False
    has_loose_usage: bool = False
    may_cut_playback: bool = False
    kinds: list[str] = field(default_factory=list)
    """What each message was, so far."""

    def __post_init__(self) -> None:
        self._turn = Turn.NONE
        self._has_called = False
        self._usages = 0
        self._calls: set[str] = set()
        self._cancelled: set[str] = set()
        self._is_leaving = False
        self._rules: Mapping[str, Callable[[Any], None]] = {
            "setupComplete": self._set_up,
            "serverContent": self._content,
            "toolCall": self._called,
            "toolCallCancellation": self._taken_back,
            "goAway": self._leave,
            "sessionResumptionUpdate": self._resumable,
        }

    def see(self, message: Message | str | bytes) -> None:
        """The next message of the server; bytes and text are its JSON."""
        found: Message = message if isinstance(message, dict) else json.loads(message)
        try:
            self._see(found)
        except AssertionError as exc:
            shown = json.dumps(found, ensure_ascii=False)[:600]
            raise AssertionError(
                f"{exc}\n  message: {shown}\n  after: {' '.join(self.kinds[-6:])}"
            ) from exc

    def finish(self, *, is_cut: bool = False) -> None:
        """The session is over; with ``is_cut`` it was closed in the middle of something."""
        fail_unless(bool(self.kinds), "no message was sent")
        is_over = self._turn in (Turn.NONE, Turn.CUT)
        fail_unless(is_cut or is_over, f"turnComplete is missing: {self._turn}")

    def _see(self, message: Message) -> None:
        told = converters._LiveServerMessage_from_vertex(message) if self.is_vertex else message
        try:
            types.LiveServerMessage.model_validate(told)
        except ValidationError as exc:
            wrong = [f"{'.'.join(map(str, x['loc']))}: {x['msg']}" for x in exc.errors()[:4]]
            raise AssertionError(f"not the SDK's LiveServerMessage: {wrong}") from exc
        names = [name for name in message if name != "usageMetadata"]
        fail_unless(len(names) <= 1, f"several at once: {names}")
        kind = names[0] if names else "usageMetadata"
        fail_unless(bool(message), "an empty message")
        fail_unless(bool(names) or self.has_loose_usage, "usageMetadata on its own")
        fail_unless(
            bool(self.kinds) == (kind != "setupComplete"), "setupComplete must be first, and once"
        )
        if "usageMetadata" in message:
            self._used(message["usageMetadata"], message)
        if kind in self._rules:
            self._rules[kind](message[kind])
        self.kinds.append("+".join(message[kind]) or kind if kind == "serverContent" else kind)

    # --- the beginning and the end ----------------------------------------------------------------

    def _set_up(self, _body: Message) -> None:
        pass

    def _leave(self, body: Message) -> None:
        fail_unless(not self._is_leaving, "goAway twice")
        fail_unless(str(body.get("timeLeft", "")).endswith("s"), "goAway without timeLeft")
        self._is_leaving = True

    def _resumable(self, body: Message) -> None:
        has_handle = bool(body.get("newHandle"))
        fail_unless(has_handle or not body.get("resumable"), "resumable without a handle")

    # --- a turn -----------------------------------------------------------------------------------

    def _content(self, body: Message) -> None:
        fail_unless(bool(body), "an empty serverContent")
        said = [name for name in ("modelTurn", "outputTranscription") if name in body]
        if said:
            fail_unless(self._turn in _OPEN, f"{said[0]} in a turn that is {self._turn}")
            self._turn = Turn.CONTENT
        if "modelTurn" in body:
            self._parts(body["modelTurn"].get("parts") or [])
        if body.get("interrupted"):
            fail_unless(self._turn is not Turn.INTERRUPTED, "interrupted twice")
            is_between = self._turn in (Turn.NONE, Turn.CUT) and self.may_cut_playback
            self._turn = Turn.CUT if is_between else Turn.INTERRUPTED
        if body.get("generationComplete"):
            fail_unless(self._turn is Turn.CONTENT, f"generationComplete while {self._turn}")
            self._turn = Turn.GENERATED
        if body.get("turnComplete"):
            self._complete(body)

    def _complete(self, body: Message) -> None:
        has_failed = "turnCompleteReason" in body  # perhaps before anything was said
        fail_unless(has_failed or self._turn is not Turn.NONE, "turnComplete without a turn")
        is_ended = (
            self._turn is not Turn.CONTENT or has_failed or (self.is_vertex and self._has_called)
        )
        fail_unless(is_ended, "turnComplete without generationComplete")
        self._turn, self._has_called, self._usages = Turn.NONE, False, 0

    def _parts(self, parts: list[Message]) -> None:
        fail_unless(bool(parts), "a modelTurn without parts")
        for part in parts:
            inline = part.get("inlineData")
            if inline is None:
                fail_unless("text" in part, f"a part that is nothing: {sorted(part)}")
                continue
            fail_unless(inline.get("mimeType") == AUDIO, f"audio as {inline.get('mimeType')}")
            fail_unless(len(_decoded(inline.get("data", ""))) % 2 == 0, "half a sample of audio")

    # --- tools ------------------------------------------------------------------------------------

    def _called(self, body: Message) -> None:
        calls = body.get("functionCalls") or []
        fail_unless(bool(calls), "a toolCall without functionCalls")
        fail_unless(self._turn in _OPEN, f"toolCall in a turn {self._turn}")
        self._turn, self._has_called = Turn.CONTENT, True
        for call in calls:
            fail_unless(bool(call.get("name")), "a call without a name")
            fail_unless(isinstance(call.get("args", {}), dict), "args that are no object")
            name = call.get("id")
            if self.is_vertex:
                continue
            fail_unless(bool(name), "a call without an id")
            fail_unless(name not in self._calls, f"call {name} twice")
            self._calls.add(name)

    def _taken_back(self, body: Message) -> None:
        for name in body.get("ids") or []:
            fail_unless(name in self._calls, f"{name} was never called")
            fail_unless(name not in self._cancelled, f"{name} is taken back twice")
            self._cancelled.add(name)

    # --- usage ------------------------------------------------------------------------------------

    def _used(self, usage: Message, message: Message) -> None:
        if not self.has_loose_usage:
            # A call that was a response of its own has a usage of its own.
            is_called = "toolCall" in message
            self._usages += not is_called
            fail_unless(self._usages <= 1, "usageMetadata twice in a turn")
            ends = bool(message.get("serverContent", {}).get("turnComplete"))
            fail_unless(ends or is_called, "usageMetadata that is not beside turnComplete")
        check_usage(usage)


def check_usage(usage: Message) -> None:
    """Counts are not negative, add up, and no part is more than the whole.

    ``totalTokenCount`` of the real provider leaves out the thoughts at times.
    """
    count = {name: n for name, n in usage.items() if name.endswith("Count")}
    fail_unless(all(n >= 0 for n in count.values()), f"a negative count: {usage}")
    out = "candidates" if "candidatesTokenCount" in count else "response"
    prompt, said = count.get("promptTokenCount", 0), count.get(f"{out}TokenCount", 0)
    known = prompt + said + count.get("toolUsePromptTokenCount", 0)
    thoughts = count.get("thoughtsTokenCount", 0)
    total = count.get("totalTokenCount", known)
    fail_unless(total in (known, known + thoughts), f"the total of {usage} is {known}")
    fail_unless(count.get("cachedContentTokenCount", 0) <= prompt, "more cached than prompted")
    wholes = {
        "promptTokensDetails": prompt,
        f"{out}TokensDetails": said,
        "cacheTokensDetails": count.get("cachedContentTokenCount", 0),
        "toolUsePromptTokensDetails": count.get("toolUsePromptTokenCount", 0),
    }
    for name, whole in wholes.items():
        parts = sum(part.get("tokenCount", 0) for part in usage.get(name) or [])
        fail_unless(parts <= whole, f"{name} are {parts} of {whole} tokens")


def _decoded(data: str) -> bytes:
    try:
        return base64.b64decode(data, validate=True)
    except binascii.Error as exc:
        raise AssertionError("audio that is no base64") from exc
