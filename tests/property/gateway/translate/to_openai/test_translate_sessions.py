"""Sessions of a Gemini client with a provider of the OpenAI family, whatever either sends."""

from collections.abc import Mapping
from typing import Any

from google.genai.types import LiveServerMessage
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from msgspec import json
from openai.types.realtime import RealtimeClientEvent
from pydantic import TypeAdapter

from gateway.translate.base import Translation
from gateway.translate.to_openai.translator import OpenAITranslator
from gateway.translate.voices import BUILT_IN
from tests.support.grammar_gemini import Checker

Message = dict[str, Any]

PROVIDER: TypeAdapter[Any] = TypeAdapter(RealtimeClientEvent)
TRANSCRIPTION = "conversation.item.input_audio_transcription"
USAGE = {"input_tokens": 2, "output_tokens": 1}
AUDIO = {"data": "AAAA" * 40, "mimeType": "audio/pcm;rate=24000"}
MANUAL = {"automaticActivityDetection": {"disabled": True}}
ITEM_IDS = st.sampled_from(["item_1", "item_2", "item_3", ""])
WORDS = st.sampled_from(["", "Good", " day", "Good day"])


def make(provider: str) -> OpenAITranslator:
    """A translator."""
    return OpenAITranslator(provider=provider, model="m", seed="5eed", voices=BUILT_IN)


# --- anything at all ------------------------------------------------------------------------------

SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(-5, 2**40), st.floats(allow_nan=False),
    st.text(max_size=6),
    st.sampled_from(["audio/pcm;rate=16000", "AAAA", "user", "model", "completed", "image/png"]),
)  # fmt: skip
NAMES = st.sampled_from(
    [
        "setup", "clientContent", "client_content", "realtimeInput", "toolResponse",
        "contextUpdate", "turns", "turnComplete", "parts", "text", "inlineData", "data",
        "mimeType", "mime_type", "functionResponses", "functionCall", "id", "name", "response",
        "args", "audio", "video", "mediaChunks", "activityStart", "activityEnd",
        "audioStreamEnd", "generationConfig", "tools", "model", "responseModalities",
        "systemInstruction", "realtimeInputConfig", "automaticActivityDetection", "disabled",
        "functionDeclarations", "inputAudioTranscription", "contextWindowCompression",
        "triggerTokens", "type", "delta", "item", "item_id", "transcript", "error", "code",
        "event_id", "call_id", "arguments", "status", "output", "usage", "input_tokens",
        "status_details", "reason", "content",
    ]
)  # fmt: skip
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=12,
)
KINDS = st.sampled_from(
    ["setup", "clientContent", "realtimeInput", "toolResponse", "contextUpdate"]
)
EVENTS = st.sampled_from(
    [
        "session.updated", "session.created", "error", "response.created", "response.done",
        "response.output_audio.delta", "response.output_audio_transcript.delta",
        "response.output_text.delta", "response.output_item.added", "response.output_item.done",
        "input_audio_buffer.speech_started", "input_audio_buffer.committed",
        f"{TRANSCRIPTION}.delta", f"{TRANSCRIPTION}.completed",
        f"{TRANSCRIPTION}.updated", f"{TRANSCRIPTION}.failed", "odd",
    ]
)  # fmt: skip
SETUP = json.encode({"setup": {"model": "m", "inputAudioTranscription": {}}})
CLIENT_MESSAGES = st.one_of(
    st.binary(max_size=20),
    VALUES.map(json.encode),
    st.builds(lambda kind, value: json.encode({kind: value}), KINDS, VALUES),
    st.just(SETUP),
)
PROVIDER_MESSAGES = st.one_of(
    st.binary(max_size=20),
    VALUES.map(json.encode),
    st.builds(
        lambda kind, fields: json.encode({**fields, "type": kind}),
        EVENTS,
        st.dictionaries(NAMES | st.just("response"), VALUES, max_size=4),
    ),
)
STEPS = st.one_of(
    st.tuples(st.just("from_client"), CLIENT_MESSAGES),
    st.tuples(st.just("from_provider"), PROVIDER_MESSAGES),
    st.tuples(st.sampled_from(["provider_opened", "provider_closed"]), st.none()),
)


