"""Opens stored conversations for new sessions, and hands in what changes of those that are live.

``door`` calls ``open`` before it opens a session, and ``begin`` with the session. From then on a
task looks once a second at what has changed, and sends it to accountd; what a session has said last
is sent at once when its client is gone. While accountd is away the last states wait, bounded.

Of two connections of one session the newer one goes on. In this gateway the older one is closed
before accountd is asked. On another one it hears of the newer one by an announcement, or when it is
refused to store; an announcement may be late, so it is asked whether it is true.
"""

import asyncio
import contextlib
import itertools
import secrets
from typing import Final

import structlog

from gateway import background_tasks
from gateway.accountd_client.authorizations import Denial
from gateway.conversations import messages
from gateway.conversations.backlog import Backlog, Key, State
from gateway.conversations.claim import Claim, StoredSession
from gateway.conversations.encoding import Texts, UnreadableError, decoded
from gateway.conversations.messages import Opened, Question
from gateway.conversations.openings import Accountd, Openings, call, unserved
from gateway.outdated_notice import OutdatedNotice
from gateway.translate.conversation import Conversation
from shared.announcements import decode_new_holder
from shared.errors import OutdatedError, UnreachableError
from shared.metrics import Metric
from shared.wire import HOLDER_BYTES

log = structlog.get_logger()

PERIOD_S: Final = 1.0
# Claims looked at in one turn of the event loop: encoding a configuration takes microseconds.
CLAIMS_PER_TURN: Final = 20
# How long a new session waits for accountd: a commit on a busy disk takes hundreds of milliseconds.
OPEN_S: Final = 2.0
# How long a new session waits for what an older connection on another gateway stores last, and the
# pause between asking for it. After that gateway was killed all of this is waited for nothing.
HANDOVER_S: Final = 0.3
HANDOVER_PAUSE_S: Final = 0.05
OUTDATED_RETRY_S: Final = 60.0
CLOSE_S: Final = 3.0
_HINT: Final = "is accountd up, and as new as this gateway?"
_HINT_OUTDATED: Final = "upgrade accountd: until then sessions go on without being stored"
_HINT_TOO_LARGE: Final = "its instructions and tools are, so nothing of it is stored"
# Errors that pass; any other one says that this request will never be served.
_PASSING: Final = ("unknown_method", "busy", "disk_full", "internal")


