#!/usr/bin/env bash
# What: PRAGMA rekey on a database in WAL mode while another connection is in the middle of a read transaction.
# Guess: either it is refused ("database is locked"), as a change of the journal mode is, or the reader is not
#   troubled: it has its snapshot, and connections of one process with the right key go on.
# Seen (sqlcipher3 0.6.4, SQLCipher 4.19.0): rekey says ok, and the reader finishes its transaction. The next
#   one, with nothing in between, fails with "file is not a database", and so does every later one: PRAGMA
#   key with the new key says ok on that connection and changes nothing. A fresh connection works.
# Why it matters: a key is not exchanged under a running daemon, though the database seems to allow it; and the
#   error is the one of a wrong key or a damaged file.
set -euo pipefail
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install --quiet --disable-pip-version-check sqlcipher3==0.6.4
cat > "$dir/run.py" <<'PY'
import importlib.metadata, sys
from sqlcipher3 import dbapi2 as sql


def connect(key):
    db = sql.connect(f"{sys.argv[1]}/a.db", isolation_level=None, timeout=1)
    db.execute(f"PRAGMA key = '{key}'")
    return db


def ask(db, statement):
    try:
        return db.execute(statement).fetchone()[0]
    except sql.Error as exc:
        return str(exc)


COUNT = "SELECT count(*) FROM t"
writer = connect("the old key")
mode = ask(writer, "PRAGMA journal_mode = WAL")
writer.execute("CREATE TABLE t (x)")
writer.executemany("INSERT INTO t VALUES (?)", [(str(n) * 50,) for n in range(2_000)])
reader = connect("the old key")
reader.execute("BEGIN")
steps = [
    ("the reader, in its transaction", lambda: ask(reader, COUNT), 2_000),
    ("PRAGMA journal_mode = DELETE, to compare", lambda: ask(writer, "PRAGMA journal_mode = DELETE"), "database is locked"),
    ("PRAGMA rekey", lambda: ask(writer, "PRAGMA rekey = 'the new key'"), "ok"),
    ("the reader, in the same transaction", lambda: ask(reader, COUNT), 2_000),
    ("the reader commits, and reads", lambda: (reader.execute("COMMIT"), ask(reader, COUNT))[1], "file is not a database"),
    ("PRAGMA key on the reader's connection", lambda: ask(reader, "PRAGMA key = 'the new key'"), "ok"),
    ("the reader again", lambda: ask(reader, COUNT), "file is not a database"),
    ("a fresh connection", lambda: ask(connect("the new key"), COUNT), 2_000),
]
print("sqlcipher3", importlib.metadata.version("sqlcipher3"), "SQLCipher", ask(writer, "PRAGMA cipher_version"), "journal mode", mode)
is_same = True
for name, step, expected in steps:
    found = step()
    print(f"  {name}: {found}")
    is_same &= found == expected
sys.exit(not is_same and f"CHANGED: expected {[step[2] for step in steps]}")
PY
"$dir/venv/bin/python" "$dir/run.py" "$dir" 2> "$dir/log" || { cat "$dir/log"; exit 1; }
