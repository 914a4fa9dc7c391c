"""The fair queue: how many requests run at once, which is next, and which are refused."""

import asyncio
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.endpoints.fair_queue import FairQueue
from gateway.http.refusals import Refusal
from gateway.limits import ASKING_EACH_MAX, ASKING_MAX

TURNS, TURNS_EACH = 16, 4


class Accountd:
    """Answers when a test has it do so, one request after the other."""

    def __init__(self) -> None:
        self.queue = FairQueue(at_once=TURNS, each=TURNS_EACH)
        self.asked: list[str] = []  # the holders of the questions that are or were under way
        self.answered = 0
        self._may_answer = asyncio.Semaphore(0)

    def under_way(self) -> Counter[str]:
        """How many requests of each holder are in progress."""
        return Counter(self.asked[self.answered :])

    async def ask(self, holder: str) -> str | Refusal:
        """A request of ``holder``."""

        async def request() -> str:
            self.asked.append(holder)
            await self._may_answer.acquire()
            self.answered += 1
            return holder

        return await self.queue.run(holder, request)

    async def answer(self) -> None:
        """Answer the oldest question, and let what waits for that go on."""
        self._may_answer.release()
        await settled()


async def settled() -> None:
    """Let every task go as far as it can."""
    for _ in range(10):
        await asyncio.sleep(0)


@given(st.lists(st.sampled_from("abcdefg"), max_size=80))
def test_everybody_is_answered_and_nobody_asks_too_much_at_once(holders: list[str]) -> None:
    """In whatever order they come."""

    async def scenario() -> None:
        accountd = Accountd()
        tasks = [asyncio.create_task(accountd.ask(holder)) for holder in holders]
        await settled()
        for _ in holders:
            under_way = accountd.under_way()
            assert under_way.total() <= TURNS
            assert max(under_way.values(), default=0) <= TURNS_EACH
            await accountd.answer()
        assert await asyncio.gather(*tasks) == holders
        assert not accountd.queue._queue_by_holder

    asyncio.run(scenario())


async def test_one_request_does_not_wait_behind_all_of_a_busy_key() -> None:
    """In front of it are at most ``TURNS_EACH`` requests of each other key."""
    accountd = Accountd()
    greedy = [f"greedy-{n}" for n in range(10)]
    tasks = [asyncio.create_task(accountd.ask(holder)) for holder in greedy for _ in range(60)]
    await settled()
    modest = asyncio.create_task(accountd.ask("modest"))
    await settled()
    while "modest" not in accountd.asked:
        await accountd.answer()
    assert accountd.answered <= TURNS_EACH * len(greedy)
    for task in (*tasks, modest):
        task.cancel()
    await asyncio.gather(*tasks, modest, return_exceptions=True)
    assert not accountd.queue._queue_by_holder


async def test_too_many_requests_are_refused() -> None:
    """429 for a key with too many requests, 503 when there are too many of all; the rest wait."""
    accountd = Accountd()
    for number in range(ASKING_MAX // ASKING_EACH_MAX):
        for _ in range(ASKING_EACH_MAX):
            asyncio.ensure_future(accountd.ask(f"holder-{number}"))  # noqa: RUF006
        await settled()
        refused = await accountd.ask(f"holder-{number}")
        assert isinstance(refused, Refusal)
        assert refused.status == (429 if number + 1 < ASKING_MAX // ASKING_EACH_MAX else 503)
    refused = await accountd.ask("somebody else")
    assert isinstance(refused, Refusal)
    assert (refused.status, refused.code) == (503, "service_unavailable")
    assert "somebody else" not in accountd.queue._queue_by_holder
    await accountd.answer()
    later = asyncio.create_task(accountd.ask("somebody else"))
    await settled()
    assert not later.done()
    for task in asyncio.all_tasks() - {asyncio.current_task()}:
        task.cancel()


async def test_a_request_that_fails_frees_its_slot() -> None:
    """Whatever it fails with."""
    queue = FairQueue(at_once=TURNS, each=TURNS_EACH)

    async def fail() -> None:
        raise OSError

    for _ in range(2 * TURNS):
        with pytest.raises(OSError):  # noqa: PT011 - it is the one above
            await queue.run("holder", fail)
    assert not queue._queue_by_holder
