"""The simulated provider as a WebSocket server, and its logs of what was sent and what was not."""

import asyncio
import http
import json
import os
import signal
import time
from functools import partial
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

import structlog
from websockets.asyncio.server import ServerConnection, serve
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response
from websockets.typing import Subprotocol

from shared.config import Address
from shared.errors import ConfigError
from simulator import openai_events as events
from simulator.faults import ABNORMAL, MILLISECONDS_MAX, Faults
from simulator.openai_events import Event, make_id
from simulator.reply import Pace
from simulator.session import Session

log = structlog.get_logger()

MESSAGE_BYTES_MAX: Final = 32 * 1024 * 1024
# ``send`` writes, then waits while the buffer is above its limit; a wait between writing a usage
# and logging it could lose the log line of a usage that was sent. So the limit is never reached.
WRITE_LIMIT_BYTES: Final = 1024 * 1024 * 1024
GOING_AWAY: Final = 1001
OPENING_S: Final = 10.0 + MILLISECONDS_MAX / 1000  # a slow dial is a fault that may be asked for
REALTIME: Final = Subprotocol("realtime")


class EventLog:
    """JSON lines: every usage that was handed to a client's connection, or could not be."""

    def __init__(self, path: Path, *, option: str) -> None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        except OSError as exc:
            raise ConfigError(f"{option}: cannot write {path}: {exc.strerror}") from exc

    def write(self, entry: Event) -> None:
        """Append a line in one write, so that several processes may share the file."""
        os.write(self._file, json.dumps(entry).encode() + b"\n")


class Provider:
    """Serves every connection as one session."""

    def __init__(
        self,
        *,
        pace: Pace,
        usage_log: EventLog,
        abandoned_log: EventLog | None,
        audio_log: Path | None,
        api_key: str | None,
    ) -> None:
        self._pace = pace
        self._usage_log = usage_log
        self._abandoned_log = abandoned_log
        self._audio_log = audio_log
        self._api_key = api_key
        self.stopping = asyncio.Event()
        if audio_log is not None:
            audio_log.mkdir(parents=True, exist_ok=True)

    async def process_request(
        self, _connection: ServerConnection, request: Request
    ) -> Response | None:
        """Answer probes and unknown paths; None goes on to the WebSocket handshake."""
        path = urlsplit(request.path).path.rstrip("/")
        if path in ("/healthz", "/readyz"):
            return _json_response(http.HTTPStatus.OK, {"status": "ok"})
        if not path.endswith("/realtime"):
            return _json_response(http.HTTPStatus.NOT_FOUND, {"error": {"message": "unknown path"}})
        try:
            faults = Faults.of(_query(request))
        except ValueError as exc:
            return _json_response(http.HTTPStatus.BAD_REQUEST, {"error": {"message": str(exc)}})
        if faults.dial_s and await self._is_stopped_within(faults.dial_s):
            return _json_response(http.HTTPStatus.SERVICE_UNAVAILABLE, {"error": {}})
        if faults.refuse is not None:
            status = http.HTTPStatus(faults.refuse)
            return _json_response(status, {"error": {"message": f"refused: {status.phrase}"}})
        return None

    async def serve(self, connection: ServerConnection) -> None:
        """One connection from its first event to its end."""
        request = connection.request
        assert request is not None
        query = urlsplit(request.path).query
        values = _query(request)
        if await self._refused(connection, request):
            return
        session_id, model = make_id("sess"), values.get("model", "gpt-realtime")

        def into(file: EventLog | None, entry: Event) -> None:
            where = {"session": session_id, "query": query, "model": model, "at": time.time()}
            if file is not None:
                file.write({**where, **entry})

        session = Session(
            model=model,
            pace=_pace(values, self._pace),
            faults=Faults.of(values),
            send=_sender(connection),
            hang_up=partial(_hang_up, connection),
            log_usage=partial(into, self._usage_log),
            log_abandoned=partial(into, self._abandoned_log),
            on_audio=self._audio_writer(session_id),
            session_id=session_id,
        )
        try:
            await session.open()
            async for message in connection:
                await session.receive(message)
        except (ConnectionClosed, ConnectionError):
            pass
        finally:
            await session.close()

    async def _refused(self, connection: ServerConnection, request: Request) -> bool:
        """Refuse as the provider does: accept, say why, close."""
        if "OpenAI-Beta" in request.headers:
            reason = "beta_api_shape_disabled"
            await _say_and_close(connection, reason, 4000, reason)
            return True
        key = _bearer(request.headers)
        if not key or (self._api_key is not None and key != self._api_key):
            reason = "invalid_request_error.invalid_api_key"
            await _say_and_close(connection, "invalid_api_key", 3000, reason)
            return True
        return False

    async def _is_stopped_within(self, seconds: float) -> bool:
        try:
            async with asyncio.timeout(seconds):
                return await self.stopping.wait()
        except TimeoutError:
            return False

    def _audio_writer(self, session_id: str) -> Any:
        if self._audio_log is None:
            return lambda _piece: None
        path = self._audio_log / f"{session_id}.pcm"

        def write(piece: bytes) -> None:
            with path.open("ab") as file:
                file.write(piece)

        return write


