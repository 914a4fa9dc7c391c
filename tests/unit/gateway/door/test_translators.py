"""``door.translators``: which translator a session gets, and with which voices."""

import pytest
from msgspec import json

from gateway.door.translators import may_be_kept, translator_for
from gateway.providers.base import Dialect, Target
from gateway.translate.conversation import Conversation
from gateway.translate.voices import VoiceTable

VOICES = VoiceTable({"gemini": {"marin": "Kore"}, "openai": {"Puck": "verse"}})
UPDATE = {"type": "session.update", "session": {"type": "realtime"}}
GA = {**UPDATE, "session": {"type": "realtime", "audio": {"output": {"voice": "Marin"}}}}
BETA = {**UPDATE, "session": {"voice": "marin"}}
SPEECH = {"voiceConfig": {"prebuiltVoiceConfig": {"voiceName": "Puck"}}}
SETUP = {"setup": {"model": "models/m", "generationConfig": {"speechConfig": SPEECH}}}

NAMED = [
    (Dialect.OPENAI, Dialect.GEMINI, GA, b'"voiceName":"Kore"'),
    (Dialect.OPENAI_BETA, Dialect.GEMINI, BETA, b'"voiceName":"Kore"'),
    (Dialect.GEMINI, Dialect.OPENAI, SETUP, b'"voice":"verse"'),
    (Dialect.OPENAI_BETA, Dialect.OPENAI, BETA, b'"voice":"marin"'),  # their voices are the same
]


@pytest.mark.parametrize(("client", "provider", "first", "voice"), NAMED)
def test_the_operators_voices_reach_the_provider(
    client: Dialect, provider: Dialect, first: dict[str, object], voice: bytes
) -> None:
    """Whatever the two speak, the provider is set up with the voice of the table."""
    name = "gemini" if provider is Dialect.GEMINI else "openai"
    target = Target(name, "m", "s", "/", "", dialect=client, provider_dialect=provider)
    translator = translator_for(target, "m", seed="5eed", voices=VOICES)
    translator.opened()
    said = [*translator.provider_opened().to_provider]
    said += translator.from_client(json.encode(first)).to_provider
    assert voice in b"".join(said)


@pytest.mark.parametrize(("client", "provider", "first"), [named[:3] for named in NAMED])
def test_a_stored_conversation_is_told_to_the_provider(
    client: Dialect, provider: Dialect, first: dict[str, object]
) -> None:
    """Once the client has configured its session, whatever the two speak."""
    content = [{"type": "input_text", "text": "My name is Ada"}]
    items = [{"id": "a", "type": "message", "role": "user", "content": content}]
    stored = Conversation(session={"type": "realtime", "instructions": "Be kind."}, items=items)
    name = "gemini" if provider is Dialect.GEMINI else "openai"
    target = Target(name, "m", "s", "/", "", dialect=client, provider_dialect=provider)
    translator = translator_for(target, "m", seed="5eed", voices=VOICES, conversation=stored)
    translator.opened()
    said = [*translator.provider_opened().to_provider]
    said += translator.from_client(json.encode(first)).to_provider
    if provider is Dialect.GEMINI:
        said += translator.from_provider(b'{"setupComplete":{}}').to_provider
    told = b"".join(said)
    assert told.count(b"My name is Ada") == 1
    # A Gemini client's setup is a whole configuration.
    assert (b"Be kind." in told) is (client is not Dialect.GEMINI)


KEPT = [
    ("/realtime", Dialect.OPENAI, Dialect.OPENAI, "m", True),
    ("/realtime?conversation_id=c", Dialect.OPENAI, Dialect.OPENAI, "m", True),
    ("/realtime?call_id=c", Dialect.OPENAI, Dialect.OPENAI, "m", False),
    ("/realtime", Dialect.OPENAI, Dialect.OPENAI, None, False),
    ("/live", Dialect.OPENAI, Dialect.OPENAI, "m", False),
    ("/openai/realtime", Dialect.OPENAI_BETA, Dialect.OPENAI_BETA, "m", False),
    ("/ws/gemini", Dialect.GEMINI, Dialect.GEMINI, None, True),
    ("/realtime", Dialect.GEMINI, Dialect.OPENAI, "m", False),
]


@pytest.mark.parametrize(("path", "client", "provider", "model", "is_kept"), KEPT)
def test_a_session_of_one_protocol_may_be_kept(
    path: str, client: Dialect, provider: Dialect, model: str | None, is_kept: bool
) -> None:
    """OpenAI's GA with a model, which is all that the conversation hangs on, and Gemini's."""
    path, _, query = path.partition("?")
    target = Target("p", model, "s", path, query, dialect=client, provider_dialect=provider)
    assert may_be_kept(target) is is_kept
