"""Where a provider of the OpenAI family takes calls (WebRTC, SIP), and how they are metered. Pure.

Sources: the ``openai`` SDK's ``realtime.calls``, OpenAI's guides to WebRTC, SIP and server-side
controls, Azure's to its GA endpoints.
"""

from urllib.parse import quote

from gateway.metering.openai.call_meter import OpenAICallMeter
from gateway.metering.openai.observer import ObserverMeter
from gateway.providers.base import Target, joined


class OpenAICalls:
    """See ``ProviderCalls``. ``base_url`` is ``ws(s)://HOST/PREFIX``, ``path`` the path of the
    sessions.
    """

    def __init__(self, base_url: str, path: str) -> None:
        self._base_url = base_url.replace("ws", "http", 1)
        self.path = path

    def has(self, target: Target) -> bool:
        """See ``ProviderCalls``."""
        return bool(target.call_id) and target.path == self.path

    def url(self, *segments: str, query: str = "") -> str:
        """See ``ProviderCalls``."""
        names = "".join(f"/{quote(segment, safe='')}" for segment in segments)
        return joined(self._base_url, f"{self.path}/calls{names}", query)

    def meter(self, model: str) -> OpenAICallMeter:
        """See ``ProviderCalls``: another gateway may hear the same call."""
        return OpenAICallMeter(model=model, is_shared=True)

    def observer(self, model: str) -> ObserverMeter:
        """The meter of a client's sideband, which charges nothing."""
        return ObserverMeter(model=model)
