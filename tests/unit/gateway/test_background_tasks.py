"""Background tasks end when they are stopped."""

import asyncio

from gateway import background_tasks


async def test_a_task_that_waits_ends_also_where_its_news_come_at_once() -> None:
    """In the same turn of the loop in which it is stopped."""
    news = asyncio.Event()

    async def work() -> None:
        while True:
            await background_tasks.wait(news, 60.0)
            news.clear()

    task = background_tasks.start(work())
    await asyncio.sleep(0)
    news.set()
    async with asyncio.timeout(5):
        await background_tasks.stop([task])
    assert task.cancelled()


async def test_a_wait_ends_when_its_time_is_over() -> None:
    """Nothing is raised."""
    await background_tasks.wait(asyncio.Event(), 0.001)
