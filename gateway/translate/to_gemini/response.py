"""A response while it comes: its items, and the events that the client hears of them. Pure.

The order is OpenAI's: ``response.created``; for each item ``response.output_item.added``,
``conversation.item.added`` and its content; the ends of everything; ``response.done``. A response
has at most one message, and behind it the calls of functions.
"""

from typing import Final

from msgspec import Struct, field, json

from gateway.translate.audio import (
    GEMINI_OUTPUT,
    Converter,
    encode_base64,
    openai_format,
)
from gateway.translate.base import Ids
from gateway.translate.to_gemini.audio_shapes import Payload, decoded
from gateway.translate.to_gemini.calls import Call
from gateway.translate.to_gemini.configuration import is_spoken
from gateway.translate.to_gemini.events import ClientEvents
from gateway.translate.to_gemini.items import Items
from gateway.translate.to_gemini.reading import Json

# The parts of a message, the events of their deltas, and the names of their text.
_SPOKEN: Final = "output_audio"
_WRITTEN: Final = "output_text"
_NAMES: Final = {
    _SPOKEN: ("audio", "transcript", "response.output_audio_transcript"),
    _WRITTEN: ("text", "text", "response.output_text"),
}
_DELTA: Final = b'{"type":"response.output_audio.delta","event_id":"'


class Outcome(Struct, frozen=True):
    """How a response ends: its status, and the details beside it."""

    status: str
    details: Json | None = None

    @classmethod
    def cancelled(cls, reason: str | None) -> "Outcome":
        """``reason`` is OpenAI's; None where it has no word for what happened."""
        return cls("cancelled", {"type": "cancelled", "reason": reason})


COMPLETED: Final = Outcome("completed")


class _Part(Struct):
    """A part of a message that is not complete."""

    kind: str
    place: Json
    texts: list[str] = field(default_factory=list)
    prefix: bytes = b""  # what stands between the id of a delta's event and the audio


