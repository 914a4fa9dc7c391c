"""google-genai tells a tale."""

import ssl
from typing import Any

from google import genai
from google.genai import types

from clients.genai_python import AUDIO, CONFIG
from clients.outcome import ASK_STORY, ASK_TOOL, SAID, Outcome, Where
from clients.tale import BRIEF, FRENCH, LAST, NAME
from tests.support.speech import chunks


class Tale:
    """The tale over one session; the words of what is said aloud come as its transcription."""

    def __init__(self, session: Any) -> None:
        self._session = session
        self.outcome = Outcome()

    async def tell(self) -> Outcome:
        """All turns."""
        await self._session.send_realtime_input(activity_start=types.ActivityStart())
        for piece in chunks(SAID):
            await self._session.send_realtime_input(audio=types.Blob(data=piece, mime_type=AUDIO))
        await self._session.send_realtime_input(activity_end=types.ActivityEnd())
        await self._keep()
        await self._write(NAME)
        await self._keep()
        await self._write(ASK_TOOL)
        await self._keep()
        await self._session.send_context_update(system_instruction=FRENCH)
        await self._write(ASK_STORY)
        await self._interrupt()
        await self._write(LAST)
        await self._keep()
        return self.outcome

    async def _keep(self) -> None:
        """Hear the answer; a tool that is called answers at once."""
        words, is_first = "", not self.outcome.answers
        async for message in self._session.receive():
            if is_first:
                self.outcome.heard += message.data or b""
            content = message.server_content
            if content is not None and content.output_transcription is not None:
                words += content.output_transcription.text or ""
            for called in (message.tool_call and message.tool_call.function_calls) or []:
                self.outcome.tool = called.name
                answer = types.FunctionResponse(
                    id=called.id, name=called.name, response={"celsius": 21}
                )
                await self._session.send_tool_response(function_responses=[answer])
        self.outcome.answers.append(words)

    async def _interrupt(self) -> None:
        is_interrupting = False
        async for message in self._session.receive():
            if message.data and not is_interrupting:
                is_interrupting = True
                await self._session.send_realtime_input(activity_start=types.ActivityStart())
            if message.server_content and message.server_content.interrupted:
                self.outcome.interrupted = "interrupted"

    async def _write(self, text: str) -> None:
        turn = types.Content(role="user", parts=[types.Part(text=text)])
        await self._session.send_client_content(turns=turn)


async def tell(where: Where) -> Outcome:
    """Configured in code, the provider in a header."""
    tls = ssl.create_default_context(cafile=where.ca)
    options = types.HttpOptions(
        base_url=f"https://{where.tls}",
        headers={"x-rs-provider": where.provider} if where.provider else {},
        async_client_args={"ssl": tls},
    )
    config = CONFIG.model_copy(update={"system_instruction": BRIEF})
    client = genai.Client(api_key=where.key, http_options=options)
    async with client.aio.live.connect(model=where.model, config=config) as session:
        return await Tale(session).tell()
