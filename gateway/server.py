"""The gateway's server: decides what becomes of each connection from a client.

A connection is a WebSocket handshake, which becomes a session or a refusal, or one plain HTTP
request: a probe, the page, an endpoint, or the question why a session would be refused. What was
let in is kept by ``session_registry`` until it has ended.
"""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Final

import structlog
from websockets.http11 import Request

from gateway.accountd_client.lease_book import Lease
from gateway.accountd_client.leases import Leases
from gateway.callers.callers import PROXY, Callers
from gateway.calls.calls import Calls
from gateway.connections.close import INTERNAL_ERROR, POLICY_VIOLATION, TRY_AGAIN_LATER
from gateway.connections.downstream import Downstream
from gateway.conversations.claim import Claim
from gateway.door.admission import Admitted
from gateway.door.dialer import Place
from gateway.door.first_message import FirstMessage
from gateway.door.gatekeeper import Gatekeeper
from gateway.door.queries import path_of, wants_events
from gateway.door.session_opener import Opener
from gateway.endpoints.api import Api, RouteMatch
from gateway.endpoints.pages import Pages
from gateway.frames import Frame
from gateway.http import cors
from gateway.http.answers import BrokenOffError, Download, Reversible
from gateway.http.exchange import HttpRequest, target_of
from gateway.http.refusals import (
    Refusal,
    internal_error,
    invalid_key,
    model_not_allowed,
    unavailable,
    upgrade_required,
    wrong_method,
)
from gateway.limits import UNDECIDED_MAX
from gateway.providers.base import Provider, Target
from gateway.readiness import Readiness
from gateway.relay.endings import RESTARTING
from gateway.relay.session import Session
from gateway.relay.session_state import SessionState
from gateway.session_registry import Registry

log = structlog.get_logger()

_READ_METHODS: Final = ("GET", "HEAD")
# Methods of a request for why there is no session: a page asks by POST, which names its origin.
_EXPLAINED_METHODS: Final = (*_READ_METHODS, "POST")


