"""The grammar of one response of OpenAI's Realtime GA, from response.created to response.done."""

import base64
import binascii
import json
from dataclasses import dataclass, field
from typing import Any

Event = dict[str, Any]
# The events of a content part by its type: what they carry, and in which fields.
_FIELDS = {
    "text": {"output_text": "text"},
    "audio": {"output_audio": "", "output_audio_transcript": "transcript"},
}


def fail_unless(is_right: bool, message: str) -> None:
    """An assertion that stays on, with a text."""
    if not is_right:
        raise AssertionError(message)


@dataclass
class _Part:
    kind: str
    deltas: dict[str, str] = field(default_factory=dict)
    done: set[str] = field(default_factory=set)
    audio_bytes: int = 0
    is_done: bool = False


@dataclass
class _Output:
    item: Event
    parts: dict[int, _Part] = field(default_factory=dict)
    arguments: str = ""
    has_arguments: bool = False
    final: Event | None = None


@dataclass
class Response:
    """One response; ``see`` takes its events but the first and the last."""

    id: str
    is_xai: bool = False
    is_beside: bool = False
    outputs: dict[int, _Output] = field(default_factory=dict)

    def see(self, event: Event) -> None:
        """An event whose type begins with ``response.``."""
        fail_unless(event["response_id"] == self.id, f"response {self.id} is open")
        kind = event["type"].removeprefix("response.")
        if kind == "output_item.added":
            self._item_added(event)
        elif kind == "output_item.done":
            self._item_over(event)
        elif kind == "content_part.added":
            self._part_added(event)
        elif kind == "content_part.done":
            self._part_done(event)
        elif kind.startswith("function_call_arguments."):
            self._arguments(event, is_done=kind.endswith(".done"))
        elif kind.endswith(".delta"):
            self._delta(event, kind.removesuffix(".delta"))
        elif kind.endswith(".done"):
            self._complete(event, kind.removesuffix(".done"))

    def item_done(self, item: Event) -> None:
        """conversation.item.done while the response is open."""
        output = next((x for x in self.outputs.values() if x.item["id"] == item["id"]), None)
        if output is not None:
            self._closed(output)

    def finish(self, body: Event, done: dict[str, Event]) -> None:
        """response.done, with the items of the conversation that are done."""
        fail_unless(body["id"] == self.id, f"response {self.id} is open, not {body['id']}")
        fail_unless(body["status"] != "in_progress", "a response ends in progress")
        open_ones = [x.item["id"] for x in self.outputs.values() if x.final is None]
        fail_unless(not open_ones, f"output_item.done of {open_ones} is missing")
        finals = [self.outputs[index].final for index in sorted(self.outputs)]
        fail_unless(body.get("output") == finals, f"the output is not what was done: {finals}")
        for item in body["output"]:
            if self.is_beside:
                fail_unless(item["id"] not in done, f"{item['id']} is beside the conversation")
            elif not self.is_xai:
                fail_unless(item["id"] in done, f"conversation.item.done of {item['id']} missing")
                fail_unless(done[item["id"]] == item, "conversation.item.done has another item")
            if body["status"] == "completed":
                fail_unless(item["status"] == "completed", f"{item['id']} is {item['status']}")
        if body.get("usage"):
            check_usage(body["usage"])

    # --- items ------------------------------------------------------------------------------------

    def _item_added(self, event: Event) -> None:
        index, item = event["output_index"], event["item"]
        fail_unless(index == len(self.outputs), f"output_index {index} after {len(self.outputs)}")
        fail_unless(item.get("status") == "in_progress", f"an item begins {item.get('status')}")
        self.outputs[index] = _Output(item)

    def _output(self, event: Event) -> _Output:
        output = self.outputs.get(event["output_index"])
        fail_unless(output is not None, f"no output_item.added for {event['output_index']}")
        assert output is not None
        name = event.get("item_id") or event["item"]["id"]
        fail_unless(name == output.item["id"], f"the item there is {output.item['id']}")
        fail_unless(output.final is None, "after its output_item.done")
        return output

    def _item_over(self, event: Event) -> None:
        output, item = self._output(event), event["item"]
        self._closed(output)
        fail_unless(item.get("status") in ("completed", "incomplete"), f"{item.get('status')}")
        if item["type"] == "function_call":
            found = item["arguments"]
            fail_unless(found == output.arguments, "not the arguments of the deltas")
            is_whole = _is_object(found) or item["status"] == "incomplete"
            fail_unless(is_whole, f"arguments are no JSON object: {found!r}")
        else:
            content = item["content"]
            fail_unless(len(content) == len(output.parts), f"{len(output.parts)} parts were added")
            for index, part in output.parts.items():
                for name, value in _texts(part).items():
                    found = content[index].get(name)
                    fail_unless(found == value, f"{name} was {value!r}, is {found!r}")
        output.final = item

    def _closed(self, output: _Output) -> None:
        """Everything in the item has its done event."""
        if output.item["type"] == "function_call":
            fail_unless(output.has_arguments, "function_call_arguments.done is missing")
        undone = [index for index, part in output.parts.items() if not part.is_done]
        fail_unless(not undone, f"content_part.done of {undone} is missing")
        if self.is_xai:  # its output_audio.done comes after content_part.done
            return
        for part in output.parts.values():
            fail_unless(part.done == set(_FIELDS[part.kind]), f"done are only {part.done}")

    def _arguments(self, event: Event, *, is_done: bool) -> None:
        output = self._output(event)
        item = output.item
        fail_unless(item["type"] == "function_call", f"arguments of a {item['type']}")
        fail_unless(event["call_id"] == item["call_id"], f"the call is {item['call_id']}")
        fail_unless(not output.has_arguments, "after function_call_arguments.done")
        if not is_done:
            output.arguments += event["delta"]
            return
        output.has_arguments = True
        found, joined = event["arguments"], output.arguments
        fail_unless(found == joined, f"deltas were {joined!r}, the arguments {found!r}")
        fail_unless(event["name"] == item["name"], f"the function is {item['name']}")

    # --- parts ------------------------------------------------------------------------------------

    def _part_added(self, event: Event) -> None:
        output, index = self._output(event), event["content_index"]
        fail_unless(output.item["type"] == "message", f"a part of a {output.item['type']}")
        fail_unless(index == len(output.parts), f"content_index {index} of {len(output.parts)}")
        kind = event["part"]["type"]
        fail_unless(kind in _FIELDS, f"a part of type {kind!r}")
        output.parts[index] = _Part(kind)

    def _part(self, event: Event) -> _Part:
        part = self._output(event).parts.get(event["content_index"])
        fail_unless(part is not None, f"no content_part.added for {event['content_index']}")
        assert part is not None
        return part

    def _delta(self, event: Event, name: str) -> None:
        part = self._part(event)
        fail_unless(name in _FIELDS[part.kind], f"{name} in a part of {part.kind}")
        fail_unless(name not in part.done, f"a delta after {name}.done")
        fail_unless(not part.is_done, "a delta after content_part.done")
        if name == "output_audio":
            part.audio_bytes += len(_decoded(event["delta"]))
        else:
            part.deltas[name] = part.deltas.get(name, "") + event["delta"]

    def _complete(self, event: Event, name: str) -> None:
        part = self._part(event)
        fail_unless(name in _FIELDS[part.kind], f"{name} in a part of {part.kind}")
        fail_unless(name not in part.done, f"{name}.done twice")
        fail_unless(self.is_xai or not part.is_done, f"{name}.done after content_part.done")
        part.done.add(name)
        if text := _FIELDS[part.kind][name]:
            joined = part.deltas.get(name, "")
            fail_unless(event[text] == joined, f"deltas were {joined!r}, done {event[text]!r}")
        else:
            fail_unless(part.audio_bytes % 2 == 0, "half a sample of audio")

    def _part_done(self, event: Event) -> None:
        part = self._part(event)
        fail_unless(not part.is_done, "content_part.done twice")
        missing = set(_FIELDS[part.kind]) - part.done
        late = {"output_audio"} if self.is_xai else set()
        fail_unless(missing <= late, f"done of {sorted(missing)} is missing")
        for name, value in _texts(part).items():
            found = event["part"].get(name)
            fail_unless(found == value, f"{name} was {value!r}, is {found!r}")
        part.is_done = True


