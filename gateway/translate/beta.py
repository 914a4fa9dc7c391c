"""A client that speaks OpenAI's beta, and a provider side that speaks GA. Pure.

OpenAI switched the beta off in May 2026; clients that speak it are still there. The two differ in
the names of a dozen events (``beta_events``) and in the form of sessions, responses and items
(``beta_fields``): a message becomes one message or none, and ids are untouched. Audio, which is
nearly all of the traffic, is neither parsed nor written again.

The provider side may be a provider, or another translator (``chain``): so the client can talk to
Gemini. A message that is no event is passed on as it is; the other side says what is wrong with it.
"""

import re
from typing import Any, Final

from msgspec import DecodeError, json

from gateway.translate.base import Ids, Translation
from gateway.translate.beta_events import beta_event, ga_event
from gateway.translate.conversation import Conversation
from gateway.translate.to_openai.record import Record
from gateway.translate.to_openai.replay import items_to_create

Json = dict[str, Any]

# Providers write compact JSON that begins with the type, so for audio a name is exchanged.
_AUDIO: Final = b'{"type":"response.output_audio.delta",'
_BETA_AUDIO: Final = b'{"type":"response.audio.delta",'
# The client's audio is the same in both. Its type is near the beginning or, as some SDKs sort
# fields, near the end; base64 has no quotation mark, and in a text there is a backslash before it.
_APPEND: Final = re.compile(rb'(?<!\\)"type"\s*:\s*"input_audio_buffer\.append"')
_EDGE: Final = 256
# Of a client's settings these are kept for another provider. Others would be without bound.
_KEPT: Final = (
    "type", "instructions", "tools", "tool_choice", "output_modalities", "max_output_tokens",
    "include", "prompt", "tracing", "truncation",
)  # fmt: skip
_KEPT_AUDIO: Final = {
    "input": ("format", "noise_reduction", "transcription", "turn_detection"),
    "output": ("format", "speed", "voice"),
}
# Responses that are open at once: one of the conversation, and those beside it.
OPEN_RESPONSES_MAX: Final = 16


