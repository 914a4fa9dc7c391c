"""Whose a provider's handle is: tells accountd what was given, and asks about who uses one.

A handle leads to what was said under it, and one provider key serves all accounts: so it belongs to
the account that it was first given to. accountd keeps whose it is; a handle itself never goes
there, only the beginning of its hash. What this gateway knows itself it remembers, so that a client
that comes back at once, or while accountd is away, need not wait.

Nothing that a session relays waits for accountd: what was given is told in the background.
"""

import asyncio
import contextlib
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Final, Protocol

import structlog

from gateway import tasks
from gateway.handles.handle import Handle, HandleKind
from gateway.http.refusals import Refusal, not_found, unavailable
from gateway.limits import HANDLES_KNOWN_MAX, HANDLES_WAITING_MAX
from shared.errors import OutdatedError, UnreachableError
from shared.metrics import Metric
from shared.wire import HANDLES_MAX, MESSAGE_BYTES_MAX

__all__ = ["Handle", "HandleKind", "Handles", "OwnerStore"]

log = structlog.get_logger()

# Between two messages to accountd: each is a commit there. What is given meanwhile goes together.
PAUSE_S: Final = 0.2
RETRY_S: Final = 1.0
LAST_WORDS_S: Final = 1.0  # for what is still to be told when the gateway stops
# The accounts' names in one message: half of what one may hold.
_TOLD_BYTES_MAX: Final = MESSAGE_BYTES_MAX // 2
_NAME_HEAD_BYTES: Final = 3  # msgpack's, for the longest


class OwnerStore(Protocol):
    """Who keeps whose each handle is, for all gateways. Both raise ``UnreachableError``."""

    async def learn_handles(self, names: Sequence[bytes], accounts: Sequence[str]) -> None:
        """Handles that were given, each with its account; the first owner stays."""

    async def use_handle(self, name: bytes, account_id: str, *, claims: bool) -> bool:
        """Whether the account may use it; with ``claims`` what is unknown becomes its own."""