def check_usage(usage: Event) -> None:
    """Counts are not negative, add up, and no part is more than the whole."""
    into, out = usage.get("input_tokens") or 0, usage.get("output_tokens") or 0
    fail_unless(into >= 0 and out >= 0, f"a negative count: {usage}")
    total = usage.get("total_tokens")
    fail_unless(total in (None, into + out), f"{into} and {out} are not {total}")
    details = usage.get("input_token_details") or {}
    parts = sum(details.get(f"{name}_tokens") or 0 for name in ("text", "audio", "image"))
    fail_unless(parts <= into, f"details of {parts} in {into} tokens")
    cached = details.get("cached_tokens") or 0
    fail_unless(cached <= into, f"{cached} cached of {into} tokens")
    details = usage.get("output_token_details") or {}
    parts = sum(details.get(f"{name}_tokens") or 0 for name in ("text", "audio"))
    fail_unless(parts <= out, f"details of {parts} in {out} tokens")


def _texts(part: _Part) -> dict[str, str]:
    """The text of the part by the name of its field."""
    return {text: part.deltas.get(name, "") for name, text in _FIELDS[part.kind].items() if text}


def _decoded(delta: str) -> bytes:
    try:
        return base64.b64decode(delta, validate=True)
    except binascii.Error as exc:
        raise AssertionError("audio that is no base64") from exc


def _is_object(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except ValueError:
        return False
