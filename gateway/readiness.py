"""Whether this gateway is alive, and whether new sessions are welcome: for probes and the door."""

from gateway.control.rpc_client import RpcClient
from gateway.delivery.sender import UsageSender
from shared.ops import Health


class Readiness:
    """What ``/healthz`` and ``/readyz`` say; ``is_draining`` is set when the gateway stops."""

    def __init__(self, accountd: RpcClient, usage: UsageSender) -> None:
        self._accountd = accountd
        self._usage = usage
        self.is_draining = False

    def live(self) -> Health:
        """The process answers."""
        return Health(True)

    def ready(self) -> Health:
        """Whether new sessions are welcome."""
        if reason := self.why_closed():
            return Health(False, reason)
        if not self._accountd.may_grant:
            return Health(False, "accountd unreachable")
        return Health(True)

    def why_closed(self) -> str:
        """Why no session may be opened, whoever asks; empty when it may."""
        return "draining" if self.is_draining else self._usage.not_ready_reason
