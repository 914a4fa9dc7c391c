"""Function calls, and the outputs that the model waits for. Pure.

Gemini waits for the outputs of all calls of a turn, and answers at once when it has them: in the
same turn, but on Vertex AI in another. There the first ends with its calls, and its end may cross
their outputs (recorded by pydantic-ai of ``gemini-live-2.5-flash``).

An OpenAI client asks for the answer itself, so the outputs are kept until it does. A call belongs
to the connection on which the model made it. One that the model does not know, or knew on another
connection, is told together with its output, as content.
"""

from typing import Final

from msgspec import Struct

from gateway.translate.base import call_id_of
from gateway.translate.to_gemini.contents import response_object
from gateway.translate.to_gemini.reading import Json, text_in

CALLS_MAX: Final = 128  # that a client creates without an output; beyond that the oldest go


class Call(Struct, frozen=True):
    """A call without an output; ``arguments`` is JSON. ``name_there`` is the id that Gemini gave
    it, which may be longer than ``call_id`` can be; Vertex AI gives none, and refuses an answer
    with one.
    """

    call_id: str
    name: str
    arguments: str
    name_there: str = ""


class _Output(Struct, frozen=True):
    item_id: str
    response: Json


class Calls:
    """The calls of one session whose output the model does not have.

    ``end_turns`` says that a turn ends with them: those of Vertex AI have no ids; or one has ended
    so before.
    """

    def __init__(self, items: list[Json]) -> None:
        """``items`` are those of a conversation that another provider had."""
        self._open: dict[str, Call] = {}
        self._untold: dict[str, Call] = {}
        self._cancelled: set[str] = set()
        self._ready: dict[str, _Output] = {}
        self.end_turns = False
        for item in items:
            if item.get("type") == "function_call":
                self.created(item)
            elif item.get("type") == "function_call_output":
                self._untold.pop(text_in(item, "call_id"), None)

    def made(self, call: Call) -> None:
        """The model called a function."""
        self._open[call.call_id] = call
        self._cancelled.discard(call.call_id)
        self.end_turns = self.end_turns or not call.name_there

    def turn_ended(self) -> None:
        """The model has ended its turn, uninterrupted."""
        self.end_turns = self.end_turns or self.are_awaited

    def created(self, item: Json) -> None:
        """The client says that a function was called."""
        name, arguments = text_in(item, "name"), text_in(item, "arguments")
        call = Call(text_in(item, "call_id"), name, arguments)
        self._untold[call.call_id] = call
        if len(self._untold) > CALLS_MAX:
            del self._untold[next(iter(self._untold))]

    def cancelled(self, names: list[str]) -> int:
        """The model no longer waits for these, by the ids that it gave them. Returns how many
        outputs of them were kept, which nobody wants any more.
        """
        count = len(self._ready)
        for call_id in map(call_id_of, names):
            self._ready.pop(call_id, None)
            if self._open.pop(call_id, None) is not None:
                self._cancelled.add(call_id)
        return count - len(self._ready)

    def disconnected(self) -> None:
        """Nobody waits any more; the next model does not know what was called."""
        self._untold.update(self._open)
        self._open.clear()
        self._cancelled.clear()
        self._ready.clear()
        self.end_turns = False

    def is_open(self, call_id: str) -> bool:
        """Whether the model waits for the output of this call."""
        return call_id in self._open

    def is_known(self, call_id: str) -> bool:
        """Whether an output of this call may come."""
        return call_id in self._open or call_id in self._untold or call_id in self._cancelled

    def take_untold(self, call_id: str) -> Call | None:
        """The call that is to be told with its output."""
        return self._untold.pop(call_id, None)

    def take_cancelled(self, call_id: str) -> bool:
        """Whether the model does not want the output that is there now."""
        is_cancelled = call_id in self._cancelled
        self._cancelled.discard(call_id)
        return is_cancelled

    def answered(self, call_id: str, output: str, *, item_id: str) -> None:
        """The client gave the output of an open call, which is the item ``item_id``."""
        call = self._open.pop(call_id)
        response = {"name": call.name, "response": response_object(output)}
        named = {"id": call.name_there, **response} if call.name_there else response
        self._ready[call_id] = _Output(item_id, named)

    def item_ids(self) -> frozenset[str]:
        """The items of the outputs that the model was not given."""
        return frozenset(output.item_id for output in self._ready.values())

    @property
    def are_awaited(self) -> bool:
        """Whether the model waits for outputs."""
        return bool(self._open or self._ready)

    @property
    def is_complete(self) -> bool:
        """Whether there are outputs, and no call waits for another one."""
        return bool(self._ready) and not self._open

    def take(self) -> Json | None:
        """The ``toolResponse`` of the outputs that are there; None where there are none."""
        if not self._ready:
            return None
        ready, self._ready = self._ready, {}
        return {"toolResponse": {"functionResponses": [x.response for x in ready.values()]}}
