"""Which account owns a provider's handle: reports issued handles to accountd, checks those in use.

A handle gives access to the conversation behind it, and one provider key serves all accounts. So a
handle belongs to the account for which the provider issued it first, and others may not use it.
accountd keeps the owners, by the digest of each handle. This gateway remembers owners that it has
seen, so that a client may resume at once, before accountd has the report, and while accountd is
away.

Reports are sent in the background in portions: no frame waits for accountd. Called by ``door`` and
``calls``, and by sessions through ``resumable``.
"""

import asyncio
import contextlib
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Final, Protocol

import structlog

from gateway import background_tasks
from gateway.handles.handle import Handle
from gateway.http.refusals import Refusal, not_found, unavailable
from gateway.limits import HANDLES_KNOWN_MAX, HANDLES_WAITING_MAX
from gateway.outdated_notice import OutdatedNotice
from shared.errors import OutdatedError, UnreachableError
from shared.fields import MESSAGE_BYTES_MAX
from shared.metrics import Metric
from shared.wire import HANDLES_MAX

log = structlog.get_logger()

# Between two reports: each is a commit at accountd. Handles issued meanwhile share the next one.
PAUSE_S: Final = 0.2
RETRY_S: Final = 1.0
CLOSE_REPORT_S: Final = 1.0  # for the last reports when the gateway stops
# Of account ids in one report: half of a message, the other half is for the handles' digests.
_REPORT_BYTES_MAX: Final = MESSAGE_BYTES_MAX // 2
_NAME_HEAD_BYTES: Final = 3  # msgpack's header of a string of up to 65,535 bytes


class HandleOwners(Protocol):
    """Keeps the owner of each handle for all gateways. Both methods raise ``UnreachableError``."""

    async def learn_handles(self, digests: Sequence[bytes], accounts: Sequence[str]) -> None:
        """Record the owners of issued handles; a handle that has an owner keeps it."""

    async def use_handle(
        self, digest: bytes, account_id: str, *, claims: bool, is_sought: bool = False
    ) -> bool:
        """Whether the account may use the handle. With ``claims`` one without an owner becomes the
        account's. ``is_sought``: it may be another provider's, so a no is no refusal.
        """


