"""A Gemini client whose session moves between models of Gemini and of OpenAI, at any instant.

As ``kept_gemini_talk``, with another model and a translator for the one, a keeper for the other.
"""

import itertools
import re
from typing import Any

from msgspec import json
from msgspec.structs import replace

from gateway.translate.base import Rest, Translation
from gateway.translate.conversation import Conversation
from gateway.translate.kept.keeping import WITHHELD
from gateway.translate.kept_gemini.keeper import GeminiKeeper
from gateway.translate.to_openai.translator import OpenAITranslator
from gateway.translate.voices import BUILT_IN
from tests.support.kept_gemini_talk import CALLED_EACH, GeminiTalk, Message, Model

_SAID = re.compile(r"said-\d+-end")
_USAGE = {"input_tokens": 3, "output_tokens": 2, "total_tokens": 5}


class OpenAIModel:
    """One connection to OpenAI; see ``Model``. A call is its own, or one that it was told of."""

    def __init__(self, numbers: "itertools.count[int]") -> None:
        self.told: list[bytes] = []
        self.saying: list[Message] = []
        self.known: list[str] = []
        self.answers: list[Message] = []
        self._calls: set[str] = set()
        self._is_set_up = False
        self._numbers = numbers
        self._name = ""  # of the open response
        self._words = ""  # that it has said

    def read(self) -> None:
        """Take the next message of the client."""
        if not self.told:
            return
        event = json.decode(self.told.pop(0))
        kind = event["type"]
        assert self._is_set_up or kind == "session.update", kind
        if kind == "session.update":
            self._is_set_up = True
            self.saying.append({"type": "session.updated", "session": event["session"]})
        elif kind == "conversation.item.create":
            self._add(event["item"])
        elif kind == "response.cancel":
            if self._name:
                self.answers = [self._done("cancelled")]
        else:
            assert kind == "response.create", kind
            assert not self._name, "a question while a response is open"
            self._answer()

    def go_on(self) -> None:
        """Say the next piece of the open response."""
        if not self.answers:
            return
        said = self.answers.pop(0)
        self.saying.append(said)
        if said["type"].endswith(".delta"):
            self._words = said["delta"]
            self.known += _SAID.findall(self._words)
        elif said["type"] == "response.done":
            self._name = self._words = ""

    def _add(self, item: Message) -> None:
        if item["type"] == "function_call":
            self._calls.add(item["call_id"])
        elif item["type"] == "function_call_output":
            assert item["call_id"] in self._calls, "an answer to a call that was not made"
        self.known += _SAID.findall(json.encode(item).decode())

    def _answer(self) -> None:
        number = next(self._numbers)
        asked = self.known[-1] if self.known else ""
        self._name, self._words = f"resp_{number}", ""
        self.saying.append({"type": "response.created", "response": {"id": self._name}})
        added = {"type": "response.output_item.added", "item": {"id": f"i_{number}"}}
        if asked.startswith("said") and int(asked.split("-")[1]) % CALLED_EACH == 0:
            call = {
                "id": f"i_{number}", "type": "function_call", "call_id": f"call_{number}",
                "name": "f", "arguments": "{}",
            }  # fmt: skip
            self._calls.add(call["call_id"])
            self.answers = [added, self._done("completed", call)]
            return
        said = {"item_id": f"i_{number}", "delta": f"said-{number}-end"}
        spoken = {"type": "response.output_audio_transcript.delta", **said}
        self.answers = [added, spoken, self._done("completed", self._message(said["delta"]))]

    def _message(self, words: str) -> Message:
        content = [{"type": "output_audio", "transcript": words}]
        name = self._name.replace("resp", "i")
        return {"id": name, "type": "message", "role": "assistant", "content": content}

    def _done(self, status: str, item: Message | None = None) -> Message:
        if item is None and self._words:
            item = self._message(self._words)
        output = [] if item is None else [item]
        body = {"id": self._name, "status": status, "output": output, "usage": _USAGE}
        return {"type": "response.done", "response": body}


class Place:
    """Where the session is served: what lies between the client and the models of one protocol."""

    def __init__(self, between: GeminiKeeper | OpenAITranslator) -> None:
        self._either = between

    @property
    def is_waiting(self) -> bool:
        """Whether the client has to wait."""
        return self._either.is_waiting

    @property
    def is_answering(self) -> bool:
        """Whether this is not between two turns."""
        return self._either.is_answering

    @property
    def conversation(self) -> Conversation:
        """What was said."""
        return self._either.conversation

    def leave(self) -> Rest:
        """The next model is one of the other protocol."""
        return self._either.leave()

    def opened(self) -> list[bytes]:
        """A model is connected: what it is told."""
        raise NotImplementedError

    def closed(self) -> list[Message]:
        """It is gone: what the client hears."""
        raise NotImplementedError

    def client(self, raw: bytes) -> tuple[list[Message], list[bytes]]:
        """The client says something: what it hears, and what the model is told."""
        raise NotImplementedError

    def model(self, said: Message) -> tuple[list[Message], list[bytes]]:
        """The model says something: the same."""
        raise NotImplementedError


