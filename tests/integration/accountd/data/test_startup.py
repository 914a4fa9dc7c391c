"""How accountd starts, or says in one line why not; and that the file is unreadable without key."""

import hashlib
import os
import shutil
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlcipher3 import dbapi2 as sqlcipher

from accountd.data import database
from shared.errors import ConfigError
from shared.usage import Usage, UsageBatch
from shared.wire import encode_envelope, encode_usage
from tests.support.harness import Cluster, eventually
from tests.support.usage_socket import usage_socket

EXIT_S = 20.0


def digest(path: Path) -> str:
    """What the file holds."""
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.exists() else "missing"


def key_of(cluster: Cluster) -> str:
    """The database key of the cluster."""
    return (cluster.folder / "db.key").read_text()


def open_with_key(cluster: Cluster) -> sqlcipher.Connection:
    """The database as an operator with the key opens it."""
    connection = sqlcipher.connect(str(cluster.folder / "accounts.db"))
    connection.execute(f"PRAGMA key = \"x'{key_of(cluster)}'\"")
    return connection


def remove_database(cluster: Cluster) -> None:
    """No file at all."""
    (cluster.folder / "accounts.db").unlink()


def empty_file(cluster: Cluster) -> None:
    """A file of no bytes."""
    (cluster.folder / "accounts.db").write_bytes(b"")


def wrong_key(cluster: Cluster) -> None:
    """Another raw key."""
    (cluster.folder / "db.key").write_text("0" * 64)


def wrong_passphrase(cluster: Cluster) -> None:
    """A passphrase in place of the raw key."""
    (cluster.folder / "db.key").write_text("it's not the key")


def empty_key(cluster: Cluster) -> None:
    """A key file with nothing in it."""
    (cluster.folder / "db.key").write_text("")


def write_key(cluster: Cluster, text: str, *, encoding: str = "utf-8") -> None:
    """Another content of the key file."""
    (cluster.folder / "db.key").write_bytes(text.encode(encoding))


def marked_key(cluster: Cluster) -> None:
    """The key, saved by an editor that puts a byte-order mark before it."""
    write_key(cluster, key_of(cluster), encoding="utf-8-sig")


def wide_key(cluster: Cluster) -> None:
    """The key in UTF-16, as some shells write what is redirected."""
    write_key(cluster, key_of(cluster), encoding="utf-16")


def short_key(cluster: Cluster) -> None:
    """The last digit was not copied."""
    write_key(cluster, key_of(cluster)[:-1])


def two_keys(cluster: Cluster) -> None:
    """A second key in the same file."""
    write_key(cluster, f"{key_of(cluster)}\n{'0' * 64}\n")


def padded_variable(cluster: Cluster) -> None:
    """The key in the variable, with the end of its line."""
    cluster.env["DB_ENCRYPTION_KEY"] = f"{key_of(cluster)}\n"
    del cluster.env["DB_ENCRYPTION_KEY_FILE"]


def wrong_variable(cluster: Cluster) -> None:
    """Another key in the variable."""
    cluster.env["DB_ENCRYPTION_KEY"] = "1" * 64
    del cluster.env["DB_ENCRYPTION_KEY_FILE"]


def missing_key(cluster: Cluster) -> None:
    """No key is configured."""
    del cluster.env["DB_ENCRYPTION_KEY_FILE"]


def unreadable_key_file(cluster: Cluster) -> None:
    """The key file is not there."""
    (cluster.folder / "db.key").unlink()


def key_file_open_to_others(cluster: Cluster) -> None:
    """Whoever has a login on the machine can read the key."""
    (cluster.folder / "db.key").chmod(0o604)


def without_legacy(cluster: Cluster) -> None:
    """A file of SQLite3 Multiple Ciphers: all but its salt and eight bytes looks random."""
    remove_database(cluster)
    header = bytes.fromhex("1000010150402020")  # as better-sqlite3-multiple-ciphers 12.11.1 writes
    head = os.urandom(16) + header
    (cluster.folder / "accounts.db").write_bytes(head + os.urandom(4096 - len(head)))


def plain_file(cluster: Cluster) -> None:
    """A SQLite file that was never encrypted."""
    remove_database(cluster)
    connection = sqlite3.connect(cluster.folder / "accounts.db")
    connection.execute("CREATE TABLE accounts (id TEXT)")
    connection.commit()
    connection.close()


def garbage(cluster: Cluster) -> None:
    """Random bytes."""
    (cluster.folder / "accounts.db").write_bytes(os.urandom(8192))


