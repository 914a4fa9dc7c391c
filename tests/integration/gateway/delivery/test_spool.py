"""The spool of a gateway that was killed: the next one, or a neighbour, charges what is in it."""

import asyncio
import contextlib
import os
import re
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from gateway.delivery.journal_format import HEADER_BYTES
from tests.support.conversation import charged_ids, conversation
from tests.support.deadlines import within
from tests.support.harness import Cluster, Daemon, cluster_folder, eventually, running_cluster
from tests.support.http_client import readiness
from tests.support.tuned import PRUNE_S, SMALL_SEGMENTS

ADOPTED_S = 10.0  # a neighbour looks every 5 s


@pytest.fixture
def fresh() -> Iterator[Cluster]:
    """A cluster of its own, because the test kills its parts."""
    with running_cluster() as running:
        yield running


def kill(daemon: Daemon | None) -> None:
    """SIGKILL: it writes nothing more."""
    assert daemon is not None
    daemon.stop(signal.SIGKILL)


async def metered(cluster: Cluster, account: str, count: int) -> list[str]:
    """Responses that a client of the first gateway has received when that gateway is killed."""
    key = cluster.create_account(account)
    async with conversation(cluster.url, key) as client:
        received = await client.respond_times(count)
        kill(cluster.gateways.pop(0))
    return sorted(received)


def charge(cluster: Cluster, account: str, received: list[str]) -> None:
    """Wait until exactly these responses are charged, and every producer has ended."""
    eventually(lambda: charged_ids(cluster, account) == received)
    audit = eventually(lambda: (a := cluster.audit())["producers"]["open"] == 0 and a)
    assert audit["ok"]


async def test_the_next_gateway_charges_what_a_killed_one_had_metered(fresh: Cluster) -> None:
    """Three responses, fewer than a batch: only the spool knows them."""
    received = await metered(fresh, "acct", 3)
    assert charged_ids(fresh, "acct") == []
    fresh.start_gateway()
    charge(fresh, "acct", received)


async def test_batches_and_single_responses_survive_together(fresh: Cluster) -> None:
    """Two batches that were sent and two responses that were not: nothing twice, nothing lost."""
    received = await metered(fresh, "acct", 12)
    fresh.start_gateway()
    charge(fresh, "acct", received)
    assert [row["responses"] for row in fresh.usage_rows("acct")] == [2, 5, 5]


async def test_usage_survives_when_both_daemons_were_away(fresh: Cluster) -> None:
    """accountd is killed, then the gateway, which metered on: the next one sends its batches."""
    assert fresh.accountd is not None
    key = fresh.create_account("acct")
    async with conversation(fresh.url, key) as client:
        received = await client.respond_times(1)
        kill(fresh.accountd)
        received += await client.respond_times(12)
        kill(fresh.gateways.pop(0))
    await asyncio.to_thread(fresh.start_accountd)
    fresh.start_gateway()
    charge(fresh, "acct", sorted(received))


async def test_a_neighbour_adopts_without_a_restart(fresh: Cluster) -> None:
    """A running gateway adopts the journal of a killed one within seconds."""
    fresh.start_gateway()
    received = await metered(fresh, "acct", 3)
    (neighbour,) = fresh.gateways
    with within(ADOPTED_S, neighbour):
        eventually(lambda: "spool adopted" in neighbour.log.read_text())
    charge(fresh, "acct", received)


# --- what is kept of what is durable --------------------------------------------------------------


def own_segments(cluster: Cluster, gateway: Daemon) -> list[Path]:
    """The files of a running gateway's journal."""
    (name,) = re.findall(r"producer started.*producer=(\w+)", gateway.log.read_text())
    found = (cluster.folder / "spool" / name).iterdir()
    return sorted(path for path in found if path.name.isdigit())


def size_of(paths: list[Path]) -> int:
    """The bytes in those that are still there."""
    size = 0
    for path in paths:
        with contextlib.suppress(FileNotFoundError):
            size += path.stat().st_size
    return size