class ConversationStore:
    """The conversations of this gateway's sessions. ``start`` before use, ``close`` at the end."""

    def __init__(self, accountd: Accountd) -> None:
        self._accountd = accountd
        self._openings = Openings(accountd)
        self._loop = asyncio.get_running_loop()
        self._claims: dict[Key, Claim] = {}
        self._backlog = Backlog()
        self._numbers = itertools.count()
        self._has_work = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._trouble = ""
        self._notice = OutdatedNotice("conversations cannot be stored", hint=_HINT_OUTDATED)
        self._continued = self._unopened = self._unreadable = self._superseded = 0

    def start(self) -> None:
        """Start the task that hands in what changes."""
        self._tasks = [background_tasks.start(self._store_forever())]

    async def close(self) -> None:
        """Stop; hand in what is left, for ``CLOSE_S`` at most."""
        await background_tasks.stop(self._tasks)
        with contextlib.suppress(UnreachableError, TimeoutError):
            async with asyncio.timeout(CLOSE_S):
                while self._backlog:
                    await self._send()
        if self._backlog:
            log.warning("conversations not stored", sessions=len(self._backlog), hint=_HINT)

    def metrics(self) -> list[Metric]:
        """The numbers of this part, for ``/metrics``."""
        return [
            Metric(
                "rts_gateway_conversations", "gauge",
                "Sessions whose conversation is stored.", lambda: len(self._claims),
            ),
            Metric(
                "rts_gateway_conversations_continued", "counter",
                "Sessions that began with a stored conversation.", lambda: self._continued,
            ),
            Metric(
                "rts_gateway_conversations_unopened", "counter",
                "Sessions that go on without a stored conversation: accountd did not answer.",
                lambda: self._unopened,
            ),
            Metric(
                "rts_gateway_conversations_unreadable", "counter",
                "Stored conversations that were ignored: they are of another version, or damaged.",
                lambda: self._unreadable,
            ),
            Metric(
                "rts_gateway_conversations_superseded", "counter",
                "Sessions closed because another connection has the same name.",
                lambda: self._superseded,
            ),
            Metric(
                "rts_gateway_conversations_waiting", "gauge",
                "States of conversations that accountd has not taken yet.",
                lambda: len(self._backlog),
            ),
            Metric(
                "rts_gateway_conversations_dropped", "counter",
                "States of conversations that are lost: too many were waiting.",
                lambda: self._backlog.dropped,
            ),
        ]  # fmt: skip

    # --- sessions ---------------------------------------------------------------------------------

    async def open(self, account_id: str, session_id: str) -> Claim | None:
        """Continue, or begin, the conversation of a session; the older connection is closed. None
        where accountd does not say what is stored: this session is not stored then.
        """
        key, number = Key(account_id, session_id), next(self._numbers)
        if key in self._claims:
            self._supersede(self._claims[key])
        own = self._backlog.newest(key)  # what the older one said last, or one that has just ended
        holder = secrets.token_bytes(HOLDER_BYTES)
        try:
            async with asyncio.timeout(OPEN_S):
                opened = await self._openings.ask(Question(key, holder))
            assert opened is not None, "only what is asked again may be refused"
        except (UnreachableError, TimeoutError) as exc:
            if own is None or own.texts is None:
                self._not_opened(key, exc)
                return None
            # The older one was in this gateway, and what it said last still waits here.
            return Claim(
                key, own.holder, other=holder, number=number,
                conversation=self._read(key, own.texts),
            )  # fmt: skip
        self._notice.answered()
        texts = opened.texts
        if own is None or opened.former != own.holder:  # a third connection may have been elsewhere
            texts = (await self._wait_for_last_words(key, holder, opened)).texts
        elif own.texts is not None:
            texts = own.texts
        return Claim(key, holder, number=number, conversation=self._read(key, texts))

    def give_back(self, claim: Claim) -> None:
        """The client of ``claim`` left before its session was opened."""
        waiting = self._backlog.newest(claim.key)
        if waiting is None or waiting.holder != claim.holder:
            self._put(State(claim.key, claim.holder, None, is_last=True))

    def begin(self, claim: Claim, session: StoredSession) -> None:
        """``session`` has begun with ``claim``."""
        claim.session = session
        session.on_concluded = lambda: self.conclude(claim)
        if claim.conversation is not None:
            self._continued += 1
            log.info("conversation continued", session=claim.key.session_id,
                     account=claim.key.account_id, items=len(claim.conversation.items))  # fmt: skip
        claim.conversation = None
        other = self._claims.get(claim.key)
        if other is not None and other.number > claim.number:
            self._supersede(claim)
            return
        if other is not None:
            self._supersede(other)
        self._claims[claim.key] = claim

    def conclude(self, claim: Claim) -> None:
        """The client of a claim's session is gone: what was said last is handed in."""
        session = claim.session
        if session is None:
            return
        last = claim.news(is_last=True)
        if claim.is_too_large:
            log.warning("conversation too large", session=claim.key.session_id,
                        account=claim.key.account_id, hint=_HINT_TOO_LARGE)  # fmt: skip
        claim.session, session.on_concluded = None, _nothing
        if self._claims.get(claim.key) is claim:
            del self._claims[claim.key]
        self._put(last)

    def holder_announced(self, frames: list[bytes]) -> None:
        """Somewhere a connection took over. Raises ``WireError`` when that cannot be read."""
        change = decode_new_holder(frames)
        claim = self._claims.get(Key(change.account_id, change.session_id))
        if claim is not None and claim.holder != change.holder:
            claim.is_doubted = True
            self._put(claim.news())

    # --- helpers ----------------------------------------------------------------------------------

    def _put(self, state: State | None) -> None:
        """Have ``state`` sent now."""
        if state is not None:
            self._backlog.put(state)
            self._has_work.set()

    def _supersede(self, claim: Claim) -> None:
        session = claim.session
        if session is not None:
            self._superseded += 1
            session.supersede()
            self.conclude(claim)

    def _read(self, key: Key, texts: Texts) -> Conversation | None:
        if not any(texts):
            return None
        try:
            return decoded(texts)
        except UnreadableError as exc:
            self._unreadable += 1
            log.warning(
                "stored conversation ignored",
                session=key.session_id, account=key.account_id, reason=str(exc),
            )  # fmt: skip
            return None

    def _not_opened(self, key: Key, exc: Exception) -> None:
        self._unopened += 1
        if isinstance(exc, OutdatedError):
            self._notice.outdated(str(exc))
        else:
            log.warning(
                "conversation not opened", session=key.session_id, account=key.account_id,
                reason=str(exc) or "no answer in time", hint=_HINT,
            )  # fmt: skip

    async def _wait_for_last_words(self, key: Key, holder: bytes, opened: Opened) -> Opened:
        """Give an older connection on another gateway a moment to store what was said last."""
        deadline = self._loop.time() + HANDOVER_S
        while opened.is_live and self._loop.time() < deadline:
            await asyncio.sleep(HANDOVER_PAUSE_S)
            with contextlib.suppress(UnreachableError):
                found = await self._openings.ask(Question(key, holder, again=True))
                opened = opened if found is None else found
        return opened

    async def _store_forever(self) -> None:
        while True:
            until = self._loop.time() + PERIOD_S
            pause_s = 0.0
            try:
                if self._trouble:
                    await self._probe()
                await self._store_last_words(until)
                await self._store_changes()
            except OutdatedError as exc:
                self._log_trouble(str(exc))
                pause_s = OUTDATED_RETRY_S
            except UnreachableError as exc:
                self._log_trouble(str(exc))
                pause_s = PERIOD_S
            else:
                self._log_trouble("")
            await asyncio.sleep(pause_s)

    async def _store_last_words(self, until: float) -> None:
        """Send what sessions that end have said last, as they end."""
        with contextlib.suppress(TimeoutError):
            while self._loop.time() < until:
                async with asyncio.timeout_at(until):
                    await self._has_work.wait()
                self._has_work.clear()
                while self._backlog:
                    await self._send()

    async def _store_changes(self) -> None:
        for number, claim in enumerate(list(self._claims.values())):
            news = claim.news()
            if news is not None:
                self._backlog.put(news)
            if self._backlog.fills_a_message:
                await self._send()
            elif number % CLAIMS_PER_TURN == 0:
                await asyncio.sleep(0)
        while self._backlog:
            await self._send()

    async def _probe(self) -> None:
        """Store nothing: an accountd of an earlier release takes no message as long as those may be
        that wait, and would cut the connection, on which clients are let in, too.
        """
        await call(self._accountd, messages.STORE, messages.store_params(()))

    async def _send(self) -> None:
        """Send one message's worth, and act on the answer."""
        states = self._backlog.portion()
        answer = await self._accountd.report(messages.STORE, messages.store_params(states))
        refused: list[State] = []
        if not isinstance(answer, Denial):
            refused = messages.read_refused(answer, states)
        elif answer.code in _PASSING:
            raise unserved(messages.STORE, answer)
        else:  # sent again it would be refused again; the message may quote what was said
            log.error("conversations refused", sessions=len(states), code=answer.code)
        self._backlog.settle(states)
        for state in states:
            claim = self._claims.get(state.key)
            if claim is None or claim.holder != state.holder:
                continue
            if state not in refused:
                claim.acknowledge(state)
            elif claim.refuse():
                self._supersede(claim)

    def _log_trouble(self, trouble: str) -> None:
        if trouble and not self._trouble:
            log.warning("conversations wait", sessions=len(self._backlog), reason=trouble,
                        hint=_HINT)  # fmt: skip
        self._trouble = trouble


def _nothing() -> None:
    """Nobody waits for the session's end any more."""