def newer_schema(cluster: Cluster) -> None:
    """A migration that this release does not have."""
    connection = open_with_key(cluster)
    connection.execute(
        "INSERT INTO schema_migration (name, applied) VALUES ('0099_future', '2030-01-01')"
    )
    connection.commit()
    connection.close()


def newer_schema_with_a_copy(cluster: Cluster) -> None:
    """The copy from before that migration is there."""
    newer_schema(cluster)
    (cluster.folder / "accounts.db.before-0099").write_bytes(b"a copy")


def older_schema(cluster: Cluster) -> None:
    """A migration that has not been applied."""
    connection = open_with_key(cluster)
    connection.execute("DELETE FROM schema_migration WHERE name LIKE '0002%'")
    connection.commit()
    connection.close()


def damage(cluster: Cluster, table: str) -> None:
    """Flip a byte in the middle of the first page of ``table``."""
    connection = open_with_key(cluster)
    query = "SELECT rootpage FROM sqlite_master WHERE name = ?"
    (page,) = connection.execute(query, (table,)).fetchone()
    (page_bytes,) = connection.execute("PRAGMA cipher_page_size").fetchone()
    connection.close()
    place = (page - 1) * int(page_bytes) + int(page_bytes) // 2
    with (cluster.folder / "accounts.db").open("r+b") as file:
        file.seek(place)
        (byte,) = file.read(1)
        file.seek(place)
        file.write(bytes([byte ^ 0xFF]))


def damaged_page(cluster: Cluster) -> None:
    """A page that is read at the start, and not the first one."""
    damage(cluster, "schema_migration")


STARTS = [
    (remove_database, 78, "no database at"),
    (empty_file, 78, "no database at"),
    (wrong_key, 78, "/db.key does not open"),
    (wrong_passphrase, 78, "the key in DB_ENCRYPTION_KEY_FILE=/"),
    (wrong_variable, 78, "the key in DB_ENCRYPTION_KEY does not open /"),
    (padded_variable, 78, "accounts.db: it begins or ends with white space (put back"),
    (marked_key, 78, "accounts.db: it begins with a byte-order mark; save the file as UTF-8"),
    (wide_key, 78, "db.key that is no UTF-8, expected text; put back the key that /"),
    (short_key, 78, "accounts.db: it has 63 hex digits, expected 64"),
    (two_keys, 78, "accounts.db: it has 2 lines, expected one"),
    (empty_key, 78, "found an empty key in DB_ENCRYPTION_KEY_FILE=/"),
    (empty_key, 78, "accounts.db was made with: no other one opens it"),
    (missing_key, 78, "DB_ENCRYPTION_KEY: found nothing"),
    (unreadable_key_file, 78, "DB_ENCRYPTION_KEY_FILE: cannot read"),
    (unreadable_key_file, 78, "put back the key that /"),
    (without_legacy, 78, "without the pragma legacy=4: bytes 16 to 23 are in plain text"),
    (key_file_open_to_others, 78, "db.key with mode 0604, expected a file that others can neither"),
    (plain_file, 78, "is a plain SQLite file"),
    (garbage, 78, "/db.key does not open"),
    (damaged_page, 78, "is damaged (SQLITE_CORRUPT) (restore it"),
    (newer_schema, 78, "newer schema; unknown here: 0099_future"),
    (newer_schema, 78, "(install the release that wrote it)"),
    (newer_schema_with_a_copy, 78, "accounts.db.before-0099 in its place: the copy from before"),
    (older_schema, 78, "run: accountd migrate"),
]


@pytest.mark.parametrize(("spoil", "code", "message"), STARTS)
def test_refuses_to_start(prepared: Cluster, spoil: object, code: int, message: str) -> None:
    """One clear line, the right exit code, no word of the key, and the file is as it was."""
    assert callable(spoil)
    key = key_of(prepared)
    spoil(prepared)
    before = digest(prepared.folder / "accounts.db")
    done = prepared.run("accountd", "serve")
    assert done.returncode == code
    assert message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert key not in done.stderr
    assert done.stdout == ""
    assert digest(prepared.folder / "accounts.db") == before


@pytest.mark.parametrize("ending", ["\n", "\r\n", " \n"])
def test_the_end_of_the_key_files_line_is_no_part_of_the_key(
    prepared: Cluster, ending: str
) -> None:
    """Editors and shells write one."""
    write_key(prepared, key_of(prepared) + ending)
    prepared.start_accountd()


NO_KEYS = [
    ("\ufeff" + "ab" * 32, "begins with a byte-order mark"),
    ("ab" * 31 + "c", "has 63 hex digits, expected 64"),
    ("ab" * 32 + "\n" + "cd" * 32, "has 2 lines"),
]


