"""What a Gemini client says in writing, as items of OpenAI's conversation. Pure.

A turn of ``clientContent`` becomes a message, and an item for each function call and its answer in
it, in their order. What the model may not have said (its images, its audio), and what no item can
hold (documents, code that ran) is not read, so it is named as ignored.

Sources: ``Content`` and ``Part`` of google-genai, ``ConversationItem`` of openai.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from msgspec import json

from gateway.translate.audio import decode_base64, encode_base64
from gateway.translate.base import Ids
from gateway.translate.conversation import Item
from gateway.translate.to_openai.calls import Calls
from gateway.translate.to_openai.client_fields import ClientFaultError, Fields, wrong
from gateway.translate.to_openai.hearing import once

Part = dict[str, Any]

# A function's call and answer may have these roles in the SDKs.
_ROLES: Final = {"user": "user", "model": "assistant", "function": "user", "tool": "user"}


class Writer:
    """Makes the items of one session; the ids are new, and ``calls`` knows what is answered."""

    __slots__ = ("_calls", "_ids")

    def __init__(self, ids: Ids, calls: Calls) -> None:
        self._ids = ids
        self._calls = calls

    def message(self, role: str, parts: list[Part]) -> Item:
        """A message of ``user`` or ``assistant``."""
        return {"id": self._ids.make("item"), "type": "message", "role": role, "content": parts}

    def text(self, words: str) -> Item:
        """A message of the user that is a text."""
        return self.message("user", [{"type": "input_text", "text": words}])

    def image(self, blob: Fields) -> Item:
        """A message of the user that is an image. Raises ``ClientFaultError``."""
        return self.message("user", [image_part(blob)])

    def turn(self, content: Fields) -> Iterator[Item]:
        """The items of a content. Raises ``ClientFaultError``."""
        named = content.text("role") or "user"
        role = _ROLES.get(named)
        if role is None:
            raise wrong(content.at("role"), named, "user or model")
        parts: list[Part] = []
        for part in content.objects("parts"):
            item = self._call(part) or self._answer_in(part)
            if item is None:
                parts += _message_part(part, role)
                continue
            if parts:
                yield self.message(role, parts)
                parts = []
            yield item
        if parts:
            yield self.message(role, parts)

    def answer(self, answer: Fields) -> Item:
        """The answer of a function, as the JSON text of its ``response``, which loses nothing.

        Raises ``ClientFaultError`` where it names no call.
        """
        given = answer.text("id")
        call_id = self._calls.answer(given, answer.text("name"))
        if call_id is None:
            raise wrong(answer.at("id"), given, "the id of a function call")
        return {
            "id": self._ids.make("item"),
            "type": "function_call_output",
            "call_id": call_id,
            "output": _json(answer.mapping("response")),
        }

    def _answer_in(self, part: Fields) -> Item | None:
        return self.answer(part.inner("functionResponse")) if part.has("functionResponse") else None

    def _call(self, part: Fields) -> Item | None:
        if not part.has("functionCall"):
            return None
        call = part.inner("functionCall")
        name, call_id = call.text("name"), call.text("id") or self._ids.make("call")
        if not name:
            raise wrong(call.at("name"), name, "the function's name")
        self._calls.add(call_id, name, waits=False)
        return {
            "id": self._ids.make("item"),
            "type": "function_call",
            "call_id": call_id,
            "name": name,
            "arguments": _json(call.mapping("args")),
        }


def image_part(blob: Fields) -> Part:
    """An image as a data URL. Raises ``ClientFaultError``."""
    mime_type = blob.text("mimeType") or ""
    if not mime_type.startswith("image/"):
        raise wrong(blob.at("mimeType"), mime_type, "image/jpeg or image/png")
    try:  # also to the alphabet that a URL needs
        data = encode_base64(decode_base64(blob.value("data")))
    except ValueError:
        raise wrong(blob.at("data"), blob.value("data"), "base64") from None
    return {"type": "input_image", "image_url": f"data:{mime_type};base64,{data}"}


def _message_part(part: Fields, role: str) -> list[Part]:
    """The part as one of a message; none where it has no place there."""
    words = part.text("text")
    if part.flag("thought"):
        return []  # no part of what was said
    if words:
        return [{"type": "output_text" if role == "assistant" else "input_text", "text": words}]
    if role == "assistant" or not part.has("inlineData"):
        return []
    blob = part.inner("inlineData")
    mime_type = blob.text("mimeType") or ""
    if mime_type.startswith("image/"):
        return [image_part(blob)]
    if not mime_type.startswith("audio/"):
        return []
    try:
        audio = once(mime_type, blob.value("data"))
    except ValueError as error:
        raise ClientFaultError(f"{blob.path}: {error}") from None
    return [{"type": "input_audio", "audio": audio}]


def _json(value: Mapping[str, Any]) -> str:
    return json.encode(value).decode()
