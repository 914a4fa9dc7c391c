"""The simulated providers as a WebSocket server, with its logs of usage and abandoned responses."""

import asyncio
import contextlib
import http
import json
import os
import signal
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Final, Protocol

import structlog
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response
from websockets.typing import Subprotocol

from shared.config import Address
from shared.errors import ConfigError
from simulator import openai_events as events
from simulator.admission import (
    Refusal,
    json_response,
    key_of,
    redirect,
    refusal_after,
    refusal_before,
)
from simulator.beta_dialect import BetaDialect
from simulator.call_api import CallApi
from simulator.calls import Call, Sideband, Switchboard
from simulator.calls import Wire as Sends
from simulator.conversation import Conversation
from simulator.dialect import Dialect
from simulator.faults import MILLISECONDS_MAX, Faults
from simulator.gemini_frames import spell
from simulator.gemini_session import GeminiSession
from simulator.generation import Pace
from simulator.live_session import LiveSession, LiveSideband
from simulator.openai_events import Event, make_id
from simulator.plain_http import Posted, connection_class
from simulator.resumable_conversations import Memory
from simulator.routing import Route, route, with_model
from simulator.session import Session
from simulator.session_effects import Outside
from simulator.translation_session import TranslationSession, expires_at
from simulator.wire import Wire
from simulator.xai import XaiDialect

log = structlog.get_logger()

MESSAGE_BYTES_MAX: Final = 32 * 1024 * 1024
# ``send`` writes, then waits while the write buffer is above its limit. A session that ends in that
# wait would have sent a usage without logging it, so the limit is too high to be reached.
WRITE_LIMIT_BYTES: Final = 1024 * 1024 * 1024
GOING_AWAY: Final = 1001
# GPT-Live sessions that can be attached to or forked; beyond it the oldest is removed.
LIVE_SESSIONS_MAX: Final = 1_000
OPENING_S: Final = 10.0 + MILLISECONDS_MAX / 1000  # 10 s, and the longest delay of ``dial_ms``
REALTIME: Final = Subprotocol("realtime")
_DIALECTS: Final = {"ga": Dialect, "beta": BetaDialect, "xai": XaiDialect}


class Served(Protocol):
    """A session of any dialect."""

    async def open(self) -> None:
        """Send the session's first events."""

    async def receive(self, data: str | bytes) -> None:
        """Serve one message of the client."""

    async def expire(self) -> tuple[int, str]:
        """Send the provider's notice that the session has lasted too long; the close to follow."""

    async def close(self) -> None:
        """Called once the client is gone: stop what is in progress."""


