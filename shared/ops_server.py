"""``/healthz``, ``/readyz`` and ``/metrics`` on a port of their own, in a thread of their own.

Both daemons use it. A probe must be answered while the daemon's only thread commits or relays, so
the answers come from callbacks that read plain values and never wait.
"""

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

from shared.config import Address
from shared.errors import ConfigError
from shared.metrics import Metrics

REQUEST_TIMEOUT_S: Final = 5
METRICS_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Health:
    """Whether a daemon is well, and if not, why in a few words."""

    is_ok: bool
    detail: str = ""

    def to_json(self) -> bytes:
        """The body of the HTTP answer."""
        body = {"status": "ok" if self.is_ok else "unavailable"}
        if self.detail:
            body["detail"] = self.detail
        return json.dumps(body).encode()


class OpsServer:
    """An HTTP server for probes. Start it once the daemon serves; close it last."""

    def __init__(
        self,
        listen: Address,
        *,
        live: Callable[[], Health],
        ready: Callable[[], Health],
        metrics: Metrics,
    ) -> None:
        """Bind ``listen``; raises ``ConfigError`` when the port is taken."""
        routes = {"/healthz": live, "/readyz": ready}

        class Handler(BaseHTTPRequestHandler):
            timeout = REQUEST_TIMEOUT_S
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                path = self.path.partition("?")[0]
                if path == "/metrics":
                    self._answer(200, METRICS_TYPE, metrics.render())
                    return
                probe = routes.get(path)
                health = probe() if probe else Health(False, "unknown path")
                status = 404 if probe is None else 200 if health.is_ok else 503
                self._answer(status, "application/json", health.to_json())

            def _answer(self, status: int, kind: str, body: bytes) -> None:
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_args: Any) -> None:
                """Log nothing: probes come every few seconds."""

        try:
            self._server = ThreadingHTTPServer((listen.host, listen.port), Handler)
        except OSError as exc:
            raise ConfigError(
                f"cannot listen on {listen} for health checks: {exc.strerror}",
                hint="choose another address or stop what listens there",
            ) from exc
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, name="ops", daemon=True)
        self._thread.start()

    @property
    def address(self) -> Address:
        """Where it really listens (a port of 0 was replaced by a free one)."""
        host, port = self._server.server_address[:2]
        return Address(str(host), int(port))

    def close(self) -> None:
        """Stop answering and free the port."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
