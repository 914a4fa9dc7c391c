"""``/healthz``, ``/readyz`` and ``/metrics`` on a port of their own, in a thread of their own.

Both daemons use it. A probe must be answered while the daemon's only thread commits or relays, so
the answers come from callbacks that read plain values and never wait. Each connection has a thread;
there are few of them, and one that takes longer than ``REQUEST_TIMEOUT_S`` over a request, or over
its answer, is cut.
"""

import contextlib
import json
import socket
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

from shared.config import Address
from shared.errors import ConfigError
from shared.metrics import Metrics

REQUEST_TIMEOUT_S: Final = 5
# A scraper, a load balancer's probes, and an operator: beyond so many connections the one that was
# answered, or came, longest ago is cut.
CONNECTIONS_MAX: Final = 32
# Before another try to accept, where the process has no descriptor left.
PAUSE_S: Final = 0.5
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


class _Server(ThreadingHTTPServer):
    """Bounds the connections, and their time."""

    daemon_threads = True
    request_queue_size = CONNECTIONS_MAX

    def __init__(self, address: tuple[str, int], handler: type[BaseHTTPRequestHandler]) -> None:
        self._lock = threading.Lock()
        self._since: dict[socket.socket, float] = {}  # connections: when they were answered last
        super().__init__(address, handler)

    def get_request(self) -> tuple[socket.socket, Any]:
        """Accept a client; not again and again where that fails."""
        try:
            return super().get_request()
        except OSError:
            time.sleep(PAUSE_S)
            raise

    def process_request(self, request: Any, client_address: Any) -> None:
        """Begin with a client."""
        with self._lock:
            if len(self._since) >= CONNECTIONS_MAX:
                self._cut(min(self._since, key=self._since.__getitem__))
            self._since[request] = time.monotonic()
        super().process_request(request, client_address)

    def answered(self, request: socket.socket) -> None:
        """A client has its answer, and may ask again."""
        with self._lock:
            if request in self._since:
                self._since[request] = time.monotonic()

    def shutdown_request(self, request: Any) -> None:
        """A client is gone."""
        with self._lock:
            self._since.pop(request, None)
        super().shutdown_request(request)

    def service_actions(self) -> None:
        """Twice a second: cut those that take too long."""
        latest = time.monotonic() - REQUEST_TIMEOUT_S
        with self._lock:
            for request in [each for each, since in self._since.items() if since < latest]:
                self._cut(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that left, or was cut, is nothing to write about."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)

    def _cut(self, request: socket.socket) -> None:
        """End a connection; its thread closes it."""
        del self._since[request]
        with contextlib.suppress(OSError):
            request.shutdown(socket.SHUT_RDWR)


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
            server: _Server
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
                self.server.answered(self.connection)

            def log_message(self, *_args: Any) -> None:
                """Log nothing: probes come every few seconds."""

        try:
            self._server = _Server((listen.host, listen.port), Handler)
        except OSError as exc:
            raise ConfigError(
                f"cannot listen on {listen} for health checks: {exc.strerror}",
                hint="choose another address or stop what listens there",
            ) from exc
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
