"""The responses of a session of the OpenAI family: one at a time, each reported and logged.

Every ``response.created`` is followed by a ``response.done``, except when the client leaves or a
fault withholds it. Then the tokens that were generated go to the log of abandoned responses.
"""

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from simulator import charges
from simulator import openai_events as events
from simulator.client_events import ClientError
from simulator.conversation import Conversation
from simulator.dialect import Dialect
from simulator.faults import Faults
from simulator.generation import Pace
from simulator.openai_events import Event
from simulator.reply import Reply
from simulator.transcription import Transcriber

log = structlog.get_logger()

Sink = Callable[[Event], None]


class Responses:
    """Starts, cancels and reports responses."""

    def __init__(
        self,
        session: Event,
        conversation: Conversation,
        *,
        pace: Pace,
        faults: Faults,
        dialect: Dialect,
        emit: Callable[[Event], Awaitable[list[Event | bytes]]],
        hang_up: Callable[[int], Awaitable[None]],
        log_usage: Sink,
        log_abandoned: Sink,
        on_audio: Callable[[bytes], None],
    ) -> None:
        self._session = session
        self._conversation = conversation
        self._pace = pace
        self._faults = faults
        self._dialect = dialect
        self._emit = emit
        self._hang_up = hang_up
        self._log_usage = log_usage
        self._log_abandoned = log_abandoned
        self._on_audio = on_audio
        self._cached_before = 0
        self._reply: Reply | None = None
        self._replying: asyncio.Task[None] | None = None
        self.transcriber = Transcriber(
            faults,
            emit=emit,
            log_usage=log_usage,
            is_replying=lambda: self._reply is not None,
        )

    def create(self, wanted: Event) -> None:
        """Serve ``response.create``. Raises ``ClientError`` while a response is in progress."""
        if self._reply is not None:
            raise ClientError(
                "conversation_already_has_active_response",
                f"Conversation already has an active response in progress: {self._reply.id}.",
            )
        self._start(wanted)

    def cancel(self) -> None:
        """Serve ``response.cancel``. Raises ``ClientError`` when no response is in progress."""
        if self._faults.is_cancel_ignored:
            return
        if self._reply is None:
            raise ClientError(
                "response_cancel_not_active", "Cancellation failed: no active response found."
            )
        self._reply.cancel("client_cancelled")

    def interrupt(self) -> None:
        """Interrupt the response in progress because the user began to speak."""
        if self._reply is not None:
            self._reply.cancel("turn_detected")

    async def answer_speech(self) -> None:
        """Respond to the user's speech, after the response.done of an interrupted response."""
        if self._reply is not None:
            if self._faults.is_endless:
                return
            assert self._replying is not None
            self._reply.cancel("turn_detected")
            await asyncio.gather(self._replying)
        self._start({})

    async def close(self) -> None:
        """The client is gone: stop generating."""
        await self.transcriber.close()
        if self._replying is not None:
            self._replying.cancel()
            await asyncio.gather(self._replying, return_exceptions=True)

    def _start(self, wanted: Event) -> None:
        self._reply = Reply(
            self._session,
            self._conversation,
            wanted=wanted,
            pace=self._pace,
            faults=self._faults,
            cached_before=self._cached_before,
            delta_sizes_ms=self._dialect.delta_sizes_ms(),
            send=self._send_part,
            on_audio=self._on_audio,
        )
        self._replying = asyncio.get_running_loop().create_task(self._run(self._reply))

    async def _send_part(self, event: Event) -> None:
        await self._emit(event)
        if event["type"].endswith((".delta", "output_item.done")):
            await self.transcriber.reached("between")

    async def _run(self, reply: Reply) -> None:
        is_reported = False
        try:
            await reply.begin()
            async with asyncio.timeout(self._faults.close_after_s):
                await self._generate(reply)
            # From here on the client may ask for the next response, as with the real provider.
            self._reply, self._cached_before = None, reply.usage["input_tokens"]
            await self._report(reply)
            is_reported = True
            await self._emit(events.rate_limits())
            await self.transcriber.reached("after")
        except TimeoutError:
            assert self._faults.close_code is not None
            await self._hang_up(self._faults.close_code)
        except ConnectionError:
            pass  # the client is gone; a usage that was not sent is not logged
        finally:
            if self._reply is reply:
                self._reply = None
            if reply.began_at is not None and not is_reported:
                self._log_abandoned(
                    {"response_id": reply.id, "began_at": reply.began_at, "usage": reply.usage}
                )

    async def _generate(self, reply: Reply) -> None:
        """Everything between response.created and response.done."""
        try:
            await reply.generate()
        except ConnectionError:
            raise
        except Exception:
            log.exception("reply failed")
            reply.fail()
        if self._faults.is_done_withheld:
            await asyncio.Event().wait()  # until the client leaves: close() cancels it

    async def _report(self, reply: Reply) -> None:
        done = reply.done(self._faults.reported(reply.usage))
        if self._faults.usage == "missing":
            del done["response"]["usage"]
        (sent,) = await self._emit(done)
        assert isinstance(sent, dict)
        told = self._dialect.usage_in(sent)
        already_ms = self._conversation.billed_ms
        charge = charges.for_response(told, already_ms=already_ms)
        self._conversation.billed_ms += charge["billed_ms"] if charge is not None else 0
        self._log_usage(
            {
                "kind": "response",
                "response_id": reply.id,
                "status": sent["response"]["status"],
                "usage": told,
                "charge": charge,
            }
        )
        if self._faults.is_done_doubled:
            await self._emit(done)
