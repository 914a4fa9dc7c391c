"""A standby beside a real accountd: whoever is killed, it has what was committed a moment ago."""

import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.harness import BIN, Cluster, cluster_folder, eventually, lines_of
from tests.support.standby import RSH, Standby, counts
from tests.support.usage_socket import charge, usage_socket

TOKENS = 10**9
DAMAGE = """
import os, subprocess, sys, pathlib
# Passes on what the primary's end says, and flips one bit, once, far into the copy.
child = subprocess.Popen(sys.argv[2], shell=True, stdout=subprocess.PIPE)
once, passed = pathlib.Path({mark!r}), 0
while data := os.read(child.stdout.fileno(), 65536):
    if passed > 100_000 and not once.exists():
        once.touch()
        data = bytes([data[0] ^ 4]) + data[1:]
    passed += len(data)
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()
"""


@pytest.fixture
def followed() -> Iterator[tuple[Cluster, Standby]]:
    """accountd with an account, and a standby that is not yet there."""
    with cluster_folder() as cluster:
        standby = Standby(cluster, cluster.folder / "standby" / "s.db")
        try:
            cluster.start_accountd()
            cluster.create_account("acct", tokens=TOKENS)
            yield cluster, standby
        finally:
            standby.end()


def test_a_standby_goes_on_whoever_is_killed(followed: tuple[Cluster, Standby]) -> None:
    """Its shipper, itself, the daemon: each time it has all rows soon, and the log stays short."""
    cluster, standby = followed
    primary = Path(cluster.env["DB_PATH"])
    standby.start()
    with usage_socket(cluster) as push:
        charge(cluster, push, "acct", rows=3_000)
    standby.catch_up()
    assert standby.counts() == (3_000, 1, TOKENS - 30_000)
    assert Path(f"{primary}-wal").stat().st_size < 8 << 20

    os.kill(standby.shipper(), signal.SIGKILL)
    cluster.create_account("second", tokens=5)
    assert standby.catch_up()["connections"] == 2
    assert standby.counts() == (3_000, 2, TOKENS - 30_000 + 5)

    standby.end()
    cluster.create_account("third", tokens=6)
    standby.start()
    standby.catch_up()
    assert standby.counts() == (3_000, 3, TOKENS - 30_000 + 11)
    assert "goes on where it stopped" in standby.daemon.log.read_text()  # type: ignore[union-attr]

    assert cluster.accountd is not None
    assert cluster.accountd.stop() == 0
    cluster.start_accountd()
    cluster.create_account("fourth", tokens=7)
    standby.catch_up()
    assert standby.counts() == (3_000, 4, TOKENS - 30_000 + 18)
    assert standby.status["connections"] == 1

    shipper = standby.shipper()
    held = f" {shipper} .*:{primary.stat().st_ino} "
    assert re.search(held, Path("/proc/locks").read_text()), "whoever closes last removes the log"
    cluster.accountd.stop(signal.SIGKILL)
    standby.end()
    eventually(lambda: not Path(f"/proc/{shipper}").exists())
    assert Path(f"{primary}-wal").stat().st_size > 0, "the shipper took the log with it"
    assert counts(primary, cluster) == standby.counts()


def test_a_promoted_standby_is_the_primary(followed: tuple[Cluster, Standby]) -> None:
    """It is refused before the primary has stopped, serves afterwards, and the old one does not."""
    cluster, standby = followed
    standby.start()
    assert cluster.accountd is not None
    early = cluster.run("accountd", "promote", str(standby.path))
    assert early.returncode == 75, early.stderr
    assert "is still open" in early.stderr
    served = cluster.run("accountd", "serve", "--db-path", str(standby.path))
    assert served.returncode == 73, served.stderr
    with usage_socket(cluster) as push:
        charge(cluster, push, "acct", rows=100)
    cluster.accountd.stop(signal.SIGKILL)

    found = standby.promote()
    assert standby.daemon is not None
    assert standby.daemon.process.wait(5) == 0
    assert found["found"]["last_usage_row"] == 100
    assert found["found"]["watermarks"][0][1] == 100
    assert found["is_fenced"]

    old = cluster.run("accountd", "serve")
    assert old.returncode == 78
    assert "was superseded by" in old.stderr
    again = cluster.run("accountd", "promote", str(standby.path))
    assert again.returncode == 1
    over = cluster.run("accountd", "follow", cluster.env["DB_PATH"], str(standby.path))
    assert over.returncode == 78
    assert "never overwritten" in over.stderr
    cluster.env["DB_PATH"] = str(standby.path)
    cluster.start_accountd()
    assert cluster.accountctl("audit")["usage_rows"] == 100
    cluster.create_account("new", tokens=1)