@settings(max_examples=200)
@given(st.sampled_from(["openai", "xai"]), st.booleans(), st.lists(STEPS, max_size=12))
def test_nothing_that_a_peer_sends_raises(provider: str, is_set_up: bool, steps: Any) -> None:
    """What comes out is JSON that the peers' SDKs know, and nothing precedes setupComplete."""
    translator = make(provider)
    translator.provider_opened()
    if is_set_up:
        translator.from_client(SETUP)
    told: list[Message] = []
    is_closed = False
    for name, message in steps:
        call = getattr(translator, name)
        out: Translation = call() if message is None else call(message)
        assert not (is_closed and (out.to_client or out.to_provider or out.close))
        is_closed = is_closed or out.close is not None
        for raw in out.to_client:
            LiveServerMessage.model_validate_json(raw)
            told.append(json.decode(raw))
        for raw in out.to_provider:
            PROVIDER.validate_python(json.decode(raw))
        assert out.close is None or len(out.close.reason.encode()) <= 123
    assert not told or told[0] == {"setupComplete": {}}
    assert {"setupComplete": {}} not in told[1:]


BABBLE = PROVIDER_MESSAGES.filter(
    lambda raw: not any(word in raw for word in (b"response", b"session", b"error"))
)

# --- a provider that is legal ---------------------------------------------------------------------


