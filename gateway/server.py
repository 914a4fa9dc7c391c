"""The gateway: lets clients in or says why not, and keeps every session until it has ended."""

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from functools import partial
from operator import itemgetter
from typing import Any, Final

import structlog
from websockets.datastructures import Headers
from websockets.http11 import Request, Response

from gateway.calls.calls import Calls
from gateway.connections.close import TRY_AGAIN_LATER
from gateway.connections.descriptors import is_room_for_client, is_room_for_session
from gateway.connections.downstream import Downstream
from gateway.control.rpc_client import RpcClient
from gateway.delivery.sender import UsageSender
from gateway.door.admission import Admission, Admitted
from gateway.door.models import ModelTable
from gateway.door.opener import Opener
from gateway.door.routing import MISSING_MODEL, route, split_target, wants_events, with_model
from gateway.endpoints.api import Api, RouteMatch
from gateway.endpoints.pages import Pages
from gateway.handles.handle import HandleKind
from gateway.handles.ownership import Handles
from gateway.http import cors
from gateway.http.answers import BrokenOffError, Download, Undoable, json_response
from gateway.http.exchange import HttpRequest
from gateway.http.refusals import (
    Refusal,
    bad_request,
    internal_error,
    model_not_allowed,
    unavailable,
    upgrade_required,
    wrong_method,
)
from gateway.limits import CLOSE_S, DRAIN_S, LATE_DRAINS_MAX
from gateway.metering.totals import Totals
from gateway.providers.base import Provider, Target
from gateway.relay.drain import departure_gap_s
from gateway.relay.session import Session, State
from shared.metrics import Metric
from shared.ops import Health

log = structlog.get_logger()

CHECK_S: Final = 1.0
INTERNAL_ERROR: Final = 1011
_READING: Final = ("GET", "HEAD")
# What may ask why there is no session: a page does with a POST, which names its origin.
_ASKING: Final = (*_READING, "POST")


