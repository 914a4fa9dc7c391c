"""A program with pipecat's service for Gemini Live in a pipeline of its own."""

import asyncio
import os
import ssl

from google.genai import types
from pipecat.frames.frames import EndFrame, LLMRunFrame
from pipecat.pipeline.pipeline import Pipeline
from pipecat.processors.aggregators.llm_context import LLMContext
from pipecat.processors.aggregators.llm_response_universal import LLMContextAggregatorPair
from pipecat.services.google.gemini_live.llm import GeminiLiveLLMService
from pipecat.workers.runner import WorkerRunner

from clients.heavy.pipecat_openai import Ear, say, weather, worker_of
from clients.outcome import ASK_TOOL, SAID, Outcome
from tests.support.speech import silence, tone


async def main() -> None:
    """A tool call, a spoken turn, an interruption by voice."""
    provider = os.environ["PROVIDER"]
    there = f"/provider/{provider}" if provider else ""
    tls = ssl.create_default_context(cafile=os.environ["CA_FILE"])
    outcome = Outcome()
    service = GeminiLiveLLMService(
        api_key=os.environ["API_KEY"],
        http_options=types.HttpOptions(
            base_url=os.environ["GATEWAY_URL_TLS"].replace("wss", "https", 1) + there,
            async_client_args={"ssl": tls},
        ),
        settings=GeminiLiveLLMService.Settings(model=os.environ["MODEL"]),
    )
    context = LLMContext(
        messages=[{"role": "user", "content": ASK_TOOL}], tools=weather(service, outcome)
    )
    user, assistant = LLMContextAggregatorPair(context)
    ear = Ear()
    worker = worker_of(Pipeline([user, service, ear, assistant]))

    async def talk() -> None:
        await worker.queue_frame(LLMRunFrame())
        await ear.listen()  # the answer after the tool
        await say(worker, SAID + silence(1.0))
        outcome.heard = await ear.listen()
        story = tone(3.0)
        await say(worker, story + silence(1.0))
        await ear.begins()
        await say(worker, SAID)
        if len(await ear.ends()) < len(story) // 2:
            outcome.interrupted = "interrupted"
        await worker.queue_frame(EndFrame())

    runner = WorkerRunner(handle_sigint=False)
    await runner.add_workers(worker)
    await asyncio.gather(runner.run(), talk())
    print(outcome.to_json())


if __name__ == "__main__":
    asyncio.run(main())
