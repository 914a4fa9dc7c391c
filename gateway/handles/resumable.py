"""Which session was issued which handle, so that it is closed before another one resumes it.

A session whose client is gone drains: its connection to the provider stays open for up to 60 s to
report what the last response cost. Google refuses to resume a session while its former connection
is open (1011), and SDKs do not try again. So the drain is ended before the session is resumed; what
was not reported by then is estimated, as at the end of any drain.

Only sessions of this gateway are found: one that drains on another gateway is not closed.
"""

import asyncio
from collections import OrderedDict
from typing import Protocol

import structlog

from gateway.handles.handle import Handle, HandleKind, IssuedHandle
from gateway.handles.ownership import HandleRegistry
from gateway.http.refusals import Refusal, not_found
from gateway.limits import FORMER_S, RESUMABLES_MAX

log = structlog.get_logger()


class ResumableSession(Protocol):
    """A session that another one may resume."""

    def close_superseded(self) -> None:
        """Close both connections: the session is resumed on another one."""

    def abandon(self) -> None:
        """End now, with what is known."""


class Resumables:
    """Sessions by the digests of handles issued to them, of the newest ``RESUMABLES_MAX``."""

    def __init__(self) -> None:
        self._session_by_digest: OrderedDict[bytes, ResumableSession] = OrderedDict()
        self._digests_by_session: dict[ResumableSession, OrderedDict[bytes, None]] = {}
        self._ended_by_session: dict[ResumableSession, asyncio.Event] = {}  # of those being closed

    def __len__(self) -> int:
        """How many handles there are."""
        return len(self._session_by_digest)

    def issued(self, digest: bytes, session: ResumableSession) -> None:
        """The provider issued a handle to ``session``; ``digest`` is the handle's."""
        self._forget(digest)
        self._session_by_digest[digest] = session
        self._digests_by_session.setdefault(session, OrderedDict())[digest] = None
        if len(self._session_by_digest) > RESUMABLES_MAX:
            self._forget(next(iter(self._session_by_digest)))

    def ended(self, session: ResumableSession) -> None:
        """``session`` has ended: both of its connections are closed."""
        for digest in self._digests_by_session.pop(session, ()):
            del self._session_by_digest[digest]
        ended = self._ended_by_session.pop(session, None)
        if ended is not None:
            ended.set()

    async def end_predecessor(self, digest: bytes, resuming: ResumableSession) -> None:
        """Close the session to which a handle was issued, if there is one, and wait until it has
        ended. After ``FORMER_S`` it is abandoned.
        """
        session = self._session_by_digest.get(digest)
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

    def _forget(self, digest: bytes) -> None:
        session = self._session_by_digest.pop(digest, None)
        if session is None:
            return
        digests = self._digests_by_session[session]
        del digests[digest]
        if not digests:
            del self._digests_by_session[session]


class SessionHandles:
    """The handles of one session: those issued to it, and the one that it resumes.

    ``session`` is set before the first of either, and to None once it has ended. ``provider`` is
    the name of the one that serves the session.
    """

    __slots__ = ("_account_id", "_handles", "_resumables", "provider", "session")

    def __init__(
        self, handles: HandleRegistry, resumables: Resumables, *, provider: str, account_id: str
    ) -> None:
        self._handles = handles
        self._resumables = resumables
        self.provider = provider
        self._account_id = account_id
        self.session: ResumableSession | None = None

    def issued(self, issued: IssuedHandle) -> None:
        """The provider issued a handle to the session."""
        handle = Handle(self.provider, *issued)
        self._handles.learn(handle, self._account_id)
        if handle.kind is HandleKind.SESSION and self.session is not None:
            self._resumables.issued(handle.digest, self.session)

    async def ask(self, value: str) -> Refusal | None:
        """None when the session may resume the one of the handle ``value``, which is then closed.

        An empty value is refused: the message names a handle in a way that is not clear.
        """
        if not value or self.session is None:
            return not_found("found no session that can be resumed by what is named here")
        handle = Handle(self.provider, HandleKind.SESSION, value)
        refusal = await self._handles.use(handle, self._account_id)
        if refusal is None:
            await self._resumables.end_predecessor(handle.digest, self.session)
        return refusal
