"""The client's items: what creating, deleting, retrieving and truncating them do. Pure."""

from gateway.translate.to_gemini.contents import (
    call_content,
    content_of,
    new_item,
    output_content,
    shown,
)
from gateway.translate.to_gemini.reading import (
    Json,
    optional_text,
    required_count,
    required_object,
    required_text,
)
from gateway.translate.to_gemini.refusals import RefusedError, invalid
from gateway.translate.to_gemini.state import State


def create(state: State, event: Json) -> None:
    """``conversation.item.create``: what the model does not know yet waits until it is asked."""
    item = new_item(required_object(event, "item"), item_id=state.ids.make("item"))
    if state.pending.is_full:
        raise RefusedError("too_many_items", "Ask for a response before you create more items.")
    if state.items.find(item["id"]) is not None:
        message = f"Error adding item: the ID '{item['id']}' already exists."
        raise RefusedError("item_create_duplicate_item_id", message, "item.id")
    after = optional_text(event, "previous_item_id", "")
    if after not in (None, "root", state.items.last_id):
        _known(state, after or "", "previous_item_id")
        state.out.ignored.append("conversation.item.create.previous_item_id")
    if item["type"] == "function_call_output":
        _take_output(state, item)
        return
    content = content_of(item, audio=state.input_format)  # refused before anything is done
    _add(state, item)
    if item["type"] == "function_call":
        state.calls.created(item)
    elif content is not None:
        state.pending.add(item["id"], content)


def delete(state: State, event: Json) -> None:
    """``conversation.item.delete``; what Gemini was told it does not forget."""
    item_id = required_text(event, "item_id", "")
    if state.items.find(item_id) is None:
        raise _unknown("item_id", item_id)
    if not state.pending.remove(item_id):
        state.out.ignored.append("conversation.item.delete")
    state.items.remove(item_id)
    state.events.add("conversation.item.deleted", item_id=item_id)


def retrieve(state: State, event: Json) -> None:
    """``conversation.item.retrieve``, without audio: none is kept. One that is being said can be
    retrieved as well, which openai-agents does when an answer was cut.
    """
    item = _known(state, required_text(event, "item_id", ""), "item_id")
    state.events.add("conversation.item.retrieved", item=item)


def truncate(state: State, event: Json) -> None:
    """``conversation.item.truncate``. Gemini knows by itself how much of an interrupted answer was
    heard, so nothing is told to it.
    """
    item_id = required_text(event, "item_id", "")
    place = {name: required_count(event, name) for name in ("content_index", "audio_end_ms")}
    if _known(state, item_id, "item_id").get("role") != "assistant":
        raise invalid("item_id", "the id of a message of the assistant")
    state.events.add("conversation.item.truncated", item_id=item_id, **place)


def _take_output(state: State, item: Json) -> None:
    """The output of a function, for the call that waits for it."""
    call_id, output = item["call_id"], item["output"]
    if not state.calls.is_known(call_id) and state.items.call(call_id) is None:
        raise invalid("item.call_id", "the id of a function call of this conversation")
    _add(state, item)
    if state.calls.is_open(call_id):
        state.calls.answered(call_id, output, item_id=item["id"])
        state.tell_awaited_outputs()
        return
    call = state.calls.take_untold(call_id)
    if call is not None:
        called = call_content({"name": call.name, "arguments": call.arguments})
        state.pending.add(item["id"], called, output_content(call.name, output))
        return
    if state.calls.take_cancelled(call_id):
        # The user went on speaking; the answer to that is on its way.
        state.is_answer_due = state.response is None
    state.out.ignored.append("conversation.item.create.item")


def _add(state: State, item: Json) -> None:
    previous = state.items.place(item["id"])
    state.items.keep(item)
    for kind in ("conversation.item.added", "conversation.item.done"):
        state.events.add(kind, previous_item_id=previous, item=shown(item))


def _known(state: State, item_id: str, param: str) -> Json:
    """An item that the client was told of: one that is kept, or being said."""
    item = state.items.find(item_id)
    if item is None and state.response is not None:
        item = state.response.item(item_id)
    if item is None:
        raise _unknown(param, item_id)
    return item


def _unknown(param: str, item_id: str) -> RefusedError:
    return invalid(param, f"the id of an item of this conversation, found '{item_id[:64]}'")
