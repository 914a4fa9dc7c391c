"""Which session was given which handle, so that who resumes it finds its connection closed first.

A session whose client is gone drains for a while: its provider's connection lives on to report what
the last answer cost. Google refuses to resume a session whose former connection is there (1011),
and SDKs take that for final. So the drain ends first: for who is there it is more than for who has
left, and what is not reported by then is estimated, as at the end of any drain.

Only sessions of this gateway are known here.
"""

import asyncio
from collections import OrderedDict
from typing import Protocol

import structlog

from gateway.handles.handle import Handle, HandleKind, IssuedHandle
from gateway.handles.ownership import Handles
from gateway.http.refusals import Refusal, not_found
from gateway.limits import FORMER_S, RESUMABLES_MAX

log = structlog.get_logger()


class ResumableSession(Protocol):
    """A session that another one goes on with."""

    def close_superseded(self) -> None:
        """Close both connections: the session is resumed on another one."""

    def abandon(self) -> None:
        """End now, with what is known."""


class Resumables:
    """Sessions by the names of the handles that they were given, the newest ``RESUMABLES_MAX``."""

    def __init__(self) -> None:
        self._session_by_name: OrderedDict[bytes, ResumableSession] = OrderedDict()
        self._names_by_session: dict[ResumableSession, OrderedDict[bytes, None]] = {}
        self._ended_by_session: dict[ResumableSession, asyncio.Event] = {}  # those that give way

    def __len__(self) -> int:
        """Handles."""
        return len(self._session_by_name)

    def given(self, name: bytes, session: ResumableSession) -> None:
        """A session was given a handle."""
        self._forget(name)
        self._session_by_name[name] = session
        self._names_by_session.setdefault(session, OrderedDict())[name] = None
        if len(self._session_by_name) > RESUMABLES_MAX:
            self._forget(next(iter(self._session_by_name)))

    def ended(self, session: ResumableSession) -> None:
        """Both of its connections are closed."""
        for name in self._names_by_session.pop(session, ()):
            del self._session_by_name[name]
        ended = self._ended_by_session.pop(session, None)
        if ended is not None:
            ended.set()

    async def end_predecessor(self, name: bytes, resuming: ResumableSession) -> None:
        """End the session that was given a handle, if there is one; take ``FORMER_S`` at most."""
        session = self._session_by_name.get(name)
        if session is None or session is resuming:
            return
        ended = self._ended_by_session.setdefault(session, asyncio.Event())
        session.close_superseded()
        try:
            async with asyncio.timeout(FORMER_S):
                await ended.wait()
        except TimeoutError:
            log.warning("former connection cut", waited_s=FORMER_S)
            session.abandon()

    def _forget(self, name: bytes) -> None:
        session = self._session_by_name.pop(name, None)
        if session is None:
            return
        names = self._names_by_session[session]
        del names[name]
        if not names:
            del self._names_by_session[session]


class SessionHandles:
    """What one session has to do with handles: those that it is given, and the one it goes on with.

    ``session`` is set before either happens.
    """

    def __init__(
        self, handles: Handles, resumables: Resumables, *, provider: str, account_id: str
    ) -> None:
        self._handles = handles
        self._resumables = resumables
        self._provider = provider
        self._account_id = account_id
        self.session: ResumableSession | None = None

    def given(self, it: IssuedHandle) -> None:
        """The provider gave it to the session."""
        handle = Handle(self._provider, *it)
        self._handles.learn(handle, self._account_id)
        if handle.kind is HandleKind.SESSION and self.session is not None:
            self._resumables.given(handle.name, self.session)

    async def ask(self, value: str) -> Refusal | None:
        """May the session go on with the one that ``value`` leads to? It is closed if so.

        An empty value is one that is not clear.
        """
        if not value or self.session is None:
            return not_found("found no session that can be resumed by what is named here")
        handle = Handle(self._provider, HandleKind.SESSION, value)
        refusal = await self._handles.use(handle, self._account_id)
        if refusal is None:
            await self._resumables.end_predecessor(handle.name, self.session)
        return refusal