class GatewayServer:
    """The handler of all connections from clients."""

    def __init__(
        self,
        *,
        readiness: Readiness,
        callers: Callers,
        gatekeeper: Gatekeeper,
        opener: Opener,
        calls: Calls,
        leases: Leases,
        registry: Registry,
        providers: Mapping[str, Provider],
        pages: Pages,
        api: Api,
        stop_close_code: int,
    ) -> None:
        """``providers`` by name: those that there is a key for."""
        self.readiness = readiness
        self._callers = callers
        self._gatekeeper = gatekeeper
        self._opener = opener
        self._calls = calls
        self._leases = leases
        self._registry = registry
        opener.on_ended = registry.session_ended
        self._providers = providers
        self._pages = pages
        self._api = api
        self._stop_close_code = stop_close_code
        self._admitting = 0
        self._undecided: set[FirstMessage] = set()  # of clients that have to name their model

    # --- shutting down ----------------------------------------------------------------------------

    async def stop(self, deadline_s: float) -> None:
        """Take no new sessions, and end those that there are within ``deadline_s`` seconds."""
        self.readiness.is_stopping = True
        for first in self._undecided:
            first.give_up()
        await self._registry.send_away(
            deadline_s,
            self._stop_close_code,
            lambda client: self._refuse(client, unavailable("draining")),
        )

    # --- for client connections -------------------------------------------------------------------

    def make_connection(self, host: str) -> Downstream | None:
        """For a client, or a proxy, that connects from ``host``; None where it is to be cut."""
        caller = self._callers.arrive(host)
        if caller is None:
            return None
        connection = Downstream(self, caller, host)
        self._registry.add_client(connection)
        return connection

    def client_told(self, connection: Downstream, client: str | None) -> bool:
        """A trusted proxy has said whose ``connection`` it passes on, None: its own; false where it
        is to be cut.
        """
        if client is None:
            return True
        caller = self._callers.arrive(client)
        connection.caller = caller or connection.caller
        return caller is not None

    def handshake_received(self, connection: Downstream, request: Request) -> None:
        """A client asks for a WebSocket."""
        if (probe := self.readiness.answer(path_of(request.path))) is not None:
            connection.answer(probe)
            return
        target = self._refusal_at_once(connection, request) or self._wanted(request)
        if isinstance(target, Refusal):
            self._refuse(connection, target)
            return
        upgrade = connection.acceptance()
        if isinstance(upgrade, Refusal):
            self._refuse(connection, upgrade)
            return
        self._admitting += 1
        work = self._admit(connection, request, target, upgrade)
        self._registry.start(work, on_failure=lambda exc: self._failed(connection, exc))

    def request_received(self, connection: Downstream, request: HttpRequest) -> None:
        """A client asks over plain HTTP."""
        plain = self.readiness.answer(path_of(request.target))
        found = self._api.find(request.target)
        if found is not None:
            connection.answer_headers = found.headers
            if found.endpoint.allows_cross_origin and request.method == "OPTIONS":
                # A browser sends no key with it, which would pass where a neighbour guesses keys.
                connection.answer(cors.preflight(found.endpoint.method))
                return
        if plain is None and (refused := self._refusal_at_once(connection, request)) is not None:
            self._refuse(connection, refused)
            return
        if found is not None:
            self._serve_endpoint(connection, found, request)
            return
        plain = plain or self._pages.answer(request)
        if plain is None:
            work = self._explain(connection, request)
            self._registry.start(work, on_failure=lambda exc: self._failed(connection, exc))
        elif request.method in _READ_METHODS:
            connection.answer(plain)
        else:
            self._refuse(connection, wrong_method(request.method, allowed="GET, HEAD"))

    def unreadable_received(self, connection: Downstream, refusal: Refusal) -> None:
        """A client asks for what cannot be read; a page may read why."""
        connection.answer_headers = self._api.headers(connection.target)
        connection.answer(refusal.response())

    def connection_closed(self, connection: Downstream) -> None:
        """A client's connection is closed."""
        self._callers.leave(connection.caller)
        self._registry.remove_client(connection)

    # --- sessions ---------------------------------------------------------------------------------

    async def _admit(
        self, connection: Downstream, request: Request, target: Target, upgrade: bytes
    ) -> None:
        with self._leases.new() as lease:
            opened = await self._open(connection, request, target, upgrade, lease)
        if opened is None:
            return
        session, place = opened
        self._opener.begin(session, place)
        if session.state is SessionState.CONNECTING:
            task = asyncio.current_task()
            assert task is not None
            session.dial_started(task)
            await self._opener.dialer.connect(session, place)

    async def _open(
        self, connection: Downstream, request: Request, target: Target, upgrade: bytes, lease: Lease
    ) -> tuple[Session, Place] | None:
        """The session of a client that may have one; None where it has left, or was refused."""
        try:
            verdict, target, claim = await self._verdict(connection, request, target, lease)
        finally:
            self._admitting -= 1
        # The client may have left during the wait.
        if not connection.is_waiting:
            self._opener.give_back(claim)
            return None
        if target.waits and isinstance(verdict, Admitted):  # others were let in meanwhile
            verdict = self._refusal_if_undecided() or verdict
        if isinstance(verdict, Refusal):
            self._refuse(connection, verdict)
            return None
        received: Sequence[Frame] = ()
        if target.waits:
            connection.upgrade(upgrade)
            found = await self._decide(connection, target, verdict)
            if found is None:
                return None
            (target, received, claim), upgrade = found, b""
        session, place = self._opener.open(
            connection, request, target, verdict, upgrade,
            lease=lease, received=received, claim=claim,
        )  # fmt: skip
        self._registry.add_session(session)
        if upgrade:
            connection.start_reading()
        return session, place

    async def _verdict(
        self, connection: Downstream, request: Request, target: Target, lease: Lease
    ) -> tuple[Admitted | Refusal, Target, Claim | None]:
        """Whether a client may have what it asks for, where, and what it continues then."""
        verdict, target = await self._gatekeeper.admit(
            request.path, request.headers, target, lease=lease
        )
        if isinstance(verdict, Admitted) and connection.is_waiting:
            verdict = await self._join_call(target, verdict)
        claim = None
        if isinstance(verdict, Admitted) and connection.is_waiting and not target.waits:
            claim = await self._opener.claim(target, verdict)
        return verdict, target, claim

    async def _decide(
        self, connection: Downstream, target: Target, admitted: Admitted
    ) -> tuple[Target, Sequence[Frame], Claim | None] | None:
        """Who serves an upgraded client, by its first message, what was read of it, and what it
        continues; None where it has left, or was sent away.
        """
        first = FirstMessage(connection)
        self._undecided.add(first)
        try:
            message = await first.read()
            decided = await self._gatekeeper.decided(target, admitted, message)
            claim = None
            if isinstance(decided, Target) and connection.is_open:
                claim = await self._opener.claim(decided, admitted)
        finally:
            self._undecided.discard(first)
        if not connection.is_open:  # the client has left
            pass
        elif self.readiness.is_stopping:
            connection.close(self._stop_close_code, RESTARTING)
        elif reason := self.readiness.why_closed():
            connection.close(TRY_AGAIN_LATER, reason)
        elif isinstance(decided, Refusal):
            connection.close(POLICY_VIOLATION, decided.message)
        else:
            return decided, first.frames, claim
        self._opener.give_back(claim)
        return None

    async def _join_call(self, target: Target, admitted: Admitted) -> Admitted | Refusal:
        """Where the session is a sideband of a call, the gateway has to hear that call first."""
        provider = self._providers[target.provider]
        if provider.calls is None or not provider.calls.has(target):
            return admitted
        call = await self._calls.join(provider, target, admitted.authorization)
        if isinstance(call, Refusal):
            return call
        if self._opener.may_use(admitted, ""):  # any model: its name need not be awaited
            return admitted
        await call.wait_for_model()
        model = call.recorder.model
        is_allowed = self._opener.may_hear(admitted, model, provider=target.provider)
        return admitted if is_allowed else model_not_allowed(model)

    async def _explain(self, connection: Downstream, request: HttpRequest) -> None:
        """Why a WebSocket under this path would be refused; 426 if it would not.

        Browsers do not show a page how an upgrade was refused, so the page asks like this.
        """
        answer = self._wanted(request)
        if isinstance(answer, Target) and request.method not in _EXPLAINED_METHODS:
            answer = wrong_method(request.method, allowed="GET, HEAD, POST")
        if isinstance(answer, Target):
            with self._leases.new() as lease:
                verdict, _ = await self._gatekeeper.admit(
                    request.target, request.headers, answer, lease=lease, claims_handles=False
                )
            answer = verdict if isinstance(verdict, Refusal) else upgrade_required()
        if connection.is_waiting:
            self._refuse(connection, answer)

    # --- plain HTTP -------------------------------------------------------------------------------

    def _serve_endpoint(
        self, connection: Downstream, found: RouteMatch, request: HttpRequest
    ) -> None:
        endpoint = found.endpoint
        refusal = self._refusal_if_not_ready() if endpoint.starts_call else None
        if request.method != endpoint.method:
            refusal = wrong_method(request.method, allowed=endpoint.method)
        if refusal is not None:
            self._refuse(connection, refusal)
            return
        connection.outlasts_stop = endpoint.outlasts_stop
        if endpoint.starts_call:
            connection.watch()
        work = self._answer(connection, found, request)
        self._registry.start(work, on_failure=lambda exc: self._failed(connection, exc))

    async def _answer(
        self, connection: Downstream, found: RouteMatch, request: HttpRequest
    ) -> None:
        answer = await self._api.answer(found, request)
        if not connection.is_waiting:
            if isinstance(answer, Reversible):
                answer.undo()
            return
        if isinstance(answer, Refusal):
            self._refuse(connection, answer)
        elif isinstance(answer, Download):
            try:
                await connection.download(answer)
            except BrokenOffError as exc:
                log.warning("download broken off", reason=str(exc))
        else:
            connection.answer(answer.response if isinstance(answer, Reversible) else answer)

    # --- refusals ---------------------------------------------------------------------------------

    def _wanted(self, request: Request | HttpRequest) -> Target | Refusal:
        """What is asked for, or why nobody gets that now."""
        path = target_of(request)
        found, events = self._gatekeeper.target(path, request.headers), wants_events(path)
        if isinstance(found, Refusal):
            return found
        if isinstance(events, Refusal):
            return events
        undecided = self._refusal_if_undecided() if found.is_undecided else None
        return self._refusal_if_full() or undecided or found

    def _refusal_at_once(
        self, connection: Downstream, request: Request | HttpRequest
    ) -> Refusal | None:
        """Why nothing is looked at that this address asks for, or with this URL. In a header a
        trusted proxy says whose request it passes on.
        """
        if connection.caller == PROXY:
            forwarded = request.headers.get_all("X-Forwarded-For")
            client = self._callers.proxies.client_of(connection.host, forwarded)
            if not self.client_told(connection, client):
                return self._callers.crowded()
        caller, target = connection.caller, target_of(request)
        return (
            self._callers.refusal_if_crowded(caller)
            or self._callers.refusal_if_guessing(
                caller, lambda: self._gatekeeper.knows_key(target, request.headers)
            )
            or self._gatekeeper.refusal_of_url(target)
        )

    def _refusal_if_not_ready(self) -> Refusal | None:
        """Why nothing that lasts can be opened."""
        return (
            self._refusal_if_full()
            if (health := self.readiness.ready()).is_ok
            else unavailable(health.detail)
        )

    def _refusal_if_full(self) -> Refusal | None:
        return self._registry.refusal_if_full(admitting=self._admitting + len(self._undecided))

    def _refusal_if_undecided(self) -> Refusal | None:
        """Why no client is let in that has yet to name its model: its words wait until then."""
        is_full = len(self._undecided) >= UNDECIDED_MAX
        return unavailable("too many clients have not said what they want") if is_full else None

    def _refuse(self, connection: Downstream, refusal: Refusal) -> None:
        log.info("client refused", status=refusal.status, code=refusal.code)
        if refusal == invalid_key():
            self._callers.wrong_key(connection.caller)
        connection.answer(refusal.response())

    def _failed(self, connection: Downstream, exc: BaseException) -> None:
        log.error("admission failed", exc_info=exc)
        if connection.is_waiting:
            self._refuse(connection, internal_error())
        else:
            connection.close(INTERNAL_ERROR, "internal error")
