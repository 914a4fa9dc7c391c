"""google-genai's live client."""

import ssl
from typing import Any

from google import genai
from google.genai import types

from clients.outcome import ASK_STORY, ASK_TOOL, PARAMETERS, SAID, TOOL, Outcome, Where
from tests.support.speech import chunks

# A rate that the simulator need not resample, so that it comes back byte for byte.
AUDIO = "audio/pcm;rate=24000"
CONFIG = types.LiveConnectConfig(
    response_modalities=[types.Modality.AUDIO],
    tools=[
        types.Tool(
            function_declarations=[
                types.FunctionDeclaration(name=TOOL, parameters_json_schema=PARAMETERS)
            ]
        )
    ],
    output_audio_transcription=types.AudioTranscriptionConfig(),
    realtime_input_config=types.RealtimeInputConfig(
        automatic_activity_detection=types.AutomaticActivityDetection(disabled=True)
    ),
)


async def hold(client: genai.Client, model: str) -> Outcome:
    """A spoken turn, a tool call, an interruption."""
    outcome = Outcome()
    async with client.aio.live.connect(model=model, config=CONFIG) as session:
        await session.send_realtime_input(activity_start=types.ActivityStart())
        for piece in chunks(SAID):
            await session.send_realtime_input(audio=types.Blob(data=piece, mime_type=AUDIO))
        await session.send_realtime_input(activity_end=types.ActivityEnd())
        async for message in session.receive():
            outcome.heard += message.data or b""

        await _write(session, ASK_TOOL)
        async for message in session.receive():
            if message.tool_call is not None:
                (called,) = message.tool_call.function_calls or []
                outcome.tool = called.name or ""
                answer = types.FunctionResponse(
                    id=called.id, name=called.name, response={"celsius": 21}
                )
                await session.send_tool_response(function_responses=[answer])

        await _write(session, ASK_STORY)
        is_interrupting = False
        async for message in session.receive():
            if message.data and not is_interrupting:
                is_interrupting = True
                await session.send_realtime_input(activity_start=types.ActivityStart())
            if message.server_content and message.server_content.interrupted:
                outcome.interrupted = "interrupted"
    return outcome


async def _write(session: Any, text: str) -> None:
    turn = types.Content(role="user", parts=[types.Part(text=text)])
    await session.send_client_content(turns=turn)


async def http_options(where: Where) -> Outcome:
    """Configured in code."""
    tls = ssl.create_default_context(cafile=where.ca)
    options = types.HttpOptions(base_url=f"https://{where.tls}", async_client_args={"ssl": tls})
    return await hold(genai.Client(api_key=where.key, http_options=options), where.model)


async def ephemeral(where: Where) -> Outcome:
    """With a key that looks ephemeral, by which the SDK asks for the Constrained path."""
    tls = ssl.create_default_context(cafile=where.ca)
    options = types.HttpOptions(
        base_url=f"https://{where.tls}", api_version="v1alpha", async_client_args={"ssl": tls}
    )
    client = genai.Client(api_key=f"auth_tokens/{where.key}", http_options=options)
    return await hold(client, where.model)


CLIENTS = {
    "google-genai http_options": (http_options, "gemini-live"),
    "google-genai ephemeral key": (ephemeral, "gemini-live"),
}