# Bounds, and the most bytes that are left of two dozen durable messages in segments of 2 kB.
RETENTION = [
    ("0", "1000000", 2_000),  # only the segment that is open
    ("86400", "5000", 5_000 + 2_000),
    ("86400", "0", 2_000),
]


@pytest.mark.parametrize(("seconds", "size", "left"), RETENTION)
async def test_a_living_journal_stays_within_its_retention(
    fresh: Cluster, seconds: str, size: str, left: int
) -> None:
    """Its segments go once they are durable and older, or larger, than what is kept."""
    gateway = fresh.start_gateway(
        tuned=SMALL_SEGMENTS, GATEWAY_SPOOL_RETENTION_S=seconds, GATEWAY_SPOOL_RETENTION_BYTES=size
    )
    key = fresh.create_account("acct")
    async with conversation(f"ws://{gateway.field('listen')}/v1/realtime", key) as client:
        received = sorted(await client.respond_times(120))
        eventually(lambda: charged_ids(fresh, "acct") == received)
        eventually(lambda: size_of(own_segments(fresh, gateway)) <= left)
        assert own_segments(fresh, gateway)[0].name != "00000001"
    assert await asyncio.to_thread(gateway.stop) == 0
    charge(fresh, "acct", received)


async def test_what_is_durable_is_kept_for_a_day(fresh: Cluster) -> None:
    """The control: with the default retention nothing of it is removed."""
    gateway = fresh.start_gateway(tuned=SMALL_SEGMENTS)
    key = fresh.create_account("acct")
    async with conversation(f"ws://{gateway.field('listen')}/v1/realtime", key) as client:
        received = sorted(await client.respond_times(60))
        eventually(lambda: charged_ids(fresh, "acct") == received)
        await asyncio.sleep(2 * PRUNE_S)
        assert len(own_segments(fresh, gateway)) > 3
        assert own_segments(fresh, gateway)[0].name == "00000001"


async def test_an_adopted_journal_goes_when_nothing_is_kept(fresh: Cluster) -> None:
    """Its folder too, as soon as all of it is durable."""
    received = await metered(fresh, "acct", 12)
    left = {path for path in (fresh.folder / "spool").iterdir() if path.is_dir()}
    gateway = fresh.start_gateway(
        tuned=SMALL_SEGMENTS, GATEWAY_SPOOL_RETENTION_S="0", GATEWAY_SPOOL_RETENTION_BYTES="0"
    )
    charge(fresh, "acct", received)
    eventually(lambda: not any(path.exists() for path in left))
    eventually(lambda: "spool done" in gateway.log.read_text())


# --- a disk that is full --------------------------------------------------------------------------


def mount(folder: Path, options: str) -> None:
    """A disk of its own at ``folder``, or the end of the test where that is not allowed."""
    folder.mkdir(mode=0o700, exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", f"mode=0700,{options}", "tmpfs", str(folder)]
    mounted = subprocess.run(command, capture_output=True, text=True, check=False)
    if mounted.returncode:
        pytest.skip(f"no disk can be mounted here: {mounted.stderr.strip()}")


@pytest.fixture
def small_disk() -> Iterator[Path]:
    """A disk of 1 MB."""
    folder = Path(tempfile.mkdtemp(prefix="rts-disk-"))
    mount(folder, "size=1m")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)
    folder.rmdir()


def fill(folder: Path) -> Path:
    """A file that takes all the space there is."""
    ballast = folder / "ballast"
    with contextlib.suppress(OSError), ballast.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))
    return ballast