class HandleRegistry:
    """The handles that this gateway has seen. ``start`` before use, ``close`` at the end."""

    def __init__(self, owners: HandleOwners, *, allows_unknown: bool) -> None:
        """``allows_unknown``: a handle without an owner belongs to the first account that uses it;
        otherwise it is refused.
        """
        self._owners = owners
        self._allows_unknown = allows_unknown
        self._owner_by_digest: OrderedDict[bytes, str] = OrderedDict()
        self._unreported: OrderedDict[bytes, str] = OrderedDict()
        self._has_work = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._dropped = self._refused = 0
        self._is_reporting = True  # the last report arrived
        self._notice = OutdatedNotice("handles cannot be checked", hint=_HINT_OUTDATED)

    def start(self) -> None:
        """Start the task that reports to accountd."""
        self._tasks = [background_tasks.start(self._report_forever())]

    async def close(self) -> None:
        """Stop; report what is left, for ``CLOSE_REPORT_S`` at most."""
        await background_tasks.stop(self._tasks)
        with contextlib.suppress(UnreachableError, TimeoutError):
            async with asyncio.timeout(CLOSE_REPORT_S):
                while self._unreported:
                    await self._report()
        if self._unreported:
            log.warning("handles not told", handles=len(self._unreported), hint=_HINT)

    def metrics(self) -> list[Metric]:
        """The numbers of this part, for ``/metrics``."""
        return [
            Metric(
                "rts_gateway_handles_waiting", "gauge",
                "Handles of which accountd has not heard yet.", lambda: len(self._unreported),
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
        """The provider issued ``handle`` to the account. Never waits and never fails."""
        digest = handle.digest
        if self._owner_by_digest.get(digest) == account_id:
            return
        self._remember(digest, account_id)
        self._unreported[digest] = account_id
        if len(self._unreported) > HANDLES_WAITING_MAX:
            self._unreported.popitem(last=False)
            self._dropped += 1
        self._has_work.set()

    async def issuer(self, handle: Handle, account_id: str, providers: Sequence[str]) -> str:
        """The one of ``providers`` that issued ``handle`` to the account; that of the handle, where
        nobody knows.
        """
        if len(providers) < 2:
            return handle.provider
        sought = [handle._replace(provider=provider) for provider in providers]
        for each in sought:
            if self._owner_by_digest.get(each.digest) == account_id:
                return each.provider
        with contextlib.suppress(UnreachableError):  # ``use`` says what follows from it
            for each in sought:
                if await self._owners.use_handle(
                    each.digest, account_id, claims=False, is_sought=True
                ):
                    return each.provider
        return handle.provider

    async def use(
        self, handle: Handle, account_id: str, *, must_be_issued: bool = False
    ) -> Refusal | None:
        """None when the account may use ``handle``, else a refusal.

        ``must_be_issued``: a handle without an owner is refused even with ``allows_unknown``.
        """
        digest = handle.digest
        owner = self._owner_by_digest.get(digest)
        if owner not in (None, account_id):
            return self._refuse(handle, account_id)
        is_own = owner is not None  # known here, perhaps not reported yet
        try:
            claims = is_own or (self._allows_unknown and not must_be_issued)
            is_allowed = await self._owners.use_handle(digest, account_id, claims=claims)
        except UnreachableError as exc:
            is_outdated = isinstance(exc, OutdatedError)
            if is_outdated:
                self._notice.outdated(str(exc))
            return None if is_own else unavailable(_OUTDATED if is_outdated else _AWAY)
        self._notice.answered()
        if not is_allowed:
            self._owner_by_digest.pop(digest, None)
            return self._refuse(handle, account_id)
        self._remember(digest, account_id)
        return None

    # --- helpers ----------------------------------------------------------------------------------

    def _refuse(self, handle: Handle, account_id: str) -> Refusal:
        """404; the message does not tell whether another account owns the handle or nobody does."""
        self._refused += 1
        log.info(
            "handle refused", account=account_id, provider=handle.provider, kind=str(handle.kind)
        )
        return not_found(f"found no {handle.kind} of this name that belongs to this account")

    def _remember(self, digest: bytes, account_id: str) -> None:
        self._owner_by_digest[digest] = account_id
        self._owner_by_digest.move_to_end(digest)
        if len(self._owner_by_digest) > HANDLES_KNOWN_MAX:
            self._owner_by_digest.popitem(last=False)

    async def _report_forever(self) -> None:
        while True:
            await self._has_work.wait()
            self._has_work.clear()
            pause_s = PAUSE_S
            try:
                await self._report()
            except UnreachableError as exc:
                pause_s = RETRY_S
                self._log_reporting(trouble=str(exc))
            else:
                self._log_reporting()
            if self._unreported:
                self._has_work.set()
            await asyncio.sleep(pause_s)

    async def _report(self) -> None:
        """Send one portion; it is removed once accountd has it."""
        portion = dict(_oldest(self._unreported))
        await self._owners.learn_handles(list(portion), list(portion.values()))
        for digest in portion:
            self._unreported.pop(digest, None)

    def _log_reporting(self, trouble: str = "") -> None:
        if self._is_reporting and trouble:
            log.warning("handles wait", handles=len(self._unreported), reason=trouble, hint=_HINT)
        self._is_reporting = not trouble


_AWAY: Final = "accountd cannot be reached; try again"
_OUTDATED: Final = "whose this is cannot be found out before accountd is upgraded"
_HINT_OUTDATED: Final = (
    "upgrade accountd: until then nobody but who was given one here can use a handle"
)
_HINT: Final = "they are known here alone until accountd hears of them; is it up, and as new?"


def _oldest(waiting: OrderedDict[bytes, str]) -> Iterator[tuple[bytes, str]]:
    """The oldest unreported handles, as many as fit into one message, at least one."""
    size = 0
    for digest, account_id in islice(waiting.items(), HANDLES_MAX):
        size += len(account_id.encode()) + _NAME_HEAD_BYTES
        yield digest, account_id
        if size > _REPORT_BYTES_MAX:
            return
