"""What is said in a session of Gemini's protocol, as items of the conversation. Pure.

The user's speech has its place when its transcript begins, or when the model begins to answer, and
is complete with that answer; so what comes of its transcript meanwhile belongs to it. What the
model says up to the call of a function, and behind it, are two items.

A handle brings back what the provider knew when it issued it: what was said up to the beginning of
the last answer, and that answer.
"""

from collections.abc import Iterable, Set
from typing import Final

from msgspec import json

from gateway.translate.audio import PCM_24K
from gateway.translate.base import Ids
from gateway.translate.conversation import ITEMS_MAX, Conversation, Item, without_audio
from gateway.translate.kept.keeping import Json
from gateway.translate.kept_gemini.messages import object_field, text_field
from gateway.translate.to_gemini.contents import replay
from gateway.translate.to_openai.calls import Calls
from gateway.translate.to_openai.content import Writer
from gateway.translate.to_openai.record import Record

SAID_MAX: Final = 4 * ITEMS_MAX  # names of items; those of others than are kept are of no use


class Talk:
    """That of one session. ``calls`` are those of functions; ``writer`` reads what is written."""

    __slots__ = (
        "_answer_id", "_answer_words", "_asked", "_at_begin", "_confirmed", "_has_audio", "_ids",
        "_known", "_late_outputs", "_lost_calls", "_own", "_record", "_said", "_speech_id",
        "_speech_words", "calls", "conversation", "writer",
    )  # fmt: skip

    def __init__(self, ids: Ids, conversation: Conversation) -> None:
        self.conversation = conversation
        self.calls = Calls()
        self.writer = Writer(ids, self.calls)
        self._ids = ids
        self._record = Record(conversation)
        self._has_audio = False  # the client sent some since the last answer
        self._speech_id = ""
        self._speech_words: list[str] = []
        self._answer_id = ""
        self._answer_words: list[str] = []
        self._said = {str(item.get("id")) for item in conversation.items}
        self._at_begin: Set[str] = frozenset()  # what was said when the answer began
        self._asked: list[Set[str]] = []  # what was said at the last two questions
        self._own: set[str] = set()  # the items of the answer
        self._confirmed: Set[str] = frozenset()  # what the provider knows for certain
        self._known: Set[str] = frozenset()  # what it knew when it issued the handle
        self._lost_calls: set[str] = set()  # unanswered, and of a provider that is gone
        self._late_outputs: list[Item] = []  # of these

    @property
    def is_heard(self) -> bool:
        """Whether the user is known to speak."""
        return bool(self._speech_id) and not self._answer_id

    # --- the user ---------------------------------------------------------------------------------

    def spoke(self) -> None:
        """The client sends audio."""
        self._has_audio = True

    def wrote(self, items: Iterable[Item]) -> bool:
        """The client wrote ``items``; whether all of it is kept."""
        is_whole = True
        for item in items:
            is_whole = is_whole and len(json.encode(without_audio(item))) == len(json.encode(item))
            self._said.add(item["id"])
            self._record.add(item)
        if len(self._said) > SAID_MAX:  # of a client that asks for nothing
            self._forget()
        return is_whole

    def asked(self, *, is_next: bool) -> None:
        """What was written is to be answered; ``is_next``: in another turn than the open one."""
        self._asked = [*self._asked[: int(is_next)], frozenset(self._said)]

    def transcribed(self, words: str) -> None:
        """A piece of the transcript of what the user says."""
        if not self._speech_id:
            self._expect_speech()
        self._speech_words.append(words)
        self._record.said(self._speech_id, words)

    # --- the model --------------------------------------------------------------------------------

    def began(self) -> None:
        """The model says the first thing of an answer, or behind the calls of functions."""
        if self._answer_id:
            return
        self._at_begin = frozenset(self._said)
        if self._has_audio and not self._speech_id:
            self._expect_speech()
        self._has_audio = False
        self._answer_id = self._ids.make("item")
        self._own |= {self._speech_id, self._answer_id}
        self._record.expect(self._answer_id, "assistant")

    def answered(self, words: str) -> None:
        """Words of the model."""
        self._answer_words.append(words)
        self._record.said(self._answer_id, words)

    def paused(self) -> None:
        """What the model says is complete, or was interrupted, and with it what it answers."""
        if not self._answer_id:
            return
        self._end_speech()
        answer_id, words = self._answer_id, "".join(self._answer_words)
        self._answer_id, self._answer_words = "", []
        if words:
            self._said.add(answer_id)
            self._record.transcribed(answer_id, words)
        else:
            self._record.drop(answer_id)
        self._record.settle()

    def called(self, calls: Iterable[Json]) -> None:
        """The model calls functions."""
        self.began()
        self.paused()
        for call in calls:
            name, call_id = text_field(call, "name"), text_field(call, "id")
            call_id = call_id or self._ids.make("call")
            self.calls.add(call_id, name, waits=True)
            arguments = json.encode(object_field(call, "args")).decode()
            item: Item = {
                "id": self._ids.make("item"), "type": "function_call", "call_id": call_id,
                "name": name, "arguments": arguments,
            }  # fmt: skip
            self._own.add(item["id"])
            self.wrote([item])

    def ended(self) -> None:
        """The turn is over: what was said before it was asked for, or before it began, and in it,
        is known to the provider.
        """
        self.paused()
        self._forget()
        read = self._asked.pop(0) if self._asked else self._at_begin
        self._confirmed = self._said & (self._confirmed | read | self._own)
        self._own = set()

    # --- what another provider is told ------------------------------------------------------------

    def handle_issued(self) -> None:
        """A handle brings back what the provider knows now."""
        self._known = self._confirmed

    def handle_covers_all(self) -> None:
        """A handle of the client brings back more than is kept here."""
        self._known = self._confirmed = set(self._said)

    def lost(self) -> None:
        """The provider is gone: of what is incomplete the words are kept that are known."""
        self._end_speech()
        if self._answer_words:
            self._said.add(self._answer_id)
        self._record.abandon()
        self._answer_id, self._answer_words, self._own = "", [], set()
        self._has_audio, self._asked = False, []
        self._lost_calls = self.calls.waiting

    def resumed(self, *, has_handle: bool) -> list[Json]:
        """Another provider is there, which knows what the handle covers, if there is one: what it
        is told of the rest, as contents.
        """
        self._confirmed = self._known if has_handle else frozenset()
        self._known = self._confirmed
        return replay(self.conversation.items, known=self._confirmed, audio=PCM_24K)

    def told_of_calls(self, outputs: Iterable[Item]) -> list[Json] | None:
        """The client gave ``outputs`` of functions: what a provider that has not called them is
        told. None where it has; empty where others are to come.
        """
        outputs = list(outputs)
        if not (self._lost_calls.intersection(x["call_id"] for x in outputs) or self._late_outputs):
            return None
        self._late_outputs += outputs
        if self.calls.are_due:
            return []
        lost, late = self._lost_calls, self._late_outputs
        self._lost_calls, self._late_outputs = set(), []
        calls = [item for item in self.conversation.items if item.get("call_id") in lost]
        calls = [item for item in calls if item.get("type") == "function_call"]
        return replay([*calls, *late], known=(), audio=PCM_24K)

    def go_on(self, calls: Iterable[tuple[str, str, bool]]) -> None:
        """Go on where another has left: the next provider has called none of these functions."""
        for call_id, name, waits in calls:
            self.calls.add(call_id, name, waits=waits)
        self._lost_calls = self.calls.waiting

    # --- helpers ----------------------------------------------------------------------------------

    def _forget(self) -> None:
        """Of what is not kept nothing is known."""
        kept = {str(item.get("id")) for item in self.conversation.items}
        self._said = {name for name in self._said if name in kept or self._record.has(name)}

    def _expect_speech(self) -> None:
        self._speech_id = self._ids.make("item")
        self._said.add(self._speech_id)
        self._record.expect(self._speech_id, "user")

    def _end_speech(self) -> None:
        speech_id, words = self._speech_id, "".join(self._speech_words)
        self._speech_id, self._speech_words = "", []
        if not speech_id:
            return
        if words:
            self._record.transcribed(speech_id, words)
        else:
            self._record.drop(speech_id)
        self._record.settle()