class Handles:
    """All handles that this gateway has seen. ``start`` before use, ``close`` at the end."""

    def __init__(self, owners: OwnerStore, *, allows_unknown: bool) -> None:
        """``allows_unknown``: a handle that nobody was given belongs to the first that uses it."""
        self._owners = owners
        self._allows_unknown = allows_unknown
        self._owner_by_name: OrderedDict[bytes, str] = OrderedDict()
        self._waiting: OrderedDict[bytes, str] = OrderedDict()  # accountd is yet to hear of them
        self._has_work = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._dropped = self._refused = 0
        self._is_telling = True  # nothing keeps us from it
        self._is_outdated = False  # accountd, as it answered last

    def start(self) -> None:
        """Begin to tell accountd."""
        self._tasks = [tasks.start(self._tell_forever())]

    async def close(self) -> None:
        """Tell what is still to be told, if that takes no longer than a moment, and stop."""
        await tasks.stop(self._tasks)
        with contextlib.suppress(UnreachableError, TimeoutError):
            async with asyncio.timeout(LAST_WORDS_S):
                while self._waiting:
                    await self._tell()
        if self._waiting:
            log.warning("handles not told", handles=len(self._waiting), hint=_HINT)

    def metrics(self) -> list[Metric]:
        """The numbers of this part, for ``/metrics``."""
        return [
            Metric(
                "rts_gateway_handles_waiting", "gauge",
                "Handles of which accountd has not heard yet.", lambda: len(self._waiting),
            ),
            Metric(
                "rts_gateway_handles_dropped", "counter",
                "Handles of which accountd will not hear: too many were waiting.",
                lambda: self._dropped,
            ),
            Metric(
                "rts_gateway_handles_refused", "counter",
                "Sessions that named a handle which their account may not use.",
                lambda: self._refused,
            ),
        ]  # fmt: skip

    def learn(self, handle: Handle, account_id: str) -> None:
        """The provider gave ``handle`` to the account. Never waits and never fails."""
        name = handle.name
        if self._owner_by_name.get(name) == account_id:
            return
        self._remember(name, account_id)
        self._waiting[name] = account_id
        if len(self._waiting) > HANDLES_WAITING_MAX:
            self._waiting.popitem(last=False)
            self._dropped += 1
        self._has_work.set()

    async def use(
        self, handle: Handle, account_id: str, *, must_be_issued: bool = False
    ) -> Refusal | None:
        """May the account go on with what ``handle`` leads to? None: yes.

        ``must_be_issued``: one that nobody was given is refused, whatever becomes of others.
        """
        name = handle.name
        owner = self._owner_by_name.get(name)
        if owner not in (None, account_id):
            return self._refuse(handle, account_id)
        is_own = owner is not None  # accountd may not have heard of it yet
        try:
            claims = is_own or (self._allows_unknown and not must_be_issued)
            is_allowed = await self._owners.use_handle(name, account_id, claims=claims)
        except UnreachableError as exc:
            is_outdated = isinstance(exc, OutdatedError)
            self._heard(exc if isinstance(exc, OutdatedError) else None)
            return None if is_own else unavailable(_OUTDATED if is_outdated else _AWAY)
        self._heard(None)
        if not is_allowed:
            self._owner_by_name.pop(name, None)
            return self._refuse(handle, account_id)
        self._remember(name, account_id)
        return None

    # --- helpers ----------------------------------------------------------------------------------

    def _heard(self, outdated: OutdatedError | None) -> None:
        """Tell once of an accountd that cannot know whose handles are, however many ask."""
        if outdated is not None and not self._is_outdated:
            log.error("handles cannot be checked", reason=str(outdated), hint=_HINT_OUTDATED)
        self._is_outdated = outdated is not None

    def _refuse(self, handle: Handle, account_id: str) -> Refusal:
        """The same words whether it is another account's or there is none."""
        self._refused += 1
        log.info(
            "handle refused", account=account_id, provider=handle.provider, kind=str(handle.kind)
        )
        return not_found(f"found no {handle.kind} of this name that belongs to this account")

    def _remember(self, name: bytes, account_id: str) -> None:
        self._owner_by_name[name] = account_id
        self._owner_by_name.move_to_end(name)
        if len(self._owner_by_name) > HANDLES_KNOWN_MAX:
            self._owner_by_name.popitem(last=False)

    async def _tell_forever(self) -> None:
        while True:
            await self._has_work.wait()
            self._has_work.clear()
            pause_s = PAUSE_S
            try:
                await self._tell()
            except UnreachableError as exc:
                pause_s = RETRY_S
                self._told(trouble=str(exc))
            else:
                self._told()
            if self._waiting:
                self._has_work.set()
            await asyncio.sleep(pause_s)

    async def _tell(self) -> None:
        """Tell a portion; it is forgotten once accountd has it."""
        portion = dict(_portion(self._waiting))
        await self._owners.learn_handles(list(portion), list(portion.values()))
        for name in portion:
            self._waiting.pop(name, None)

    def _told(self, trouble: str = "") -> None:
        if self._is_telling and trouble:
            log.warning("handles wait", handles=len(self._waiting), reason=trouble, hint=_HINT)
        self._is_telling = not trouble


_AWAY: Final = "accountd cannot be reached; try again"
_OUTDATED: Final = "whose this is cannot be found out before accountd is upgraded"
_HINT_OUTDATED: Final = (
    "upgrade accountd: until then nobody but who was given one here can use a handle"
)
_HINT: Final = "they are known here alone until accountd hears of them; is it up, and as new?"


def _portion(waiting: OrderedDict[bytes, str]) -> Iterator[tuple[bytes, str]]:
    """The oldest, as many as fit into one message; one at least."""
    size = 0
    for name, account_id in islice(waiting.items(), HANDLES_MAX):
        size += len(account_id.encode()) + _NAME_HEAD_BYTES
        yield name, account_id
        if size > _TOLD_BYTES_MAX:
            return
