"""Retries a request to a provider with growing pauses.

Used for what a provider may be unable to do for a moment: to find a call that was just made, and to
hang one up.
"""

import asyncio
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Final, TypeVar

from gateway.connections.provider_errors import ProviderUnavailableError
from gateway.limits import CALL_RETRY_S, CALL_RETRY_S_MAX

Done = TypeVar("Done")
_OVER: Final = (HTTPStatus.NOT_FOUND, HTTPStatus.GONE)


def is_call_gone(failure: ProviderUnavailableError) -> bool:
    """Whether the provider has no such call, or no longer (404, 410)."""
    return failure.status in _OVER


async def retry(
    attempt: Callable[[], Awaitable[Done]],
    *,
    retry_for_s: float,
    is_final: Callable[[ProviderUnavailableError], bool] = lambda _failure: False,
) -> Done:
    """Call ``attempt`` until it succeeds, for ``retry_for_s`` at most; 0 means once.

    Raises the ``ProviderUnavailableError`` of the last attempt, or the first that ``is_final``.
    """
    loop = asyncio.get_running_loop()
    deadline, pause_s = loop.time() + retry_for_s, CALL_RETRY_S
    while True:
        try:
            return await attempt()
        except ProviderUnavailableError as failure:
            if is_final(failure) or loop.time() + pause_s > deadline:
                raise
        await asyncio.sleep(pause_s)
        pause_s = min(2 * pause_s, CALL_RETRY_S_MAX)
