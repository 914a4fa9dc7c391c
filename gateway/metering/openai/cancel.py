"""How a provider of the OpenAI family is asked to end what is in flight, and answers. Pure."""

import json
from collections.abc import Mapping
from typing import Any, Final

CANCEL_ID: Final = "event_rts_cancel"
COMMIT_ID: Final = "event_rts_commit"
# The error that answers a cancel when no response is in progress. Sessions that only transcribe do
# not know ``response.cancel`` and answer with another error, which names the event.
_NOTHING_TO_CANCEL: Final = "response_cancel_not_active"

_encode = json.JSONEncoder(separators=(",", ":")).encode  # ``json.dumps`` makes one for each event


def answers_cancel(event: Mapping[str, Any]) -> bool:
    """Whether an error answers a cancel of ours. The field that names the client's event is called
    ``event_id``, in GPT-Live ``client_event_id``.
    """
    error = event.get("error")
    if not isinstance(error, dict):
        return False
    named = (error.get("event_id"), error.get("client_event_id"), event.get("client_event_id"))
    return error.get("code") == _NOTHING_TO_CANCEL or CANCEL_ID in named


def encode_event(event: Mapping[str, Any]) -> bytes:
    """``event`` as compact JSON, as it is sent to the provider."""
    return _encode(event).encode()
