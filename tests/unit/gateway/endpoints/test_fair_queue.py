"""Turns: how many are asked at once, who comes next, and who is told to come back."""

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
    """Answers when it is told to, one question after the other."""

    def __init__(self) -> None:
        self.queue = FairQueue(at_once=TURNS, each=TURNS_EACH)
        self.asked: list[str] = []  # the holders of the questions that are or were under way
        self.answered = 0
        self._may_answer = asyncio.Semaphore(0)

    def under_way(self) -> Counter[str]:
        """How many questions of which holder wait for an answer."""
        return Counter(self.asked[self.answered :])

    async def ask(self, holder: str) -> str | Refusal:
        """A question of ``holder``."""

        async def question() -> str:
            self.asked.append(holder)
            await self._may_answer.acquire()
            self.answered += 1
            return holder

        return await self.queue.run(holder, question)

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


async def test_who_asks_once_does_not_wait_for_who_asks_a_lot() -> None:
    """Before it come only those few of the others that may stand in the common line."""
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


async def test_too_many_are_told_to_come_back() -> None:
    """429 who has asked too much alone, 503 when all together have; nobody is forgotten for it."""
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


async def test_a_question_that_fails_gives_its_turn_back() -> None:
    """Whatever it fails with."""
    queue = FairQueue(at_once=TURNS, each=TURNS_EACH)

    async def fail() -> None:
        raise OSError

    for _ in range(2 * TURNS):
        with pytest.raises(OSError):  # noqa: PT011 - it is the one above
            await queue.run("holder", fail)
    assert not queue._queue_by_holder
