"""What is in progress in this process: clients, sessions, calls, and tasks that answer clients.

``GatewayServer`` adds what it lets in; each entry leaves by itself when it has ended. Once a second
every entry looks at its deadlines. ``send_away`` ends all of it and waits, when the gateway
stops.
"""

import asyncio
from collections.abc import Callable, Coroutine
from functools import partial
from operator import itemgetter
from typing import Any, Final

import structlog

from gateway.calls.calls import Calls
from gateway.connections.close import TRY_AGAIN_LATER
from gateway.connections.downstream import Downstream
from gateway.connections.file_descriptors import has_capacity_for_client, has_capacity_for_session
from gateway.connections.held_bytes import QUEUED, UNFINISHED
from gateway.delivery.usage_sender import UsageSender
from gateway.http.refusals import Refusal, unavailable
from gateway.limits import CLOSE_S, DRAIN_S, LATE_DRAINS_MAX, PASSING_MAX, PASSING_S
from gateway.metering.totals import Totals
from gateway.relay.provider_drain import departure_gap_s
from gateway.relay.session import Session
from gateway.relay.sinks import PreOpenBuffer
from shared.metrics import Metric

log = structlog.get_logger()

CHECK_S: Final = 1.0
SHED_S: Final = 0.05  # between two looks for room, while no client can be accepted
_NEVER: Final = float("-inf")
_TOO_SLOW: Final = unavailable("too many clients, and this request was not here yet; try again")


