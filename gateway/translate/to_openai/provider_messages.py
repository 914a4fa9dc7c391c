"""The events that a provider of the OpenAI family is sent. Pure.

All but audio carry an ``event_id``, because an error names the event that it answers. None has one
of those that ``metering.openai.cancel`` gives the gateway's own events.
"""

from collections.abc import Mapping
from typing import Any, Final

from msgspec import json

from gateway.translate.base import call_id_of

Event = dict[str, Any]

SETUP_ID: Final = "event_rts_setup"
CONTEXT_ID: Final = "event_rts_context"
# What answers these is never waited for, so they need no names of their own.
_ITEM_ID: Final = "event_rts_item"
COMMIT: Final = b'{"type":"input_audio_buffer.commit","event_id":"event_rts_activity_end"}'
CLEAR: Final = b'{"type":"input_audio_buffer.clear","event_id":"event_rts_activity_start"}'
CANCEL: Final = b'{"type":"response.cancel","event_id":"event_rts_interrupt"}'
_APPEND: Final = b'{"type":"input_audio_buffer.append","audio":"%b"}'


def append(base64: str) -> bytes:
    """Audio of the user, in the session's format."""
    return _APPEND % base64.encode("ascii")


def update(session: Mapping[str, Any], event_id: str) -> bytes:
    """A configuration."""
    return json.encode({"type": "session.update", "event_id": event_id, "session": session})


def create_item(item: Mapping[str, Any], previous_id: str = "") -> bytes:
    """An item of the conversation; behind another one, where one is named, else the last. Gemini's
    names for calls are longer than OpenAI's may be.
    """
    call_id = item.get("call_id")
    if isinstance(call_id, str):
        item = {**item, "call_id": call_id_of(call_id)}
    place = {"previous_item_id": previous_id} if previous_id else {}
    event = {"type": "conversation.item.create", "event_id": _ITEM_ID, **place, "item": item}
    return json.encode(event)


def delete_item(item_id: str) -> bytes:
    """An item that is not a part of the conversation any more."""
    event = {"type": "conversation.item.delete", "event_id": _ITEM_ID, "item_id": item_id}
    return json.encode(event)


def create_response(event_id: str) -> bytes:
    """The question for an answer to what was said."""
    return json.encode({"type": "response.create", "event_id": event_id})
