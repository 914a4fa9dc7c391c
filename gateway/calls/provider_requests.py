"""Requests about calls to a provider's HTTP API, and what clients may learn from its refusals.

Requests carry the gateway's key in place of the client's. So a refusal that is about the client's
request is passed on in the provider's words, and one about the gateway's account is replaced.
Called by ``api``; hanging up, which no client waits for, is in ``calls``.
"""

import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

import structlog
from websockets.datastructures import Headers

from gateway.calls.requests import JSON, SDP, Offer
from gateway.connections.provider_errors import ProviderUnavailableError
from gateway.connections.upstream_http import Answered, ProviderHttp
from gateway.http.refusals import Refusal, provider_unavailable
from gateway.metering.account_errors import (
    ACCOUNT_STATUSES,
    NEUTRAL_MESSAGE,
    mask_account_error,
    names_us,
)
from gateway.metering.totals import Totals
from gateway.providers.base import Provider, forwarded

log = structlog.get_logger()

# Statuses by which a provider refuses what the client asked for.
_ABOUT_REQUEST: Final = (
    HTTPStatus.BAD_REQUEST,
    HTTPStatus.NOT_FOUND,
    HTTPStatus.CONFLICT,
    HTTPStatus.UNPROCESSABLE_ENTITY,
)
_MESSAGE_CHARS_MAX: Final = 1_000


class ProviderRequests:
    """Sends clients' requests to providers."""

    def __init__(self, http: ProviderHttp, totals: Totals) -> None:
        """``totals`` counts refusals that are about the gateway's account."""
        self._http = http
        self._totals = totals

    async def post(
        self,
        provider: Provider,
        client_headers: Headers,
        url: str,
        *,
        offer: Offer | None = None,
        body: Mapping[str, Any] | None = None,
    ) -> Answered | Refusal:
        """Send ``offer`` as a form, or ``body`` as JSON; return the answer of a success."""
        try:
            answered = await self._http.post(
                url,
                {**provider.headers(forwarded(client_headers)), "Accept": SDP if offer else JSON},
                parts=offer.parts() if offer else None,
                body=body or None,
            )
        except ProviderUnavailableError as exc:
            log.error("provider unavailable", provider=provider.name, url=url, reason=str(exc))
            return provider_unavailable()
        return answered if answered.is_done else self._refusal(provider, answered)

    def _refusal(self, provider: Provider, answered: Answered) -> Refusal:
        """The refusal for the client: in the provider's words only if it is about the request."""
        error = _error_in(answered.body)
        code = str(error.get("code") or error.get("type") or "provider_refused")
        message = str(error.get("message") or "the provider refused this request")
        is_about_us = (
            bool(error) and mask_account_error({"type": "error", "error": error}) is not None
        )
        if is_about_us or names_us(message) or answered.status in ACCOUNT_STATUSES:
            self._totals.account_refused(provider.name)
            log.error(
                "provider refuses our account",
                provider=provider.name,
                code=code[:64],
                hint="look at the provider's key, quota and billing; clients hear that it failed",
            )
        elif answered.status in _ABOUT_REQUEST:
            return Refusal(answered.status, code, message[:_MESSAGE_CHARS_MAX])
        else:
            log.error("provider cannot serve a call", provider=provider.name, code=answered.status)
        return provider_unavailable(NEUTRAL_MESSAGE)


def _error_in(body: bytes) -> Mapping[str, Any]:
    """The error object of an answer; empty where there is none."""
    try:
        answer = json.loads(body)
    except ValueError:
        return {}
    error = answer.get("error") if isinstance(answer, dict) else None
    return error if isinstance(error, dict) else {}
