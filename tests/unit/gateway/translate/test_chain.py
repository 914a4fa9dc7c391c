"""``translate.chain``: two translators as one."""

from collections.abc import Callable, Mapping
from typing import Any, Final

import pytest
from msgspec import json
from openai.types.beta.realtime import RealtimeServerEvent as BetaServerEvent
from pydantic import TypeAdapter

from gateway.translate.base import Close, Renewal, Translation, Translator
from gateway.translate.beta import BetaTranslator
from gateway.translate.chain import Chained
from gateway.translate.conversation import Conversation
from gateway.translate.to_gemini.translator import GeminiTranslator
from gateway.translate.voices import BUILT_IN

BETA_SERVER: TypeAdapter[Any] = TypeAdapter(BetaServerEvent)


class Noting:
    """A translator that appends its name to each message; it does what ``reactions`` say."""

    resumption: Final = None

    def __init__(self, name: str, reactions: Mapping[bytes, Callable[[], Translation]]) -> None:
        self.conversation = Conversation()
        self.is_waiting = False
        self.is_answering = False
        self._name = name.encode()
        self._reactions = reactions

    def opened(self) -> Translation:
        """It tells the client that it is there."""
        return Translation(to_client=[b"opened " + self._name])

    def provider_opened(self) -> Translation:
        """It tells the provider that it is there."""
        return Translation(to_provider=[b"hello " + self._name])

    def provider_closed(self) -> Translation:
        """It tells the client."""
        return Translation(to_client=[b"closed " + self._name])

    def from_client(self, message: bytes) -> Translation:
        """Onward, unless there is a reaction."""
        made = self._reactions.get(message)
        return made() if made else Translation(to_provider=[message + b" " + self._name])

    def from_provider(self, message: bytes) -> Translation:
        """Back, unless there is a reaction."""
        made = self._reactions.get(message)
        return made() if made else Translation(to_client=[message + b" " + self._name])


def chain(**reactions: Callable[[], Translation]) -> tuple[Chained, Noting]:
    """Two that note their names, and the inner one."""
    table = {name.encode(): reaction for name, reaction in reactions.items()}
    inner = Noting("inner", table)
    return Chained(Noting("outer", table), inner), inner


def test_messages_pass_through_both() -> None:
    """From the client outside in, from the provider inside out."""
    both, _ = chain()
    assert both.from_client(b"x").to_provider == [b"x outer inner"]
    assert both.from_provider(b"x").to_client == [b"x inner outer"]


def test_the_outer_one_keeps_its_provider() -> None:
    """Connections that open and close are those of the inner one."""
    both, _ = chain()
    first = both.opened()
    assert first.to_client == [b"opened outer", b"opened inner outer"]
    assert first.to_provider == [b"hello outer inner"]
    assert both.provider_opened() == Translation(to_provider=[b"hello inner"])
    assert both.provider_closed() == Translation(to_client=[b"closed inner outer"])


def test_answers_of_either_reach_both_sides() -> None:
    """What one answers at once passes through the other one."""
    both, _ = chain(
        ask=lambda: Translation(to_client=[b"no"], to_provider=[b"a", b"b"], ignored=["x"]),
        a=lambda: Translation(to_client=[b"heard"], ignored=["y"]),
    )
    assert both.from_client(b"ask") == Translation(
        to_client=[b"no", b"heard outer"], to_provider=[b"b inner"], ignored=["x", "y"]
    )


