"""The primary's end, with another end that is slow, silent or gone."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from accountd.data import database
from accountd.data.standby.source import WalSource
from accountd.maintenance.following import shipping
from accountd.maintenance.following.channel import Channel, ClosedError
from accountd.maintenance.following.shipping import Shipper
from shared.errors import NotNowError, OperatorError
from tests.support.database import KEY

PAGES = 400


@pytest.fixture
def primary(tmp_path: Path) -> Iterator[Any]:
    """A database with a log of a megabyte or two, and a connection that writes to it."""
    with database.open_for_migrating(tmp_path / "a.db", KEY) as opened:
        connection = opened.database.connection()
        connection.execute("CREATE TABLE t (x)")
        yield connection


def write(connection: Any) -> None:
    """Some pages of the log."""
    for number in range(PAGES // 20):
        with database.transaction(connection):
            connection.execute("INSERT INTO t VALUES (?)", (f"{number}" * 1_000,))
            connection.execute("INSERT INTO t VALUES (zeroblob(76000))")


class Other:
    """The standby's end of two pipes."""

    def __init__(self) -> None:
        to_standby, to_primary = os.pipe(), os.pipe()
        self.ends = (to_primary[0], to_standby[1])
        self.channel = Channel(to_standby[0], to_primary[1])
        self._descriptors = (to_standby[0], to_primary[1])

    def leave(self) -> None:
        """Close both."""
        for descriptor in self._descriptors:
            os.close(descriptor)


@contextmanager
def shipping_to(path: Path, other: Other) -> Iterator[list[BaseException]]:
    """A shipper on a thread; what ended it."""
    ended: list[BaseException] = []

    def ship() -> None:
        try:
            Shipper(WalSource(path, KEY), Channel(*other.ends)).run()
        except (OperatorError, ClosedError) as exc:
            ended.append(exc)

    thread = threading.Thread(target=ship)
    thread.start()
    yield ended
    thread.join(20)
    assert not thread.is_alive()


def hear(other: Other, name: str) -> Any:
    """The next message of this name, without an answer to any."""
    while True:
        for message in other.channel.pump(5):
            if message[0] == name:
                return message


def test_a_standby_that_does_not_confirm_is_left(
    primary: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would hold up the log for ever: nothing of it may be overwritten before it was sent."""
    monkeypatch.setattr(shipping, "UNCONFIRMED_BYTES_MAX", 1_000_000)
    other = Other()
    with shipping_to(tmp_path / "a.db", other) as ended:
        other.channel.send("position", False, None, 32, (0, 0), None)
        hear(other, "copy")
        other.channel.send("hashed")
        other.channel.flush()
        hear(other, "copied")
        write(primary)
        while not ended:
            try:
                other.channel.pump(0.1)
            except ClosedError:
                break
    assert isinstance(ended[0], NotNowError)
    assert "too slow" in str(ended[0])


def test_a_standby_that_is_silent_is_left(
    primary: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A host that is gone without a word, or a process that was stopped."""
    monkeypatch.setattr(shipping, "SILENCE_S", 0.2)
    with shipping_to(tmp_path / "a.db", Other()) as ended:
        pass
    assert "has said nothing" in str(ended[0])


def test_a_standby_that_leaves_ends_the_shipper(primary: Any, tmp_path: Path) -> None:
    """Its hold goes with its process."""
    other = Other()
    with shipping_to(tmp_path / "a.db", other) as ended:
        hear(other, "hello")
        other.leave()
    assert isinstance(ended[0], ClosedError)