class EventLog:
    """A file of JSON lines: usage that was sent, or responses that were abandoned."""

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
        self._memory = Memory()
        self._calls = Switchboard()
        self._live: dict[str, LiveSession] = {}
        self._call_api = CallApi(self._calls, self._call_session, api_key=api_key)
        self.stopping = asyncio.Event()
        if audio_log is not None:
            audio_log.mkdir(parents=True, exist_ok=True)

    async def process_request(
        self, _connection: ServerConnection, request: Request
    ) -> Response | None:
        """Answer probes and unknown paths; None goes on to the WebSocket handshake."""
        if request.path.partition("?")[0].rstrip("/") in ("/healthz", "/readyz"):
            return json_response(http.HTTPStatus.OK, {"status": "ok"})
        try:
            if (found := route(request.path)) is None:
                return json_response(
                    http.HTTPStatus.NOT_FOUND, {"error": {"message": "unknown path"}}
                )
            faults = Faults.of(found.parameters)
        except ValueError as exc:
            return json_response(http.HTTPStatus.BAD_REQUEST, {"error": {"message": str(exc)}})
        return await self._answer(request, found, faults)

    async def _answer(self, request: Request, found: Route, faults: Faults) -> Response | None:
        """The answer in place of the upgrade; None: upgrade."""
        if faults.dial_s and await self._is_stopped_within(faults.dial_s):
            return json_response(http.HTTPStatus.SERVICE_UNAVAILABLE, {"error": {}})
        if faults.redirect is not None:
            moved = redirect(request, faults.redirect, key_of(request.headers, found))
            if moved is not None:
                return moved
        refused = http.HTTPStatus(faults.refuse) if faults.refuse is not None else None
        if found.live_session is not None and found.live_session not in self._live:
            refused = http.HTTPStatus.NOT_FOUND
        if status := refused or self._calls.refusal(found.parameters.get("call_id")):
            return json_response(status, {"error": {"message": f"refused: {status.phrase}"}})
        return refusal_before(request, found, self._api_key)

    async def post(self, posted: Posted) -> Response:
        """Answer a POST."""
        return await self._call_api.answer(posted)

    async def serve(self, connection: ServerConnection) -> None:
        """Serve one connection from its first event to its end."""
        request = connection.request
        assert request is not None
        to = route(request.path)
        assert to is not None
        faults = Faults.of(to.parameters)
        if to.provider == "gemini":
            wire = Wire(connection, faults, spell=spell, is_binary=True)
        else:
            wire = Wire(connection, faults)
        refusal = refusal_after(request, to, self._api_key, faults.account)
        if refusal is not None:
            await _say_and_close(wire, refusal, has_events=to.provider != "gemini")
            return
        call = self._calls.find(to.parameters.get("call_id", ""))
        session = self._session(to, faults, wire) if call is None else Sideband(call, wire)
        try:
            await session.open()
            if faults.stall == "read":
                await connection.wait_closed()
            async with asyncio.timeout(faults.expire_s):
                async for message in connection:
                    await session.receive(message)
        except TimeoutError:
            await _expire(session, wire)
        except (ConnectionClosed, ConnectionError):
            pass
        finally:
            await session.close()

    def _outside(self, session_id: str, to: Route, model: str, wire: Sends) -> Outside:
        where = {
            "session": session_id, "provider": to.provider, "dialect": to.dialect,
            "query": to.query, "model": model,
        }  # fmt: skip

        def into(file: EventLog | None, entry: Event) -> None:
            if file is not None:
                file.write({**where, "at": time.time(), **entry})

        return Outside(
            send=wire.send,
            hang_up=wire.hang_up,
            is_open=wire.is_open,
            log_usage=partial(into, self._usage_log),
            log_abandoned=partial(into, self._abandoned_log),
            on_audio=self._audio_writer(session_id),
        )

    def _call_session(self, to: Route, call: Call, model: str) -> Session:
        """The session of a call. Its usage is logged once, however many sidebands get it."""
        to = replace(to, parameters=with_model(to, model))
        served = call.faults.served or model
        outside = self._outside(call.call_id, to, served, call)
        return self._spoken(to, call.faults, outside, session_id=call.call_id, model=model)

    def _session(self, to: Route, faults: Faults, wire: Wire) -> Served:
        session_id = make_id("sess")
        outside = self._outside(session_id, to, faults.served or to.model, wire)
        configure = partial(self._configure, to, wire)
        if to.provider == "gpt-live":
            return self._live_session(to, wire, outside, session_id)
        if to.dialect == "translation":
            return TranslationSession(
                model=to.model,
                outside=outside,
                session_id=session_id,
                expires_at=expires_at(time.time()),
            )
        if to.provider == "gemini":
            return GeminiSession(
                configure=configure,
                memory=self._memory,
                is_vertex=to.dialect == "vertex",
                outside=outside,
                session_id=session_id,
            )
        return self._spoken(to, faults, outside, session_id=session_id, model=to.model)

    def _live_session(self, to: Route, wire: Wire, outside: Outside, session_id: str) -> Served:
        there = self._live.get(to.live_session or "")
        if to.dialect == "attach" and there is not None:
            return LiveSideband(there, wire.send)
        session = LiveSession(
            configure=partial(self._configure, to, wire),
            outside=outside,
            session_id=session_id,
            model=there.model if there is not None else to.model,
        )
        self._live[session_id] = session
        if len(self._live) > LIVE_SESSIONS_MAX:
            del self._live[next(iter(self._live))]
        return session

    def _spoken(
        self, to: Route, faults: Faults, outside: Outside, *, session_id: str, model: str
    ) -> Session:
        conversation = self._memory.find(to.parameters.get("conversation_id")) or Conversation()
        if to.provider == "xai":
            self._memory.keep(conversation.id, conversation)
        return Session(
            model=model,
            is_transcription=to.is_transcription,
            pace=pace_of(to.parameters, self._pace),
            faults=faults,
            dialect=_DIALECTS[to.dialect](),
            conversation=conversation,
            send=outside.send,
            hang_up=outside.hang_up,
            log_usage=outside.log_usage,
            log_abandoned=outside.log_abandoned,
            on_audio=outside.on_audio,
            session_id=session_id,
        )

    def _configure(self, to: Route, wire: Wire, model: str) -> tuple[Faults, Pace]:
        """Faults and pace of a session whose first message names the model."""
        asked = with_model(to, model)
        wire.faults = Faults.of(asked)
        return wire.faults, pace_of(asked, self._pace)

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
            create_connection=connection_class(provider.post),
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


def pace_of(parameters: Any, default: Pace) -> Pace:
    """The pace in ``pace`` and ``reply_ms``; the default when one of them is no number."""
    try:
        return Pace(
            factor=float(parameters.get("pace", default.factor)),
            reply_ms=min(int(parameters.get("reply_ms", default.reply_ms)), 60_000),
        )
    except ValueError:
        return default


async def _expire(session: Served, wire: Wire) -> None:
    with contextlib.suppress(ConnectionError):
        await wire.hang_up(*await session.expire())


async def _say_and_close(wire: Wire, refusal: Refusal, *, has_events: bool) -> None:
    code = refusal.code
    told = refusal.message or f"Refused: {code}."
    if has_events:
        await wire.send(events.error(told, code=code, param=None, client_event_id=None))
    await wire.hang_up(refusal.close, refusal.reason or code)
