"""Asks accountd what is stored of sessions that begin, several with one request.

Each request is a commit there. Clients of a gateway that was killed come back all at once: while
one request is under way the next sessions gather, so a storm of them takes few commits and no
timer. Called by ``store``.
"""

import asyncio
from collections.abc import Mapping
from typing import Any, Protocol

from gateway.accountd_client.authorizations import Denial
from gateway.conversations import messages
from gateway.conversations.messages import Opened, Question
from shared.errors import OutdatedError, UnreachableError
from shared.wire import CONVERSATIONS_OPENED_MAX

_UNKNOWN_METHOD = "unknown_method"


class Accountd(Protocol):
    """Answers requests."""

    async def report(self, method: str, params: Mapping[str, Any]) -> Mapping[str, Any] | Denial:
        """Raises ``UnreachableError``."""


class Openings:
    """Questions that wait for an answer."""

    def __init__(self, accountd: Accountd) -> None:
        self._accountd = accountd
        self._loop = asyncio.get_running_loop()
        self._waiting: list[tuple[Question, asyncio.Future[Opened | None]]] = []
        self._task: asyncio.Task[None] | None = None

    async def ask(self, question: Question) -> Opened | None:
        """What is stored; None where ``question`` is asked again, and another connection is newer.
        Raises ``UnreachableError``.
        """
        answered: asyncio.Future[Opened | None] = self._loop.create_future()
        self._waiting.append((question, answered))
        if self._task is None or self._task.done():
            self._task = self._loop.create_task(self._ask_all())
        return await answered

    async def _ask_all(self) -> None:
        while self._waiting:
            asked = self._waiting[:CONVERSATIONS_OPENED_MAX]
            del self._waiting[: len(asked)]
            asked = [(question, answered) for question, answered in asked if not answered.done()]
            try:
                found = await self._ask([question for question, _ in asked]) if asked else []
            except UnreachableError as exc:
                for _, answered in asked:
                    _fail(answered, exc)
                continue
            except BaseException:
                for _, answered in asked:
                    answered.cancel()
                raise
            for (_, answered), opened in zip(asked, found, strict=True):
                if not answered.done():  # whoever asked may have given up
                    answered.set_result(opened)

    async def _ask(self, questions: list[Question]) -> list[Opened | None]:
        params = messages.open_params(questions)
        answer = await call(self._accountd, messages.OPEN, params)
        return messages.read_opened(answer, len(questions))


async def call(accountd: Accountd, method: str, params: Mapping[str, Any]) -> Mapping[str, Any]:
    """The answer to a request. Raises ``UnreachableError`` where accountd does not serve it."""
    answer = await accountd.report(method, params)
    if isinstance(answer, Denial):
        raise unserved(method, answer)
    return answer


def unserved(method: str, answer: Denial) -> UnreachableError:
    """Why accountd does not serve a request."""
    kind = OutdatedError if answer.code == _UNKNOWN_METHOD else UnreachableError
    return kind(f"accountd cannot answer {method}: {answer.message}")


def _fail(answered: "asyncio.Future[Opened | None]", exc: UnreachableError) -> None:
    if not answered.done():
        answered.set_exception(type(exc)(str(exc)))
