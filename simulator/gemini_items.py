"""What a Gemini client says and a tool answers, as items of the conversation. Pure."""

import json
from typing import Final

from simulator.conversation import Conversation, Item
from simulator.gemini_client import IMAGE_TOKENS, field, objects, text_of, tokens_of
from simulator.gemini_errors import GeminiError
from simulator.openai_events import Event, make_id
from simulator.tokens import Tokens, gemini_audio_tokens, text_tokens

_ROLES: Final = {"model": "assistant"}


def items_of(content: Event) -> list[Item]:
    """The items of a ``Content``: a message, and the calls and outputs of tools in its parts."""
    parts = objects(content, "parts")
    found = [called(field(p, "functionCall", dict, {})) for p in parts if "functionCall" in p]
    answers = [p for p in parts if "functionResponse" in p]
    found += [answered(field(part, "functionResponse", dict, {})) for part in answers]
    if len(found) == len(parts) and parts:
        return found
    role = field(content, "role", str, "user")
    images = sum("inlineData" in part for part in parts)
    message = message_of(_ROLES.get(role, role), text_of(content), images=images)
    message.tokens = tokens_of(content)
    return [message, *found]


def message_of(role: str, text: str, *, images: int = 0) -> Item:
    """A message with a text, and perhaps pictures."""
    content: list[Event] = [{"type": "input_text", "text": text}] if text else []
    content += [{"type": "input_image"}] * images
    body = {"id": make_id("content"), "type": "message", "role": role, "content": content}
    return Item(body, Tokens(text=text_tokens(text), image=images * IMAGE_TOKENS))


def spoken(audio: bytes, duration_ms: int, *, images: int = 0) -> Item:
    """What the user said aloud, at 24 kHz."""
    message = message_of("user", "", images=images)
    message.body["content"].insert(0, {"type": "input_audio"})
    message.tokens += Tokens(audio=gemini_audio_tokens(duration_ms))
    message.audio, message.heard = audio, f"This was speech of {duration_ms} ms."
    return message


def called(call: Event) -> Item:
    """A call of a function."""
    named = {"call_id": field(call, "id", str, ""), "name": field(call, "name", str, "")}
    return Item({"id": make_id("content"), "type": "function_call", **named}, Tokens())


def answered(response: Event) -> Item:
    """The answer of a function, which is an object."""
    if not isinstance(response.get("response"), dict):
        raise GeminiError
    output = json.dumps(response["response"])
    named = {"call_id": field(response, "id", str, ""), "name": field(response, "name", str, "")}
    body = {"id": make_id("content"), "type": "function_call_output", "role": "tool", **named}
    return Item({**body, "output": output}, Tokens(text=text_tokens(str(response["response"]))))


def check_answer(answer: Item, conversation: Conversation) -> None:
    """Refuse an answer to a call that was not made, or under another name."""
    name_by_call = {
        item.body["call_id"]: item.body["name"]
        for item in conversation.items.values()
        if item.body["type"] == "function_call"
    }
    body = answer.body
    if body["call_id"] and name_by_call.get(body["call_id"]) != body["name"]:
        raise GeminiError
    if body["name"] not in name_by_call.values():
        raise GeminiError
