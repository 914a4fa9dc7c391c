"""``accountd rekey``: another key for the database, all or nothing."""

import errno
import hashlib
import itertools
import os
import pty
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from accountd.data import database
from accountd.maintenance import rekeying
from shared.errors import DatabaseUnusableError, OperatorError
from tests.support.harness import BIN, STOP_S, Cluster, cluster_folder
from tests.support.killed import killed_at

RAW = "cd" * 32
PASSPHRASE = "it's a new passphrase"


@pytest.fixture
def prepared() -> Iterator[Cluster]:
    """A migrated database of which nothing runs."""
    with cluster_folder() as cluster:
        yield cluster


def digests(folder: Path) -> dict[str, str]:
    """What each file of the folder holds."""
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.iterdir()
        if path.is_file() and path.suffix not in (".lock", ".log", ".out")
    }


def new_key_file(cluster: Cluster, text: str = RAW) -> Path:
    """A file with another key."""
    path = cluster.folder / "new.key"
    path.write_text(f"{text}\n")
    path.chmod(0o600)
    return path


def opens(path: Path, key: str) -> bool:
    """Whether the key opens the database, which has the newest schema then."""
    try:
        with database.open_for_serving(path, key):
            return True
    except DatabaseUnusableError as exc:
        assert "does not open" in str(exc)
        return False


def rekey(cluster: Cluster, new: str = RAW, *, replaces: bool = False) -> rekeying.Rekeyed:
    """The act without a process of its own."""
    path = cluster.folder / "accounts.db"
    key_file = cluster.folder / "db.key"
    return rekeying.rekey(
        path, key_file.read_text().strip(), new, journal=Path(f"{path}.journal"),
        key_file=key_file if replaces else None, tell=lambda _what, _share: None,
    )  # fmt: skip


def test_a_killed_daemons_database_gets_another_key(prepared: Cluster) -> None:
    """What only the write-ahead log has comes along; the old files stay under the old key."""
    daemon = prepared.start_accountd()
    prepared.create_account("acct", tokens=7)
    daemon.stop(9)
    assert (prepared.folder / "accounts.db-wal").stat().st_size
    old_key = (prepared.folder / "db.key").read_text()
    done = prepared.run(
        "accountd", "rekey", "--new-key-file", str(new_key_file(prepared, PASSPHRASE)),
        "--replace-key-file",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert (prepared.folder / "db.key").read_text().strip() == PASSPHRASE
    assert old_key not in done.stdout + done.stderr
    (kept,) = prepared.folder.glob("accounts.db.replaced-*Z")
    for path in prepared.folder.glob("*.replaced-*"):
        assert path.stat().st_mode & 0o077 == 0
        assert str(path) in done.stdout
    prepared.start_accountd()
    assert prepared.accountctl("account", "show", "acct")["token_remaining"] == 7
    assert prepared.audit()["ok"]
    assert opens(kept, old_key)


def test_from_a_passphrase_back_to_a_raw_key(prepared: Cluster) -> None:
    """Either kind of key becomes the other."""
    path = prepared.folder / "accounts.db"
    rekey(prepared, PASSPHRASE, replaces=True)
    assert opens(path, PASSPHRASE)
    rekey(prepared, RAW, replaces=True)
    assert not opens(path, PASSPHRASE)
    assert opens(path, RAW)


def test_an_answer_that_cannot_be_written_undoes_nothing(prepared: Cluster) -> None:
    """Nor does it look like a failure of the act."""
    path = prepared.folder / "accounts.db"
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [BIN / "accountd", "rekey", "--new-key-file", new_key_file(prepared)],
            env=prepared.env, stdout=full, stderr=subprocess.PIPE, text=True, check=False,
        )  # fmt: skip
    assert done.returncode == 74
    assert done.stderr == (
        "accountd: cannot write to standard output: No space left on device"
        " (what the command has changed stays so)\n"
    )
    assert opens(path, RAW)


def test_refused_under_a_running_daemon(prepared: Cluster) -> None:
    """73, and what the daemon has open is as it was."""
    prepared.start_accountd()
    done = prepared.run("accountd", "rekey", "--new-key-file", str(new_key_file(prepared)))
    assert done.returncode == 73
    assert len(done.stderr.strip().splitlines()) == 1
    prepared.create_account("acct")
    assert prepared.audit()["ok"]


def no_file(cluster: Cluster) -> None:
    """The new key is not there."""
    (cluster.folder / "new.key").unlink()


def open_to_others(cluster: Cluster) -> None:
    """Everybody can read the new key."""
    (cluster.folder / "new.key").chmod(0o644)


def two_lines(cluster: Cluster) -> None:
    """No key has two lines."""
    new_key_file(cluster, "one\ntwo")


def empty_key(cluster: Cluster) -> None:
    """SQLCipher takes an empty key for none, and decrypts the file."""
    new_key_file(cluster, "")


def same_key(cluster: Cluster) -> None:
    """The key in use."""
    new_key_file(cluster, (cluster.folder / "db.key").read_text())


