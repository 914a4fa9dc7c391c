"""The states of a listening socket, and what it says about failures of the system."""

import asyncio
import errno
import socket

import pytest
from structlog.testing import capture_logs

from gateway.connections import listener as under_test
from gateway.connections.listener import TRANSITIONS, Listener, ListenerState
from tests.support.peers import until


def test_the_transition_table_is_complete() -> None:
    """Every state has an entry, every state can end, and the end is final."""
    assert set(TRANSITIONS) == set(ListenerState)
    assert TRANSITIONS[ListenerState.CLOSED] == set()
    assert all(
        ListenerState.CLOSED in TRANSITIONS[state]
        for state in ListenerState
        if state is not ListenerState.CLOSED
    )


def test_a_failure_is_over_when_a_client_is_accepted() -> None:
    """A retry comes first, which may fail as well."""
    assert TRANSITIONS[ListenerState.FAILED] == {ListenerState.RETRYING, ListenerState.CLOSED}
    assert ListenerState.WAITING not in TRANSITIONS[ListenerState.RETRYING]


class Failing(socket.socket):
    """A listening socket that fails as often as it is told to."""

    failures = 0

    def accept(self) -> tuple[socket.socket, object]:
        """Fail, or accept."""
        if self.failures:
            self.failures -= 1
            raise OSError(errno.ENFILE, "too many open files in the system")
        return super().accept()


class Clients:
    """The protocols of clients that were accepted."""

    made = 0

    def make(self, host: str) -> asyncio.Protocol:
        """That of one more."""
        self.made += 1
        return asyncio.Protocol()

    async def come(self, listening: socket.socket) -> None:
        """Connect one client, and wait until it is accepted."""
        before = self.made
        with socket.create_connection(listening.getsockname()):
            await until(lambda: self.made > before)


async def test_failures_in_succession_are_logged_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The listener tries again by itself, and says so anew after a client was accepted."""
    monkeypatch.setattr(under_test, "RETRY_S", 0.01)
    clients = Clients()
    with Failing() as listening, capture_logs() as logged:
        listening.bind(("127.0.0.1", 0))
        listener = Listener(listening, clients.make, has_capacity=lambda: True)
        listener.start()
        for _ in range(2):
            listening.failures = 3
            await clients.come(listening)
        listener.close()
        listener.close()
        listener.wake()
    assert [line["event"] for line in logged] == ["clients cannot be accepted"] * 2


async def test_clients_wait_while_there_is_no_capacity() -> None:
    """They are accepted when the listener is woken and there is some again."""
    clients, capacity = Clients(), 1
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listener = Listener(listening, clients.make, has_capacity=lambda: clients.made < capacity)
        listener.start()
        await clients.come(listening)
        with socket.create_connection(listening.getsockname()):
            listener.wake()
            await asyncio.sleep(0.05)
            assert clients.made == 1
            capacity = 2
            listener.wake()
            await until(lambda: clients.made == 2)
        listener.close()
