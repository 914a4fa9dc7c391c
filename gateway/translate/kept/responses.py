"""What is open of a session's responses, and how it is closed towards the client. Pure.

A response that its provider left open is closed as cancelled, with every event that a client waits
for: the parts that were begun, the items, the response. ``response.done`` has no usage then; what
it cost is charged by what was metered.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from msgspec import Struct, field
from msgspec.structs import replace

from gateway.translate.kept.unanswered import (
    CREATE_RESPONSE,
    Message,
    is_beside_conversation,
)

Json = dict[str, Any]

# Responses that are open at once: one of the conversation, and those beside it.
OPEN_MAX: Final = 16
# Of the words of a response so many characters are kept, for its closing.
WORDS_MAX: Final = 256 * 1024
# What a part holds by its type: the names of its events, and the field of the text in each.
_PARTS: Final[Mapping[str, Mapping[str, str]]] = {
    "text": {"output_text": "text"},
    "output_text": {"output_text": "text"},
    "audio": {"output_audio": "", "output_audio_transcript": "transcript"},
    "output_audio": {"output_audio": "", "output_audio_transcript": "transcript"},
}
_CANCELLED: Final = {"type": "cancelled", "reason": None}
_ASK: Final = b'{"type":"response.create"}'


class Part(Struct):
    """Of an item: its object, the words so far, and which events said that something is done."""

    body: Json
    words: list[str] = field(default_factory=list)
    done: set[str] = field(default_factory=set)
    is_done: bool = False


class Output(Struct):
    """An item of a response. ``final`` is its last form, ``kept`` what the conversation has of it
    once that is all. ``is_added``: the conversation has it.
    """

    item: Json
    parts: dict[int, Part] = field(default_factory=dict)
    arguments: list[str] = field(default_factory=list)
    has_arguments: bool = False
    is_added: bool = False
    kept: Json | None = None
    final: Json | None = None


class Response(Struct):
    """One response. ``request`` is what the client asked for it with, None where it did not ask;
    ``is_heard``: the client got something of it; ``is_cancelled``: it wants no more of it;
    ``is_untold``: it answers speech of which no words are known. ``outputs`` are by their place.
    """

    body: Json
    request: Message | None
    is_heard: bool = False
    is_cancelled: bool = False
    is_untold: bool = False
    room: int = WORDS_MAX
    outputs: dict[int, Output] = field(default_factory=dict)

    @property
    def is_beside(self) -> bool:
        """Whether it is beside the conversation, which has none of its items."""
        told = is_beside_conversation(self.body)
        return told if told is not None else self.request is not None and self.request.is_beside

    @property
    def question(self) -> Message | None:
        """What to ask for it with again; None where it is not to be asked for."""
        is_lost = self.is_untold or (self.is_beside and self.request is None)
        if self.is_heard or self.is_cancelled or is_lost:
            return None
        asked = self.request or Message(CREATE_RESPONSE, {"type": CREATE_RESPONSE}, _ASK)
        return replace(asked, is_again=True)


class Responses:
    """The open ones of a session, by their ids."""

    __slots__ = ("_by_id", "_is_untold")

    def __init__(self) -> None:
        self._by_id: dict[str, Response] = {}
        self._is_untold = False  # the next one of the conversation will be

    def __bool__(self) -> bool:
        """Whether any is open."""
        return bool(self._by_id)

    @property
    def has_one_again(self) -> bool:
        """Whether one is open that was asked for by us, again or late."""
        requests = [response.request for response in self._by_id.values()]
        return any(request is not None and request.is_again for request in requests)

    def created(self, body: Json, request: Message | None) -> None:
        """A response has begun."""
        if len(self._by_id) < OPEN_MAX:
            is_cancelled = request is not None and request.is_cancelled
            begun = Response(body, request, is_cancelled=is_cancelled)
            if not begun.is_beside:
                begun.is_untold, self._is_untold = self._is_untold, False
            self._by_id[str(body.get("id"))] = begun

    def not_recognized(self) -> None:
        """Speech that is not answered yet was not transcribed; most often its answer has begun."""
        answers = [response for response in self._by_id.values() if not response.is_beside]
        for response in answers:
            response.is_untold = True
        self._is_untold = not answers

    def done(self, body: Json) -> None:
        """A response has ended."""
        self._by_id.pop(str(body.get("id")), None)

    def heard(self) -> None:
        """The client gets audio."""
        for response in self._by_id.values():
            response.is_heard = True

    def cancelled(self, event: Json) -> None:
        """The client cancels the one that it names, or all of the conversation's."""
        name = event.get("response_id")
        for response in self._by_id.values():
            is_meant = not response.is_beside if name is None else response.body.get("id") == name
            response.is_cancelled |= is_meant

    def item_added(self, item_id: str) -> bool:
        """The conversation has the item; whether it is a response's."""
        outputs = list(self._outputs_of(item_id))
        for output in outputs:
            output.is_added = True
        return bool(outputs)

    def item_done(self, item_id: str, item: Json) -> None:
        """The conversation has all of the item."""
        for output in self._outputs_of(item_id):
            output.kept = item

    def see(self, event: Json) -> None:
        """Any other event of a response."""
        response = self._by_id.get(str(event.get("response_id")))
        see = _EVENTS.get(event["type"])
        if response is not None and see is not None:
            see(response, event)

    def close(self, *, says_done: bool) -> Iterator[tuple[Response, list[Json]]]:
        """The provider is gone: each response, and the events that close it. None is open then.
        ``says_done``: whether it says of the conversation's items that they are done.
        """
        left, self._by_id, self._is_untold = self._by_id, {}, False
        for response in left.values():
            yield response, list(_closing(response, says_done=says_done))

    def _outputs_of(self, item_id: str) -> Iterator[Output]:
        for response in self._by_id.values():
            for output in response.outputs.values():
                if output.item.get("id") == item_id:
                    yield output