@pytest.mark.parametrize(("text", "flaw"), NO_KEYS)
def test_no_database_is_made_with_a_key_that_nobody_meant(
    prepared: Cluster, text: str, flaw: str
) -> None:
    """Whoever corrected the file later would have lost the database."""
    remove_database(prepared)
    write_key(prepared, text)
    done = prepared.run("accountd", "migrate")
    assert done.returncode == 78
    assert flaw in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert not (prepared.folder / "accounts.db").exists()


@pytest.mark.parametrize(
    "left", ["accounts.db-wal", "accounts.db.journal", "accounts.db.before-0021",
             "accounts.db.replaced-20261130T120000Z", "monday.db.manifest.json"],
)  # fmt: skip
def test_no_database_is_made_beside_what_is_left_of_one(prepared: Cluster, left: str) -> None:
    """An empty ledger in place of a lost one would look right."""
    remove_database(prepared)
    (prepared.folder / left).write_bytes(b"something")
    done = prepared.run("accountd", "migrate")
    assert done.returncode == 78
    assert f"is missing or empty, but {left} lies beside it: no new database" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert not (prepared.folder / "accounts.db").exists()


def test_what_others_may_do_with_the_files_is_told_and_taken(prepared: Cluster) -> None:
    """``serve`` warns, ``migrate`` takes it away; what the group may do is the operator's."""
    path = prepared.folder / "accounts.db"
    path.chmod(0o646)
    daemon = prepared.start_accountd()
    assert 'event="database open to others"' in daemon.log.read_text()
    assert f"run chmod o-rwx {path}" in daemon.log.read_text()
    daemon.stop()
    done = prepared.run("accountd", "migrate")
    assert done.stderr == f"{path} had mode 0646, now 0640\n"
    assert path.stat().st_mode & 0o777 == 0o640


PATHS = [
    ("folder", "is a directory (name a file in it, e.g."),
    ("x" * 300 + "/accounts.db", "File name too long (choose a shorter path)"),
    ("x" * 300, "File name too long (choose a shorter path)"),
    ("x/" * 2_500 + "accounts.db", "File name too long (choose a shorter path)"),
    ("db.key/accounts.db", "a file; name another folder)"),
]


@pytest.mark.parametrize("command", ["serve", "migrate"])
@pytest.mark.parametrize(("path", "message"), PATHS)
def test_a_path_that_cannot_be_a_database(
    prepared: Cluster, path: str, message: str, command: str
) -> None:
    """One line with what to do, 78, and nothing new beside it."""
    (prepared.folder / "folder").mkdir()
    before = sorted(prepared.folder.iterdir())
    done = prepared.run("accountd", command, DB_PATH=f"{prepared.folder}/{path}")
    assert done.returncode == 78
    assert message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert sorted(prepared.folder.iterdir()) == before


@contextmanager
def as_nobody() -> Iterator[None]:
    """Root enters every folder: be somebody else meanwhile."""
    user = os.geteuid()
    if user == 0:
        os.seteuid(65_534)
    try:
        yield
    finally:
        os.seteuid(user)


@pytest.mark.parametrize("open_database", [database.open_for_serving, database.open_for_migrating])
def test_a_folder_that_cannot_be_entered(prepared: Cluster, open_database: Any) -> None:
    """An operator's error with what to do, and no traceback."""
    closed = prepared.folder / "closed"
    closed.mkdir()
    shutil.copy(prepared.folder / "accounts.db", closed)
    prepared.folder.chmod(0o755)
    closed.chmod(0)
    key = key_of(prepared)
    try:
        with (
            as_nobody(),
            pytest.raises(ConfigError, match="let this user enter") as raised,
            open_database(closed / "accounts.db", key),
        ):
            pytest.fail("it was opened")
    finally:
        closed.chmod(0o700)
    assert raised.value.exit_code == 78


@pytest.mark.parametrize("command", ["serve", "migrate"])
def test_one_daemon_per_database(prepared: Cluster, command: str) -> None:
    """A second daemon, and a migration under a running one, are refused with 73."""
    prepared.start_accountd()
    done = prepared.run("accountd", command)
    assert done.returncode == 73
    assert "another accountd owns" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def ask_for_audit(cluster: Cluster) -> None:
    """A report, on the reader thread."""
    assert cluster.run("accountctl", "audit").returncode != 0


def send_usage(cluster: Cluster) -> None:
    """A batch, on the writer."""
    batch = UsageBatch("acct", "s", "openai", "m", "response", 1, ("r",), Usage(1, 0, 1), 0)
    with usage_socket(cluster) as push:
        push.send_multipart(encode_envelope(os.urandom(16), 1, encode_usage(batch)))


