"""The fsync rule in the real shell: files, a thread and an event loop; fsync waits when told to."""

import asyncio
import os
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from gateway.delivery import spool_files
from gateway.delivery.journal import Journal
from gateway.delivery.outbox import Outbox
from gateway.delivery.producer import Producer
from gateway.delivery.retention import Retention
from gateway.delivery.spool_manager import TRANSITIONS, SpoolManager, SpoolState
from shared.announcements import Watermark
from shared.usage import Usage, UsageBatch
from shared.wire import encode_usage
from tests.support.peers import until

DEADLINE_S = 10.0
ORPHAN = b"o" * 16


class HeldFsync:
    """In place of ``os.fsync``: it records the paths, and blocks while ``is_open`` is not set."""

    def __init__(self) -> None:
        self.is_open = threading.Event()
        self.is_open.set()
        self.entered = threading.Event()
        self.begun: list[Path] = []
        self.done: list[Path] = []
        self._fsync = os.fsync

    def __call__(self, file: int) -> None:
        """Sync a file, once that is allowed."""
        path = Path(os.readlink(f"/proc/self/fd/{file}"))
        self.begun.append(path)
        self.entered.set()
        assert self.is_open.wait(DEADLINE_S)
        self._fsync(file)
        self.done.append(path)


class Followed:
    """A ``Follower`` that records the producers."""

    def __init__(self, on_follow: Callable[[Producer], None] = lambda _producer: None) -> None:
        self.producers: list[Producer] = []
        self._on_follow = on_follow

    def follow(self, producer: Producer) -> None:
        """See ``Follower``."""
        self.producers.append(producer)
        self._on_follow(producer)

    def unfollow(self, producer: Producer) -> None:
        """See ``Follower``."""
        self.producers.remove(producer)


@pytest.fixture
def fsync(monkeypatch: pytest.MonkeyPatch) -> Iterator[HeldFsync]:
    """The real fsync, under control. A thread that waits for it never outlives the test."""
    held = HeldFsync()
    monkeypatch.setattr(os, "fsync", held)
    yield held
    held.is_open.set()


@asynccontextmanager
async def running(
    root: Path, fsync: HeldFsync, followed: Followed | None = None
) -> AsyncIterator[tuple[SpoolManager, list[list[int]]]]:
    """A running manager, and what it could send at each release."""
    manager = SpoolManager(root, Retention())
    sent: list[list[int]] = []
    manager.start(followed or Followed(), released=lambda: sent.append(sendable(manager.own)))
    try:
        yield manager, sent
    finally:
        fsync.is_open.set()
        await manager.close()


def response(name: str) -> bytes:
    """One metered response."""
    usage = Usage(1, 1, 2)
    return encode_usage(UsageBatch("a", "s", "openai", "m", "response", 1, (name,), usage, 0))


def sendable(producer: Producer) -> list[int]:
    """The sequences that may be sent now; they count as sent."""
    sequences = []
    while (frames := producer.outbox.next_frames(0.0)) is not None:
        producer.outbox.sent(0.0)
        sequences.append(int.from_bytes(frames[1], "big"))
    return sequences


def meter(manager: SpoolManager, name: str) -> None:
    """Note a response and seal it."""
    manager.seal(response(name), (manager.note(response(name)),))


def test_every_state_says_what_may_follow() -> None:
    """A lost journal stays lost, and no state follows itself."""
    assert set(TRANSITIONS) == set(SpoolState)
    assert TRANSITIONS[SpoolState.LOST] == frozenset()
    for state in SpoolState:
        assert state not in TRANSITIONS[state]


async def test_a_message_is_not_sent_before_fsync_has_returned(
    tmp_path: Path, fsync: HeldFsync
) -> None:
    """However long the disk takes: else a power failure could give it another sequence."""
    async with running(tmp_path / "spool", fsync) as (manager, sent):
        fsync.is_open.clear()
        fsync.entered.clear()
        meter(manager, "one")
        assert sendable(manager.own) == []
        await until(fsync.entered.is_set)
        for _ in range(20):
            manager.tick()
            await asyncio.sleep(0.001)
            assert sendable(manager.own) == []
        assert not sent
        fsync.is_open.set()
        await until(lambda: [1] in sent)


async def test_an_fsync_releases_only_what_was_written_before_it_began(
    tmp_path: Path, fsync: HeldFsync
) -> None:
    """A message sealed while an fsync runs waits for the next one."""
    async with running(tmp_path / "spool", fsync) as (manager, sent):
        fsync.is_open.clear()
        fsync.entered.clear()
        meter(manager, "one")
        await until(fsync.entered.is_set)
        meter(manager, "two")
        fsync.is_open.set()
        await until(lambda: [2] in sent)
        assert [sequences for sequences in sent if sequences] == [[1], [2]]
        own = tmp_path / "spool" / manager.own.outbox.producer.hex()
        assert fsync.done.count(own / "00000001") >= 2


async def test_the_disk_is_asked_for_the_segment_and_its_folder(
    tmp_path: Path, fsync: HeldFsync
) -> None:
    """A synced file in a folder that is not synced may be gone after a power failure."""
    async with running(tmp_path / "spool", fsync) as (manager, sent):
        fsync.done.clear()
        meter(manager, "one")
        await until(lambda: [1] in sent)
        own = tmp_path / "spool" / manager.own.outbox.producer.hex()
        assert {own, own / "00000001"} <= set(fsync.done)


def leave_orphan(root: Path) -> None:
    """The journal of a killed gateway: a message, and a response after it."""
    spool_files.prepare(root)
    store = spool_files.create(root, ORPHAN)
    journal = Journal(store, ORPHAN, now=time.time())
    producer = Producer(Outbox(ORPHAN, chance=lambda: 0.5, load=journal.payload), journal)
    number = producer.note(response("one"), now=time.time())
    producer.seal(response("one"), (number,), now=time.time())
    producer.note(response("two"), now=time.time())
    store.close()


async def test_an_adopted_journal_is_on_the_disk_before_anything_of_it_is_sent(
    tmp_path: Path, fsync: HeldFsync
) -> None:
    """The killed gateway may have written it without an fsync."""
    root = tmp_path / "spool"
    leave_orphan(root)
    fsync.done.clear()
    on_disk: list[set[Path]] = []
    followed = Followed(on_follow=lambda _producer: on_disk.append(set(fsync.done)))
    async with running(root, fsync, followed):
        await until(lambda: followed.producers)
        (adopted,) = followed.producers
        assert adopted.outbox.producer == ORPHAN
        folder = root / ORPHAN.hex()
        assert {folder, folder / "00000001"} <= on_disk[0]


async def test_an_adopted_journal_waits_for_a_slow_disk(tmp_path: Path, fsync: HeldFsync) -> None:
    """Its watermark is not asked for, and nothing of it is sent, until fsync has returned."""
    root = tmp_path / "spool"
    leave_orphan(root)
    followed = Followed()
    async with running(root, fsync, followed) as (manager, _):
        fsync.is_open.clear()
        segment = root / ORPHAN.hex() / "00000001"
        await until(lambda: segment in fsync.begun)
        for _ in range(20):
            manager.tick()
            await asyncio.sleep(0.001)
            assert not followed.producers
        fsync.is_open.set()
        await until(lambda: followed.producers)
        (adopted,) = followed.producers
        adopted.acknowledge(Watermark(ORPHAN, 1, 0), monotonic=0.0, now=time.time())
        assert sendable(adopted) == [1]
        manager.tick()  # what it sealed now is synced in its turn
        await until(lambda: 3 in sendable(adopted))
