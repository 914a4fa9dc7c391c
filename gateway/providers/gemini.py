"""Gemini Live: where it is, and the header for the key. Pure.

Source: the ``google-genai`` SDK.
"""

from collections.abc import Mapping
from typing import Any

from gateway.metering.base import Meter
from gateway.metering.gemini.client import RESOURCE_PATH
from gateway.metering.gemini.meter import GeminiMeter
from gateway.providers.base import ProviderCalls, Target, joined
from gateway.providers.first_message import FirstMessageFormat


class Gemini:
    """The adapter for Gemini Live. ``base_url`` is ``ws(s)://HOST``."""

    kind = "gemini"
    first_message = FirstMessageFormat(
        "setup",
        RESOURCE_PATH,
        resumptions=(("sessionResumption", "handle"), ("session_resumption", "handle")),
        unknown_handle_reason="BidiGenerateContent session not found",
    )
    calls: ProviderCalls | None = None

    def __init__(self, *, base_url: str, api_key: str, name: str = "") -> None:
        self.name = name or self.kind
        self._base_url = base_url
        self._api_key = api_key

    def url(self, target: Target) -> str:
        """See ``Provider``."""
        return joined(self._base_url, target.path, target.query)

    def headers(self, forwarded: Mapping[str, str]) -> dict[str, str]:  # noqa: ARG002 - the protocol's
        """See ``Provider``."""
        return {"x-goog-api-key": self._api_key}

    def meter(self, target: Target) -> Meter:
        """See ``Provider``."""
        return GeminiMeter(model=target.model or "")

    def configuring(
        self,
        target: Target,  # noqa: ARG002
        configuration: Mapping[str, Any],  # noqa: ARG002
    ) -> bytes | None:
        """See ``Provider``: none, as the client's own ``setup`` has to be the first message."""
        return None