def test_what_follows_waits_with_the_inner_one() -> None:
    """While the inner one waits for its provider, the rest of a message is held, in order."""

    def wait() -> Translation:
        inner.is_waiting = True
        return Translation(to_provider=[b"setup"])

    def accept() -> Translation:
        inner.is_waiting = False
        return Translation()

    both, inner = chain(
        ask=lambda: Translation(to_provider=[b"begin", b"b", b"c"]), begin=wait, accepted=accept
    )
    assert both.from_client(b"ask").to_provider == [b"setup"]
    assert both.is_waiting
    assert both.from_provider(b"accepted").to_provider == [b"b inner", b"c inner"]
    assert not both.is_waiting


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        (None, None, None),
        (Renewal.BETWEEN_TURNS, None, Renewal.BETWEEN_TURNS),
        (None, Renewal.BETWEEN_TURNS, Renewal.BETWEEN_TURNS),
        (Renewal.BETWEEN_TURNS, Renewal.NOW, Renewal.NOW),
        (Renewal.NOW, Renewal.BETWEEN_TURNS, Renewal.NOW),
    ],
)
def test_the_sooner_renewal_counts(
    first: Renewal | None, second: Renewal | None, expected: Renewal | None
) -> None:
    """One message of the outer one may be several for the inner one."""
    both, _ = chain(
        ask=lambda: Translation(to_provider=[b"a", b"b"]),
        a=lambda: Translation(renewal=first),
        b=lambda: Translation(renewal=second, close=Close(1008, "b")),
    )
    made = both.from_client(b"ask")
    assert made.renewal is expected
    assert made.close == Close(1008, "b")


def beta_to_gemini() -> Translator:
    """A client of the beta, and Gemini."""
    inner = GeminiTranslator(model="gemini-live", seed="s", voices=BUILT_IN)
    return Chained(BetaTranslator(seed="s"), inner)


def told(made: Translation) -> list[dict[str, Any]]:
    """What the client hears, all of which the beta knows."""
    events = [json.decode(message) for message in made.to_client]
    for event in events:
        if event["type"] not in ("session.created", "session.updated"):  # of other models
            BETA_SERVER.validate_python(event)
    return events


def test_a_client_of_the_beta_talks_to_gemini() -> None:
    """A whole turn: the client's settings reach Gemini, and its answer has the beta's names."""
    both = beta_to_gemini()
    (created,) = told(both.opened())
    assert created["type"] == "session.created"
    assert created["session"]["modalities"] == ["text", "audio"]
    both.provider_opened()
    session = {"voice": "alloy", "instructions": "Hi", "input_audio_format": "pcm16"}
    made = both.from_client(json.encode({"type": "session.update", "session": session}))
    (setup,) = [json.decode(message)["setup"] for message in made.to_provider]
    voice = setup["generationConfig"]["speechConfig"]["voiceConfig"]["prebuiltVoiceConfig"]
    assert voice == {"voiceName": "Zephyr"}
    assert both.is_waiting
    (updated,) = told(both.from_provider(b'{"setupComplete": {}}'))
    assert updated["type"] == "session.updated"
    assert updated["session"]["voice"] == "alloy"
    assert both.conversation.session["instructions"] == "Hi"

    append = {"type": "input_audio_buffer.append", "audio": "AAAA" * 100}
    assert len(both.from_client(json.encode(append)).to_provider) == 1
    turn = {"parts": [{"inlineData": {"mimeType": "audio/pcm;rate=24000", "data": "AAAA"}}]}
    speech = told(both.from_provider(json.encode({"serverContent": {"modelTurn": turn}})))
    assert both.is_answering
    content = {"outputTranscription": {"text": "Hello"}}
    words = told(both.from_provider(json.encode({"serverContent": content})))
    end = {"serverContent": {"turnComplete": True}, "usageMetadata": {"promptTokenCount": 7}}
    last = told(both.from_provider(json.encode(end)))
    kinds = [event["type"] for event in (*speech, *words, *last)]
    for kind in (
        "conversation.item.created",
        "response.created",
        "response.audio.delta",
        "response.audio_transcript.delta",
        "response.audio_transcript.done",
        "response.done",
    ):
        assert kind in kinds
    assert last[-1]["response"]["output"][0]["content"] == [
        {"type": "audio", "transcript": "Hello"}
    ]
    assert last[-1]["response"]["usage"]["input_tokens"] == 7
