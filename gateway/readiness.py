"""Whether this gateway is alive, and whether it accepts new sessions.

Read by probes (``/healthz``, ``/readyz``), ``server`` and ``gatekeeper``; ``server`` sets
``is_stopping`` when the gateway stops.
"""

from websockets.http11 import Response

from gateway.accountd_client.rpc_client import RpcClient
from gateway.delivery.usage_sender import UsageSender
from gateway.http.answers import json_response
from shared.ops_server import Health


class Readiness:
    """The answers of ``/healthz`` and ``/readyz``."""

    def __init__(self, accountd: RpcClient, usage: UsageSender) -> None:
        self._accountd = accountd
        self._usage = usage
        self.is_stopping = False

    def live(self) -> Health:
        """Always healthy: that the process answers is what the probe is about."""
        return Health(True)

    def ready(self) -> Health:
        """Whether new sessions are accepted."""
        if reason := self.why_closed():
            return Health(False, reason)
        if not self._accountd.may_grant:
            return Health(False, "accountd unreachable")
        return Health(True)

    def why_closed(self) -> str:
        """Why no session of any account may be opened; empty when they may.

        Unlike ``ready`` this ignores accountd: while that is away, keys whose authorizations are
        cached are still accepted.
        """
        return "draining" if self.is_stopping else self._usage.not_ready_reason

    def answer(self, path: str) -> Response | None:
        """The answer to a probe; None where ``path`` is that of none."""
        probe = {"/healthz": self.live, "/readyz": self.ready}.get(path)
        if probe is None:
            return None
        health = probe()
        body = {"status": "ok" if health.is_ok else "unavailable", "detail": health.detail}
        return json_response(200 if health.is_ok else 503, body)
