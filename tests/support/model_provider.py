"""A provider of OpenAI's GA protocol in one object, without a clock: a model for property tests.

``told`` are messages on their way to it, ``saying`` events on their way from it: a connection that
is cut loses both. ``read`` takes one message, ``go_on`` makes one event of the response in
progress. Nothing is checked that the tests do not send.
"""

import itertools
from collections.abc import Iterator
from typing import Any

from msgspec import json

Event = dict[str, Any]

WORDS = ("Good", " day", " to you")
ARGUMENTS = ('{"a"', ": 1}")
REFUSED = "refuse-me"  # a text, or a voice, that is refused by its field
DOUBTED = "doubt-me"  # a text that is refused, though the error says nothing


class ModelProvider:
    """One connection. ``is_xai``: no item is said to be done, and speech is an item from its start.
    With ``renames`` items that are created are given other names. ``transcribes``: speech is.
    ``names_events``: errors say which event they are about; without it they do not, as at xAI, and
    with ``is_vague`` nothing else.
    ``left`` is another one, with whose conversation xAI goes on: it replays what is there.
    """

    numbers = itertools.count(1)

    def __init__(
        self,
        *,
        is_xai: bool = False,
        renames: bool = False,
        transcribes: bool = True,
        names_events: bool = True,
        is_vague: bool = False,
        left: "ModelProvider | None" = None,
    ) -> None:
        self.is_xai, self.renames, self.transcribes = is_xai, renames, transcribes
        self.names_events, self.is_vague = names_events, is_vague
        self.told: list[bytes] = []
        self.saying: list[Event] = []
        self.read_all: list[bytes] = []
        self.items: list[Event] = []
        self.session: Event = {"type": "realtime", "id": self._new("sess"), "model": "m"}
        self._response: Iterator[list[Event]] | None = None
        self._is_cancelled = False
        self._speech = ""
        self._said_so_far: dict[str, Event] = {}  # of the answers, by their items
        self.say("session.created", session=dict(self.session))
        self.conversation_id = ""
        if is_xai:
            self.conversation_id = left.conversation_id if left else self._new("conv")
            self.say("conversation.created", conversation={"id": self.conversation_id})
            for item in left.items if left else ():
                self._add(dict(item))

    # --- the test's verbs -------------------------------------------------------------------------

    def read(self) -> None:
        """Take the next message of the client, and answer."""
        if self.told:
            raw = self.told.pop(0)
            self.read_all.append(raw)
            event = json.decode(raw)
            answer = getattr(self, "_on_" + event["type"].replace(".", "_"))
            answer(event)

    def go_on(self) -> None:
        """The next event of the response."""
        if self._response is not None:
            events = next(self._response, None)
            self.saying += events or []
            if events is None or (events and events[-1]["type"] == "response.done"):
                self._response, self._is_cancelled = None, False

    def leave(self, end: str) -> None:
        """The connection is gone. The answer in progress is ``finished``, ``dropped``, or stays
        ``cut`` as far as it came.
        """
        self.told = []
        if end == "finished":
            while self._response is not None:
                self.go_on()
        open_items = [item for item in self.items if _is_open(item)]
        for item in open_items:
            if end == "dropped":
                self.items.remove(item)
            elif item["id"] in self._said_so_far:
                item["content"] = [dict(self._said_so_far[item["id"]])]
                item["status"] = "incomplete"

    def speech_starts(self) -> None:
        """The user begins to speak, which interrupts. What the client said before arrives first."""
        while self.told:
            self.read()
        if not self._speech:
            self._is_cancelled = self.is_answering
            self._speech = self._new("item")
            self.say("input_audio_buffer.speech_started", item_id=self._speech, audio_start_ms=0)
            if self.is_xai:
                self._add(_spoken(self._speech, "in_progress"))

    def speech_stops(self) -> None:
        """The user has spoken, which is answered."""
        if self._speech:
            self.say("input_audio_buffer.speech_stopped", item_id=self._speech, audio_end_ms=9)
            self._commit(self._speech)
            self._speech = ""
            if not self.is_answering:
                self._response = self._respond({})

    @property
    def is_answering(self) -> bool:
        """Whether a response is in progress."""
        return self._response is not None

    @property
    def is_at_rest(self) -> bool:
        """Whether nothing is on its way, or in progress."""
        return not (self.told or self.saying or self.is_answering)

    def say(self, kind: str, **fields: Any) -> None:
        """An event of the server."""
        self.saying.append(self._event(kind, **fields))

    @property
    def texts(self) -> list[str]:
        """What it knows to have been said, in order; a call by its id."""
        return [words for item in self.items if (words := text_of(item))]

    # --- what the client says ---------------------------------------------------------------------

    def _on_session_update(self, event: Event) -> None:
        if event["session"].get("instructions") == REFUSED:
            self._refuse(event, param="session.instructions")
            return
        self.session.update(event["session"])
        self.say("session.updated", session=dict(self.session))

    def _on_conversation_item_create(self, event: Event) -> None:
        item = dict(event["item"])
        if self._find(item.get("id")) is not None:
            self._refuse(event, param="item.id", code="item_create_duplicate_item_id")
        elif REFUSED in str(item):
            self._refuse(event, param="item.content")
        elif DOUBTED in str(item):
            self._refuse(event, param=None, code=None)
        elif item.get("type") == "function_call_output" and not self._has_call(item["call_id"]):
            self._refuse(event, param="item.call_id", code="invalid_tool_call_id")
        else:
            name = None if self.renames else item.get("id")
            made = {"status": "completed", **item, "id": name or self._new("item")}
            former = event.get("previous_item_id")
            if former not in (None, "root") and self._find(former) is None:
                self._refuse(event, param="previous_item_id")
                return
            self._add(made, former)
            self._finish(made)

    def _on_conversation_item_delete(self, event: Event) -> None:
        item = self._find(event["item_id"])
        if item is None:
            self._refuse(event, param="item_id", code="item_delete_invalid_item_id")
        else:
            self.items.remove(item)
            self.say("conversation.item.deleted", item_id=item["id"])

    def _on_conversation_item_retrieve(self, event: Event) -> None:
        item = self._find(event["item_id"])
        if item is None:
            self._refuse(event, param="item_id", code="item_retrieve_invalid_item_id")
        else:
            self.say("conversation.item.retrieved", item=dict(item))

    def _on_conversation_item_truncate(self, event: Event) -> None:
        place = {name: event[name] for name in ("item_id", "content_index", "audio_end_ms")}
        if self._find(event["item_id"]) is None:
            self._refuse(event, param="item_id", code="item_truncate_invalid_item_id")
        else:
            self.say("conversation.item.truncated", **place)

    def _on_response_create(self, event: Event) -> None:
        if self.is_answering:
            code = "conversation_already_has_active_response"
            self._refuse(event, param=None, code=code)
            self.read_all.pop()  # it may be asked for once more
        else:
            self._response = self._respond(event.get("response", {}))
            self.go_on()  # response.created comes at once

    def _on_response_cancel(self, event: Event) -> None:
        if self.is_answering:
            self._is_cancelled = True
        else:
            self._refuse(event, param=None, code="response_cancel_not_active")

    def _on_input_audio_buffer_append(self, event: Event) -> None:
        pass

    def _on_input_audio_buffer_commit(self, _event: Event) -> None:
        item_id, self._speech = self._speech or self._new("item"), ""
        self._commit(item_id)

    # --- what it does -----------------------------------------------------------------------------

    def _commit(self, item_id: str) -> None:
        item = _spoken(item_id, "completed")
        self.say("input_audio_buffer.committed", item_id=item_id, previous_item_id=self._last)
        if self._find(item_id) is None:
            self._add(item)
            self._finish(item)
        if self.transcribes:
            kind = "conversation.item.input_audio_transcription.completed"
            words = f"spoken-{item_id}"
            item = self._find(item_id) or item
            item["content"] = [{"type": "input_audio", "transcript": words}]
            for said in ("spoken", words) if self.is_xai else (words,):
                self.say(
                    kind, item_id=item_id, content_index=0, transcript=said,
                    usage={"type": "duration", "seconds": 1},
                )  # fmt: skip

    def _add(self, item: Event, former: str | None = None) -> None:
        place = len(self.items)
        if former is not None:
            found = self._find(former)
            place = 0 if found is None else self.items.index(found) + 1
        previous = self.items[place - 1]["id"] if place else None
        self.items.insert(place, item)
        self.say("conversation.item.added", previous_item_id=previous, item=dict(item))

    def _finish(self, item: Event) -> None:
        if not self.is_xai:
            self.say("conversation.item.done", item=dict(item))

    def _respond(self, request: Event) -> Iterator[list[Event]]:
        """The events of a response, a few at a time."""
        name, is_beside = self._new("resp"), request.get("conversation") == "none"
        metadata = request.get("metadata")
        of_response = {"response_id": name, "output_index": 0}
        body = {
            "conversation_id": None if is_beside else "conv",
            "id": name, "object": "realtime.response", "metadata": metadata,
            "status_details": None, "usage": None,
        }  # fmt: skip
        begun = {**body, "status": "in_progress", "output": []}
        yield [self._event("response.created", response=begun)]
        is_call = (metadata or {}).get("kind") == "call"
        item: Event = {"id": self._new("item"), "object": "realtime.item", "status": "in_progress"}
        if is_call:
            item |= {
                "type": "function_call", "name": "f", "call_id": self._new("call"), "arguments": "",
            }  # fmt: skip
        else:
            item |= {"type": "message", "role": "assistant", "content": []}
        yield [self._event("response.output_item.added", **of_response, item=dict(item))]
        if not is_beside:
            self._add(item)
        yield []
        place = {**of_response, "item_id": item["id"]}
        final = {**item, "status": "completed"}
        yield from self._called(place, final) if is_call else self._said(place, final, request)
        events = []
        if not is_beside:
            self.items[self.items.index(item)] = final
            if not self.is_xai:
                events.append(self._event("conversation.item.done", item=dict(final)))
        events.append(self._event("response.output_item.done", **of_response, item=dict(final)))
        yield events
        status = "cancelled" if self._is_cancelled else "completed"
        if status == "completed" != final["status"]:
            status = "incomplete"
        ended = {**body, "status": status, "output": [dict(final)]}
        yield [self._event("response.done", response=ended)]

    def _called(self, place: Event, final: Event) -> Iterator[list[Event]]:
        place = {**place, "call_id": final["call_id"]}
        for piece in ARGUMENTS:
            if self._is_cancelled:
                final["status"] = "incomplete"
                break
            final["arguments"] += piece
            yield [self._event("response.function_call_arguments.delta", **place, delta=piece)]
        done = {"name": final["name"], "arguments": final["arguments"]}
        yield [self._event("response.function_call_arguments.done", **place, **done)]

    def _said(self, place: Event, final: Event, request: Event) -> Iterator[list[Event]]:
        is_text = request.get("output_modalities") == ["text"]
        kind, field = ("text", "text") if is_text else ("audio", "transcript")
        name = "output_text" if is_text else "output_audio_transcript"
        place = {**place, "content_index": 0}
        part = {"type": kind, field: ""}
        self._said_so_far[final["id"]] = part
        yield [self._event("response.content_part.added", **place, part=dict(part))]
        for words in (f"{final['id']}:", *WORDS):
            if self._is_cancelled:
                final["status"] = "incomplete"
                break
            part[field] += words
            yield [self._event(f"response.{name}.delta", **place, delta=words)]
            if not is_text:
                yield [self._event("response.output_audio.delta", **place, delta="AAAAAAAA")]
        if not is_text:
            yield [self._event("response.output_audio.done", **place)]
        yield [self._event(f"response.{name}.done", **place, **{field: part[field]})]
        yield [self._event("response.content_part.done", **place, part=dict(part))]
        final["content"] = [{**part, "type": f"output_{kind}"}]

    # --- helpers ----------------------------------------------------------------------------------

    @property
    def _last(self) -> str | None:
        return self.items[-1]["id"] if self.items else None

    def _find(self, item_id: object) -> Event | None:
        return next((item for item in self.items if item["id"] == item_id), None)

    def _has_call(self, call_id: str) -> bool:
        return any(x["type"] == "function_call" and x["call_id"] == call_id for x in self.items)

    def _refuse(self, event: Event, *, param: str | None, code: str | None = "invalid") -> None:
        if self.is_vague:
            param = code = None
        error = {
            "type": "invalid_request_error", "code": code, "param": param,
            "message": str(event), "event_id": event.get("event_id") if self.names_events else None,
        }  # fmt: skip
        self.say("error", error=error)

    def _event(self, kind: str, **fields: Any) -> Event:
        return {"type": kind, "event_id": self._new("event"), **fields}

    def _new(self, kind: str) -> str:
        return f"{kind}_{next(self.numbers)}"


def _is_open(item: Event) -> bool:
    is_answer = item.get("role") == "assistant" or item["type"] == "function_call"
    return is_answer and item["status"] == "in_progress"


def _spoken(item_id: str, status: str) -> Event:
    content = [{"type": "input_audio", "transcript": None}]
    return {
        "id": item_id, "type": "message", "role": "user", "status": status, "content": content,
    }  # fmt: skip


def text_of(item: Event) -> str:
    """What is said in an item; a call, or its output, by its id."""
    if item["type"] != "message":
        return f"{item['type']} {item['call_id']}" if item.get("arguments") != "" else ""
    parts = item.get("content") or []
    return "".join(part.get("text") or part.get("transcript") or "" for part in parts)