@pytest.mark.parametrize(
    ("meet", "table"), [(ask_for_audit, "credit_grants"), (send_usage, "producers")]
)
def test_a_damaged_page_ends_the_daemon_when_it_is_met(
    prepared: Cluster, meet: Callable[[Cluster], None], table: str
) -> None:
    """A start does not read the whole file; whoever meets the page later, the daemon exits 78."""
    prepared.start_accountd()
    prepared.create_account("acct")
    send_usage(prepared)
    eventually(lambda: prepared.usage_rows("acct"))
    assert prepared.accountd is not None
    prepared.accountd.stop()
    damage(prepared, table)
    daemon = prepared.start_accountd()
    meet(prepared)
    assert daemon.process.wait(EXIT_S) == 78
    log = daemon.log.read_text()
    assert "is damaged (SQLITE_CORRUPT)" in log.splitlines()[-1]
    assert "Traceback" not in log


@pytest.mark.parametrize("command", ["serve", "migrate"])
def test_a_folder_that_cannot_be_written(prepared: Cluster, command: str) -> None:
    """A read-only disk: one line, 78, and no daemon that would fail at its first commit."""
    disk = prepared.folder / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(disk)]
    done = subprocess.run(mount, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"a tmpfs cannot be mounted here: {done.stderr.strip()}")
    try:
        shutil.copy(prepared.folder / "accounts.db", disk)
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        done = prepared.run("accountd", command, DB_PATH=str(disk / "accounts.db"))
    finally:
        subprocess.run(["umount", str(disk)], check=True)
    assert done.returncode == 78
    assert "DB_PATH: cannot create" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize("spoil", [wrong_key, plain_file, newer_schema])
def test_migrate_does_not_touch_what_is_not_ours(prepared: Cluster, spoil: object) -> None:
    """``accountd migrate`` refuses the same files, and leaves them as they are."""
    assert callable(spoil)
    spoil(prepared)
    before = digest(prepared.folder / "accounts.db")
    done = prepared.run("accountd", "migrate")
    assert done.returncode == 78
    assert digest(prepared.folder / "accounts.db") == before


def test_the_file_is_unreadable_without_the_key(prepared: Cluster) -> None:
    """Neither the database nor its WAL, while the daemon runs, holds a header or a word of ours."""
    prepared.start_accountd()
    prepared.create_account("secret-account-name")
    files = sorted(prepared.folder.glob("accounts.db*"))
    assert {f.name for f in files} >= {"accounts.db", "accounts.db-wal"}
    for path in files:
        content = path.read_bytes()
        assert b"SQLite format 3" not in content, path
        assert b"secret-account-name" not in content, path
        assert b"CREATE TABLE" not in content, path
        assert path.stat().st_mode & 0o077 == 0, path
    assert (prepared.folder / "accounts.db-wal").stat().st_size > 0
    with pytest.raises(sqlite3.DatabaseError):
        sqlite3.connect(prepared.folder / "accounts.db").execute("SELECT 1 FROM accounts")


def test_sockets_are_private(prepared: Cluster) -> None:
    """Only this user reaches the sockets; a folder that others can enter is refused."""
    prepared.start_accountd()
    assert (prepared.folder / "run").stat().st_mode & 0o777 == 0o700
    public = prepared.folder / "public"
    public.mkdir(mode=0o755)
    assert prepared.accountd is not None
    prepared.accountd.stop()
    for name in ("USAGE", "RPC", "EVENTS"):
        setting = {f"ACCOUNTD_{name}_ENDPOINT": f"ipc://{public}/a.sock"}
        done = prepared.run("accountd", "serve", **setting)
        assert done.returncode == 78
        assert "expected 0700" in done.stderr
        assert len(done.stderr.strip().splitlines()) == 1


def test_all_mistakes_in_the_settings_are_reported_together(prepared: Cluster) -> None:
    """One line names each setting, what was found and what was expected."""
    done = prepared.run(
        "accountd", "serve",
        ACCOUNTD_EVENTS_ENDPOINT="tcp://192.0.2.1:5000", ACCOUNTD_CHARGE_ESTIMATES="maybe",
    )  # fmt: skip
    assert done.returncode == 78
    assert "ACCOUNTD_EVENTS_ENDPOINT: found 'tcp://192.0.2.1:5000'" in done.stderr
    assert "ACCOUNTD_CHARGE_ESTIMATES: found 'maybe', expected one of yes, no" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
