"""A Gemini client and models of Gemini, with a keeper between them, whose connections are cut.

What the client hears is held to the grammar of Gemini's messages. ``problems`` compares what it
wrote and heard with what the last provider knows.
"""

import itertools
import re
from typing import Any, Protocol

from msgspec import json

from gateway.translate.kept.keeping import WITHHELD
from gateway.translate.kept_gemini.keeper import GeminiKeeper
from tests.support.grammar_gemini import Checker

Message = dict[str, Any]
WORDS = ("Good", " day")
CALLED_EACH = 4  # every so many words are answered with the call of a function
USAGE = {"promptTokenCount": 3, "responseTokenCount": 2, "totalTokenCount": 5}
_SAID = re.compile(r"said-\d+-end")


class AnyModel(Protocol):
    """One connection to a model of either protocol. ``told`` is on its way to it, ``saying`` on its
    way from it; it knows the words ``known``, and ``answers`` are left to say of the open turn.
    """

    told: list[bytes]
    saying: list[Message]
    known: list[str]
    answers: list[Message]

    def read(self) -> None:
        """Take the next message of the client."""

    def go_on(self) -> None:
        """Say the next piece of the open turn."""


class Model:
    """One connection to Gemini. ``told`` is on its way to it, ``saying`` on its way from it."""

    def __init__(self, memory: dict[str, list[str]], numbers: "itertools.count[int]") -> None:
        self.told: list[bytes] = []
        self.saying: list[Message] = []
        self.known: list[str] = []
        self.answers: list[Message] = []  # what is left to say of the open turn
        self.is_set_up = False
        self._calls: set[str] = set()
        self._memory, self._numbers = memory, numbers
        self._is_resumable = self._has_begun = False

    def read(self) -> None:
        """Take the next message of the client."""
        if not self.told:
            return
        ((kind, body),) = json.decode(self.told.pop(0)).items()
        assert self.is_set_up is (kind != "setup"), kind
        if kind == "setup":
            self._set_up(body)
        elif kind == "clientContent":
            self._interrupt()
            for turn in body.get("turns", ()):
                self.known += [word for part in turn["parts"] for word in _words(part)]
            if body["turnComplete"]:
                self._answer()
        elif kind == "realtimeInput":
            self._interrupt()
            self.known += _SAID.findall(body["text"])
            self._answer()
        else:
            for found in body["functionResponses"]:
                assert found["id"] in self._calls, "an answer to a call that was not made"
                self.known += _words({"functionResponse": found})
            self._answer()

    def go_on(self) -> None:
        """Say the next piece of the open turn; at its end a handle is issued."""
        if not self.answers:
            return
        said = self.answers.pop(0)
        if "toolCall" in said:
            self._calls |= {call["id"] for call in said["toolCall"]["functionCalls"]}
        self._has_begun = True
        self.saying.append(said)
        content = said.get("serverContent", {})
        self.known += _SAID.findall(content.get("outputTranscription", {}).get("text", ""))
        if content.get("turnComplete"):
            self._has_begun = False
            self._offer()

    def _set_up(self, setup: Message) -> None:
        self.is_set_up, self._is_resumable = True, "sessionResumption" in setup
        handle = setup.get("sessionResumption", {}).get("handle")
        self.known = list(self._memory[handle]) if handle else []
        self.saying.append({"setupComplete": {}})
        self._offer()

    def _offer(self) -> None:
        if self._is_resumable:
            handle = f"handle_{next(self._numbers)}"
            self._memory[handle] = list(self.known)
            update = {"newHandle": handle, "resumable": True}
            self.saying.append({"sessionResumptionUpdate": update})

    def _interrupt(self) -> None:
        if self.answers:
            self.answers = []
            self.saying.append({"serverContent": {"interrupted": True}})
            self.saying.append({"serverContent": {"turnComplete": True}, "usageMetadata": USAGE})

    def _answer(self) -> None:
        asked = self.known[-1] if self.known else ""
        number = next(self._numbers)
        if asked.startswith("said") and int(asked.split("-")[1]) % CALLED_EACH == 0:
            call = {"id": f"call_{number}", "name": "f", "args": {"n": number}}
            self.answers = [{"toolCall": {"functionCalls": [call]}}]
            return
        self.answers = [
            {"serverContent": {"modelTurn": {"parts": [{"text": "hm", "thought": True}]}}},
            {"serverContent": {"outputTranscription": {"text": f"said-{number}-end"}}},
            {"serverContent": {"generationComplete": True}},
            {"serverContent": {"turnComplete": True}, "usageMetadata": USAGE},
        ]