def test_a_standby_is_not_served_before_it_is_promoted(followed: tuple[Cluster, Standby]) -> None:
    """And what is no standby is neither followed into nor promoted."""
    cluster, standby = followed
    standby.start()
    assert standby.daemon is not None
    assert standby.daemon.stop() == 0
    for command in (("serve", "--db-path"), ("migrate", "--db-path")):
        done = cluster.run("accountd", *command, str(standby.path))
        assert done.returncode == 78, done.stderr
        assert "run: accountd promote" in done.stderr
    shown = cluster.run("accountd", "standby", str(standby.path))
    assert shown.returncode == 1
    assert "(not running)" in shown.stdout
    other = cluster.folder / "other.db"
    other.write_bytes(b"somebody's")
    into = cluster.run("accountd", "follow", cluster.env["DB_PATH"], str(other))
    assert into.returncode == 78
    assert other.read_bytes() == b"somebody's"
    assert cluster.run("accountd", "promote", str(other)).returncode == 1


def test_what_is_damaged_on_its_way_is_sent_again(followed: tuple[Cluster, Standby]) -> None:
    """Over a remote shell: a flipped bit ends the connection, and the next one brings all."""
    cluster, standby = followed
    mark = cluster.folder / "damaged"
    script = cluster.folder / "damage.py"
    script.write_text(DAMAGE.format(mark=str(mark)))
    standby.source = f"somewhere:{cluster.env['DB_PATH']}"
    remote = ("--remote-command", shlex.join([str(BIN / "accountd")]))
    standby.start("--rsh", f"{sys.executable} {script}", *remote)
    standby.catch_up()
    assert mark.exists()
    assert standby.daemon is not None
    assert "digest is wrong" in standby.daemon.log.read_text() or "damaged" in (
        standby.daemon.log.read_text()
    )
    assert standby.counts() == counts(Path(cluster.env["DB_PATH"]), cluster)


def test_a_shell_that_prints_is_named(followed: tuple[Cluster, Standby]) -> None:
    """What a remote shell says at its start is not taken for a database."""
    cluster, standby = followed
    rsh = cluster.folder / "rsh"
    rsh.write_text(RSH.replace("exec", "echo 'Welcome to this quite talkative host!'\nexec"))
    rsh.chmod(0o700)
    standby.source = f"somewhere:{cluster.env['DB_PATH']}"
    log = cluster.folder / "follow.err"
    with log.open("wb") as stderr:
        command = [BIN / "accountd", "follow", standby.source, standby.path, "--rsh", rsh]
        process = subprocess.Popen(command, env=cluster.env, stderr=stderr, cwd=cluster.folder)
        try:
            eventually(lambda: any("it must print nothing" in line for line in lines_of(log)))
        finally:
            process.terminate()
            process.wait()


def test_a_full_disk_under_the_standby(followed: tuple[Cluster, Standby]) -> None:
    """The primary is not troubled; the standby is as old as it is, and goes on with space."""
    cluster, standby = followed
    disk = standby.path.parent
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(disk)]
    done = subprocess.run(mount, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"a tmpfs cannot be mounted here: {done.stderr.strip()}")
    try:
        daemon = standby.start()
        standby.catch_up()
        before = standby.counts()
        ballast = disk / "ballast"
        with pytest.raises(OSError, match="No space"), ballast.open("wb") as file:
            while True:
                file.write(bytes(4096))
        with usage_socket(cluster) as push:
            charge(cluster, push, "acct", rows=400)
        eventually(lambda: "No space left on device" in daemon.log.read_text())
        assert standby.counts()[1:2] == before[1:2]
        ballast.unlink()
        standby.catch_up()
        assert standby.counts() == (400, 1, TOKENS - 4_000)
        standby.end()
    finally:
        standby.end()
        subprocess.run(["umount", str(disk)], check=True)
