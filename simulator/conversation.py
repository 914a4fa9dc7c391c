"""The conversation of a session: its items in order, each with its tokens. Pure."""

import base64
import binascii
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from simulator.audio import BYTES_PER_S, milliseconds
from simulator.openai_events import Event, make_id
from simulator.tokens import Tokens, assistant_audio_tokens, text_tokens, user_audio_tokens

IMAGE_TOKENS: Final = 85  # a small picture


@dataclass(slots=True)
class Item:
    """An item of the conversation; ``audio`` is the user's speech in it, ``heard`` its transcript.

    ``is_answered``: a response to it has begun.
    """

    body: Event
    tokens: Tokens
    audio: bytes = b""
    heard: str = ""
    is_answered: bool = False

    @property
    def id(self) -> str:
        """The item's id."""
        return str(self.body["id"])


@dataclass(slots=True)
class Conversation:
    """The items in order. ``may_resume``: another session may continue the conversation.

    ``is_in_use()``: whether the connection of the session that began it is still open.
    ``spoken_s`` are xAI's seconds of audio by response, ``billed_ms`` what of them was reported.
    """

    id: str = field(default_factory=lambda: make_id("conv"))
    items: dict[str, Item] = field(default_factory=dict)
    may_resume: bool = False
    is_in_use: Callable[[], bool] = lambda: False
    spoken_s: dict[str, float] = field(default_factory=dict)
    billed_ms: int = 0

    @property
    def tokens(self) -> Tokens:
        """The tokens of everything so far: the input of the next response."""
        return sum((item.tokens for item in self.items.values()), start=Tokens())

    @property
    def last_id(self) -> str | None:
        """The id of the newest item."""
        return next(reversed(self.items), None)

    def last_user(self) -> Item | None:
        """The newest item of the user."""
        users = (i for i in reversed(self.items.values()) if i.body.get("role") == "user")
        return next(users, None)

    def take_questions(self) -> list[Item]:
        """The user's items that have no answer yet, or else the newest one; marks them answered."""
        users = [item for item in self.items.values() if item.body.get("role") == "user"]
        found = [item for item in users if not item.is_answered] or users[-1:]
        for item in found:
            item.is_answered = True
        return found

    def mark_answered(self) -> None:
        """A client tells what was said before: whatever was asked until now has its answer."""
        for item in self.items.values():
            item.is_answered = True

    def has_tool_output(self) -> bool:
        """Whether the newest item is the output of a tool."""
        newest = self.items.get(self.last_id or "")
        return newest is not None and newest.body["type"] == "function_call_output"

    def add(self, item: Item) -> None:
        """Append an item."""
        self.items[item.id] = item


def spoken_item(audio: bytes, audio_format: str) -> Item:
    """The item of a user's committed audio."""
    body = {
        "id": make_id("item"),
        "type": "message",
        "object": "realtime.item",
        "status": "completed",
        "role": "user",
        "content": [{"type": "input_audio", "transcript": None}],
    }
    duration_ms = milliseconds(len(audio), audio_format)
    tokens = Tokens(audio=user_audio_tokens(duration_ms))
    return Item(body, tokens, audio, heard=transcript_of(duration_ms))


def transcript_of(duration_ms: int) -> str:
    """The words that were heard in speech."""
    return f"Speech of {duration_ms} milliseconds."


def client_item(wanted: Any, audio_format: str) -> Item:
    """An item that the client created. Raises ``ValueError`` when its audio is no base64."""
    body: Event = {"object": "realtime.item", "status": "completed", **wanted}
    body.setdefault("id", make_id("item"))
    tokens, audio, heard = Tokens(), b"", ""
    for part in body.get("content") or []:
        images = int(part.get("type") == "input_image")
        tokens += Tokens(text=text_tokens(str(part.get("text") or "")), image=images * IMAGE_TOKENS)
        if part.get("audio"):
            try:
                audio += base64.b64decode(part["audio"], validate=True)
            except binascii.Error as exc:
                raise ValueError("expected base64 audio") from exc
    tokens += Tokens(text=text_tokens(str(body.get("output") or body.get("arguments") or "")))
    if audio:
        duration_ms = len(audio) * 1000 // BYTES_PER_S[audio_format]
        by_role = assistant_audio_tokens if body.get("role") == "assistant" else user_audio_tokens
        tokens += Tokens(audio=by_role(duration_ms))
        heard = transcript_of(duration_ms)
    return Item(body, tokens, audio, heard=heard)