def words_of(response: Response) -> Iterator[tuple[str, str]]:
    """(item, what was said in it) of the items that are not complete."""
    for output in response.outputs.values():
        if output.final is None:
            for part in output.parts.values():
                if part.words:
                    yield str(output.item.get("id")), "".join(part.words)


# --- events ---------------------------------------------------------------------------------------


def _item_added(response: Response, event: Json) -> None:
    index, item = event.get("output_index"), event.get("item")
    if isinstance(index, int) and isinstance(item, dict):
        response.outputs[index] = Output(item)


def _item_done(response: Response, event: Json) -> None:
    output, item = _output(response, event), event.get("item")
    if output is not None and isinstance(item, dict):
        output.final, response.is_heard = item, True


def _part_added(response: Response, event: Json) -> None:
    output, index, body = _output(response, event), event.get("content_index"), event.get("part")
    if output is not None and isinstance(index, int) and isinstance(body, dict):
        output.parts[index] = Part(body)


def _part_done(response: Response, event: Json) -> None:
    part = _part(response, event)
    if part is not None:
        part.is_done = True
        part.body = event["part"] if isinstance(event.get("part"), dict) else part.body


def _words(response: Response, event: Json) -> None:
    part, delta = _part(response, event), event.get("delta")
    response.is_heard = True
    if part is not None and isinstance(delta, str) and len(delta) <= response.room:
        part.words.append(delta)
        response.room -= len(delta)


def _something_done(response: Response, event: Json) -> None:
    part = _part(response, event)
    if part is not None:
        part.done.add(event["type"].removeprefix("response.").removesuffix(".done"))


def _audio(response: Response, _event: Json) -> None:
    response.is_heard = True


def _arguments(response: Response, event: Json) -> None:
    output, delta = _output(response, event), event.get("delta")
    if output is not None and isinstance(delta, str) and len(delta) <= response.room:
        output.arguments.append(delta)
        response.room -= len(delta)


