"""Clients of the OpenAI family that only listen: a translation, and a transcription."""

import base64
from functools import partial
from typing import Any

from openai import AsyncOpenAI

from clients.outcome import SAID, Outcome, Where
from clients.programs import node
from tests.support.speech import chunks


async def translation(where: Where) -> Outcome:
    """openai-python's connection for translations: what it says, and in which words."""
    outcome = Outcome()
    client = AsyncOpenAI(api_key=where.key, base_url=f"http://{where.plain}/v1")
    async with client.realtime.translations.connect(model=where.model) as connection:
        await connection.session.update(session={"audio": {"output": {"language": "fr"}}})
        for piece in chunks(SAID):
            audio = base64.b64encode(piece).decode()
            await connection.session.input_audio_buffer.append(audio=audio)
        await connection.session.close()
        async for event in connection:
            assert event.type != "error", event
            if event.type == "session.output_audio.delta":
                outcome.heard += base64.b64decode(event.delta)
            elif event.type == "session.output_transcript.delta":
                outcome.words += event.delta
    return outcome


async def transcription(where: Where) -> Outcome:
    """openai-python's GA connection with an intent in place of a model: the words as they come."""
    outcome = Outcome()
    client = AsyncOpenAI(api_key=where.key, base_url=f"http://{where.plain}/v1")
    async with client.realtime.connect(extra_query={"intent": "transcription"}) as connection:
        heard: Any = {"transcription": {"model": where.model}, "turn_detection": None}
        await connection.session.update(
            session={"type": "transcription", "audio": {"input": heard}}
        )
        for piece in chunks(SAID):
            await connection.input_audio_buffer.append(audio=base64.b64encode(piece).decode())
        await connection.input_audio_buffer.commit()
        async for event in connection:
            assert event.type != "error", event
            if event.type == "conversation.item.input_audio_transcription.delta":
                outcome.words += event.delta
            elif event.type == "conversation.item.input_audio_transcription.completed":
                return outcome
    return outcome


TRANSLATOR, TRANSCRIBER = "gpt-realtime-translate", "gpt-live-transcribe"
CLIENTS = {
    "openai-python translations": (translation, TRANSLATOR),
    "openai-python transcription": (transcription, TRANSCRIBER),
    "openai-node translations": (partial(node, program="openai_translation_ws"), TRANSLATOR),
    "openai-node transcription": (partial(node, program="openai_transcription_ws"), TRANSCRIBER),
}
