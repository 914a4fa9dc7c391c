"""A database of the original system opens in place, with the key that it was made with."""

import hashlib
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlcipher3 import dbapi2 as sqlcipher
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from tests.support.harness import Cluster

FILES = Path(__file__).parent / "original"
OLD_KEY, EXPIRED_KEY = (f"rslive_v1_{digit * 48}" for digit in "01")
PASSPHRASE, RAW = "it's a passphrase", "ab" * 32
# Where make clients has put the library of the original system.
LIBRARY = os.environ.get("RTS_ORIGINAL_LIBRARY", "")


def hash_of(key: str) -> str:
    """The form in which a key is stored."""
    return hashlib.sha256(key.encode()).hexdigest()


def by_sqlcipher3(folder: Path, key: str) -> None:
    """Make it with SQLCipher itself."""
    connection = sqlcipher.connect(str(folder / "accounts.db"))
    quoted = key.replace("'", "''")
    connection.execute(f"PRAGMA key = '{quoted}'")
    content = (FILES / "content.sql").read_text()
    content = content.replace("KEY_HASH", hash_of(OLD_KEY))
    content = content.replace("EXPIRED_HASH", hash_of(EXPIRED_KEY))
    connection.executescript((FILES / "schema.sql").read_text() + content)
    connection.close()


def frozen(name: str, source: Path = FILES) -> Callable[[Path, str], None]:
    """Take one that its library has made, with the log, where that is left."""

    def place(folder: Path, _key: str) -> None:
        for suffix in ("", "-wal"):
            if (source / f"{name}{suffix}").exists():
                shutil.copy(source / f"{name}{suffix}", folder / f"accounts.db{suffix}")

    return place


def fresh(name: str) -> Callable[[Path, str], None]:
    """Make one with its library, here."""

    def place(folder: Path, key: str) -> None:
        (folder / "made").mkdir()
        command = ["node", FILES / "make.mjs", folder / "made"]
        done = subprocess.run(command, cwd=LIBRARY, capture_output=True, text=True, check=False)
        assert done.returncode == -9, done.stderr  # it kills itself
        frozen(name, folder / "made")(folder, key)

    return place


def without_database(cluster: Cluster, key: str) -> Path:
    """The cluster's folder, as it is before the database of another system is put there."""
    for leftover in cluster.folder.glob("accounts.db*"):
        leftover.unlink()
    (cluster.folder / "db.key").write_text(f"{key}\n")
    return cluster.folder


SOURCES = [
    pytest.param(by_sqlcipher3, PASSPHRASE, id="sqlcipher3"),
    pytest.param(by_sqlcipher3, RAW, id="sqlcipher3, a passphrase of 64 digits"),
    pytest.param(frozen("hot.db"), PASSPHRASE, id="killed, in its log"),
    pytest.param(frozen("raw.db"), RAW, id="raw key"),
    pytest.param(frozen("converted.db"), PASSPHRASE, id="converted"),
]
if LIBRARY:
    SOURCES += [
        pytest.param(fresh("hot.db"), PASSPHRASE, id="made here: killed, in its log"),
        pytest.param(fresh("raw.db"), RAW, id="made here: raw key"),
        pytest.param(fresh("converted.db"), PASSPHRASE, id="made here: converted"),
    ]


@pytest.mark.parametrize(("make", "key"), SOURCES)
def test_a_database_of_the_original_system_opens_in_place(
    prepared: Cluster, make: Callable[[Path, str], None], key: str
) -> None:
    """Accounts, keys and rows stay; the ledger's equation holds from the first moment."""
    make(without_database(prepared, key), key)
    assert prepared.run("accountd", "serve").returncode == 78
    done = prepared.run("accountd", "migrate")
    assert done.returncode == 0, done.stderr
    path = prepared.folder / "accounts.db"
    assert f"copied {path} to {path}.before-0001" in done.stderr
    assert path.stat().st_mode & 0o007 == 0
    prepared.start_accountd()
    shown = prepared.accountctl("account", "show", "old")
    assert (shown["token_remaining"], shown["topup_remaining"]) == (-40, 25)
    assert (shown["plan_name"], shown["created_at"]) == ("Pro", "2025-01-02 03:04:05")
    assert prepared.accountctl("account", "show", "off")["status"] == "disabled"
    assert prepared.accountctl("account", "show", "new")["email"] == "Ünïcode@example.org"
    (row,) = prepared.usage_rows("old")
    assert (row["total_tokens"], row["topup_deducted"]) == (40, 0)
    assert row["created_at"] == "2025-01-02T03:05:00.000Z"
    audit = prepared.audit()
    assert audit["ok"]
    assert audit["usage_rows"] == 2  # that of a removed account as well
    prepared.accountctl("account", "topup", "old", "100")
    assert prepared.audit()["ok"]
    listed = {one["label"]: one for one in prepared.accountctl("key", "list", "old")["keys"]}
    assert listed["from before"]["key_hash"] == hash_of(OLD_KEY)
    assert listed["expired"]["expires_at"] == "2025-06-01 00:00:00"
    (kept,) = prepared.accountctl("sessions", "list")["sessions"]
    assert (kept["session_id"], kept["updated_at"]) == ("s", None)


def test_a_key_of_the_original_system_is_let_in(prepared: Cluster) -> None:
    """And one that had expired is not."""
    frozen("hot.db")(without_database(prepared, PASSPHRASE), PASSPHRASE)
    assert prepared.run("accountd", "migrate").returncode == 0
    prepared.start_accountd()
    prepared.accountctl("account", "topup", "old", "100")
    prepared.start_simulator()
    gateway = prepared.start_gateway()
    url = f"ws://{gateway.field('listen')}/v1/realtime?model=gpt-realtime&rs_key="
    with connect(url + OLD_KEY, max_size=None) as client:
        assert '"session.created"' in str(client.recv(timeout=10))
    with pytest.raises(InvalidStatus, match="401"):
        connect(url + EXPIRED_KEY)


@pytest.mark.parametrize("command", ["serve", "migrate"])
def test_a_file_without_legacy_is_known_by_its_header(prepared: Cluster, command: str) -> None:
    """SQLCipher says "file is not a database" of it, as of a wrong key."""
    frozen("without-legacy.db")(without_database(prepared, PASSPHRASE), PASSPHRASE)
    before = (prepared.folder / "accounts.db").read_bytes()
    done = prepared.run("accountd", command)
    assert done.returncode == 78
    assert "without the pragma legacy=4: bytes 16 to 23 are in plain text" in done.stderr
    assert "PRAGMA legacy=4; PRAGMA rekey='…'" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert (prepared.folder / "accounts.db").read_bytes() == before
