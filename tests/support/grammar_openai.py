"""What a client of OpenAI's Realtime GA may see: the grammar of a session's server events.

``Checker.see`` takes one event after the other and raises ``AssertionError`` with what is wrong.
The shapes are those of the ``openai`` SDK; the order is that of its documentation and of recorded
sessions. A response's own events are checked by ``grammar_openai_response``.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, get_args

from openai.types.realtime import RealtimeServerEvent
from pydantic import ValidationError

from tests.support.grammar_openai_response import Response, fail_unless

Event = dict[str, Any]
TRANSCRIPTION = "conversation.item.input_audio_transcription"
# Fields that the real provider sends and the SDK's types do not have.
_EXTRA = frozenset({"obfuscation"})


def _models() -> dict[str, Any]:
    """The SDK's model of each type of event."""
    union = get_args(RealtimeServerEvent)[0]
    return {
        name: model
        for model in get_args(union)
        for name in get_args(model.model_fields["type"].annotation)
    }


MODELS = _models()


@dataclass
class Checker:
    """The grammar of one session. With ``is_xai`` the deviations of xAI's dialect are allowed, with
    ``has_beside`` responses beside the conversation, which name none.
    """

    is_xai: bool = False
    has_beside: bool = False
    kinds: list[str] = field(default_factory=list)
    """The types of all events so far."""

    def __post_init__(self) -> None:
        self._ids: set[str] = set()
        self._session: Event = {}
        self._added: dict[str, Event] = {}
        self._done: dict[str, Event] = {}
        self._committed: set[str] = set()
        self._speaking = ""  # the item of the speech in progress
        self._stopped = ""  # the item of the speech that is to be committed
        self._words: dict[tuple[str, int], str] = {}
        self._transcribed: set[tuple[str, int]] = set()
        self._responses: set[str] = set()
        self._response: Response | None = None
        self._rules: Mapping[str, Callable[[Event], None]] = {
            "session.created": self._session_created,
            "session.updated": self._session_updated,
            "conversation.item.added": self._item_added,
            "conversation.item.done": self._item_done,
            "conversation.item.deleted": self._item_named,
            "conversation.item.truncated": self._item_truncated,
            "conversation.item.retrieved": lambda e: self._known(e["item"]["id"]),
            f"{TRANSCRIPTION}.delta": self._transcribing,
            f"{TRANSCRIPTION}.completed": self._transcription_completed,
            f"{TRANSCRIPTION}.failed": self._transcription_over,
            "input_audio_buffer.speech_started": self._speech_started,
            "input_audio_buffer.speech_stopped": self._speech_stopped,
            "input_audio_buffer.committed": self._buffer_committed,
            "input_audio_buffer.cleared": self._buffer_cleared,
            "response.created": self._response_created,
            "response.done": self._response_done,
        }

    def see(self, message: Event | str | bytes) -> None:
        """The next message of the server; raw bytes are audio, which only xAI sends."""
        if isinstance(message, bytes):
            fail_unless(self.is_xai, "a binary message")
            fail_unless(self._response is not None, "audio outside a response")
            return
        event: Event = json.loads(message) if isinstance(message, str) else message
        kind = str(event.get("type"))
        try:
            self._validate(kind, event)
            self._unique(event)
            fail_unless(bool(self.kinds) or kind == "session.created", "before session.created")
            rule = self._rules.get(kind)
            if rule is not None:
                rule(event)
            elif kind.startswith("response."):
                self._in_response(event)
        except AssertionError as exc:
            recent = " ".join(self.kinds[-6:])
            shown = json.dumps(event, ensure_ascii=False)[:600]
            raise AssertionError(f"{exc}\n  event: {shown}\n  after: {recent}") from exc
        self.kinds.append(kind)

    def finish(self, *, is_cut: bool = False) -> None:
        """The session is over; with ``is_cut`` it was closed in the middle of something."""
        fail_unless(bool(self.kinds), "no event was sent")
        if is_cut:
            return
        fail_unless(self._response is None, "response.done is missing")
        fail_unless(not self._stopped, f"{self._stopped} was never committed")
        missing = self._committed - set(self._added)
        fail_unless(not missing, f"committed and never added: {sorted(missing)}")
        undone = [] if self.is_xai else [name for name in self._added if name not in self._done]
        fail_unless(not undone, f"added and never done: {undone}")

    # --- every event ------------------------------------------------------------------------------

    def _validate(self, kind: str, event: Event) -> None:
        if self.is_xai and kind in ("ping", "conversation.created", f"{TRANSCRIPTION}.updated"):
            return
        model = MODELS.get(kind)
        fail_unless(model is not None, f"no type of event: {kind!r}")
        assert model is not None
        try:
            model.model_validate(_as_openai(event) if self.is_xai else event)
        except ValidationError as exc:
            wrong = [f"{'.'.join(map(str, x['loc']))}: {x['msg']}" for x in exc.errors()[:4]]
            raise AssertionError(f"not the SDK's {model.__name__}: {wrong}") from exc
        if not self.is_xai:
            unknown = set(event) - set(model.model_fields) - _EXTRA
            fail_unless(not unknown, f"unknown fields: {sorted(unknown)}")

    def _unique(self, event: Event) -> None:
        name = event.get("event_id")
        fail_unless(isinstance(name, str) and bool(name), "no event_id")
        fail_unless(name not in self._ids, f"event_id {name} twice")
        self._ids.add(str(name))

    # --- session ----------------------------------------------------------------------------------

    def _session_created(self, event: Event) -> None:
        fail_unless(not self._session, "session.created twice")
        self._session = event["session"]

    def _session_updated(self, event: Event) -> None:
        for name in ("id", "model", "type"):
            before, now = self._session.get(name), event["session"].get(name)
            fail_unless(before == now, f"session.{name} was {before!r}, is {now!r}")

    # --- items ------------------------------------------------------------------------------------

    def _known(self, item_id: str) -> None:
        fail_unless(item_id in self._added, f"item {item_id} was never added")

    def _item_named(self, event: Event) -> None:
        self._known(event["item_id"])

    def _item_added(self, event: Event) -> None:
        item = event["item"]
        fail_unless(bool(item.get("id")), "an item without an id")
        fail_unless(item["id"] not in self._added, f"item {item['id']} added twice")
        previous = event.get("previous_item_id")
        if previous is not None:
            self._known(previous)
        self._added[item["id"]] = item

    def _item_done(self, event: Event) -> None:
        item = event["item"]
        self._known(item["id"])
        fail_unless(item["id"] not in self._done, f"item {item['id']} done twice")
        fail_unless(item.get("status") != "in_progress", "an item in progress is done")
        added = self._added[item["id"]]
        for name in ("type", "role", "call_id", "name"):
            fail_unless(item.get(name) == added.get(name), f"{name} differs from item.added")
        previous = event.get("previous_item_id")
        if previous is not None:
            self._known(previous)
        if self._response is not None:
            self._response.item_done(item)
        self._done[item["id"]] = item

    def _item_truncated(self, event: Event) -> None:
        self._known(event["item_id"])
        role = self._added[event["item_id"]].get("role")
        fail_unless(role == "assistant", f"an item of {role} is truncated")

    # --- the user's audio -------------------------------------------------------------------------

    def _speech_started(self, event: Event) -> None:
        fail_unless(not self._speaking, "speech_started twice")
        fail_unless(not self._stopped, "speech_started before the former speech is committed")
        self._speaking = event["item_id"]

    def _speech_stopped(self, event: Event) -> None:
        fail_unless(bool(self._speaking), "speech_stopped without speech_started")
        fail_unless(event["item_id"] == self._speaking, f"{self._speaking} had started")
        self._speaking, self._stopped = "", event["item_id"]

    def _buffer_committed(self, event: Event) -> None:
        name = event["item_id"]
        fail_unless(name not in self._committed, f"item {name} committed twice")
        expected = self._stopped or self._speaking
        fail_unless(not expected or name == expected, f"{expected} was spoken")
        fail_unless(self.is_xai or name not in self._added, f"{name} was added before")
        previous = event.get("previous_item_id")
        if previous is not None:
            self._known(previous)
        self._committed.add(name)
        self._speaking = self._stopped = ""

    def _buffer_cleared(self, _event: Event) -> None:
        self._speaking = self._stopped = ""

    # --- transcripts of it ------------------------------------------------------------------------

    def _transcribing(self, event: Event) -> None:
        place = (event["item_id"], event.get("content_index", 0))
        fail_unless(place not in self._transcribed, "a delta of a transcript that is complete")
        self._words[place] = self._words.get(place, "") + (event.get("delta") or "")

    def _transcription_completed(self, event: Event) -> None:
        place = (event["item_id"], event["content_index"])
        if self.is_xai:  # its texts are cumulative, and completed again and again
            return
        self._transcription_over(event)
        joined = self._words.get(place)
        if joined is not None:
            said = event["transcript"].strip()
            fail_unless(said == joined.strip(), f"deltas were {joined!r}, the transcript {said!r}")

    def _transcription_over(self, event: Event) -> None:
        place = (event["item_id"], event.get("content_index", 0))
        fail_unless(place not in self._transcribed, "a transcript is completed twice")
        is_known = place[0] in self._committed or place[0] in self._added
        fail_unless(is_known, f"the transcript of {place[0]}, which is no item")
        self._transcribed.add(place)

    # --- responses --------------------------------------------------------------------------------

    def _response_created(self, event: Event) -> None:
        name = event["response"]["id"]
        fail_unless(name not in self._responses, f"response {name} created twice")
        fail_unless(self._response is None, "response.created while a response is open")
        status = event["response"]["status"]
        fail_unless(status == "in_progress", f"a response begins {status}")
        missing = self._committed - set(self._added)
        fail_unless(not missing, f"{sorted(missing)} committed and not added")
        self._responses.add(name)
        is_beside = self.has_beside and event["response"].get("conversation_id") is None
        self._response = Response(name, is_xai=self.is_xai, is_beside=is_beside)

    def _open(self) -> Response:
        fail_unless(self._response is not None, "no response is open")
        assert self._response is not None
        return self._response

    def _in_response(self, event: Event) -> None:
        response = self._open()
        response.see(event)
        if event["type"] == "response.content_part.added" and not response.is_beside:
            self._known(event["item_id"])

    def _response_done(self, event: Event) -> None:
        response = self._open()
        response.finish(event["response"], self._done)
        self._response = None


def _as_openai(event: Event) -> Event:
    """An event of xAI, without what differs from OpenAI's types."""
    if event["type"] == f"{TRANSCRIPTION}.completed":
        return {**event, "usage": {"type": "duration", "seconds": 0}}
    if "response" in event:
        body = {**event["response"], "usage": None}
        if body.get("status_details") == "unimplemented":
            body["status_details"] = None
        return {**event, "response": body}
    return event