async def test_a_full_disk_keeps_new_sessions_out_and_usage_flowing(
    fresh: Cluster, small_disk: Path
) -> None:
    """Live sessions go on and are charged response by response; free space ends that."""
    gateway = fresh.start_gateway(GATEWAY_SPOOL_DIR=str(small_disk))
    address = gateway.field("listen")
    url = f"ws://{address}/v1/realtime"
    key = fresh.create_account("acct")
    async with conversation(url, key) as client:
        journaled = await client.respond_times(2)
        ballast = fill(small_disk)
        received = await client.respond_times(40)
        # The two that are in the journal are sealed in the space that was held back for that.
        everything = sorted(journaled + received)
        eventually(lambda: charged_ids(fresh, "acct") == everything)
        assert readiness(address) == (503, "spool cannot be written")
        with pytest.raises(InvalidStatus, match="503"):
            await connect(f"{url}?model=gpt-realtime&rs_key={key}")
        assert gateway.log.read_text().count("spool cannot be written") == 1
        ballast.unlink()
        eventually(lambda: readiness(address) == (200, ""))
        async with conversation(url, key) as another:
            received += await another.respond_times(3)
        received += await client.respond_times(2)
    charge_all = sorted(journaled + received)
    eventually(lambda: charged_ids(fresh, "acct") == charge_all)
    assert gateway.log.read_text().count("spool can be written again") == 1
    assert await asyncio.to_thread(gateway.stop) == 0
    assert fresh.audit()["ok"]


# --- a journal that is damaged --------------------------------------------------------------------


def segments(cluster: Cluster) -> list[Path]:
    """The files of all journals that hold anything."""
    found = (cluster.folder / "spool").glob("*/[0-9]*")
    return [path for path in found if path.stat().st_size > HEADER_BYTES]


def cut(path: Path) -> None:
    """Tear a few bytes off the end: the last record is not whole."""
    os.truncate(path, path.stat().st_size - 3)


def garble(path: Path) -> None:
    """Flip bytes in the first record."""
    content = bytearray(path.read_bytes())
    content[HEADER_BYTES + 30] ^= 0xFF
    path.write_bytes(content)


def behead(path: Path) -> None:
    """Overwrite the header: nothing in the file can be trusted."""
    content = path.read_bytes()
    path.write_bytes(b"\0" * HEADER_BYTES + content[HEADER_BYTES:])


# What was done to a journal of five charged and three single responses, and what still is charged.
DAMAGE = [
    (cut, 7, 0),  # a torn tail is as if it was never written
    (garble, 5, 3),  # with a hole, what is not sealed may have been charged: it is quarantined
    (behead, 5, 3),  # the records are whole, but what the header would have told is not known
]


@pytest.mark.parametrize(("damage", "charged", "quarantined"), DAMAGE)
async def test_a_damaged_journal_is_never_charged_twice(
    fresh: Cluster, damage: Callable[[Path], None], charged: int, quarantined: int
) -> None:
    """Complete records are charged once; doubtful ones are counted, logged and quarantined."""
    key = fresh.create_account("acct")
    async with conversation(fresh.url, key) as client:
        received = await client.respond_times(5)
        eventually(lambda: len(charged_ids(fresh, "acct")) == 5)
        received += await client.respond_times(3)
        kill(fresh.gateways.pop(0))
    (segment,) = segments(fresh)
    damage(segment)
    gateway = fresh.start_gateway()
    eventually(lambda: "spool adopted" in gateway.log.read_text())
    eventually(lambda: len(charged_ids(fresh, "acct")) == charged)
    assert charged_ids(fresh, "acct") == sorted(received[:charged])
    eventually(lambda: fresh.audit()["rejected"] == quarantined)
    assert ("spool damaged" in gateway.log.read_text()) == (damage is not cut)
    audit = fresh.audit()
    assert audit["unsettled"] == ({"doubtful": quarantined} if quarantined else {})
    assert audit["ok"] == (not quarantined)


# --- the folder -----------------------------------------------------------------------------------


async def test_the_spool_is_private(fresh: Cluster) -> None:
    """Usage shows who talked to whom: no other user may read it."""
    await metered(fresh, "acct", 1)
    root = fresh.folder / "spool"
    (folder,) = (path for path in root.iterdir() if path.is_dir())
    found = {path: path.stat().st_mode & 0o777 for path in (root, folder, *root.glob("*/*"))}
    assert found == {path: 0o700 if path.is_dir() else 0o600 for path in found}


def not_a_folder(place: Path) -> None:
    """A file stands where the spool should be."""
    place.touch()


def open_to_others(place: Path) -> None:
    """Others can read it."""
    place.mkdir()
    place.chmod(0o755)


def read_only(place: Path) -> None:
    """A disk that refuses every write, even of root."""
    mount(place, "ro")


