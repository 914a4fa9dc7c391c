"""What a reply says with ``recall``: the instructions and the conversation so far. Pure.

A test reads in it what has reached the provider, in which order, and from whom::

    Recalled | told Be brief. | user Speech of 600 milliseconds. | model | user What now?

``told`` are the instructions in effect, unless they are the provider's own. ``user`` and ``system``
are followed by their words, of speech by its transcript; ``call`` by a function's name and ``tool``
by its output. What the model said is not repeated: it would be all of this again.
"""

import json
from typing import Any, Final

from simulator.conversation import Conversation, Item

BETWEEN: Final = " | "
IMAGE: Final = "(image)"


def recalled(conversation: Conversation, instructions: str) -> str:
    """The reply; ``instructions`` are empty where the provider's own are in effect."""
    told = [f"told {instructions}"] if instructions else []
    return BETWEEN.join(["Recalled", *told, *map(_line, conversation.items.values())])


def _line(item: Item) -> str:
    body = item.body
    kind, role = body.get("type"), str(body.get("role"))
    if kind == "function_call":
        return f"call {body.get('name')}"
    if kind == "function_call_output":
        output = body.get("output")
        return f"tool {output if isinstance(output, str) else json.dumps(output)}"
    return "model" if role == "assistant" else f"{role} {_words(item)}".rstrip()


def _words(item: Item) -> str:
    """What a message says: its parts in order."""
    content = item.body.get("content")
    found = [_part(part, item) for part in content if isinstance(part, dict)] if content else []
    return " ".join(word for word in found if word)


def _part(part: dict[str, Any], item: Item) -> str:
    if part.get("type") == "input_image":
        return IMAGE
    text = part.get("text") or part.get("transcript")
    return str(text) if text else item.heard if part.get("type") == "input_audio" else ""
