"""A question that a session's client has to wait for: may it use the handle that it names?

The message that names it waits in the gate (``providers.opening``); the client is held meanwhile.
"""

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from gateway.http.refusals import Refusal, internal_error

log = structlog.get_logger()

# Answers None when the client may use the handle. An empty one nobody can use.
Ask = Callable[[str], Awaitable[Refusal | None]]


class Asking:
    """At most one question at a time. ``ask`` has a deadline of its own."""

    def __init__(self, ask: Ask) -> None:
        self._ask = ask
        self._task: asyncio.Task[None] | None = None

    @property
    def is_open(self) -> bool:
        """Whether an answer is awaited."""
        return self._task is not None

    def begin(self, handle: str, on_answered: Callable[[Refusal | None], None]) -> None:
        """Ask, unless that is under way. ``on_answered`` is not called once it was cancelled."""
        if self._task is None:
            work = self._run(handle, on_answered)
            self._task = asyncio.get_running_loop().create_task(work)

    def cancel(self) -> None:
        """Nobody waits for an answer any more."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()

    async def _run(self, handle: str, on_answered: Callable[[Refusal | None], None]) -> None:
        try:
            refusal = await self._ask(handle)
        except Exception as exc:
            log.error("asking failed", exc_info=exc)
            refusal = internal_error()
        self._task = None
        on_answered(refusal)
