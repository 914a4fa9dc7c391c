"""A Gemini client and a provider of the OpenAI family, with the translator between them.

What the translator sends is checked against the SDKs' types: google-genai's forbid unknown fields.
"""

from typing import Any

from google.genai.types import LiveServerMessage
from msgspec import json
from openai.types.realtime import RealtimeClientEvent
from pydantic import TypeAdapter

from gateway.translate.base import Close, Translation
from gateway.translate.conversation import Conversation
from gateway.translate.to_openai.translator import OpenAITranslator
from gateway.translate.voices import BUILT_IN

Message = dict[str, Any]

_PROVIDER: TypeAdapter[Any] = TypeAdapter(RealtimeClientEvent)


class GeminiTalk:
    """A session. ``heard`` is what the client got, ``told`` what the provider got, in order;
    ``ignored`` and ``close`` are what the relay was told.
    """

    def __init__(self, provider: str = "openai", conversation: Conversation | None = None) -> None:
        self.translator = OpenAITranslator(
            provider=provider,
            model="gpt-realtime",
            seed="5eed",
            voices=BUILT_IN,
            conversation=conversation,
        )
        self.heard: list[Message] = []
        self.told: list[Message] = []
        self.ignored: list[str] = []
        self.close: Close | None = None
        self.take(self.translator.opened())

    @classmethod
    def set_up(cls, provider: str = "openai", /, **setup: Any) -> "GeminiTalk":
        """A session that both sides have accepted; what was said for that is forgotten."""
        talk = cls(provider)
        talk.take(talk.translator.provider_opened())
        talk.client(setup={"model": "models/m", **setup})
        talk.provider("session.updated", session={})
        talk.forget()
        return talk

    def client(self, message: Message | bytes | None = None, /, **fields: Any) -> None:
        """The client sends a message."""
        raw = message if isinstance(message, bytes) else json.encode(message or fields)
        self.take(self.translator.from_client(raw))

    def provider(self, event: str | bytes, /, **fields: Any) -> None:
        """The provider sends an event of this type."""
        raw = event if isinstance(event, bytes) else json.encode({"type": event, **fields})
        self.take(self.translator.from_provider(raw))

    def reconnect(self) -> None:
        """The provider's connection is gone, and another one takes its place."""
        self.take(self.translator.provider_closed())
        self.take(self.translator.provider_opened())

    def answer(
        self, status: str = "completed", *, response_id: str = "resp_1", **response: Any
    ) -> None:
        """The provider ends the response ``response_id``."""
        self.provider("response.done", response={"id": response_id, "status": status, **response})

    def take(self, out: Translation) -> None:
        """Keep what the translator made of a message."""
        for raw in out.to_client:
            LiveServerMessage.model_validate_json(raw)
            self.heard.append(json.decode(raw))
        for raw in out.to_provider:
            message = json.decode(raw)
            _PROVIDER.validate_python(message)
            self.told.append(message)
        self.ignored += out.ignored
        self.close = self.close or out.close

    def forget(self) -> None:
        """Begin again to keep what is said."""
        self.heard, self.told, self.ignored = [], [], []

    @property
    def told_types(self) -> list[str]:
        """The types of what the provider got."""
        return [message["type"] for message in self.told]

    @property
    def heard_kinds(self) -> list[str]:
        """What the client got, each message by the names in it: ``turnComplete usageMetadata``."""
        return [" ".join(_names(message)) for message in self.heard]


def _names(message: Message) -> list[str]:
    content = message.get("serverContent", {})
    names = [name for name in message if name != "serverContent"]
    return [_name(name, value) for name, value in content.items()] + names


def _name(name: str, value: Any) -> str:
    if name != "modelTurn":
        return name
    return "audio" if "inlineData" in value["parts"][0] else "text"
