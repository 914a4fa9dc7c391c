"""The turns of the model: at the provider a response, towards the client a turn. Pure.

At the provider one response is open at a time: it is asked for, or begun because the user spoke,
``response.created`` opens it and ``response.done`` ends it. Another question while one is open
would be refused, so it waits until then.

Towards the client a turn ends once, with ``turnComplete``. A response that calls functions does not
end it: the turn goes on with their answers. After ``interrupted`` nothing of the turn is told but
its end.

==========  ===========================  ============================================
status      before                       the client gets
==========  ===========================  ============================================
completed   functions were called        toolCall with usage
completed   something was told           generationComplete, turnComplete with usage
completed   nothing was told             turnComplete with usage
any         the client was interrupted   turnComplete with usage
cancelled   nobody interrupted it here   interrupted, turnComplete with usage
incomplete  the tokens were used up      as completed
incomplete  the content was filtered     turnComplete with a reason and usage
failed                                   turnComplete with a reason and usage
==========  ===========================  ============================================
"""

from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any, Final

from msgspec import Struct, field

from gateway.translate.base import Ids, Translation
from gateway.translate.conversation import Item
from gateway.translate.to_openai import client_messages, provider_messages
from gateway.translate.to_openai.calls import Calls, function_call
from gateway.translate.usage import of_response_done, to_gemini

# An error that answers a question that came while a response was open.
IS_ACTIVE: Final = "conversation_already_has_active_response"
# What is wrong with a turn, by the status of the response, and by the reason of an incomplete one.
_REJECTED: Final = "RESPONSE_REJECTED"
_REASONS: Final[Mapping[str, str]] = {
    "failed": _REJECTED,
    "content_filter": "GENERATED_CONTENT_SAFETY",
}
ENDED_MAX: Final = 8  # responses that are remembered, because their end may be told twice


class Response(Struct):
    """The open response: its id ("" where none was given), and its complete items. ``is_untold``:
    its question is speech that nobody transcribed, so no other provider can be told it;
    ``is_written``: the client wrote it.
    """

    id: str
    is_untold: bool = False
    is_written: bool = False
    items: list[Item] = field(default_factory=list)