class LegalProvider(RuleBasedStateMachine):
    """A client that says anything legal, at any time, to a provider that keeps to its protocol."""

    @initialize(
        provider=st.sampled_from(["openai", "azure", "xai"]),
        is_manual=st.booleans(),
        handling=st.sampled_from(["NO_INTERRUPTION", "START_OF_ACTIVITY_INTERRUPTS"]),
    )
    def set_up(self, provider: str, is_manual: bool, handling: str) -> None:
        """The client sets the session up."""
        self.translator = make(provider)
        self.grammar = Checker(has_loose_usage=True, may_cut_playback=True)
        self.is_manual = is_manual
        self.open = ""  # the response that is open
        self.has_said = False  # something that the client gets
        self.asked: list[str] = []  # the questions that wait to be taken up
        self.is_written = False  # the newest question, which was in writing, was not taken up
        self.count = 0
        self.usages = 0
        self.calls: list[Message] = []
        self.take(self.translator.opened())
        self.take(self.translator.provider_opened())
        config = {"activityHandling": handling, **(MANUAL if is_manual else {})}
        self.client(
            setup={
                "model": "m",
                "realtimeInputConfig": config,
                "inputAudioTranscription": {},
                "outputAudioTranscription": {},
            }
        )
        self.provider("session.updated", session={})

    # --- both sides -------------------------------------------------------------------------------

    def take(self, out: Translation) -> None:
        """Hold both directions to what is legal."""
        assert out.close is None, out.close
        for raw in out.to_client:
            self.grammar.see(raw)
            self.usages += b"usageMetadata" in raw
            self.calls += json.decode(raw).get("toolCall", {}).get("functionCalls", [])
        for raw in out.to_provider:
            message = json.decode(raw)
            PROVIDER.validate_python(message)
            if message["type"] == "response.create":
                assert not self.open, "a question while a response is open"
                assert not self.asked, "two questions at once"
                self.asked.append(message["event_id"])

    def client(self, **message: Any) -> None:
        """The client sends a message."""
        self.take(self.translator.from_client(json.encode(message)))

    def provider(self, kind: str, **event: Any) -> None:
        """The provider sends an event."""
        self.take(self.translator.from_provider(json.encode({"type": kind, **event})))

    # --- the client -------------------------------------------------------------------------------

    @rule(words=WORDS, is_complete=st.booleans())
    def write(self, words: str, is_complete: bool) -> None:
        """Content, which interrupts."""
        turns = [{"role": "user", "parts": [{"text": words}]}]
        self.is_written = is_complete
        self.client(client_content={"turns": turns, "turn_complete": is_complete})

    @rule()
    def ask(self) -> None:
        """A text."""
        self.is_written = True
        self.client(realtimeInput={"text": "Well?"})

    @rule(is_image=st.booleans())
    def speak(self, is_image: bool) -> None:
        """Audio, or a picture."""
        blob = {"data": "AAAA", "mimeType": "image/png"} if is_image else AUDIO
        self.client(realtimeInput={"mediaChunks": [blob]})

    @rule(name=st.sampled_from(["activityStart", "activityEnd"]))
    @precondition(lambda self: self.is_manual)
    def act(self, name: str) -> None:
        """An activity begins or ends: it interrupts, or is the newest question."""
        self.is_written = False
        self.client(realtimeInput={name: {}})

    @rule()
    def end_stream(self) -> None:
        """The microphone is off."""
        self.client(realtimeInput={"audioStreamEnd": True})

    @rule()
    @precondition(lambda self: self.calls)
    def answer(self) -> None:
        """The answer of a function."""
        call = self.calls.pop(0)
        answer = {"id": call["id"], "name": call["name"], "response": {"a": 1}}
        self.client(toolResponse={"functionResponses": [answer]})

    # --- the provider -----------------------------------------------------------------------------

    @rule(is_own=st.booleans())
    @precondition(lambda self: not self.open)
    def create(self, is_own: bool) -> None:
        """A response is open: the one that was asked for, or one that answers speech."""
        if not self.asked and not is_own:
            return
        self.count += 1
        self.open, self.has_said = f"resp_{self.count}", False
        if self.asked and is_own:  # speech was first: the question is refused afterwards
            self.provider("response.created", response={"id": self.open})
            self.refuse_as_active()
            return
        self.is_written = self.is_written and not self.asked
        self.asked.clear()
        self.provider("response.created", response={"id": self.open})

    def refuse_as_active(self) -> None:
        """The question came while a response was open."""
        code = "conversation_already_has_active_response"
        name = self.asked.pop()
        self.provider("error", error={"code": code, "event_id": name, "message": "…"})

    @rule()
    @precondition(lambda self: self.asked and not self.open)
    def refuse(self) -> None:
        """The question is refused."""
        self.is_written = False
        error = {"code": "server_error", "event_id": self.asked.pop(), "message": "…"}
        self.provider("error", error=error)

    @rule(kind=st.sampled_from(["output_audio", "output_audio_transcript", "output_text"]))
    @precondition(lambda self: self.open)
    def say(self, kind: str) -> None:
        """A part of the answer."""
        self.has_said = True
        place = {"response_id": self.open, "item_id": f"item_{self.open}"}
        self.provider(f"response.{kind}.delta", **place, delta="AAAAAAAA")

    @rule(status=st.sampled_from(["completed", "cancelled", "failed", "incomplete"]))
    @precondition(lambda self: self.open)
    def end(self, status: str) -> None:
        """The response ends, and nothing ends it twice."""
        if status in ("completed", "incomplete") and not self.has_said:
            self.say("output_text")
        self.finish(status, [])

    @rule(count=st.integers(1, 2))
    @precondition(lambda self: self.open)
    def call(self, count: int) -> None:
        """The response calls functions."""
        calls = [
            {"type": "function_call", "id": f"i{n}", "name": "f", "call_id": f"{self.open}_{n}",
             "arguments": "{}"}
            for n in range(count)
        ]  # fmt: skip
        self.say("output_text")
        self.finish("completed", calls)

    def finish(self, status: str, output: list[Message]) -> None:
        """response.done, with its usage, which is told once however often it comes."""
        before = self.usages
        body = {"id": self.open, "status": status, "output": output, "usage": USAGE}
        self.open = ""
        for _ in range(2):
            self.provider("response.done", response=body, response_id=body["id"])
        assert self.usages == before + 1

    @rule(item_id=ITEM_IDS, words=WORDS, kind=st.sampled_from(["delta", "completed", "updated"]))
    def transcribe(self, item_id: str, words: str, kind: str) -> None:
        """What the user said."""
        event: Mapping[str, str] = {"delta": words, "transcript": words, "item_id": item_id}
        self.provider(f"{TRANSCRIPTION}.{kind}", **event)

    @rule(item_id=ITEM_IDS)
    @precondition(lambda self: not self.is_manual)
    def hear(self, item_id: str) -> None:
        """The user began to speak."""
        self.provider("input_audio_buffer.speech_started", item_id=item_id)
        self.provider("input_audio_buffer.committed", item_id=item_id)

    @rule(raw=BABBLE)
    def babble(self, raw: bytes) -> None:
        """Something else, or nothing that can be read."""
        out = self.translator.from_provider(raw)
        assert not out.to_provider
        self.take(out)

    @rule()
    def reconnect(self) -> None:
        """Another connection, which knows nothing of what was asked."""
        self.open = ""
        self.asked.clear()
        self.take(self.translator.provider_closed())
        is_due = self.translator.is_answering and not self.calls
        self.take(self.translator.provider_opened())
        assert self.translator.is_waiting
        assert not is_due or len(self.asked) == 1, "what was not heard is asked for again"
        assert not self.is_written or self.asked, "a written question that waited is asked"
        self.provider("session.updated", session={})

    @invariant()
    def is_answering(self) -> None:
        """A session with an open response is not between two turns."""
        if getattr(self, "open", ""):
            assert self.translator.is_answering


LegalProvider.TestCase.settings = settings(max_examples=60, stateful_step_count=30)
test_sessions = LegalProvider.TestCase