def full(place: Path) -> None:
    """A disk that has room for not even one more file."""
    mount(place, "nr_inodes=1")


@pytest.mark.parametrize(
    ("obstacle", "reason"),
    [
        (not_a_folder, "File exists"),
        (open_to_others, "expected 0700"),
        (read_only, "cannot be written"),
        (full, "No space left on device"),
    ],
)
def test_a_spool_that_cannot_be_used_is_one_line_and_exit_78(
    tmp_path: Path, obstacle: Callable[[Path], None], reason: str
) -> None:
    """At the start, and not when the first response is metered."""
    place = tmp_path / "spool"
    obstacle(place)
    try:
        with cluster_folder() as cluster:
            done = cluster.run(
                "rts-gateway", "serve", GATEWAY_SPOOL_DIR=str(place), GATEWAY_LISTEN="127.0.0.1:0",
                OPENAI_BASE_URL="http://127.0.0.1:9/v1",
            )  # fmt: skip
    finally:
        subprocess.run(["umount", str(place)], capture_output=True, check=False)
    assert done.returncode == 78
    assert reason in done.stderr
    assert len([line for line in done.stderr.splitlines() if "level=info" not in line]) == 1


# --- a database from yesterday --------------------------------------------------------------------


def swap_database(cluster: Cluster, copy: bytes | None) -> bytes:
    """Stop accountd, put ``copy`` in the place of its database, start it; the database before."""
    assert cluster.accountd is not None
    cluster.accountd.stop()
    database = Path(cluster.env["DB_PATH"])
    before = database.read_bytes()
    if copy is not None:
        database.write_bytes(copy)
    cluster.start_accountd()
    return before


async def test_what_a_damaged_log_has_lost_comes_back(fresh: Cluster) -> None:
    """A bit has flipped in its first frame: the account and its key come back from the journal, and
    usage from the gateway.
    """
    key = fresh.create_account("acct", tokens=10**9)
    fresh.start_gateway()
    async with conversation(f"ws://{fresh.gateways[0].field('listen')}/v1/realtime", key) as client:
        received = await client.respond_times(10)
        eventually(lambda: charged_ids(fresh, "acct") == sorted(received))
        await asyncio.to_thread(swap_log, fresh)
        eventually(lambda: charged_ids(fresh, "acct") == sorted(received))
    accountd = fresh.accountd.log.read_text()
    assert "write-ahead log damaged" in accountd
    assert len(list(fresh.folder.glob("accounts.db-wal.damaged-*"))) == 1
    assert fresh.audit()["ok"]


def swap_log(cluster: Cluster) -> None:
    """Kill accountd, and flip a bit near the beginning of its log."""
    kill(cluster.accountd)
    wal = cluster.folder / "accounts.db-wal"
    data = bytearray(wal.read_bytes())
    assert len(data) > 10 * 4096
    data[1000] ^= 1
    wal.write_bytes(data)
    cluster.start_accountd()


async def test_a_restored_database_is_refilled(fresh: Cluster) -> None:
    """What was charged after the copy is charged again, once, from the journals of the living and
    of the killed.
    """
    key = fresh.create_account("acct")
    fresh.start_gateway()
    living, killed = (f"ws://{g.field('listen')}/v1/realtime" for g in fresh.gateways)
    async with conversation(living, key) as client, conversation(killed, key) as other:
        received = await client.respond_times(5) + await other.respond_times(5)
        eventually(lambda: charged_ids(fresh, "acct") == sorted(received))
        copy = await asyncio.to_thread(swap_database, fresh, None)
        received += await client.respond_times(10) + await other.respond_times(7)
        kill(fresh.gateways.pop(1))
        eventually(lambda: charged_ids(fresh, "acct") == sorted(received))
        await asyncio.to_thread(swap_database, fresh, copy)
        eventually(lambda: charged_ids(fresh, "acct") == sorted(received))
    assert "accountd lost what was durable" in fresh.gateways[0].log.read_text()
    assert await asyncio.to_thread(fresh.gateways[0].stop) == 0
    charge(fresh, "acct", sorted(received))