class Turn:
    """The turns of one session.

    ``response`` is the open one. ``is_interrupted``: the client knows that this turn is cut off.
    """

    __slots__ = (
        "_calls", "_ended", "_has_told", "_ids", "_is_due", "_is_heard", "_is_written",
        "_requested", "_untold", "is_awaited", "is_interrupted", "response",
    )  # fmt: skip

    def __init__(self, ids: Ids, calls: Calls) -> None:
        self._ids = ids
        self._calls = calls
        self._requested = ""  # the id of the question that the provider has not taken up yet
        self._is_due = False  # a question waits for the end of the open response
        self._is_written = False  # what was asked for last, in either way
        self._untold = 0  # speeches that no response answers yet, and that nobody will transcribe
        self._ended: deque[str] = deque(maxlen=ENDED_MAX)
        self.response: Response | None = None
        self.is_awaited = False  # the provider hears the user: an answer to that follows
        self.is_interrupted = False
        self._has_told = False  # the client got something in this turn that the model made
        self._is_heard = False  # and of the open response, which may be the turn's second

    @property
    def is_busy(self) -> bool:
        """Whether a response is open, or was asked for."""
        return self.response is not None or bool(self._requested) or self._is_due

    @property
    def is_telling(self) -> bool:
        """Whether the client gets what the model says."""
        return self.response is not None and not self.is_interrupted

    def told(self) -> None:
        """The client gets something of the open response."""
        self._has_told = self._is_heard = True

    def spoke(self) -> None:
        """The user's speech is a question: of its words nothing is known, and may never be."""
        self._untold += 1

    def recognized(self) -> None:
        """One of these will be transcribed."""
        self._untold = max(self._untold - 1, 0)

    def not_recognized(self) -> None:
        """But it was not; most often its answer has begun meanwhile."""
        if self.response is None:
            self._untold += 1
        else:
            self.response.is_untold = True

    def ask(self, out: Translation, *, is_aloud: bool = False) -> None:
        """Ask for an answer, now or when the open response has ended. ``is_aloud``: to speech."""
        self._is_written = not is_aloud
        if self.response is not None or self._requested:
            self._is_due = True
            return
        self._requested = self._ids.make("event")
        out.to_provider.append(provider_messages.create_response(self._requested))

    def interrupt(self, out: Translation) -> None:
        """The client ends the answer that is open, or asked for."""
        self._is_due = False
        if self.response is None and not self._requested:
            return
        if not self.is_interrupted:
            out.to_provider.append(provider_messages.CANCEL)
            self.interrupted(out)

    def interrupted(self, out: Translation) -> None:
        """The answer is cut off: tell the client, once."""
        if not self.is_interrupted:
            out.to_client.append(client_messages.INTERRUPTED)
            self.is_interrupted = True

    def created(self, response_id: str) -> None:
        """The provider has opened a response."""
        is_written = bool(self._requested) and self._is_written
        self.response = Response(response_id, is_untold=self._untold > 0, is_written=is_written)
        self._requested, self._untold, self.is_awaited = "", 0, False

    def done(self, event: Mapping[str, Any], out: Translation) -> Sequence[Item]:
        """The provider has ended a response. Returns the items that are a part of the conversation
        now.
        """
        told = event.get("response")
        told = told if isinstance(told, dict) else {}
        response_id = told.get("id")
        if isinstance(response_id, str) and response_id:
            if response_id in self._ended:
                return ()
            self._ended.append(response_id)
        elif self.response is None:
            return ()
        usage = to_gemini(of_response_done(event))
        current = self.response
        if current is not None and current.id and response_id not in (None, "", current.id):
            if usage:  # of one that nobody knows
                out.to_client.append(client_messages.usage_alone(usage))
            return ()
        self.response, self._requested = None, ""
        items = _items(current, told)
        is_complete = told.get("status") == "completed" and not self.is_interrupted
        calls = [found for item in items if (found := function_call(item))] if is_complete else []
        if calls:
            for call in calls:
                self._calls.add(call["id"], call["name"], waits=True)
            out.to_client.append(client_messages.tool_call(calls, usage))
            self._has_told, self._is_heard = True, False
        else:
            self._end(told, usage, out)
            items = [item for item in items if item.get("type") != "function_call"]
        self._ask_if_due(out)
        return items

    def failed(self, event_id: object, code: object, out: Translation) -> None:
        """The provider sent an error; ``event_id`` names what it answers, "" is what is open. Where
        it refuses the question for an answer, the question is asked later, or the turn is over.
        """
        if code == IS_ACTIVE:
            self._requested, self._is_due = "", True
        elif self._requested and event_id in ("", self._requested):
            self._requested = ""
            self._complete({}, out, _REJECTED)
            self._ask_if_due(out)

    def closed(self, out: Translation, *, is_known: bool) -> None:
        """The provider is gone: the client's turn ends. Where it got nothing of the answer, and the
        question ``is_known``, the turn stays open, and the next provider is asked (``resume``). So
        it is for a question that waited for the end of the turn.
        """
        is_known = is_known and not self._untold
        is_unheard = not (self._is_heard or self.is_interrupted)
        is_again = self._is_due and (is_known or self._is_written)
        if is_unheard and self.response is not None:
            is_told = is_known and not self.response.is_untold
            is_again = is_again or is_told or self.response.is_written
        elif is_unheard and self._requested:
            is_again = is_known or self._is_written
        if self.is_busy and not (is_again and is_unheard):
            self.interrupted(out)
            self._complete({}, out)
        self.response, self._requested, self.is_awaited = None, "", False
        self._is_due = self._is_written = is_again  # what is told again is text
        self._untold = 0

    @property
    def is_due(self) -> bool:
        """Whether the next provider is to be asked."""
        return self._is_due

    def go_on(self, *, is_asked: bool) -> None:
        """Go on where another translator has left, whose turn is open where a function was called:
        the client has been told that.
        """
        self._is_due = self._is_written = is_asked
        self._has_told = self._calls.are_due

    def resume(self, out: Translation) -> None:
        """Another provider knows the conversation."""
        self._ask_if_due(out)

    def _end(self, told: Mapping[str, Any], usage: Mapping[str, Any], out: Translation) -> None:
        status, details = told.get("status"), told.get("status_details")
        cause = details.get("reason") if isinstance(details, dict) else None  # xAI's is a text
        reason = _REASONS.get(str(status)) or _REASONS.get(str(cause), "")
        if status == "cancelled":
            self.interrupted(out)
        if self.is_interrupted:
            reason = ""
        elif self._has_told and not reason:
            out.to_client.append(client_messages.GENERATION_COMPLETE)
        self._complete(usage, out, reason)

    def _complete(self, usage: Mapping[str, Any], out: Translation, reason: str = "") -> None:
        out.to_client.append(client_messages.turn_complete(usage, reason))
        self.is_interrupted = self._has_told = self._is_heard = False

    def _ask_if_due(self, out: Translation) -> None:
        if self._is_due:
            self._is_due = False
            self.ask(out, is_aloud=not self._is_written)


def _items(current: Response | None, told: Mapping[str, Any]) -> list[Item]:
    """The items of a response: those that were complete before, or else those beside its end."""
    if current is not None and current.items:
        return current.items
    output = told.get("output")
    return [item for item in output if isinstance(item, dict)] if isinstance(output, list) else []