class BetaTranslator:
    """Both directions of one session. ``seed``: see ``Ids``.

    ``conversation`` continues one: the provider is told what is in it. The client has heard
    ``session.created`` then, unless it is a new one: where ``opened`` is called.
    """

    def __init__(self, *, seed: str, conversation: Conversation | None = None) -> None:
        self.conversation = Conversation() if conversation is None else conversation
        self._is_announced = conversation is not None
        self._record = Record(self.conversation)
        self._ids = Ids(seed)
        self._open_responses: dict[object, Json] = {}
        # What another provider answers to what it is told: the client has heard all of that.
        self._retold: set[str] = set()
        self._is_reconfigured = False

    @property
    def is_waiting(self) -> bool:
        """Never: a provider of the OpenAI family takes messages at once."""
        return False

    @property
    def is_answering(self) -> bool:
        """See ``Translator``."""
        return bool(self._open_responses)

    def opened(self) -> Translation:
        """The provider's own ``session.created`` is the client's first message."""
        self._is_announced = False
        return Translation()

    def provider_opened(self) -> Translation:
        """In place of another provider this one is told what was configured and said."""
        events: list[Json] = []
        self._is_reconfigured = bool(self.conversation.session)
        if self._is_reconfigured:
            events.append({"type": "session.update", "session": self.conversation.session})
        items = list(items_to_create(self.conversation.items))
        self._retold = {str(item["id"]) for item in items if "id" in item}
        events += [{"type": "conversation.item.create", "item": item} for item in items]
        return Translation(to_provider=[json.encode(event) for event in events])

    def provider_closed(self) -> Translation:
        """The responses that it left open have failed."""
        left, self._open_responses = list(self._open_responses.values()), {}
        self._record.abandon()
        error = {"type": "server_error", "code": "provider_disconnected"}
        details = {"type": "failed", "error": error}
        out = Translation()
        for response in left:
            failed = {**response, "status": "failed", "status_details": details}
            event_id = self._ids.make("event")
            event = {"type": "response.done", "event_id": event_id, "response": failed}
            out.to_client.append(json.encode(beta_event(event)))
        return out

    def from_client(self, message: bytes) -> Translation:
        """See ``Translator``: GA's form of one event of the beta."""
        if _is_append(message):
            return Translation(to_provider=[message])
        event = _event(message)
        made, dropped = ga_event(event) if event else (event, [])
        if made is event:
            return Translation(to_provider=[message])
        if made["type"] == "session.update":
            _merge(self.conversation.session, made["session"])
        return Translation(to_provider=[_encoded(made, message)], ignored=dropped)

    def from_provider(self, message: bytes) -> Translation:
        """See ``Translator``: the beta's form of one event of GA."""
        if message.startswith(_AUDIO):
            return Translation(to_client=[_BETA_AUDIO + message[len(_AUDIO) :]])
        event = _event(message)
        if not event:
            return Translation(to_client=[message])
        if self._is_known(event):
            return Translation()
        self._note(event)
        made = beta_event(event)
        if made is None:
            return Translation()
        return Translation(to_client=[message if made is event else _encoded(made, message)])

    def _is_known(self, event: Json) -> bool:
        """Whether a provider in place of another says what the client has heard from the first."""
        kind = event["type"]
        if kind == "session.created":
            return self._is_announced
        if kind == "session.updated" and self._is_reconfigured:
            self._is_reconfigured = False
            return True
        if kind not in ("conversation.item.added", "conversation.item.done"):
            return False
        item = event.get("item")
        item_id = item.get("id") if isinstance(item, dict) else None
        is_known = item_id in self._retold
        if kind == "conversation.item.done":
            self._retold.discard(str(item_id))
        return is_known

    # --- what is kept -----------------------------------------------------------------------------

    def _note(self, event: Json) -> None:
        kind = event["type"]
        self._is_announced = self._is_announced or kind == "session.created"
        if isinstance(event.get("response"), dict):
            self._note_response(kind, event["response"])
        elif kind.startswith("conversation.item."):
            self._note_item(kind, event)

    def _note_response(self, kind: str, response: Json) -> None:
        response_id = response.get("id")
        if not isinstance(response_id, str):
            return
        if kind == "response.created" and len(self._open_responses) < OPEN_RESPONSES_MAX:
            self._open_responses[response_id] = response
        elif kind == "response.done":
            self._open_responses.pop(response_id, None)
            self._record.answered(())

    def _note_item(self, kind: str, event: Json) -> None:
        item = event.get("item")
        item_id = item.get("id") if isinstance(item, dict) else event.get("item_id")
        if not isinstance(item_id, str):
            return
        if kind.endswith(".added") and isinstance(item, dict):
            self._record.expect(item_id, str(item.get("role")))
        elif kind.endswith(".done") and isinstance(item, dict) and not _is_unheard(item):
            self._record.add(item)
        elif kind.endswith(".input_audio_transcription.completed"):
            self._record.transcribed(item_id, str(event.get("transcript")))
            self._record.settle()
        elif kind.endswith((".deleted", ".input_audio_transcription.failed")):
            self._record.drop(item_id)
            self._record.settle()
            self.conversation.remove(item_id)


def _is_append(message: bytes) -> bool:
    """Whether it is the client's audio, found without parsing."""
    end = max(0, len(message) - _EDGE)
    return bool(_APPEND.search(message, 0, _EDGE) or _APPEND.search(message, end))


def _is_unheard(item: Json) -> bool:
    """Whether it is speech of which the transcript is still to come."""
    content = item.get("content")
    parts = (
        [part for part in content if isinstance(part, dict)] if isinstance(content, list) else []
    )
    return any(part.get("type") == "input_audio" and not part.get("transcript") for part in parts)


def _event(message: bytes) -> Json:
    """The event in ``message``; empty where it is none."""
    try:
        value = json.decode(message)
    except (DecodeError, RecursionError):
        return {}
    return value if isinstance(value, dict) and isinstance(value.get("type"), str) else {}


def _encoded(event: Json, message: bytes) -> bytes:
    """``event``; where it is nested too deeply, the ``message`` that it was made of."""
    try:
        return json.encode(event)
    except RecursionError:
        return message


def _merge(session: Json, change: Json) -> None:
    """Put what a ``session.update`` names into ``session``; of audio each setting by itself."""
    session.update({name: change[name] for name in _KEPT if name in change})
    for direction, names in _KEPT_AUDIO.items():
        settings = _object(_object(change.get("audio")).get(direction))
        found = {name: settings[name] for name in names if name in settings}
        if found:
            session.setdefault("audio", {}).setdefault(direction, {}).update(found)


def _object(value: object) -> Json:
    return value if isinstance(value, dict) else {}
