"""An OpenAI client and model providers, with a ``Keeper`` between them, whose connections are cut.

What the client hears is held to the grammar of OpenAI's events. ``problems`` compares what it said
and heard with what the last provider knows.
"""

import itertools
from typing import Any

from msgspec import json

from gateway.translate.kept.keeper import Keeper
from tests.support.grammar_openai import Checker
from tests.support.model_provider import DOUBTED, REFUSED, ModelProvider, text_of

Event = dict[str, Any]

# What the client heard of an answer; half a call is nothing.
_WHOLE = ("conversation.item.done", "response.output_item.done")
_HEARD = (
    "response.output_text.delta", "response.output_audio_transcript.delta",
    "response.output_audio.delta", "response.function_call_arguments.done",
    "response.output_item.done",
)  # fmt: skip


class KeptTalk:
    """A session. ``heard`` is what the client got, in order."""

    def __init__(self, *, resumes: bool = False, **of_provider: Any) -> None:
        """``resumes``: the client has xAI keep the conversation for other connections."""
        self._of_provider = of_provider
        self._held: list[tuple[Event, bytes]] = []  # what the client says while it has to wait
        self.keeper = Keeper(seed="5eed")
        self.checker = Checker(is_xai=bool(of_provider.get("is_xai")), has_beside=True)
        self.heard: list[Event] = []
        self.providers: list[ModelProvider] = []
        self._numbers = itertools.count(1)
        self._view: list[Event] = []  # the conversation, as the client knows it
        self._open_calls: set[str] = set()
        self._instructions = ""
        self._asked: dict[int, list[str]] = {}  # what became of each question of the client
        self._ask_by_response: dict[str, int] = {}
        self._was_heard: set[str] = set()  # responses
        self._answered: dict[bytes, int] = {}  # messages, and at which connection
        self._said: dict[str, bytes] = {}  # messages that create items, by their texts
        self._cancels = 0
        self.keeper.opened()
        self._open()
        if resumes:
            self.client("session.update", session={"resumption": {"enabled": True}})
            self.rest()

    @property
    def provider(self) -> ModelProvider:
        """The one that is connected."""
        return self.providers[-1]

    # --- what happens -----------------------------------------------------------------------------

    def client(self, kind: str, **fields: Any) -> bytes:
        """The client says something."""
        event = {"type": kind, **fields}
        raw = json.encode(event)
        self._held.append((event, raw))
        self._let_through()
        return raw

    def _let_through(self) -> None:
        while self._held and not self.keeper.is_waiting:
            event, raw = self._held.pop(0)
            answer = self.keeper.client_said(event, raw)
            if answer is None:
                self.provider.told.append(raw)
            else:
                self._hear(answer)

    def speak(self) -> None:
        """The user begins to speak, where the client's audio is read."""
        if not (self._held or self.keeper.is_waiting):
            self.provider.speech_starts()

    def deliver(self) -> None:
        """The client gets the provider's next event."""
        if self.provider.saying:
            event = self.provider.saying.pop(0)
            if event["type"] in _HEARD:
                self._was_heard.add(event["response_id"])
            said = self.keeper.provider_said(event)
            self.provider.told += self.keeper.take_due()
            if said is not None:
                self._hear(said)
            self._let_through()

    def cut(self, end: str = "forgotten") -> None:
        """The connection is gone, with all that is on its way; another one takes its place.
        ``end`` says what xAI has of the conversation then.
        """
        left = self.provider
        left.leave(end)
        calls = {x["id"] for x in self._view if x["type"] == "function_call"}
        done = {x["item"]["id"] for x in self.heard if x["type"] in _WHOLE}
        self._open_calls |= calls - done
        for event in self.keeper.provider_closed():
            self._hear(event)
        resumption = self.keeper.resumption
        name = "" if resumption is None or end == "forgotten" else resumption.name
        assert name in ("", left.conversation_id)
        self._open(left if name else None)

    def rest(self) -> None:
        """Everything arrives, and everything in progress ends."""
        for _ in range(2_000):
            if self.provider.is_at_rest and not self._held:
                return
            self.provider.read()
            self.provider.go_on()
            self.deliver()
        raise AssertionError("no end")

    def _open(self, left: ModelProvider | None = None) -> None:
        self.providers.append(ModelProvider(**self._of_provider, left=left))
        for told in self.keeper.provider_opened():
            raw = told if isinstance(told, bytes) else json.encode(told)
            assert raw not in self._answered, f"said again: {raw!r}"
            self.provider.told.append(raw)

    # --- what the client says ---------------------------------------------------------------------

    def update(self, *, is_refused: bool = False) -> None:
        """Other instructions."""
        told = REFUSED if is_refused else f"do-{next(self._numbers)}"
        self.client("session.update", session={"type": "realtime", "instructions": told})
        if not is_refused:
            self._instructions = told

    def write(
        self, *, word: str = "", is_named: bool = False, has_id: bool = False, after: int = -1
    ) -> None:
        """A text, perhaps one that is refused, perhaps at a place of the client's choice: 0 is
        before all, then behind the items that the client knows.
        """
        number = next(self._numbers)
        text = f"said-{number}-end {word}"
        item: Event = {
            "type": "message", "role": "user", "content": [{"type": "input_text", "text": text}],
        }  # fmt: skip
        fields: Event = {"item": item | ({"id": f"mine_{number}"} if is_named else {})}
        if has_id:
            fields["event_id"] = f"client_{number}"
        safe = self._safe_ids()
        known = [x["id"] for x in self._view if x["id"] in safe and self._is_known(x)]
        if after >= 0:
            fields["previous_item_id"] = ["root", *known][after % (len(known) + 1)]
        raw = self.client("conversation.item.create", **fields)
        if not word:
            self._said[text] = raw

    def output(self) -> None:
        """The output of the last call."""
        calls = [x for x in self._view if x["type"] == "function_call" and self._is_known(x)]
        if calls:
            item = {"type": "function_call_output", "call_id": calls[-1]["call_id"], "output": "1"}
            self.client("conversation.item.create", item=item)

    def ask(self, *, kind: str = "audio", is_beside: bool = False, has_id: bool = False) -> None:
        """For a response: spoken, written (``text``) or a ``call``."""
        number = next(self._numbers)
        response: Event = {"metadata": {"ask": f"ask-{number}-end", "kind": kind}}
        if kind == "text":
            response["output_modalities"] = ["text"]
        if is_beside:
            response["conversation"] = "none"
        fields: Event = {"event_id": f"client_{number}"} if has_id else {}
        self._asked[number] = []
        self.client("response.create", response=response, **fields)

    def about_item(self, verb: str, number: int) -> None:
        """Delete, retrieve or truncate an item that is there."""
        safe = self._safe_ids()
        known = [x for x in self._view if x["id"] in safe and self._is_known(x)]
        if verb == "truncate":
            known = [x for x in known if x.get("role") == "assistant"]
        if known:
            fields = {"content_index": 0, "audio_end_ms": 5} if verb == "truncate" else {}
            item_id = known[number % len(known)]["id"]
            self.client(f"conversation.item.{verb}", item_id=item_id, **fields)

    def cancel(self) -> None:
        """What was asked for is not wanted any more."""
        self._cancels += 1
        self.client("response.cancel")

    # --- what the client hears --------------------------------------------------------------------

    def _hear(self, event: Event) -> None:
        self.checker.see(json.decode(json.encode(event)))
        self.heard.append(event)
        kind = event["type"]
        match kind:
            case "conversation.item.added":
                self._see_added(event)
            case "conversation.item.deleted":
                self._view = [x for x in self._view if x["id"] != event["item_id"]]
            case "response.created":
                self._see_created(event["response"])
            case "response.done":
                self._see_done(event["response"])
        words = _words(event)
        for item in self._view if words else ():
            if item["id"] == event.get("item_id", event.get("item", {}).get("id")):
                item["words"] = words

    def _see_added(self, event: Event) -> None:
        item = {**event["item"], "words": text_of(event["item"])}
        ids = [x["id"] for x in self._view]
        previous = event.get("previous_item_id")
        if (
            previous is None
            and item["words"] in self._said
            and "root" in str(self._said[item["words"]])
        ):
            place = 0
        else:
            place = ids.index(previous) + 1 if previous in ids else len(ids)
        self._view.insert(place, item)
        if item["words"] in self._said:
            self._answered[self._said[item["words"]]] = len(self.providers)

    def _see_created(self, response: Event) -> None:
        number = int((response.get("metadata") or {}).get("ask", "ask-0").split("-")[1])
        if number:
            self._ask_by_response[response["id"]] = number
            before = self._asked[number]
            assert before in ([], ["cut"] * len(before)), f"{number} answered after {before}"
            before.append("open")

    def _see_done(self, response: Event) -> None:
        number = self._ask_by_response.get(response["id"], 0)
        if number:
            is_cut = response["status"] == "cancelled" and response["id"] not in self._was_heard
            self._asked[number][-1] = "cut" if is_cut else response["status"]

    # --- what should be ---------------------------------------------------------------------------

    def problems(self) -> list[str]:
        """What is wrong, once everything is at rest."""
        self.checker.finish()
        found = self.unfinished()
        expected = [x["words"] for x in self._view if self._is_known(x)]
        known = self._known_there()
        if not _is_told(known, expected):
            found.append(f"known {known}, said {expected}")
        if self.provider.session.get("instructions", "") != self._instructions:
            found.append(f"instructions {self.provider.session}, not {self._instructions}")
        heard = [x["words"] for x in self._view]
        errors = [str(x["error"]) for x in self.heard if x["type"] == "error"]
        missing = [text for text, raw in self._said.items() if raw not in self._answered]
        lost = [x for x in missing if x not in heard and not any(x in error for error in errors)]
        if lost:
            found.append(f"lost {lost}")
        # Of a question that was spoken, or that was interrupted, something may be lost.
        if not (self._cancels or self._has_spoken):
            refused, newest = str(errors), max(self._asked, default=0)
            found += [
                f"question {number}: {what}"
                for number, what in self._asked.items()
                if (not what or what[-1] in ("cut", "open")[number < newest :])
                and f"ask-{number}-end" not in refused
            ]
        if any("told_" in error for error in errors):
            found.append(f"not the client's: {errors}")
        for provider in self.providers:
            if len(set(provider.read_all)) < len(provider.read_all):
                repeated = [x for x in provider.read_all if provider.read_all.count(x) > 1]
                found += [f"twice: {x!r}" for x in repeated if b"metadata" in x or b"said-" in x]
        return found

    def unfinished(self) -> list[str]:
        """What is still waited for at rest: whatever was asked for is answered, or refused, and
        nothing waits for the end of what has ended.
        """
        is_waiting = self.keeper.is_answering and not self._has_spoken
        return ["waits for nothing"] if is_waiting else []

    @property
    def _has_spoken(self) -> bool:
        return any(kind.startswith("input_audio_buffer.") for kind in self.checker.kinds)

    def _known_there(self) -> list[str]:
        """What the provider knows to have been said; not what of a conversation that it goes on
        with nobody has told the client of: the words of what the user spoke.
        """
        untold = {x["id"] for x in self._view if x.get("role") == "user" and not x["words"]}
        items = [x for x in self.provider.items if x["id"] not in untold]
        texts = [text_of(item) for item in items if not self._is_orphan(item)]
        return [text for text in texts if text]

    def _is_known(self, item: Event) -> bool:
        is_known = bool(item["words"]) and item["id"] not in self._open_calls
        return is_known and not self._is_orphan(item)

    def _is_orphan(self, item: Event) -> bool:
        """Whether it is the output of a call that was deleted: no other provider takes that."""
        calls = [x["call_id"] for x in self._view if x["type"] == "function_call"]
        return item["type"] == "function_call_output" and item["call_id"] not in calls

    def _safe_ids(self) -> set[str]:
        """Items that the provider that is connected has by the name that the client knows."""
        return {item["id"] for item in self.provider.items}


def _is_told(known: list[str], expected: list[str]) -> bool:
    """Whether they are the same; of an answer that was cut the provider may have more."""
    pairs = list(itertools.zip_longest(known, expected, fillvalue=""))
    return all(there == here or (here and there.startswith(here)) for there, here in pairs)


def _words(event: Event) -> str:
    """What an event says of all that is said in an item so far."""
    kind = event["type"]
    if kind == "conversation.item.input_audio_transcription.completed":
        return str(event["transcript"])
    if kind in ("conversation.item.done", "response.output_item.done"):
        return text_of(event["item"])
    return ""


__all__ = ["DOUBTED", "REFUSED", "KeptTalk"]
