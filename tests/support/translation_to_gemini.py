"""An OpenAI client (GA) and Gemini Live, with the translator between them.

What the client gets is held to the grammar of OpenAI's events, and what the provider gets to the
types of Google's SDK, which forbid unknown fields.
"""

import base64
from typing import Any

from google.genai.types import LiveClientMessage, RealtimeInputConfig
from msgspec import json

from gateway.translate.base import Renewal, Translation
from gateway.translate.conversation import Conversation
from gateway.translate.to_gemini.translator import GeminiTranslator
from gateway.translate.voices import BUILT_IN
from tests.support.grammar_openai import Checker

Message = dict[str, Any]

AUDIO = base64.b64encode(b"\x01\x02" * 2_400).decode()
"""100 ms at 24 kHz."""
SPEECH = {"mimeType": "audio/pcm;rate=24000", "data": AUDIO}
USAGE = {"promptTokenCount": 20, "responseTokenCount": 10, "totalTokenCount": 30}
NATIVE_AUDIO = "gemini-2.5-flash-native-audio"


class OpenAITalk:
    """A session. ``heard`` is what the client got, ``told`` what the provider got, in order;
    ``ignored`` and ``renewals`` are what the relay was told.
    """

    def __init__(self, model: str = NATIVE_AUDIO, conversation: Conversation | None = None) -> None:
        self.translator = GeminiTranslator(
            model=model, seed="5eed", voices=BUILT_IN, conversation=conversation
        )
        self.checker: Checker | None = Checker() if conversation is None else None
        self.heard: list[Message] = []
        self.told: list[Message] = []
        self.ignored: list[str] = []
        self.renewals: list[Renewal] = []
        if conversation is None:
            self.take(self.translator.opened())

    @classmethod
    def ready(cls, model: str = NATIVE_AUDIO, /, **session: Any) -> "OpenAITalk":
        """A session that both sides have accepted; what was said for that is forgotten."""
        talk = cls(model)
        talk.connect()
        talk.client("session.update", session={"type": "realtime", **session})
        talk.provider(setupComplete={})
        talk.forget()
        return talk

    @classmethod
    def detected(cls, model: str = NATIVE_AUDIO) -> "OpenAITalk":
        """One in which the provider detects speech, and transcribes it."""
        return cls.ready(model, audio={"input": {"transcription": {"model": "whisper-1"}}})

    @classmethod
    def manual(cls) -> "OpenAITalk":
        """One in which the client says when the user's turn is over."""
        audio = {"input": {"turn_detection": None, "transcription": {}}}
        return cls.ready(audio=audio)

    def client(self, kind: str | bytes, /, **fields: Any) -> None:
        """The client sends an event of this type."""
        raw = kind if isinstance(kind, bytes) else json.encode({"type": kind, **fields})
        self.take(self.translator.from_client(raw))

    def provider(self, raw: bytes | None = None, /, **fields: Any) -> None:
        """The provider sends a message."""
        self.take(self.translator.from_provider(raw or json.format(json.encode(fields), indent=2)))

    def connect(self) -> None:
        """A provider is connected."""
        self.take(self.translator.provider_opened())

    def disconnect(self) -> None:
        """The provider is gone."""
        self.take(self.translator.provider_closed())

    def take(self, out: Translation) -> None:
        """Keep what the translator made of a message."""
        for raw in out.to_client:
            event = json.decode(raw)
            if self.checker is not None:
                self.checker.see(event)
            self.heard.append(event)
        for raw in out.to_provider:
            message = json.decode(raw)
            validate(message)
            self.told.append(message)
        self.ignored += out.ignored
        if out.renewal is not None:
            self.renewals.append(out.renewal)

    def forget(self) -> None:
        """Begin again to keep what is said."""
        self.heard, self.told, self.ignored, self.renewals = [], [], [], []

    # --- what is said often -----------------------------------------------------------------------

    def append(self, count: int = 1) -> None:
        """The user's audio, so often 100 ms."""
        for _ in range(count):
            self.client("input_audio_buffer.append", audio=AUDIO)

    def create_message(self, text: str, role: str = "user", **fields: Any) -> None:
        """The client writes a message."""
        kind = "output_text" if role == "assistant" else "input_text"
        content = [{"type": kind, "text": text}]
        item = {"type": "message", "role": role, "content": content, **fields}
        self.client("conversation.item.create", item=item)

    def create_output(self, call_id: str, output: str) -> None:
        """The client gives the output of a function."""
        item = {"type": "function_call_output", "call_id": call_id, "output": output}
        self.client("conversation.item.create", item=item)

    def write(self, text: str) -> None:
        """The model answers with text."""
        self.provider(serverContent={"modelTurn": {"parts": [{"text": text}]}})

    def speak(self, text: str = "") -> None:
        """The model answers with speech, 100 ms, and its transcript."""
        if text:
            self.provider(serverContent={"outputTranscription": {"text": text}})
        self.provider(serverContent={"modelTurn": {"parts": [{"inlineData": SPEECH}]}})

    def call(self, *calls: tuple[str, str]) -> None:
        """The model calls functions: id and name of each."""
        made = [{"id": found, "name": name, "args": {"a": 1}} for found, name in calls]
        self.provider(toolCall={"functionCalls": made})

    def end(self, usage: Message | None = USAGE, **content: Any) -> None:
        """The model's turn ends."""
        beside = {} if usage is None else {"usageMetadata": usage}
        self.provider(serverContent={"turnComplete": True, **content}, **beside)

    def interrupt(self) -> None:
        """The model is interrupted, and its turn ends."""
        self.provider(serverContent={"interrupted": True})
        self.end()

    # --- what was heard and told ------------------------------------------------------------------

    @property
    def heard_kinds(self) -> list[str]:
        """The types of what the client got."""
        return [event["type"] for event in self.heard]

    @property
    def told_kinds(self) -> list[str]:
        """What the provider got, by the name in it; of a ``realtimeInput`` the name of that."""
        names = [next(iter(message)) for message in self.told]
        return [
            next(iter(message[name])) if name == "realtimeInput" else name
            for name, message in zip(names, self.told, strict=True)
        ]

    def only(self, kind: str) -> Message:
        """The one event of this type that the client got."""
        (found,) = [event for event in self.heard if event["type"] == kind]
        return found

    @property
    def error(self) -> Message:
        """The one error that the client got."""
        error: Message = self.only("error")["error"]
        return error

    @property
    def responses(self) -> list[Message]:
        """The responses that are done."""
        return [event["response"] for event in self.heard if event["type"] == "response.done"]

    @property
    def kept(self) -> list[tuple[str, str]]:
        """The conversation's items: role or type, and the text or the call's id."""
        return [_kept(item) for item in self.translator.conversation.items]


def validate(message: Message) -> None:
    """Hold a message for Gemini to the SDK's types."""
    assert len(message) == 1, message
    if "setup" in message:  # on the wire this stands in the setup; the SDK's type lacks it
        setup = dict(message["setup"])
        RealtimeInputConfig.model_validate(setup.pop("realtimeInputConfig"))
        message = {"setup": setup}
    LiveClientMessage.model_validate(message)


def _kept(item: Message) -> tuple[str, str]:
    if item["type"] != "message":
        return item["type"], item["call_id"]
    texts = [part.get("text") or part.get("transcript") or "" for part in item["content"]]
    return item["role"], "".join(texts)