async def run(listen: Address, provider: Provider, usage_log: Path) -> None:
    """Serve until SIGTERM or SIGINT, then close every session with 1001."""
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, provider.stopping.set)
    try:
        server = await serve(
            provider.serve,
            listen.host,
            listen.port,
            process_request=provider.process_request,
            subprotocols=[REALTIME],
            select_subprotocol=lambda _c, offered: REALTIME if REALTIME in offered else None,
            compression=None,
            max_size=MESSAGE_BYTES_MAX,
            write_limit=WRITE_LIMIT_BYTES,
            open_timeout=OPENING_S,
            close_timeout=2,
            backlog=1024,
        )
    except OSError as exc:
        raise ConfigError(f"--listen: cannot listen on {listen}: {exc.strerror}") from exc
    host, port = server.sockets[0].getsockname()[:2]
    print(  # noqa: T201 - for scripts
        f"ready simulator listen={Address(host, port)} usage-log={usage_log}", flush=True
    )
    await provider.stopping.wait()
    server.close(code=GOING_AWAY, reason="simulator is stopping")
    await server.wait_closed()


def _sender(connection: ServerConnection) -> Any:
    async def send(message: Event) -> None:
        try:
            await connection.send(events.encode(message))
        except ConnectionClosed as exc:
            raise ConnectionResetError from exc

    return send


async def _hang_up(connection: ServerConnection, code: int) -> None:
    if code == ABNORMAL:
        connection.transport.abort()
    else:
        await connection.close(code, "as asked for")


async def _say_and_close(connection: ServerConnection, code: str, close: int, reason: str) -> None:
    refusal = events.error(f"Refused: {code}.", code=code, param=None, client_event_id=None)
    await connection.send(events.encode(refusal))
    await connection.close(close, reason)


def _query(request: Request) -> dict[str, str]:
    """The first value of each parameter."""
    return {name: found[0] for name, found in parse_qs(urlsplit(request.path).query).items()}


def _bearer(headers: Headers) -> str:
    for value in headers.get_all("Authorization"):
        return value.partition(" ")[2].strip()
    return headers.get("api-key") or ""


def _pace(values: dict[str, str], default: Pace) -> Pace:
    """``?pace=`` and ``?reply_ms=`` of one session, for tests; nonsense counts as absent."""
    try:
        return Pace(
            factor=float(values.get("pace", default.factor)),
            reply_ms=min(int(values.get("reply_ms", default.reply_ms)), 60_000),
        )
    except ValueError:
        return default


def _json_response(status: http.HTTPStatus, body: Event) -> Response:
    content = json.dumps(body).encode()
    headers = Headers(
        {
            "Content-Type": "application/json",
            "Content-Length": str(len(content)),
            "Connection": "close",
        }
    )
    return Response(status.value, status.phrase, headers, content)
