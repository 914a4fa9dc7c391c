"""A program with pipecat's service for OpenAI Realtime that tells a tale of its own.

The pipeline begins with what was written (ASK_TOOL); what is written later goes to the service,
which tells it as the system's. The story is told and cut by voice.
"""

import asyncio
import os

from pipecat.frames.frames import (
    EndFrame,
    LLMMessagesAppendFrame,
    LLMRunFrame,
    LLMUpdateSettingsFrame,
)
from pipecat.pipeline.pipeline import Pipeline
from pipecat.processors.aggregators.llm_context import LLMContext
from pipecat.processors.aggregators.llm_response_universal import LLMContextAggregatorPair
from pipecat.services.openai.realtime.events import (
    AudioConfiguration,
    AudioInput,
    InputAudioTranscription,
    SessionProperties,
)
from pipecat.services.openai.realtime.llm import OpenAIRealtimeLLMService
from pipecat.workers.runner import WorkerRunner

from clients.heavy.pipecat_openai import Ear, say, weather, worker_of
from clients.outcome import ASK_TOOL, SAID, Outcome
from clients.tale import BRIEF, FRENCH, LAST, NAME
from tests.support.speech import silence, tone

STORY = tone(4.0)


async def main() -> None:
    """All turns."""
    provider = os.environ["PROVIDER"]
    there = f"/provider/{provider}" if provider else ""
    outcome = Outcome()
    heard = AudioInput(transcription=InputAudioTranscription())
    settings = OpenAIRealtimeLLMService.Settings
    service = OpenAIRealtimeLLMService(
        api_key=os.environ["API_KEY"],
        base_url=f"{os.environ['GATEWAY_URL']}{there}/v1/realtime",
        settings=settings(
            model=os.environ["MODEL"],
            system_instruction=BRIEF,
            session_properties=SessionProperties(audio=AudioConfiguration(input=heard)),
        ),
    )
    context = LLMContext(
        messages=[{"role": "user", "content": ASK_TOOL}], tools=weather(service, outcome)
    )
    user, assistant = LLMContextAggregatorPair(context)
    ear = Ear()
    worker = worker_of(Pipeline([user, service, ear, assistant]))

    async def write(text: str) -> None:
        message = {"role": "user", "content": text}
        await service.queue_frame(LLMMessagesAppendFrame([message], run_llm=True))

    async def talk() -> None:
        await worker.queue_frame(LLMRunFrame())
        await ear.listen()
        outcome.answers.append(ear.taken_words())
        await say(worker, SAID + silence(1.0))
        outcome.heard = await ear.listen()
        outcome.answers.append(ear.taken_words())
        await write(NAME)
        await ear.listen()
        outcome.answers.append(ear.taken_words())
        await worker.queue_frame(LLMUpdateSettingsFrame(delta=settings(system_instruction=FRENCH)))
        await say(worker, STORY + silence(1.0))
        await ear.begins()
        await say(worker, SAID + silence(1.0))
        if len(await ear.ends()) < len(STORY) // 2:
            outcome.interrupted = "interrupted"
        await ear.listen()  # the answer to the voice that interrupted
        ear.taken_words()
        await write(LAST)
        await ear.listen()
        outcome.answers.append(ear.taken_words())
        await worker.queue_frame(EndFrame())

    runner = WorkerRunner(handle_sigint=False)
    await runner.add_workers(worker)
    await asyncio.gather(runner.run(), talk())
    print(outcome.to_json())


if __name__ == "__main__":
    asyncio.run(main())
