"""Whether a session may use the handle that its first message names, asked while that waits.

The message waits in the gate (``providers.first_message``), and reading from the client is paused
until accountd has answered. Called by ``relay.client_side``.
"""

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from gateway.http.refusals import Refusal, internal_error

log = structlog.get_logger()

# Returns None when the client may use the handle, else a refusal.
Ask = Callable[[str], Awaitable[Refusal | None]]


class OwnershipCheck:
    """At most one check is in progress. ``ask`` has a deadline of its own."""

    __slots__ = ("_ask", "_task")

    def __init__(self, ask: Ask) -> None:
        self._ask = ask
        self._task: asyncio.Task[None] | None = None

    @property
    def is_pending(self) -> bool:
        """Whether a check is in progress."""
        return self._task is not None

    def begin(self, handle: str, on_answered: Callable[[Refusal | None], None]) -> None:
        """Start a check, unless one is in progress. ``on_answered`` is called with its result, but
        not after ``cancel``.
        """
        if self._task is None:
            work = self._run(handle, on_answered)
            self._task = asyncio.get_running_loop().create_task(work)

    def cancel(self) -> None:
        """Drop the check in progress; its result is of no use any more."""
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
