"""openai-python tells a tale, and holds what it sees to the grammar of OpenAI's events.

So does the beta's resource of the SDK, whose events have other names.
"""

import warnings
from typing import Any

from openai import AsyncOpenAI

from clients.openai_python import BETA, GA, Talk, call
from clients.outcome import ANSWER, ASK_STORY, ASK_TOOL, Outcome, Where
from clients.tale import BRIEF, FRENCH, LAST, NAME
from tests.support.grammar_openai import Checker


class Tale(Talk):
    """The tale over one of the SDK's connections; the beta's has no ``checker``."""

    def __init__(self, connection: Any, checker: Checker | None) -> None:
        super().__init__(connection, {**(GA if checker else BETA), "instructions": BRIEF})
        self._checker = checker

    async def hold(self) -> Outcome:
        """All turns."""
        await self._until("session.created")
        await self._configure(self._session)
        self._keep(await self._speak())
        await self._write(NAME)
        self._keep(await self._respond())
        await self._write(ASK_TOOL)
        (item,) = (await self._respond())[-1].response.output
        self.outcome.tool = item.name
        await self._add({"type": "function_call_output", "call_id": item.call_id, "output": ANSWER})
        self._keep(await self._respond())
        kind = {"type": "realtime"} if self._checker else {}
        await self._configure({**kind, "instructions": FRENCH})
        await self._write(ASK_STORY)
        await call(self._connection.response.create)
        await self._until("response.output_audio.delta", "response.audio.delta")
        await call(self._connection.response.cancel)
        self.outcome.interrupted = (await self._until("response.done"))[-1].response.status
        await self._write(LAST)
        self._keep(await self._respond())
        if self._checker:
            self._checker.finish()
        return self.outcome

    async def _configure(self, session: Any) -> None:
        await call(self._connection.session.update, session=session)
        await self._until("session.updated")

    async def _respond(self) -> list[Any]:
        await call(self._connection.response.create)
        return await self._until("response.done")

    def _keep(self, events: list[Any]) -> None:
        deltas = [e.delta for e in events if e.type.endswith("audio_transcript.delta")]
        self.outcome.answers.append("".join(deltas))

    async def _until(self, *types: str) -> list[Any]:
        events = []
        while not events or events[-1].type not in types:
            data = await call(self._connection.recv_bytes)
            if self._checker:
                self._checker.see(data.decode())
            events.append(self._connection.parse_event(data))
            assert events[-1].type != "error", events[-1]
        return events


async def tell(where: Where) -> Outcome:
    """With a base URL, and the provider in the query."""
    client = AsyncOpenAI(api_key=where.key, base_url=f"http://{where.plain}/v1")
    query = {"rs_core": where.provider.upper()} if where.provider else {}
    async with client.realtime.connect(model=where.model, extra_query=query) as connection:
        return await Tale(connection, Checker(is_xai=where.model.startswith("grok"))).hold()


async def tell_beta(where: Where) -> Outcome:
    """With the resource of the beta, which the SDK calls deprecated."""
    client = AsyncOpenAI(api_key=where.key, websocket_base_url=f"ws://{where.plain}/v1")
    query = {"provider": where.provider} if where.provider else {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        connecting = client.beta.realtime.connect(model=where.model, extra_query=query)
    async with connecting as connection:
        return await Tale(connection, None).hold()
