"""The turns of a Gemini session: one at a time, each reported and logged once.

Every turn ends with turnComplete and its usage, except when the client leaves or a fault withholds
it. Then the tokens that were generated go to the log of abandoned responses.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final

import structlog

from simulator import charges
from simulator import gemini_frames as frames
from simulator.conversation import Conversation, Item
from simulator.faults import Faults
from simulator.gemini_client import Setup
from simulator.gemini_turn import GeminiTurn
from simulator.generation import Pace
from simulator.openai_events import Event
from simulator.session_effects import Outside
from simulator.tokens import Tokens

log = structlog.get_logger()

INTERNAL: Final = "Internal error encountered."


class GeminiTurns:
    """Starts, interrupts and reports turns. ``setup`` may change between two turns."""

    def __init__(
        self,
        setup: Setup,
        conversation: Conversation,
        *,
        pace: Pace,
        faults: Faults,
        is_vertex: bool,
        outside: Outside,
        when_over: Callable[[], Awaitable[None]],
    ) -> None:
        self.setup = setup
        self._conversation = conversation
        self._pace = pace
        self._faults = faults
        self._is_vertex = is_vertex
        self._outside = outside
        self._send = outside.send
        self._when_over = when_over
        self._cached_before = 0
        self._turn: GeminiTurn | None = None
        self._waiting: GeminiTurn | None = None  # the turn that waits for the answers of its tools
        self._turning: asyncio.Task[None] | None = None

    @property
    def history(self) -> Tokens:
        """The tokens of all turns so far, which are the prompt of the next one."""
        return self.setup.system + self._conversation.tokens

    async def close(self) -> None:
        """The client is gone: stop generating."""
        if self._turning is not None:
            self._turning.cancel()
            await asyncio.gather(self._turning, return_exceptions=True)
        if self._waiting is not None:
            self._abandon(self._waiting)

    async def interrupt(self) -> None:
        """Interrupt the model's turn because the user began to speak."""
        if not self.setup.is_interruptible:
            return
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            await self._send({"toolCallCancellation": {"ids": waiting.calls}})
            waiting.cancel("turn_detected")
            await self._end(waiting)
        if self._turn is not None:
            self._turn.cancel("turn_detected")

    async def answer(self, *, heard: str = "") -> None:
        """Begin a turn."""
        await self._begin(self.history, heard=heard, before=None, tool=0)

    async def answer_with_tool(self, answers: list[Item]) -> None:
        """Continue the turn after its tools have answered."""
        history, tool = self.history, 0
        for answer in answers:
            self._conversation.add(answer)
            tool += answer.tokens.text
        before, self._waiting = self._waiting, None
        await self._begin(history, heard="", before=before, tool=tool)

    async def _begin(
        self, history: Tokens, *, heard: str, before: GeminiTurn | None, tool: int
    ) -> None:
        """Begin a turn after the previous one has sent its end."""
        if self._turn is not None and self._turning is not None:
            if self._faults.is_endless:
                return
            await asyncio.gather(self._turning)
        self._turn = GeminiTurn(
            self.setup,
            self._conversation,
            history,
            heard=heard,
            before=before,
            tool=tool,
            is_vertex=self._is_vertex,
            pace=self._pace,
            faults=self._faults,
            cached_before=self._cached_before,
            send=self._send,
            on_audio=self._outside.on_audio,
        )
        self._turning = asyncio.get_running_loop().create_task(self._run(self._turn))

    async def _run(self, turn: GeminiTurn) -> None:
        is_over = False
        try:
            async with asyncio.timeout(self._faults.close_after_s):
                await turn.generate()
                if self._faults.is_done_withheld:
                    await asyncio.Event().wait()  # until the client leaves: close() cancels it
            if turn.calls and not self._is_vertex:  # the answer to the tools is in the same turn
                self._waiting = turn
            else:
                if self._faults.is_playback_awaited:
                    await turn.play()
                self._turn = None
                await self._end(turn)
            is_over = True
        except TimeoutError:
            assert self._faults.close_code is not None
            await self._outside.hang_up(self._faults.close_code)
        except ConnectionError:
            pass  # the client is gone; a usage that was not sent is not logged
        except Exception:
            log.exception("turn failed")
            await self._outside.hang_up(1011, INTERNAL)
        finally:
            if self._turn is turn:
                self._turn = None
            if not is_over:
                self._abandon(turn)

    def _abandon(self, turn: GeminiTurn) -> None:
        self._outside.log_abandoned(
            {"response_id": turn.id, "began_at": turn.began_at, "usage": turn.usage}
        )

    async def _end(self, turn: GeminiTurn) -> None:
        """Send the end of the turn and its usage."""
        ending: dict[str, Any] = {"turnComplete": True}
        if turn.status == "failed":
            self._abandon(turn)
            await self._outside.hang_up(1011, INTERNAL)
            return
        if turn.status == "cancelled":
            await self._send(frames.content(interrupted=True))
        elif turn.reason == "content_filter":
            ending["turnCompleteReason"] = "RESPONSE_REJECTED"
        elif not turn.calls and not turn.is_generated:
            await self._send(frames.content(generationComplete=True))
        if self._is_vertex:
            ending["groundingMetadata"] = {}
        ending |= turn.grounding()
        self._cached_before = int(turn.usage.get("promptTokenCount", 0))
        self._conversation.add(Item(turn.said, turn.cost))
        await self._report(turn, frames.content(**ending))
        await self._when_over()

    async def _report(self, turn: GeminiTurn, ending: Event) -> None:
        """Send turnComplete and the usage in the frames that ``usage_at`` names; log it once."""
        told = self._faults.reported(turn.usage)
        alone = {"usageMetadata": told}
        at = self._faults.usage_at
        if self._faults.usage == "missing":
            messages = [ending]
        elif at == "standalone_before":
            messages = [alone, ending]
        elif at == "standalone_after":
            messages = [ending, alone]
        elif at == "twice":
            messages = [alone, {**ending, **alone}]
        else:
            messages = [{**ending, **alone}]
        is_logged = False
        for number, message in enumerate(messages, start=1):
            await self._send(message)
            if not is_logged and ("usageMetadata" in message or number == len(messages)):
                is_logged = True
                self._outside.log_usage(
                    {
                        "kind": "turn",
                        "response_id": turn.id,
                        "model": self._faults.served or self.setup.model,
                        "status": turn.status,
                        "usage": told,
                        "charge": charges.for_turn(told, queries=turn.queries),
                    }
                )
