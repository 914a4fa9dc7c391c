"""An OpenAI client whose session goes from one Gemini to another: each has a translator."""

import json
from typing import Any

from gateway.translate.to_gemini.translator import GeminiTranslator
from gateway.translate.voices import VoiceTable

VOICES = VoiceTable({"gemini": {"marin": "Kore"}, "gemini-eu": {"marin": "Leda"}})
SESSION = {
    "type": "realtime",
    "instructions": "Be brief.",
    "audio": {"output": {"voice": "marin"}},
}
HANDLE = {"sessionResumptionUpdate": {"newHandle": "handle_1", "resumable": True}}


def message(**event: Any) -> bytes:
    """A message of either side."""
    return json.dumps(event).encode()


def said(role: str, kind: str, text: str) -> bytes:
    """The client adds an item."""
    item = {"type": "message", "role": role, "content": [{"type": kind, "text": text}]}
    return message(type="conversation.item.create", item=item)


def setup_in(told: list[bytes]) -> dict[str, Any]:
    """The one message that a connection is told first."""
    (only,) = map(json.loads, told)
    setup: dict[str, Any] = only["setup"]
    return setup


def test_the_next_gemini_is_told_the_conversation_in_its_own_words() -> None:
    """Under its name for the model, in its voice, and without the handle of the one before."""
    first = GeminiTranslator(model="live", seed="a", voices=VOICES.at("gemini"))
    first.opened()
    first.provider_opened()
    setup = setup_in(first.from_client(message(type="session.update", session=SESSION)).to_provider)
    assert "Kore" in str(setup)
    first.from_provider(message(setupComplete={}))
    first.from_client(said("user", "input_text", "a question"))
    first.from_client(said("assistant", "output_text", "an answer"))
    first.from_provider(message(**HANDLE))
    first.provider_closed()
    rest = first.leave()
    second = GeminiTranslator(
        model="live-eu", seed="b", voices=VOICES.at("gemini-eu"), conversation=first.conversation
    )
    second.take_over(rest)
    setup = setup_in(second.provider_opened().to_provider)
    assert (setup["model"], setup["sessionResumption"]) == ("models/live-eu", {})
    assert setup["systemInstruction"] == {"parts": [{"text": "Be brief."}]}
    assert "Leda" in str(setup)
    told = second.from_provider(message(setupComplete={})).to_provider
    told += second.from_client(said("user", "input_text", "another question")).to_provider
    told += second.from_client(message(type="response.create")).to_provider
    words = b"".join(told)
    assert words.index(b"a question") < words.index(b"an answer") < words.index(b"another question")
