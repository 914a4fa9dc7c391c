"""A program with pipecat's service for OpenAI Realtime in a pipeline of its own."""

import asyncio
import os

from pipecat.adapters.llm.schemas.function_schema import FunctionSchema
from pipecat.adapters.llm.schemas.tools_schema import ToolsSchema
from pipecat.frames.frames import (
    EndFrame,
    ErrorFrame,
    InputAudioRawFrame,
    InterruptionFrame,
    LLMFullResponseEndFrame,
    LLMRunFrame,
    TTSAudioRawFrame,
    TTSTextFrame,
)
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineParams, PipelineWorker
from pipecat.processors.aggregators.llm_context import LLMContext
from pipecat.processors.aggregators.llm_response_universal import LLMContextAggregatorPair
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor
from pipecat.services.llm_service import LLMService
from pipecat.services.openai.realtime.llm import OpenAIRealtimeLLMService
from pipecat.workers.runner import WorkerRunner

from clients.outcome import ASK_TOOL, SAID, Outcome
from tests.support.speech import RATE_HZ, chunks, silence, tone


class Ear(FrameProcessor):
    """What the service says: pieces of audio, and b"" where an answer ends."""

    def __init__(self) -> None:
        super().__init__()
        self.heard: asyncio.Queue[bytes | Exception] = asyncio.Queue()
        self._words = ""

    async def process_frame(self, frame, direction: FrameDirection) -> None:
        """Note a frame and pass it on."""
        await super().process_frame(frame, direction)
        if isinstance(frame, TTSAudioRawFrame):
            self.heard.put_nowait(frame.audio)
        elif isinstance(frame, LLMFullResponseEndFrame | InterruptionFrame):
            self.heard.put_nowait(b"")
        elif isinstance(frame, ErrorFrame):
            self.heard.put_nowait(RuntimeError(frame.error))
        elif isinstance(frame, TTSTextFrame):
            self._words += frame.text
        await self.push_frame(frame, direction)

    def taken_words(self) -> str:
        """What was said in words since they were taken before."""
        words, self._words = self._words, ""
        return words

    async def begins(self) -> bytes:
        """The first piece of an answer; an interruption ends the one before again."""
        while not (piece := await self._piece()):
            pass
        return piece

    async def listen(self) -> bytes:
        """An answer to its end."""
        return await self.begins() + await self.ends()

    async def ends(self) -> bytes:
        """The rest of an answer that has begun."""
        audio = b""
        while piece := await self._piece():
            audio += piece
        return audio

    async def _piece(self) -> bytes:
        piece = await self.heard.get()
        if isinstance(piece, Exception):
            raise piece
        return piece


def weather(service: LLMService, outcome: Outcome) -> ToolsSchema:
    """The function that the model may call."""

    async def get_weather(parameters) -> None:
        outcome.tool = "get_weather"
        await parameters.result_callback({"celsius": 21})

    service.register_function("get_weather", get_weather)
    schema = FunctionSchema(
        name="get_weather",
        description="The weather of a place.",
        properties={"question": {"type": "string"}, "unit": {"type": "string"}},
        required=[],
    )
    return ToolsSchema([schema])


def worker_of(pipeline: Pipeline) -> PipelineWorker:
    """What runs a pipeline, with this test's rate."""
    rates = PipelineParams(audio_in_sample_rate=RATE_HZ, audio_out_sample_rate=RATE_HZ)
    return PipelineWorker(pipeline, params=rates)


async def say(worker: PipelineWorker, pcm: bytes) -> None:
    """Speak at a microphone's pace: the pipeline cuts what is being answered when speech begins,
    and would cut the answer to speech that is over before it has noticed its beginning.
    """
    for piece in chunks(pcm):
        await asyncio.sleep(0.02)
        await worker.queue_frame(
            InputAudioRawFrame(audio=piece, sample_rate=RATE_HZ, num_channels=1)
        )


async def hold(service: LLMService) -> Outcome:
    """A tool call, a spoken turn, an interruption by voice, with a service of any protocol."""
    outcome = Outcome()
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
            outcome.interrupted = "cut"
        await worker.queue_frame(EndFrame())

    runner = WorkerRunner(handle_sigint=False)
    await runner.add_workers(worker)
    await asyncio.gather(runner.run(), talk())
    return outcome


async def main() -> None:
    """With the service's own parameters only."""
    service = OpenAIRealtimeLLMService(
        api_key=os.environ["API_KEY"],
        base_url=os.environ["GATEWAY_URL"] + "/v1/realtime",
        settings=OpenAIRealtimeLLMService.Settings(model=os.environ["MODEL"]),
    )
    print((await hold(service)).to_json())


if __name__ == "__main__":
    asyncio.run(main())