def _arguments_done(response: Response, event: Json) -> None:
    output = _output(response, event)
    response.is_heard = True
    if output is not None:
        output.has_arguments = True


_EVENTS: Final[Mapping[str, Callable[[Response, Json], None]]] = {
    "response.output_item.added": _item_added,
    "response.output_item.done": _item_done,
    "response.content_part.added": _part_added,
    "response.content_part.done": _part_done,
    "response.output_audio.delta": _audio,
    "response.output_text.delta": _words,
    "response.output_audio_transcript.delta": _words,
    "response.output_text.done": _something_done,
    "response.output_audio.done": _something_done,
    "response.output_audio_transcript.done": _something_done,
    "response.function_call_arguments.delta": _arguments,
    "response.function_call_arguments.done": _arguments_done,
}


def _output(response: Response, event: Json) -> Output | None:
    index = event.get("output_index")
    return response.outputs.get(index) if isinstance(index, int) else None


def _part(response: Response, event: Json) -> Part | None:
    output, index = _output(response, event), event.get("content_index")
    return output.parts.get(index) if output is not None and isinstance(index, int) else None


# --- the closing ----------------------------------------------------------------------------------


def _closing(response: Response, *, says_done: bool) -> Iterator[Json]:
    of_response = {"response_id": response.body.get("id")}
    finals = []
    for index, output in sorted(response.outputs.items()):
        if output.final is None:
            place = {**of_response, "item_id": output.item.get("id"), "output_index": index}
            if not output.is_added and not response.is_beside:
                yield {"type": "conversation.item.added", "item": output.item}
            yield from _closing_parts(output, place)
            final = _final(output)
            has_place = output.is_added or not response.is_beside
            if says_done and output.kept is None and has_place:
                yield {"type": "conversation.item.done", "item": final}
            yield {
                "type": "response.output_item.done", **of_response, "output_index": index,
                "item": final,
            }  # fmt: skip
        finals.append(_final(output))
    body = {**response.body, "status": "cancelled", "status_details": _CANCELLED}
    yield {"type": "response.done", "response": {**body, "output": finals, "usage": None}}


def _closing_parts(output: Output, place: Json) -> Iterator[Json]:
    for index, part in sorted(output.parts.items()):
        if part.is_done:
            continue
        where, words = {**place, "content_index": index}, "".join(part.words)
        for name, text in _names(part).items():
            if name not in part.done:
                yield {"type": f"response.{name}.done", **where, **({text: words} if text else {})}
        yield {"type": "response.content_part.done", **where, "part": _spoken(part)}
    if output.item.get("type") == "function_call" and not output.has_arguments:
        called = {name: output.item.get(name) for name in ("call_id", "name")}
        arguments = "".join(output.arguments)
        yield {
            "type": "response.function_call_arguments.done", **place, **called,
            "arguments": arguments,
        }  # fmt: skip


def _final(output: Output) -> Json:
    """The item as far as it came."""
    known = output.final or output.kept
    if known is not None:
        return known
    final = {**output.item, "status": "incomplete"}
    if output.item.get("type") == "function_call":
        return {**final, "arguments": "".join(output.arguments)}
    if output.parts:
        parts = [_spoken(part) for _, part in sorted(output.parts.items())]
        final["content"] = [_as_content(part) for part in parts]
    return final


def _spoken(part: Part) -> Json:
    """The part with its words."""
    texts = [text for text in _names(part).values() if text]
    return part.body if part.is_done else {**part.body, **dict.fromkeys(texts, "".join(part.words))}


def _as_content(part: Json) -> Json:
    kind = part.get("type")
    return {**part, "type": f"output_{kind}" if kind in ("text", "audio") else kind}


def _names(part: Part) -> Mapping[str, str]:
    return _PARTS.get(str(part.body.get("type")), {})
