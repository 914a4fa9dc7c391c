"""Plain HTTP requests to providers: to place calls and to hang them up. Called by ``calls``."""

import asyncio
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import httpx2

from gateway.connections.close import POLICY_VIOLATION, TRY_AGAIN_LATER
from gateway.connections.provider_errors import ProviderUnavailableError
from gateway.limits import DIAL_S, PROVIDER_ANSWER_BYTES_MAX
from shared.errors import cause_of

_OK: Final = range(200, 300)


@dataclass(frozen=True, slots=True)
class Answered:
    """What a provider answered."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def is_done(self) -> bool:
        """Whether it did what it was asked for."""
        return self.status in _OK


class ProviderHttp:
    """Sends requests to providers. ``close`` at the end.

    Every request has a connection of its own: requests are rare, and a connection that was kept
    alive may be closed by the provider just when it is used. Redirects are not followed and proxies
    are not used, so that the key is sent to the provider alone.
    """

    def __init__(self) -> None:
        self._client = httpx2.AsyncClient(
            verify=ssl.create_default_context(),
            trust_env=False,
            follow_redirects=False,
            timeout=DIAL_S,
            limits=httpx2.Limits(max_keepalive_connections=0),
        )

    async def close(self) -> None:
        """Give up requests under way."""
        await self._client.aclose()

    async def post(
        self,
        url: str,
        headers: Mapping[str, str],
        *,
        parts: Mapping[str, tuple[None, str, str]] | None = None,
        body: Mapping[str, Any] | None = None,
    ) -> Answered:
        """Send a form with ``parts``, or ``body`` as JSON.

        Raises ``ProviderUnavailableError`` when no whole answer came within ``DIAL_S``.
        """
        try:
            async with (
                asyncio.timeout(DIAL_S),
                self._client.stream(
                    "POST", url, headers=dict(headers), files=parts, json=body
                ) as response,
            ):
                content = bytearray()
                async for piece in response.aiter_bytes():
                    content += piece
                    if len(content) > PROVIDER_ANSWER_BYTES_MAX:
                        raise ProviderUnavailableError(
                            "the answer is too long", close_code=POLICY_VIOLATION
                        )
                return Answered(response.status_code, response.headers, bytes(content))
        except (httpx2.HTTPError, httpx2.InvalidURL, TimeoutError) as exc:
            failed = f"cannot ask: {cause_of(exc)}"
            raise ProviderUnavailableError(failed, close_code=TRY_AGAIN_LATER) from exc