class GeminiTalk:
    """A session; with ``is_resumable`` its client has asked for handles."""

    def __init__(self, *, is_resumable: bool) -> None:
        self._is_resumable = is_resumable
        self.keeper = GeminiKeeper(seed="5eed")
        self.checker = Checker(may_cut_playback=True)
        self.models: list[AnyModel] = []
        self.wrote: list[str] = []
        self.heard: list[str] = []
        self._calls: list[str] = []
        self._numbers = itertools.count(1)
        self._memory: dict[str, list[str]] = {}
        self._is_asked = False  # and has heard nothing of the answer, nor its end
        self._is_cut_off = False  # the open turn, whose end is to come
        # Gemini does not say whether two questions are answered by one turn or by two. So it is not
        # known what a handle covers of that: it may be told twice, or not.
        self._doubtful: set[str] = set()
        self.keeper.opened()
        self._open()
        resumption: Message = {"sessionResumption": {}} if is_resumable else {}
        self.client({"setup": {"model": "models/m", "outputAudioTranscription": {}, **resumption}})
        self.rest()

    @property
    def model(self) -> AnyModel:
        """The one that is connected."""
        return self.models[-1]

    @property
    def is_answering(self) -> bool:
        """Whether this is not between two turns."""
        return self.keeper.is_answering

    def client(self, message: Message) -> None:
        """The client says something, once the provider takes it."""
        while self.keeper.is_waiting:
            self.model.read()
            self.deliver()
        raw = json.encode(message)
        answer = self.keeper.client_said(message, raw)
        assert answer in (None, WITHHELD)
        if answer is None:
            self.model.told.append(raw)
        self._tell()

    def write(self, *, asks: bool, is_realtime: bool = False) -> None:
        """A text, which asks for an answer or does not."""
        words = f"said-{next(self._numbers)}-end"
        self.wrote.append(words)
        self._doubt(asks=asks or is_realtime)
        self._is_asked = asks or is_realtime
        turn = {"role": "user", "parts": [{"text": words}]}
        if is_realtime:
            self.client({"realtimeInput": {"text": words}})
        else:
            self.client({"clientContent": {"turns": [turn], "turnComplete": asks}})

    def output(self) -> None:
        """The output of the last call."""
        if self._calls:
            words = f"said-{next(self._numbers)}-end"
            answer = {"id": self._calls.pop(), "name": "f", "response": {"output": words}}
            self.wrote.append(words)
            self._doubt(asks=not self._calls)
            self._is_asked = not self._calls
            self.client({"toolResponse": {"functionResponses": [answer]}})

    def deliver(self) -> None:
        """The client gets the provider's next message."""
        if self.model.saying:
            said = self.keeper.provider_said(self.model.saying.pop(0))
            if said is not None:
                self._hear(said)
            self._tell()

    def cut(self) -> None:
        """The connection is gone, with all that is on its way; another one takes its place."""
        for message in self.keeper.provider_closed():
            self._hear(message)
        self._open()

    def rest(self) -> None:
        """Everything arrives, and what is in progress ends."""
        for _ in range(2_000):
            model = self.model
            if not (model.told or model.saying or model.answers):
                return
            model.read()
            model.go_on()
            self.deliver()
        raise AssertionError("no end")

    def problems(self) -> list[str]:
        """What is wrong, once everything is at rest."""
        known: list[str] = []
        for word in self.model.known:
            if word not in known or word not in self._doubtful:
                known.append(word)
        found = [f"twice: {word}" for word in set(known) if known.count(word) > 1]
        found += [
            f"order: known {known}, said {said}"
            for said in (self.wrote, self.heard)  # a question may cross an answer
            if [word for word in said if word in known] != [x for x in known if x in said]
        ]
        missing = {*self.wrote, *self.heard} - set(known)
        if self._is_resumable:
            missing -= self._doubtful
        if self._is_asked:
            found.append("a question without an answer")
        if self.is_answering and not self._calls:
            found.append("a turn without an end")
        if missing:
            found.append(f"lost {missing}: known {known}")
        return found

    def _doubt(self, *, asks: bool) -> None:
        if asks and self._is_asked:
            self._doubtful |= set(self.wrote)

    def _open(self) -> None:
        self.models.append(Model(self._memory, self._numbers))
        self.model.told += [json.encode(told) for told in self.keeper.provider_opened()]

    def _tell(self) -> None:
        self.model.told += self.keeper.take_due()

    def _hear(self, message: Message) -> None:
        self.checker.see(json.decode(json.encode(message)))
        calls = message.get("toolCall", {}).get("functionCalls", ())
        self._calls += [call["id"] for call in calls]
        content = message.get("serverContent", {})
        self._is_cut_off = self._is_cut_off or bool(content.get("interrupted"))
        is_end = bool(content.get("turnComplete"))
        # The end of what was interrupted is no answer to what interrupted it.
        if calls or (is_end and not self._is_cut_off) or "outputTranscription" in content:
            self._is_asked = False
        self._is_cut_off = self._is_cut_off and not is_end
        self.heard += _SAID.findall(content.get("outputTranscription", {}).get("text", ""))


def _words(part: Message) -> list[str]:
    return _SAID.findall(json.encode(part).decode())
