"""The dialect of xAI's Grok voice. It differs from OpenAI GA in four things: usage at the top level
of response.done, binary audio, pings, and transcripts.

xAI publishes no types. Field names and the order of events follow recordings of the real provider.
"""

import base64
import copy
import time
from collections.abc import Iterator
from itertools import chain, cycle
from typing import Any, Final

from simulator import openai_events as events
from simulator.conversation import Conversation
from simulator.dialect import Dialect
from simulator.openai_events import Event

_DELTAS_MS: Final = (350, 570, 420, 500)
_FIRST_DELTA_MS: Final = 60
_AUDIO_TOKENS_PER_S: Final = 20
_TRANSCRIPTION: Final = "conversation.item.input_audio_transcription"
# Events of OpenAI's that no recording of xAI contains.
_SILENT: Final = frozenset({f"{_TRANSCRIPTION}.delta", f"{_TRANSCRIPTION}.completed"}) | {
    "conversation.item.done",
    "rate_limits.updated",
}


def ping() -> Event:
    """xAI's ping event, which it sends at intervals and which belongs to no response."""
    return events.event("ping", timestamp=int(time.time() * 1000))


class XaiDialect(Dialect):
    """One connection to xAI."""

    ping_s = 15.0
    takes_binary_audio = True
    is_strict = False

    def __init__(self) -> None:
        self._is_binary = False
        self._speech_from_ms = 0
        self._announced: set[str] = set()
        self._held: list[Event] = []
        self._conversation = Conversation()

    def greeting(self, conversation: Conversation) -> list[Event]:
        """The conversation, its earlier items, and the first ping."""
        self._conversation = conversation
        shown = {"id": conversation.id, "object": "realtime.conversation"}
        previous: str | None = None
        replayed: list[Event] = []
        for item in conversation.items.values():
            replayed.append(_item_added(item.body, previous))
            previous = item.id
        return [events.event("conversation.created", conversation=shown), *replayed, ping()]

    def delta_sizes_ms(self) -> Iterator[int]:
        """Length of each audio delta: the first is short, the others longer than OpenAI's."""
        return chain((_FIRST_DELTA_MS,), cycle(_DELTAS_MS))

    def usage_in(self, event: Event) -> Any:
        """The usage at the top level; ``response.usage`` is ``{}``."""
        return event.get("usage")

    def outward(self, event: Event) -> list[Event | bytes]:
        """Translate one event of GA."""
        kind = event["type"]
        if kind in _SILENT:
            return []
        event.pop("obfuscation", None)
        if kind in ("response.created", "response.done"):
            return [self._response(event)]
        if kind in ("session.created", "session.updated"):
            out = event["session"]["audio"]["output"]
            self._is_binary = out.get("transport") == "binary"
            return [event]
        return self._spoken(event) if kind.startswith("response.") else self._heard(event)

    def _spoken(self, event: Event) -> list[Event | bytes]:
        """Audio deltas as binary messages; ``output_audio.done`` after ``content_part.done``."""
        kind = event["type"]
        if kind == "response.output_audio.delta" and self._is_binary:
            return [base64.b64decode(event["delta"])]
        if kind == "response.output_audio.done":
            self._held.append(event)
            return []
        if kind == "response.content_part.done":
            held, self._held = self._held, []
            return [event, *held]
        return [event]

    def _response(self, event: Event) -> Event:
        """The usage moves to the top level; the status has no details."""
        body = copy.copy(event["response"])
        has_usage = "usage" in body
        counted = body.get("usage")
        body["usage"] = {}
        if event["type"] == "response.created":
            return {**event, "response": body}
        body["status_details"] = "unimplemented"
        told = {**event, "response": body, "response_id": body["id"]}
        if has_usage:
            told["usage"] = self._counted(body["id"], counted) if counted else counted
        return {**told, "previous_item_id": None}

    def _counted(self, response_id: str, counted: Event) -> Event:
        seconds = counted["output_token_details"]["audio_tokens"] / _AUDIO_TOKENS_PER_S
        spoken_s = self._conversation.spoken_s  # goes on with the conversation
        spoken_s[response_id] = seconds
        return _usage(counted, seconds, sum(spoken_s.values()))

    def _heard(self, event: Event) -> list[Event | bytes]:
        """The user's speech: its item is added when it begins, transcripts precede its end."""
        kind = event["type"]
        if kind == "input_audio_buffer.speech_started":
            self._speech_from_ms = event["audio_start_ms"]
            self._announced.add(event["item_id"])
            item: Event = {
                "id": event["item_id"], "type": "message", "object": "realtime.item",
                "status": "in_progress", "role": "user",
                "content": [{"type": "input_audio", "transcript": None}],
            }  # fmt: skip
            return [event, _item_added(item, None)]
        if kind == "input_audio_buffer.speech_stopped":
            duration_ms = event["audio_end_ms"] - self._speech_from_ms
            return [*_transcripts(event["item_id"], duration_ms), event]
        if kind == "conversation.item.added":
            item = event["item"]
            if item["id"] in self._announced:
                return []
            parts = item.get("content") or []
            if item.get("role") == "user" and any(p.get("type") == "input_audio" for p in parts):
                return [event, *_transcripts(item["id"], 0)]
        return [event]


def _item_added(item: Event, previous: str | None) -> Event:
    return events.event("conversation.item.added", previous_item_id=previous, item=item)


def _transcripts(item_id: str, duration_ms: int) -> list[Event]:
    """Cumulative updates and several completions of one item, none with a usage."""
    place = {"item_id": item_id, "content_index": 0}
    texts = ("Speech", f"Speech of {duration_ms} milliseconds.")
    return [
        events.event(f"{_TRANSCRIPTION}.{kind}", **place, transcript=text)
        for text in texts
        for kind in ("updated", "completed")
    ]


def _usage(counted: Event, seconds: float, total_s: float) -> Event:
    """xAI's usage: tokens, the seconds of this response, and the conversation's total.

    The total is what is billed; it is rounded up to whole seconds.
    """
    into, out = counted["input_token_details"], counted["output_token_details"]
    return {
        "input_tokens": counted["input_tokens"],
        "input_token_details": _details(into),
        "output_tokens": counted["output_tokens"],
        "output_token_details": _details(out),
        "total_tokens": counted["total_tokens"],
        "output_audio_seconds": seconds,
        "billable_audio_seconds": -int(-total_s // 1),
    }


def _details(counted: Event) -> Event:
    return {
        "text_tokens": counted["text_tokens"],
        "audio_tokens": counted["audio_tokens"],
        "grok_tokens": 0,
    }
