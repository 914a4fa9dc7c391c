"""Ends what accountd takes back: live sessions and calls of a key, an account, or by their name.

``door`` and ``calls`` say with ``watch`` what lives by which authorization. A recall is announced;
once a second, and after each announcement, accountd is asked for those that were missed, so that
one which was announced while nobody heard, or committed by an accountd that was killed at once, is
obeyed as soon as accountd answers. A key that expires needs no announcement: its time is known.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final, Protocol

import structlog

from gateway import background_tasks
from gateway.accountd_client.authorizations import Authorization
from gateway.accountd_client.recall_log import RecallLog
from gateway.outdated_notice import OutdatedNotice
from shared.announcements import Recall, RecallCause, decode_recall
from shared.errors import OutdatedError, UnreachableError
from shared.metrics import Metric
from shared.wire import ENDED_MAX

log = structlog.get_logger()

ASK_S: Final = 1.0
# While accountd is away, which costs no request: what it wrote last is obeyed once it is back.
AWAY_S: Final = 0.05
FAREWELL_S: Final = 1.0
# Ended in one turn of the event loop: each is told why, closed and drained, which takes a tenth of
# a millisecond, and the frames of all others wait.
PER_TURN_MAX: Final = 10
# No timer is set further ahead; one that rings too early is set again.
TIMER_S_MAX: Final = 86_400.0

OnRecalled = Callable[[str], None]


@dataclass(slots=True, eq=False)
class _Watched:
    authorization: Authorization
    session_id: str
    on_recalled: OnRecalled
    timer: asyncio.TimerHandle | None = None


class RecallSource(Protocol):
    """accountd, and what was heard of it."""

    recall_log: RecallLog

    async def recalls(
        self, since: int | None, *, gateway: str, ended: Mapping[int, int], is_last: bool = False
    ) -> tuple[int, list[Recall]]:
        """See ``RpcClient``."""


class Recalls:
    """What lives here by which authorization. ``start`` before use, ``close`` at the end."""

    def __init__(self, accountd: RecallSource, gateway: str) -> None:
        """``gateway`` is the name of this process, by which accountd knows who has obeyed."""
        self._loop = asyncio.get_running_loop()
        self._accountd = accountd
        self._log = accountd.recall_log
        self._watched: dict[object, _Watched] = {}
        self._by_account: dict[str, dict[object, _Watched]] = {}
        self._due: deque[tuple[object, str]] = deque()
        self._must_ask = asyncio.Event()
        self._notice = OutdatedNotice(
            "recalls cannot be heard",
            hint="upgrade accountd: until then revoked keys keep their live sessions",
        )
        self._recalled = 0
        self._name = gateway
        self._unreported: dict[int, int] = {}  # how many sessions ended by a recall
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begin to ask."""
        self._tasks = [background_tasks.start(self._ask_forever())]

    async def close(self) -> None:
        """Ask no more, and say so, for ``FAREWELL_S`` at most: nobody is to wait for this one."""
        await background_tasks.stop(self._tasks)
        with contextlib.suppress(UnreachableError, TimeoutError):
            async with asyncio.timeout(FAREWELL_S):
                await self._accountd.recalls(
                    self._log.heard, gateway=self._name, ended=self._unreported, is_last=True
                )

    def metrics(self) -> list[Metric]:
        """The numbers of this part, for ``/metrics``."""
        return [
            Metric(
                "rts_gateway_sessions_recalled", "counter",
                "Sessions and calls that were ended because their key was revoked or has expired,"
                " their account was disabled, or an operator ended them.",
                lambda: self._recalled,
            ),
        ]  # fmt: skip

    def watch(
        self,
        one: object,
        authorization: Authorization,
        session_id: str,
        on_recalled: OnRecalled,
    ) -> None:
        """``one`` lives by ``authorization``, under the name ``session_id``, until ``forget``.

        ``on_recalled`` is called with a ``RecallCause`` when it has to end, never within this call.
        """
        watched = _Watched(authorization, session_id, on_recalled)
        self._watched[one] = watched
        self._by_account.setdefault(authorization.account_id, {})[one] = watched
        self._log.admitted(authorization.mark)
        for recall in self._log.since(authorization.mark):
            if _ends(recall, watched):
                self._end(one, recall.cause)
        self._set_timer(one, watched)

    def forget(self, one: object) -> None:
        """It has ended."""
        watched = self._watched.pop(one, None)
        if watched is None:
            return
        if watched.timer is not None:
            watched.timer.cancel()
        account_id = watched.authorization.account_id
        others = self._by_account[account_id]
        del others[one]
        if not others:
            del self._by_account[account_id]

    def announced(self, frames: list[bytes]) -> None:
        """accountd has announced a recall. Raises ``WireError``."""
        recall = decode_recall(frames)
        if self._log.announced(recall):
            self._obey(recall)
        self._must_ask.set()

    # --- helpers ----------------------------------------------------------------------------------

    def _obey(self, recall: Recall) -> None:
        of_account = self._by_account.get(recall.account_id, {})
        candidates = of_account if recall.account_id else self._watched
        found = [one for one, watched in candidates.items() if _ends(recall, watched)]
        log.info(
            "recall", cause=recall.cause, account=recall.account_id, session=recall.session_id,
            number=recall.number, ended=len(found), kept=recall.keeps_sessions,
        )  # fmt: skip
        for one in found:
            self._end(one, recall.cause)
        if found and len(self._unreported) < ENDED_MAX:
            self._unreported[recall.number] = len(found)

    def _end(self, one: object, cause: str) -> None:
        if not self._due:
            self._loop.call_soon(self._end_some)
        self._due.append((one, cause))

    def _end_some(self) -> None:
        for _ in range(min(PER_TURN_MAX, len(self._due))):
            one, cause = self._due.popleft()
            if (watched := self._watched.get(one)) is not None:
                self._recalled += 1
                self.forget(one)
                watched.on_recalled(cause)
        if self._due:
            self._loop.call_soon(self._end_some)

    def _set_timer(self, one: object, watched: _Watched) -> None:
        expires_at = watched.authorization.expires_at
        if expires_at is None or watched.authorization.keeps_sessions:
            return
        now = self._loop.time()
        if now >= expires_at:
            self._end(one, RecallCause.KEY_EXPIRED)
        else:
            at = min(expires_at, now + TIMER_S_MAX)
            watched.timer = self._loop.call_at(at, self._set_timer, one, watched)

    async def _ask_forever(self) -> None:
        while True:
            pause_s = await self._ask()
            await background_tasks.wait(self._must_ask, pause_s)
            self._must_ask.clear()

    async def _ask(self) -> float:
        """Ask for what was missed; in how many seconds to ask again."""
        asked, ended = self._log.heard, dict(self._unreported)
        try:
            mark, recalls = await self._accountd.recalls(asked, gateway=self._name, ended=ended)
        except OutdatedError as exc:
            self._notice.outdated(str(exc))
            return ASK_S
        except UnreachableError:
            return AWAY_S  # ``rpc_channel`` has logged it
        self._notice.answered()
        for number in ended:
            del self._unreported[number]
        self._obey_all(self._log.answered(asked, mark, recalls))
        return 0.0 if recalls else ASK_S  # there may be more

    def _obey_all(self, recalls: Iterable[Recall]) -> None:
        for recall in recalls:
            self._obey(recall)


def _ends(recall: Recall, watched: _Watched) -> bool:
    authorization = watched.authorization
    return (
        not recall.keeps_sessions
        and recall.number > authorization.mark
        and recall.names(authorization.account_id, authorization.key_hash, watched.session_id)
    )
