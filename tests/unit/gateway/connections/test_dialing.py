"""Which of a name's addresses is taken, and what it costs when some go nowhere."""

import asyncio
import contextlib
import gc
import socket
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import uvloop

from gateway.connections import dialing
from gateway.connections.dialing import connect, in_turn, race

V4, V6 = socket.AF_INET, socket.AF_INET6
LOOPS = [asyncio.new_event_loop, uvloop.new_event_loop]


def info(family: int, address: Any) -> tuple[Any, Any, Any, Any, Any]:
    """As getaddrinfo has it."""
    return (family, socket.SOCK_STREAM, 0, "", address)


@pytest.fixture
def black_hole() -> Iterator[Any]:
    """An address that does not answer: its queue is full, and nobody accepts."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(4):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
        yield listener.getsockname()


@pytest.fixture
def answering() -> Iterator[Any]:
    """An address that answers."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()


@pytest.fixture
def closed() -> Any:
    """An address that refuses."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()


@pytest.mark.parametrize("loop", LOOPS)
def test_an_address_that_goes_nowhere_does_not_hold_up_the_next(
    loop: Callable[[], Any], black_hole: Any, answering: Any
) -> None:
    """Far within the ten seconds that a dial may take."""

    async def scenario() -> None:
        async with asyncio.timeout(5):
            connection = await race([info(V4, black_hole), info(V4, answering)])
        with connection:
            assert connection.getpeername() == answering

    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(scenario())


@pytest.mark.parametrize("loop", LOOPS)
def test_a_refusal_starts_the_next_address_at_once_and_the_first_one_is_raised(
    loop: Callable[[], Any], closed: Any, answering: Any
) -> None:
    """Where none answers, what the first one said is the reason."""

    async def scenario() -> None:
        with await race([info(V4, closed), info(V4, answering)]) as connection:
            assert connection.getpeername() == answering
        with pytest.raises(ConnectionRefusedError):
            await race([info(V4, closed), info(V4, closed)])
        with pytest.raises(OSError, match="no address"):
            await race([])
        for host in (answering[0], "localhost"):  # an address, and a name that may have several
            transport = await connect(asyncio.Protocol, host, answering[1])
            ours = transport.get_extra_info("socket")
            assert ours.getpeername() == answering
            assert ours.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
            transport.abort()

    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(scenario())


@pytest.mark.parametrize("loop", LOOPS)
def test_a_cancel_at_any_moment_leaves_no_socket_open(
    monkeypatch: pytest.MonkeyPatch, loop: Callable[[], Any], black_hole: Any, answering: Any
) -> None:
    """Of one that is given up when it has just won, nobody would close the socket."""
    monkeypatch.setattr(dialing, "STAGGER_S", 0.0)

    async def given_up_after(steps: int) -> bool:
        """Whether it had an answer before that."""
        dialled = asyncio.create_task(race([info(V4, black_hole), info(V4, answering)]))
        for _ in range(steps):
            await asyncio.sleep(0)
        dialled.cancel()
        try:
            (await dialled).close()
        except asyncio.CancelledError:
            return False
        return True

    async def scenario() -> None:
        steps = 0
        async with asyncio.timeout(20):
            while not await given_up_after(steps):
                steps += 1
        assert steps > 3

    with warnings.catch_warnings(record=True) as left, asyncio.Runner(loop_factory=loop) as runner:
        warnings.simplefilter("always", ResourceWarning)
        runner.run(scenario())
        gc.collect()
        assert [str(warning.message) for warning in left] == []


def test_the_families_take_turns() -> None:
    """Beginning with the one that the resolver prefers."""
    a, b, c, d = info(V6, "a"), info(V6, "b"), info(V6, "c"), info(V4, "d")
    assert in_turn([a, b, c, d]) == [a, d, b, c]
    assert in_turn([d, a]) == [d, a]
    assert in_turn([a]) == [a]