class Gateway:
    """All clients and sessions of this process."""

    def __init__(
        self,
        *,
        accountd: RpcClient,
        admission: Admission,
        opener: Opener,
        calls: Calls,
        totals: Totals,
        usage: UsageSender,
        handles: Handles,
        providers: Mapping[str, Provider],
        table: ModelTable,
        pages: Pages,
        api: Api,
        drain_close_code: int,
    ) -> None:
        """``providers`` by name: those that there is a key for."""
        self._loop = asyncio.get_running_loop()
        self._accountd = accountd
        self._admission = admission
        self._opener = opener
        self._calls = calls
        calls.on_departure = self._departed
        self._usage = usage
        self._handles = handles
        self._providers = providers
        self._table = table
        self._pages = pages
        self._api = api
        self._drain_close_code = drain_close_code
        self._clients: set[Downstream] = set()
        self._sessions: set[Session] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._departure = asyncio.Event()  # a client, a session or a task is gone
        self.on_departure: list[Callable[[], None]] = []  # called when a client is
        self._ticker = self._loop.call_later(CHECK_S, self._check)
        self.is_draining = False
        self._is_full_told = False
        self._admitting = 0
        self._totals = totals
        self._cut_off = 0

    # --- health -----------------------------------------------------------------------------------

    def live(self) -> Health:
        """The process answers."""
        return Health(True)

    def ready(self) -> Health:
        """Whether new sessions are welcome."""
        if self.is_draining:
            return Health(False, "draining")
        if trouble := self._usage.not_ready_reason:
            return Health(False, trouble)
        if not self._accountd.may_grant:
            return Health(False, "accountd unreachable")
        return Health(True)

    def metrics(self) -> list[Metric]:
        """The numbers of this part, for ``/metrics``."""
        return [
            Metric(
                "rts_gateway_sessions", "gauge", "Sessions that have not ended.",
                lambda: len(self._sessions),
            ),
            Metric(
                "rts_gateway_sessions_cut_off", "counter",
                "Sessions that ended because their account's credits were used up.",
                lambda: self._cut_off,
            ),
        ]  # fmt: skip

    # --- for client connections -------------------------------------------------------------------

    def make_connection(self) -> Downstream:
        """A connection for a new connection."""
        connection = Downstream(self)
        self._clients.add(connection)
        return connection

    def has_place(self) -> bool:
        """Whether one more client may come in."""
        return is_room_for_client(clients=len(self._clients))

    def handshake_received(self, connection: Downstream, request: Request) -> None:
        """A complete request arrived on ``connection``."""
        if (probe := self._probe(request.path)) is not None:
            connection.answer(probe)
            return
        target = self._route(request.path, request.headers)
        for refusal in (target, wants_events(request.path), self._no_room()):
            if isinstance(refusal, Refusal):
                self._refuse(connection, refusal)
                return
        assert isinstance(target, Target)
        upgrade = connection.accept(request)
        if upgrade.status_code != 101:
            self._refuse(
                connection, bad_request(f"not a WebSocket handshake: {connection.why_not()}")
            )
            return
        self._is_full_told = False
        self._admitting += 1
        self._start(self._admit(connection, request, target, upgrade), connection)

    def request_received(self, connection: Downstream, request: HttpRequest) -> None:
        """A plain HTTP request arrived on ``connection``."""
        found = self._api.find(request.target)
        if found is not None:
            self._serve_endpoint(connection, found, request)
            return
        plain = self._probe(request.target) or self._pages.answer(request)
        if plain is None:
            self._start(self._explain(connection, request), connection)
        elif request.method in _READING:
            connection.answer(plain)
        else:
            self._refuse(connection, wrong_method(request.method, allowed="GET, HEAD"))

    def connection_closed(self, connection: Downstream) -> None:
        """The connection of ``connection`` is closed."""
        self._clients.discard(connection)
        self._departure.set()
        for told in self.on_departure:
            told()

    # --- shutting down ----------------------------------------------------------------------------

    async def drain(self, deadline_s: float) -> None:
        """Let responses in flight finish, send clients away, wait for every session.

        Quiet ones leave one after the other, so that they do not all come back in the same second.
        """
        self.is_draining = True
        now, code = self._loop.time(), self._drain_close_code
        talking = [session for session in self._sessions if session.drain is None]
        for session in self._sessions - set(talking):
            session.leave(now, code)
        departures = [partial(session.leave, now + DRAIN_S, code) for session in talking]
        departures += [partial(call.leave, now + DRAIN_S) for call in self._calls]
        self._calls.leave(now + DRAIN_S)
        gap_s = departure_gap_s(len(departures))
        for number, leave in enumerate(departures):
            self._loop.call_at(now + number * gap_s, leave)
        for connection in list(self._clients):
            if connection.is_waiting and not connection.is_voice:
                self._refuse(connection, unavailable("draining"))
        deadline = self._loop.time() + deadline_s
        if not await self._come_to_be(lambda: not self._has_voice, deadline):
            log.error("sessions cut off", sessions=len(self._sessions), calls=len(self._calls))
        # What else is asked for is short, or can be asked for again.
        deadline = min(deadline, self._loop.time() + CLOSE_S)
        if not await self._come_to_be(lambda: not self._clients, deadline):
            log.info("answers cut off", answers=len(self._clients))
        for session in list(self._sessions):
            session.abandon()
        self._calls.abandon()
        for connection in list(self._clients):
            connection.abort()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._ticker.cancel()

    @property
    def _has_voice(self) -> bool:
        has_client = any(connection.is_voice for connection in self._clients)
        return has_client or bool(self._sessions) or len(self._calls) > 0

    async def _come_to_be(self, is_so: Callable[[], bool], deadline: float) -> bool:
        """Wait for departures until ``is_so``; false when it is not by ``deadline``."""
        try:
            async with asyncio.timeout_at(deadline):
                while not is_so():
                    self._departure.clear()
                    await self._departure.wait()
        except TimeoutError:
            return False
        return True

    # --- admission --------------------------------------------------------------------------------

    async def _admit(
        self, connection: Downstream, request: Request, target: Target, upgrade: Response
    ) -> None:
        try:
            verdict = await self._judge(request.path, request.headers, target)
            if isinstance(verdict, Admitted) and connection.is_waiting:
                verdict = await self._join(target, verdict)
        finally:
            self._admitting -= 1
        # The client may have left during the wait.
        if not connection.is_waiting:
            return
        if isinstance(verdict, Refusal):
            self._refuse(connection, verdict)
            return
        session = self._opener.open(
            connection, request.path, target, verdict, upgrade, on_ended=self._ended
        )
        self._sessions.add(session)
        self._totals.add(session.recorder)
        # Made before the client is heard: it may leave with its very first bytes.
        sink = session.provider_sink()
        connection.start_reading()
        # What was metered here and is not charged yet accountd did not know when it let this in.
        session.credit_changed()
        if session.state is State.CONNECTING:
            task = asyncio.current_task()
            assert task is not None
            session.dialling(task)
            await self._opener.connect(session, request.headers, target, sink)

    def _route(self, path: str, headers: Headers) -> Target | Refusal:
        """What is asked for; a key that is bound to a model names it where the URL does not."""
        found = route(path, headers, table=self._table, providers=self._providers)
        if not isinstance(found, Refusal) or found.code != MISSING_MODEL:
            return found
        model = self._admission.bound_model(headers, split_target(path)[1])
        if model is None:
            return found
        target = with_model(path, model)
        return route(target, headers, table=self._table, providers=self._providers)

    async def _judge(
        self, path: str, headers: Headers, target: Target, *, asks_only: bool = False
    ) -> Admitted | Refusal:
        """Whether a session may be opened now; who ``asks_only`` claims nothing by it."""
        _, parameters, _ = split_target(path)
        verdict = await self._admission.admit(headers, parameters)
        if isinstance(verdict, Refusal):
            return verdict
        if (refusal := self._opener.refusal(verdict, target)) is not None:
            return refusal
        for handle in () if asks_only else target.handles:
            refusal = await self._handles.use(
                handle,
                verdict.grant.account_id,
                # Its own connection is charged, and was let have its model: there must be one.
                must_be_given=handle.kind is HandleKind.LIVE,
            )
            if refusal is not None:
                return refusal
        if self.is_draining or self._usage.not_ready_reason:  # perhaps since the wait
            return unavailable(self.ready().detail)
        return verdict

    async def _join(self, target: Target, admitted: Admitted) -> Admitted | Refusal:
        """Where the session is a sideband of a call, that call has to be heard by us first."""
        provider = self._providers[target.provider]
        if provider.calls is None or not provider.calls.has(target):
            return admitted
        call = await self._calls.attend(provider, target, admitted.grant)
        if isinstance(call, Refusal):
            return call
        if self._opener.may_use(admitted, ""):  # any: nobody waits for its name
            return admitted
        await call.named()
        model = call.recorder.model
        is_allowed = self._opener.may_hear(admitted, model, provider=target.provider)
        return admitted if is_allowed else model_not_allowed(model)

    async def _explain(self, connection: Downstream, request: HttpRequest) -> None:
        """Why there is nothing to read under a path.

        Where a WebSocket is, it is why this one would be refused, and 426 if it would not: browsers
        do not show a page how an upgrade was refused, so the page asks like this.
        """
        refusal = self._no_page(request)
        if isinstance(refusal, Target):
            verdict = await self._judge(request.target, request.headers, refusal, asks_only=True)
            refusal = verdict if isinstance(verdict, Refusal) else upgrade_required()
        if connection.is_waiting:
            self._refuse(connection, refusal)

    # --- helpers ----------------------------------------------------------------------------------

    def _serve_endpoint(
        self, connection: Downstream, found: RouteMatch, request: HttpRequest
    ) -> None:
        endpoint = found.endpoint
        if endpoint.is_for_browsers:
            connection.answer_headers = cors.ANYBODY
            if request.method == "OPTIONS":
                connection.answer(cors.preflight(endpoint.method))
                return
        refusal = self._not_now() if endpoint.opens else None
        if request.method != endpoint.method:
            refusal = wrong_method(request.method, allowed=endpoint.method)
        if refusal is not None:
            self._refuse(connection, refusal)
        else:
            connection.is_waited_for = endpoint.is_waited_for
            if endpoint.opens:
                connection.watch()
            self._start(self._answer(connection, found, request), connection)

    async def _answer(
        self, connection: Downstream, found: RouteMatch, request: HttpRequest
    ) -> None:
        answer = await self._api.answer(found, request)
        if not connection.is_waiting:
            if isinstance(answer, Undoable):
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
            connection.answer(answer.response if isinstance(answer, Undoable) else answer)

    def _start(self, work: Coroutine[Any, Any, None], connection: Downstream) -> None:
        """Do something for a client that waits for its answer."""
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(lambda done: self._finished(done, connection))

    def _probe(self, target: str) -> Response | None:
        path, _, _ = split_target(target)
        probe = {"/healthz": self.live, "/readyz": self.ready}.get(path)
        if probe is None:
            return None
        health = probe()
        body = {"status": "ok" if health.is_ok else "unavailable", "detail": health.detail}
        return json_response(200 if health.is_ok else 503, body)

    def _no_page(self, request: HttpRequest) -> Target | Refusal:
        """What can be had with a WebSocket under a path, or why nothing can."""
        target = self._route(request.target, request.headers)
        if isinstance(target, Target) and request.method not in _ASKING:
            return wrong_method(request.method, allowed="GET, HEAD, POST")
        return target

    def _departed(self) -> None:
        self._departure.set()

    def _ended(self, session: Session) -> None:
        self._sessions.discard(session)
        self._totals.remove(session.recorder)
        self._cut_off += session.was_cut_off
        self._departure.set()

    def _not_now(self) -> Refusal | None:
        """Why nothing that lasts can be opened."""
        return self._no_room() if (health := self.ready()).is_ok else unavailable(health.detail)

    def _no_room(self) -> Refusal | None:
        lasting = len(self._sessions) + self._admitting + len(self._calls)
        if is_room_for_session(sessions=lasting):
            return None
        self._say_full()
        return unavailable("the gateway has no room for more sessions; try again")

    def _say_full(self) -> None:
        if not self._is_full_told:
            self._is_full_told = True
            log.error(
                "no file descriptors left for sessions",
                sessions=len(self._sessions),
                hint="raise the limit of open files (ulimit -n, LimitNOFILE=), or add a gateway",
            )

    def _refuse(self, connection: Downstream, refusal: Refusal) -> None:
        log.info("client refused", status=refusal.status, code=refusal.code)
        connection.answer(refusal.response())

    def _check(self) -> None:
        self._ticker = self._loop.call_later(CHECK_S, self._check)
        now = self._loop.time()
        for connection in list(self._clients):
            connection.check(now)
        for one in (*self._sessions, *self._calls):
            one.check(now)
        self._end_latest()
        if self._usage.is_full:
            self._send_everybody_away()

    def _end_latest(self) -> None:
        """Keep no more than ``LATE_DRAINS_MAX`` providers that are heard for their late answers."""
        late = [
            (s.drain.since, s) for s in self._sessions if s.drain is not None and s.drain.is_late
        ]
        for _, session in sorted(late, key=itemgetter(0))[: max(0, len(late) - LATE_DRAINS_MAX)]:
            session.abandon()

    def _send_everybody_away(self) -> None:
        """Rather than lose usage: what more sessions meter would have nowhere to wait."""
        if self._sessions:
            log.error("outbox full", sessions=len(self._sessions), batches=len(self._usage))
        for session in list(self._sessions):
            session.close_client(TRY_AGAIN_LATER, "usage cannot be delivered; try again later")
        for call in self._calls:
            call.hang_up("usage cannot be delivered")

    def _finished(self, task: asyncio.Task[None], connection: Downstream) -> None:
        self._tasks.discard(task)
        self._departure.set()
        if not task.cancelled() and (exc := task.exception()) is not None:
            log.error("admission failed", exc_info=exc)
            if connection.is_waiting:
                self._refuse(connection, internal_error())
            else:
                connection.close(INTERNAL_ERROR, "internal error")