class Registry:
    """All clients, sessions and calls that have not ended."""

    def __init__(
        self, *, calls: Calls, totals: Totals, usage: UsageSender, connections_max: int = 0
    ) -> None:
        """``connections_max``: sessions and calls at once, 0 for as many as there are descriptors
        for.
        """
        self._connections_max = connections_max
        self._loop = asyncio.get_running_loop()
        self._calls = calls
        self._totals = totals
        self._usage = usage
        self._clients: set[Downstream] = set()
        self._passing: dict[Downstream, float] = {}  # those without a session: when they came
        self._sessions: set[Session] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._entry_ended = asyncio.Event()
        calls.on_ended = self._entry_ended.set
        self.on_client_gone: list[Callable[[], None]] = []
        self._cut_off = 0
        self._shed_clients = 0
        self._is_full_logged = False
        self._shedding: asyncio.TimerHandle | None = None
        self._ticker = self._loop.call_later(CHECK_S, self._check)

    # --- entries ----------------------------------------------------------------------------------

    def add_client(self, client: Downstream) -> None:
        """A client has connected."""
        self._clients.add(client)
        self._passing[client] = self._loop.time()
        if len(self._passing) > PASSING_MAX:
            self._shed()

    def remove_client(self, client: Downstream) -> None:
        """A client's connection is closed."""
        self._clients.discard(client)
        self._passing.pop(client, None)
        self._entry_ended.set()
        for notify in self.on_client_gone:
            notify()

    def add_session(self, session: Session) -> None:
        """A session was opened."""
        self._sessions.add(session)
        self._totals.add(session.recorder)

    def session_ended(self, session: Session) -> None:
        """A session has ended."""
        self._sessions.discard(session)
        self._totals.remove(session.recorder)
        self._cut_off += session.was_cut_off
        self._entry_ended.set()

    def start(
        self,
        work: Coroutine[Any, Any, None],
        *,
        on_failure: Callable[[BaseException], None],
    ) -> None:
        """Run what answers a client; ``on_failure`` is called when it raises."""
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(lambda done: self._finished(done, on_failure))

    def has_capacity_for_client(self) -> bool:
        """Whether a descriptor is left for one more client; if not, room is made soon."""
        has_capacity = self._has_capacity
        if not has_capacity and self._shedding is None:
            self._shedding = self._loop.call_later(SHED_S, self._make_room)
        return has_capacity

    def refusal_if_full(self, *, admitting: int) -> Refusal | None:
        """Why there cannot be one more session, beside those being admitted: no descriptor is
        left.
        """
        lasting = len(self._sessions) + admitting + len(self._calls)
        if has_capacity_for_session(sessions=lasting, allowed=self._connections_max):
            self._is_full_logged = False
            return None
        if not self._is_full_logged:
            self._is_full_logged = True
            log.error(
                "no room for more sessions",
                sessions=len(self._sessions),
                hint="raise GATEWAY_CONNECTIONS_MAX, where it is set, or the limit of open files"
                " (ulimit -n, LimitNOFILE=), or add a gateway",
            )
        return unavailable("the gateway has no room for more sessions; try again")

    def metrics(self) -> list[Metric]:
        """The numbers of this part, for ``/metrics``."""
        return [
            Metric(
                "rts_gateway_sessions", "gauge", "Sessions that have not ended.",
                lambda: len(self._sessions),
            ),
            Metric(
                "rts_gateway_sessions_cut_off", "counter",
                "Sessions that ended because credits, or what they may spend, were used up.",
                lambda: self._cut_off,
            ),
            Metric(
                "rts_gateway_sessions_dialling", "gauge",
                "Sessions whose first provider is not there yet, and whose clients' words wait.",
                lambda: PreOpenBuffer.opened,
            ),
            Metric(
                "rts_gateway_clients_shed", "counter",
                "Clients without a session that were cut because they took their time in a crowd.",
                lambda: self._shed_clients,
            ),
            Metric(
                "rts_gateway_queued_bytes", "gauge",
                "Bytes of peers whose sessions wait for a provider, for credit or for capacity.",
                lambda: QUEUED.total,
            ),
            Metric(
                "rts_gateway_unfinished_refused", "counter",
                "Clients closed in a long message, as too many such were not complete.",
                lambda: UNFINISHED.refused,
            ),
        ]  # fmt: skip

    # --- the end ----------------------------------------------------------------------------------

    async def send_away(
        self, deadline_s: float, close_code: int, refuse: Callable[[Downstream], None]
    ) -> None:
        """Let responses in flight finish, send clients away, wait for every session.

        Sessions without a response leave one after the other, so that their clients do not all
        reconnect in the same second. Clients that wait for a short answer are given to ``refuse``.
        """
        self._schedule_leaving(close_code)
        for client in list(self._clients):
            if client.is_waiting and not client.is_voice:
                refuse(client)
        deadline = self._loop.time() + deadline_s
        if not await self._wait_until(lambda: not self._has_voice, deadline):
            log.error("sessions cut off", sessions=len(self._sessions), calls=len(self._calls))
        # What else is asked for is short, or can be asked for again.
        deadline = min(deadline, self._loop.time() + CLOSE_S)
        if not await self._wait_until(lambda: not self._clients, deadline):
            log.info("answers cut off", answers=len(self._clients))
        await self._abandon()

    def _schedule_leaving(self, close_code: int) -> None:
        now = self._loop.time()
        talking = [session for session in self._sessions if session.drain is None]
        for session in self._sessions - set(talking):
            session.leave(now, close_code)
        departures = [partial(session.leave, now + DRAIN_S, close_code) for session in talking]
        departures += [partial(call.leave, now + DRAIN_S) for call in self._calls]
        self._calls.leave(now + DRAIN_S)
        gap_s = departure_gap_s(len(departures))
        for number, leave in enumerate(departures):
            self._loop.call_at(now + number * gap_s, leave)

    async def _abandon(self) -> None:
        """End what is left, with what is known of it."""
        for session in list(self._sessions):
            session.abandon()
        self._calls.abandon()
        for client in list(self._clients):
            client.abort()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._ticker.cancel()
        if self._shedding is not None:
            self._shedding.cancel()

    @property
    def _has_voice(self) -> bool:
        has_client = any(client.is_voice for client in self._clients)
        return has_client or bool(self._sessions) or len(self._calls) > 0

    async def _wait_until(self, is_so: Callable[[], bool], deadline: float) -> bool:
        """Wait until ``is_so``, which only the end of an entry changes; false when not in time."""
        try:
            async with asyncio.timeout_at(deadline):
                while not is_so():
                    self._entry_ended.clear()
                    await self._entry_ended.wait()
        except TimeoutError:
            return False
        return True

    # --- every second -----------------------------------------------------------------------------

    def _check(self) -> None:
        self._ticker = self._loop.call_later(CHECK_S, self._check)
        now = self._loop.time()
        for client in list(self._clients):
            client.check(now)
        for one in (*self._sessions, *self._calls):
            one.check(now)
        self._bound_late_drains()
        self._shed()
        if self._usage.is_full:
            self._end_everything()

    @property
    def _has_capacity(self) -> bool:
        return has_capacity_for_client(clients=len(self._clients), allowed=self._connections_max)

    def _make_room(self) -> None:
        """Cut those that dawdle, as long as no client can be accepted."""
        self._shedding = None
        if not self._has_capacity:
            self._shed(self._loop.time() - PASSING_S)
            self.has_capacity_for_client()

    def _shed(self, before: float = _NEVER) -> None:
        """Cut those that dawdle where too many are passing, and where they came ``before``."""
        self._passing = {client: at for client, at in self._passing.items() if client.is_passing}
        excess = len(self._passing) - PASSING_MAX
        dawdling = [client for client in self._passing if client.is_dawdling]
        late = [client for client in dawdling if self._passing[client] < before]
        for client in {**dict.fromkeys(dawdling[: max(0, excess)]), **dict.fromkeys(late)}:
            self._shed_clients += 1
            del self._passing[client]
            client.make_room(_TOO_SLOW.response())

    def _bound_late_drains(self) -> None:
        """Keep at most ``LATE_DRAINS_MAX`` providers that are heard for late answers."""
        late = [
            (s.drain.since, s) for s in self._sessions if s.drain is not None and s.drain.is_late
        ]
        for _, session in sorted(late, key=itemgetter(0))[: max(0, len(late) - LATE_DRAINS_MAX)]:
            session.abandon()

    def _end_everything(self) -> None:
        """The outbox is full: usage of more responses would have no place, and be lost."""
        if self._sessions:
            log.error("outbox full", sessions=len(self._sessions), batches=len(self._usage))
        for session in list(self._sessions):
            session.close_client(TRY_AGAIN_LATER, "usage cannot be delivered; try again later")
        for call in self._calls:
            call.hang_up("usage cannot be delivered")

    def _finished(
        self, task: asyncio.Task[None], on_failure: Callable[[BaseException], None]
    ) -> None:
        self._tasks.discard(task)
        self._entry_ended.set()
        if not task.cancelled() and (exc := task.exception()) is not None:
            on_failure(exc)