def wrong_key(cluster: Cluster) -> None:
    """The key file is that of another database."""
    (cluster.folder / "db.key").write_text("0" * 64)


def lost_key(cluster: Cluster) -> None:
    """There is no key file."""
    (cluster.folder / "db.key").unlink()


def lost_database(cluster: Cluster) -> None:
    """There is no database."""
    (cluster.folder / "accounts.db").unlink()


def flipped_bit(cluster: Cluster) -> None:
    """A page that no start reads is damaged."""
    with (cluster.folder / "accounts.db").open("r+b") as file:
        file.seek(-2_000, os.SEEK_END)
        (byte,) = file.read(1)
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte ^ 1]))


REFUSED = [
    (no_file, "openssl rand -hex 32 >"),
    (open_to_others, "new.key with mode 0644"),
    (two_lines, "the new key has 2 lines"),
    (empty_key, "the new key is empty"),
    (same_key, "the new key is the one in use"),
    (wrong_key, "does not open"),
    (lost_key, "DB_ENCRYPTION_KEY_FILE: cannot read"),
    (lost_database, "no database at"),
    (flipped_bit, "is damaged"),
]


@pytest.mark.parametrize(("spoil", "message"), REFUSED)
def test_refused_and_nothing_changed(
    prepared: Cluster, spoil: Callable[[Cluster], None], message: str
) -> None:
    """One line says why, with 78; every file is as it was, and none is new."""
    new_key_file(prepared)
    spoil(prepared)
    before = digests(prepared.folder)
    new = str(prepared.folder / "new.key")
    done = prepared.run("accountd", "rekey", "--new-key-file", new, "--replace-key-file")
    assert done.returncode == 78
    assert message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert RAW not in done.stderr
    assert digests(prepared.folder) == before


def test_killed_anywhere_the_key_file_opens_the_database(prepared: Cluster) -> None:
    """At every third operation on files: the database and its key are both old or both new, and
    the next try works.
    """
    path, home = prepared.folder / "accounts.db", prepared.folder
    keys = itertools.cycle([RAW, "ef" * 32])
    outcomes = set()
    code, at = -9, 0
    while code:
        before, new = (home / "db.key").read_text().strip(), next(keys)
        code = killed_at(at, lambda new=new: rekey(prepared, new, replaces=True))  # type: ignore[misc]
        with database.locked(path):  # as every command does
            key = (home / "db.key").read_text().strip()
        assert key in (before, new)
        assert opens(path, key), at
        outcomes.add(key == new)
        at += 3
    assert at > 30
    assert outcomes == {False, True}
    assert not list(home.glob("*.staged*"))


def test_the_next_command_reads_the_key_file_that_it_has_finished(
    prepared: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that fails in the middle: the error says what will be, and it is."""
    with monkeypatch.context() as patched:
        patched.setattr(os, "rename", failing_once_begun(os.rename))
        with pytest.raises(OperatorError, match="the next start of accountd puts them in place"):
            rekey(prepared, replaces=True)
    assert prepared.run("accountd", "migrate").returncode == 0
    assert (prepared.folder / "db.key").read_text().strip() == RAW


def failing_once_begun(rename: Callable[..., None]) -> Callable[..., None]:
    """A ``rename`` that fails for all but the intent."""

    def renamed(source: Path, target: Path) -> None:
        if Path(target).suffix != ".swap":
            raise OSError(errno.EIO, "Input/output error", str(source))
        rename(source, target)

    return renamed


def test_a_full_disk_is_said_before_anything_is_written(
    prepared: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the bytes that are needed and those that there are."""
    before = digests(prepared.folder)
    usage = shutil.disk_usage(prepared.folder)._replace(free=4_096)
    monkeypatch.setattr(shutil, "disk_usage", lambda _folder: usage)
    with pytest.raises(OperatorError, match=r"has 4,096 bytes free, and [\d,]+ are needed") as said:
        rekey(prepared)
    assert said.value.exit_code == 75
    assert digests(prepared.folder) == before


@pytest.mark.parametrize(("second", "code"), [(PASSPHRASE, 0), ("another", 1)])
def test_a_key_that_is_typed(prepared: Cluster, second: str, code: int) -> None:
    """It is asked for twice, and not shown."""
    terminal, end = pty.openpty()
    process = subprocess.Popen(
        [BIN / "accountd", "rekey"],
        env=prepared.env, cwd=prepared.folder, stdin=end, stdout=end, stderr=end,
        start_new_session=True,
    )  # fmt: skip
    os.close(end)
    shown = b""
    for prompt, text in ((b"New key: ", PASSPHRASE), (b"Repeat for confirmation: ", second)):
        while not shown.endswith(prompt):
            shown += os.read(terminal, 1_000)
        os.write(terminal, f"{text}\n".encode())
    if code:
        while b"do not match" not in shown:
            shown += os.read(terminal, 1_000)
        process.kill()
    assert process.wait(STOP_S) == (-9 if code else 0)
    os.close(terminal)
    assert PASSPHRASE.encode() not in shown
    assert opens(prepared.folder / "accounts.db", PASSPHRASE) is (not code)
