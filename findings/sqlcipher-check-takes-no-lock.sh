#!/usr/bin/env bash
# What: PRAGMA cipher_integrity_check of a database that another process is writing.
# Guess: it reads in a transaction, as PRAGMA integrity_check does: "database is locked" beside an
#   exclusive transaction, a snapshot beside a writer in WAL mode.
# Seen (sqlcipher3 0.6.4, SQLCipher 4.19.0): it takes no lock and reads the file past SQLite. In the
#   middle of another connection's BEGIN EXCLUSIVE, where SELECT and integrity_check fail with "database
#   is locked", it returns no row, which means that all is right. In WAL mode it reads pages while a
#   checkpoint writes them: a good database with pages of 64 KB sometimes has "HMAC verification failed
#   for page 39" (0 to 2 of 1,000 to 2,000 checks on two cores).
# Why it matters: what a backup is proven by has to be a file that nobody writes.
set -euo pipefail
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install --quiet --disable-pip-version-check sqlcipher3==0.6.4
cat > "$dir/run.py" <<'PY'
import subprocess
import sys
import time
from sqlcipher3 import dbapi2 as sql

folder, role = sys.argv[1], sys.argv[2]
SECONDS = 15


def connect(name, page_size=4096):
    db = sql.connect(f"{folder}/{name}", isolation_level=None, timeout=0.5)
    db.execute("PRAGMA key = 'a passphrase'")
    db.execute(f"PRAGMA cipher_page_size = {page_size}")
    return db


def outcome(db, statement):
    try:
        return str(db.execute(statement).fetchall())
    except sql.Error as exc:
        return f"{type(exc).__name__}: {exc}"


if role == "writer":
    db, until = connect("wal.db", 65_536), time.monotonic() + SECONDS
    db.execute("PRAGMA wal_autocheckpoint = 200")
    db.execute("PRAGMA synchronous = off")
    while time.monotonic() < until:
        try:
            db.execute("UPDATE t SET x = randomblob(3000) WHERE id % 50 = abs(random()) % 50")
        except sql.OperationalError:
            continue
    sys.exit(0)

writer = connect("locked.db")
print("sqlcipher3", sql.version, "SQLCipher", writer.execute("PRAGMA cipher_version").fetchone()[0])
writer.execute("CREATE TABLE t (x)")
writer.execute("BEGIN EXCLUSIVE")
writer.execute("INSERT INTO t VALUES (1)")
other, found = connect("locked.db"), {}
for statement in ("SELECT count(*) FROM t", "PRAGMA integrity_check", "PRAGMA cipher_integrity_check"):
    found[statement] = outcome(other, statement)
    print(f"beside BEGIN EXCLUSIVE: {statement}: {found[statement]}")

db = connect("wal.db", 65_536)
db.execute("PRAGMA journal_mode = WAL")
db.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, x)")
db.executemany("INSERT INTO t VALUES (?, randomblob(3000))", [(n,) for n in range(1_000)])
checks = alarms = 0
with subprocess.Popen([sys.executable, __file__, folder, "writer"]) as process:
    while process.poll() is None:
        checks, alarms = checks + 1, alarms + bool(db.execute("PRAGMA cipher_integrity_check").fetchall())
print(f"beside a writer in WAL mode: {alarms} of {checks} checks say that a page is damaged")
print("afterwards:", outcome(db, "PRAGMA cipher_integrity_check"), outcome(db, "PRAGMA integrity_check"))
locked = "OperationalError: database is locked"
expected = dict(zip(found, (locked, locked, "[]"), strict=True))
sys.exit(found != expected and f"CHANGED: expected {expected}, found {found}")
PY
"$dir/venv/bin/python" "$dir/run.py" "$dir" reader
