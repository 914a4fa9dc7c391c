"""Tries again what a provider could not do just now."""

import asyncio
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Final, TypeVar

from gateway.connections.upstream import ProviderUnavailableError
from gateway.limits import CALL_RETRY_S, CALL_RETRY_S_MAX

Done = TypeVar("Done")
_OVER: Final = (HTTPStatus.NOT_FOUND, HTTPStatus.GONE)


def is_over(failure: ProviderUnavailableError) -> bool:
    """Whether the provider does not know the call, or does not know it any more."""
    return failure.status in _OVER


async def retry(
    attempt: Callable[[], Awaitable[Done]],
    *,
    patience_s: float,
    is_final: Callable[[ProviderUnavailableError], bool] = lambda _failure: False,
) -> Done:
    """What ``attempt`` does, tried for ``patience_s`` with pauses that grow.

    Raises the ``ProviderUnavailableError`` of the last try, or of one that ``is_final``.
    """
    loop = asyncio.get_running_loop()
    deadline, pause_s = loop.time() + patience_s, CALL_RETRY_S
    while True:
        try:
            return await attempt()
        except ProviderUnavailableError as failure:
            if is_final(failure) or loop.time() + pause_s > deadline:
                raise
        await asyncio.sleep(pause_s)
        pause_s = min(2 * pause_s, CALL_RETRY_S_MAX)