class AtGemini(Place):
    """A keeper."""

    def __init__(self, seed: str, conversation: Conversation | None, rest: Rest) -> None:
        self._between = GeminiKeeper(seed=seed, conversation=conversation, model="live")
        self._between.take_over(rest)
        super().__init__(self._between)

    def opened(self) -> list[bytes]:
        """See ``Place``."""
        return [json.encode(told) for told in self._between.provider_opened()]

    def closed(self) -> list[Message]:
        """See ``Place``."""
        return list(self._between.provider_closed())

    def client(self, raw: bytes) -> tuple[list[Message], list[bytes]]:
        """See ``Place``."""
        answer = self._between.client_said(json.decode(raw), raw)
        assert answer in (None, WITHHELD)
        return [], [*([raw] if answer is None else []), *self._between.take_due()]

    def model(self, said: Message) -> tuple[list[Message], list[bytes]]:
        """See ``Place``."""
        heard = self._between.provider_said(said)
        return [] if heard is None else [heard], list(self._between.take_due())


class AtOpenAI(Place):
    """A translator."""

    def __init__(self, seed: str, conversation: Conversation | None, rest: Rest) -> None:
        self._between = OpenAITranslator(
            provider="openai", model="m", seed=seed, voices=BUILT_IN, conversation=conversation
        )
        assert self._between.take_over(rest) == Translation()
        super().__init__(self._between)

    def opened(self) -> list[bytes]:
        """See ``Place``."""
        return _made(self._between.provider_opened())[1]

    def closed(self) -> list[Message]:
        """See ``Place``."""
        return _made(self._between.provider_closed())[0]

    def client(self, raw: bytes) -> tuple[list[Message], list[bytes]]:
        """See ``Place``."""
        return _made(self._between.from_client(raw))

    def model(self, said: Message) -> tuple[list[Message], list[bytes]]:
        """See ``Place``."""
        return _made(self._between.from_provider(json.encode(said)))


class MovingTalk(GeminiTalk):
    """A session that begins at Gemini, or, where it ``begins_away``, at OpenAI."""

    def __init__(self, *, is_resumable: bool, begins_away: bool) -> None:
        self._seeds = itertools.count(1)
        self._is_away = begins_away
        self.place = self._placed(None, Rest())
        super().__init__(is_resumable=is_resumable)

    @property
    def is_answering(self) -> bool:
        """See ``GeminiTalk``."""
        return self.place.is_answering

    def client(self, message: Message) -> None:
        """See ``GeminiTalk``."""
        while self.place.is_waiting:
            self.model.read()
            self.deliver()
        self._take(self.place.client(json.encode(message)))

    def deliver(self) -> None:
        """See ``GeminiTalk``."""
        if self.model.saying:
            self._take(self.place.model(self.model.saying.pop(0)))

    def cut(self) -> None:
        """See ``GeminiTalk``."""
        for message in self.place.closed():
            self._hear(message)
        self._open()

    def call(self) -> None:
        """A question that the model answers with the call of a function, which the client hears."""
        while next(self._numbers) % CALLED_EACH != CALLED_EACH - 1:
            pass
        self.write(asks=True)
        self.rest()

    def move(self) -> None:
        """The connection is gone, and the next one is to a model of the other protocol."""
        for message in self.place.closed():
            self._hear(message)
        rest = self.place.leave()
        for raw in rest.to_client:
            self._hear(json.decode(raw))
        self._is_away = not self._is_away
        self.place = self._placed(replace(self.place.conversation, session={}), rest)
        self._open()

    def finish(self) -> None:
        """Answer every call, as outputs are told once there are all of them, and rest."""
        self.rest()
        for _ in range(100):
            if not self._calls:
                return
            self.output()
            self.rest()
        raise AssertionError("no end of calls")

    def _placed(self, conversation: Conversation | None, rest: Rest) -> Place:
        make = AtOpenAI if self._is_away else AtGemini
        return make(f"5eed{next(self._seeds)}", conversation, rest)

    def _take(self, said: tuple[list[Message], list[bytes]]) -> None:
        heard, told = said
        for message in heard:
            self._hear(message)
        self.model.told += told

    def _open(self) -> None:
        made = OpenAIModel(self._numbers) if self._is_away else Model(self._memory, self._numbers)
        self.models.append(made)
        made.told += self.place.opened()


def _made(out: Translation) -> tuple[list[Message], list[bytes]]:
    assert out.close is None, out.close
    decoded: list[Any] = [json.decode(raw) for raw in out.to_client]
    return decoded, list(out.to_provider)
