"""Background tasks without which a gateway cannot serve: should one fail, the process stops.

Started by the parts that own sockets to accountd and the spool. ``app`` asks ``have_failed`` for
its exit code.
"""

import asyncio
import contextlib
import signal
from collections.abc import Coroutine, Iterable
from typing import Any

import structlog

log = structlog.get_logger()

_failed: list[str] = []


def have_failed() -> bool:
    """Whether a task has failed: then the process exits with an error."""
    return bool(_failed)


def start(work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
    """Run ``work`` until it is cancelled. Should it fail, the gateway stops.

    A gateway that no longer receives watermarks, or accountd's answers, must not go on serving. Its
    supervisor starts a new one.
    """
    task = asyncio.get_running_loop().create_task(work)
    task.add_done_callback(_ended)
    return task


async def stop(tasks: Iterable[asyncio.Task[None]]) -> None:
    """Cancel the tasks and wait until they have ended."""
    running = list(tasks)
    for task in running:
        task.cancel()
    await asyncio.gather(*running, return_exceptions=True)


async def wait(news: asyncio.Event, seconds: float) -> None:
    """Wait until ``news`` is set, for so many seconds at most.

    Python 3.11's ``asyncio.wait_for`` forgets that it was cancelled where the event is set in the
    same turn of the loop: the task would run on, and ``stop`` wait for ever.
    """
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await news.wait()


def _ended(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (exc := task.exception()) is not None:
        _failed.append(task.get_name())
        log.critical("background task failed; stopping", exc_info=exc)
        signal.raise_signal(signal.SIGTERM)