class Response:
    """One response. ``outcome`` is None until nothing is missing but the usage. ``request`` is what
    the client's ``response.create`` said of it.

    ``is_begun`` says that the model has said something of it, ``has_spoken`` that it was audio.
    """

    def __init__(
        self,
        session: Json,
        *,
        conversation_id: str,
        request: Json,
        ids: Ids,
        events: ClientEvents,
        items: Items,
    ) -> None:
        self._session = session
        self._is_spoken = is_spoken(session)
        self._conversation_id = conversation_id
        self.request = request
        self._ids = ids
        self._events = events
        self._items = items
        self._output: list[Json] = []
        self._message: Json | None = None
        self._message_index = 0
        self._spoken: Json | None = None  # a spoken message that has ended
        self._parts: dict[str, _Part] = {}
        self._converter = Converter(
            GEMINI_OUTPUT, openai_format(session["audio"]["output"]["format"])
        )
        self.id = ids.make("resp")
        self.is_begun = False
        self.has_spoken = False
        self.outcome: Outcome | None = None
        events.add("response.created", response=self._body("in_progress", None, None))

    @property
    def is_speaking(self) -> bool:
        """Whether audio can be added as it is: the part is open, and nothing is converted."""
        return _SPOKEN in self._parts and self._converter.is_verbatim and self.outcome is None

    @property
    def is_unheard(self) -> bool:
        """Whether the client waits for the first of it."""
        return self.outcome is None and not (self.is_begun or self._output or self._parts)

    @property
    def is_generated(self) -> bool:
        """Whether all that is spoken was told; what is missing is the end of the turn."""
        return self._spoken is not None and self._message is None

    @property
    def is_cancelled(self) -> bool:
        """Whether the client, or the user's speech, ended it."""
        return self.outcome is not None and self.outcome.status == "cancelled"

    def item(self, item_id: str) -> Json | None:
        """The item ``item_id`` of this response, with what is said of it so far; None where it is
        none of them.
        """
        message = self._message
        if message is not None and message["id"] == item_id:
            so_far = [
                {"type": part.kind, _NAMES[part.kind][1]: "".join(part.texts)}
                for part in self._parts.values()
            ]
            shown = {name: value for name, value in message.items() if name != "previous"}
            return {**shown, "content": so_far}
        return next((item for item in self._output if item["id"] == item_id), None)

    # --- what the model says ----------------------------------------------------------------------

    def speak(self, payload: Payload) -> None:
        """A piece of speech at 24 kHz, in base64. A client that wants text does not hear it."""
        if not self._is_spoken:
            return
        part = self._part(_SPOKEN)
        if self._converter.is_verbatim:
            self._events.out.append(self.delta(payload))
            return
        self.has_spoken = True
        self._say_converted(part, self._converter.feed(decoded(payload)))

    def delta(self, payload: Payload) -> bytes:
        """The event of a piece of speech, while ``is_speaking``; its base64 is copied."""
        self.has_spoken = True
        event_id = self._events.next_id().encode()
        return b"".join((_DELTA, event_id, self._parts[_SPOKEN].prefix, payload.data, b'"}'))

    def transcribe(self, text: str) -> None:
        """A piece of the transcript of what is spoken."""
        self._write(_SPOKEN if self._is_spoken else _WRITTEN, text)

    def write(self, text: str) -> None:
        """A piece of a written answer."""
        self._write(_WRITTEN, text)

    def call(self, call: Call) -> None:
        """The call of a function, whole."""
        item: Json = {
            "id": self._ids.make("item"),
            "object": "realtime.item",
            "type": "function_call",
            "status": "in_progress",
            "call_id": call.call_id,
            "name": call.name,
            "arguments": "",
        }
        index = len(self._output)
        previous = self._add_item(item, index)
        place = {
            "response_id": self.id,
            "item_id": item["id"],
            "output_index": index,
            "call_id": call.call_id,
        }
        kind = "response.function_call_arguments"
        self._events.add(f"{kind}.delta", **place, delta=call.arguments)
        self._events.add(f"{kind}.done", **place, name=call.name, arguments=call.arguments)
        done = {**item, "status": "completed", "arguments": call.arguments}
        self._complete(done, index, previous)

    # --- how it ends ------------------------------------------------------------------------------

    def close_message(self, status: str = "completed") -> None:
        """The model's message is over: the ends of its parts, and of itself."""
        message, self._message = self._message, None
        if message is None:
            return
        parts, self._parts = self._parts, {}
        for part in parts.values():
            shown, text_name, kind = _NAMES[part.kind]
            text = "".join(part.texts)
            if part.kind == _SPOKEN:
                self._say_converted(part, self._converter.flush())
                self._events.add("response.output_audio.done", **part.place)
            self._events.add(f"{kind}.done", **part.place, **{text_name: text})
            self._events.add(
                "response.content_part.done",
                **part.place,
                part={"type": shown, text_name: text},
            )
            message["content"].append({"type": part.kind, text_name: text})
        message["status"] = status
        if _SPOKEN in parts:
            self._spoken = message
        self._complete(message, self._message_index, message.pop("previous"))

    def late_transcript(self, text: str) -> bool:
        """What is transcribed after the end of the message is kept; the client cannot be told any
        more. False where there is no message that has ended.
        """
        if self._spoken is None:
            return False
        content = [
            {**part, "transcript": part["transcript"] + text} if "transcript" in part else part
            for part in self._spoken["content"]
        ]
        self._spoken = {**self._spoken, "content": content}
        self._items.changed(self._spoken)
        return True

    def end(self, outcome: Outcome) -> None:
        """Nothing more comes but the usage. A response ends once."""
        if self.outcome is None:
            self.close_message("completed" if outcome.status == "completed" else "incomplete")
            self.outcome = outcome

    def done(self, usage: Json | None) -> None:
        """The last event, ``response.done``."""
        assert self.outcome is not None
        body = self._body(self.outcome.status, self.outcome.details, usage)
        self._events.add("response.done", response=body)

    # --- helpers ----------------------------------------------------------------------------------

    def _write(self, kind: str, text: str) -> None:
        part = self._part(kind)
        part.texts.append(text)
        self._events.add(f"{_NAMES[kind][2]}.delta", **part.place, delta=text)

    def _say_converted(self, part: _Part, audio: bytes) -> None:
        if audio:
            self._events.add(
                "response.output_audio.delta", **part.place, delta=encode_base64(audio)
            )

    def _part(self, kind: str) -> _Part:
        """The open part of this kind; it is announced where there is none."""
        part = self._parts.get(kind)
        if part is not None:
            return part
        message = self._message or self._begin_message()
        place = {
            "response_id": self.id,
            "item_id": message["id"],
            "output_index": self._message_index,
            "content_index": len(self._parts),
        }
        part = self._parts[kind] = _Part(kind, place)
        shown, text_name, _ = _NAMES[kind]
        self._events.add(
            "response.content_part.added", **place, part={"type": shown, text_name: ""}
        )
        part.prefix = b'",' + json.encode(place)[1:-1] + b',"delta":"'
        return part

    def _begin_message(self) -> Json:
        message: Json = {
            "id": self._ids.make("item"),
            "object": "realtime.item",
            "type": "message",
            "status": "in_progress",
            "role": "assistant",
            "content": [],
        }
        self._message_index = len(self._output)
        previous = self._add_item(message, self._message_index)
        self._message = {**message, "content": [], "previous": previous}
        return self._message

    def _add_item(self, item: Json, index: int) -> str | None:
        previous = self._items.place(item["id"])
        self._events.add(
            "response.output_item.added", response_id=self.id, output_index=index, item=item
        )
        self._events.add("conversation.item.added", previous_item_id=previous, item=item)
        return previous

    def _complete(self, item: Json, index: int, previous: str | None) -> None:
        self._output.append(item)
        self._items.keep(item)
        self._events.add("conversation.item.done", previous_item_id=previous, item=item)
        self._events.add(
            "response.output_item.done", response_id=self.id, output_index=index, item=item
        )

    def _body(self, status: str, details: Json | None, usage: Json | None) -> Json:
        output = self._session["audio"]["output"]
        return {
            "object": "realtime.response",
            "id": self.id,
            "status": status,
            "status_details": details,
            "output": self._output,
            "conversation_id": self._conversation_id,
            "output_modalities": self._session["output_modalities"],
            "max_output_tokens": self._session["max_output_tokens"],
            "audio": {"output": {"format": output["format"], "voice": output["voice"]}},
            "usage": usage,
            "metadata": self.request.get("metadata"),
        }
