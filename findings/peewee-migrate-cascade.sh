#!/usr/bin/env bash
# What: migrate(migrator.add_column(...)) of peewee's playhouse on an SQLite table that others refer to with
#   ON DELETE CASCADE, with foreign keys on, as a database of such models has them.
# Guess: SQLite has ALTER TABLE ADD COLUMN, so a new column with a default touches no other table; at
#   worst the operation is refused.
# Seen (peewee 4.5.3): success, and every row of the referring table is deleted. A column that may be NULL
#   is added in place. For one that may not the table is built anew and the old one dropped, which SQLite
#   turns into a DELETE of all its rows, with all that follows from one. add_not_null and alter_column_type
#   do the same. The table's triggers are gone as well. Inside migrator.migration_context() the rows stay,
#   but not the triggers; inside db.atomic() both are gone.
# Why it matters: accounts with their keys and charges hang on one parent, and a migration that adds a
#   column is the one that nobody rehearses.
set -euo pipefail
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install --quiet --disable-pip-version-check peewee==4.5.3
cat > "$dir/run.py" <<'PY'
import contextlib, sqlite3, sys
import peewee
from playhouse.migrate import SqliteMigrator, migrate


def run(operation, context):
    db = peewee.SqliteDatabase(":memory:", pragmas={"foreign_keys": 1})

    class Account(peewee.Model):
        name = peewee.CharField(null=True)

        class Meta:
            database = db

    class Charge(peewee.Model):
        account = peewee.ForeignKeyField(Account, on_delete="CASCADE")

        class Meta:
            database = db

    db.create_tables([Account, Charge])
    db.execute_sql("CREATE TRIGGER noted AFTER DELETE ON account BEGIN SELECT 1; END")
    account = Account.create(name="a")
    for _ in range(3):
        Charge.create(account=account)
    migrator = SqliteMigrator(db)
    with {"alone": contextlib.nullcontext, "atomic": db.atomic, "context": migrator.migration_context}[context]():
        migrate(operation(migrator))
    triggers = db.execute_sql("SELECT count(*) FROM sqlite_master WHERE type = 'trigger'").fetchone()[0]
    return Account.select().count(), Charge.select().count(), triggers


def add(**column):
    return lambda migrator: migrator.add_column("account", "credit", peewee.IntegerField(**column))


cases = {
    "add_column, may be NULL": (add(null=True), {"alone": (1, 3, 1)}),
    "add_column, default 0": (add(default=0), {"alone": (1, 0, 0), "atomic": (1, 0, 0), "context": (1, 3, 0)}),
    "add_not_null": (lambda migrator: migrator.add_not_null("account", "name"), {"alone": (1, 0, 0)}),
    "alter_column_type": (
        lambda migrator: migrator.alter_column_type("account", "name", peewee.TextField()), {"alone": (1, 0, 0)}),
}
print("peewee", peewee.__version__, "SQLite", sqlite3.sqlite_version)
is_same = True
for name, (operation, contexts) in cases.items():
    for context, expected in contexts.items():
        found = run(operation, context)
        is_same &= found == expected
        print(f"  {name} ({context}): {found[0]} account, {found[1]} of 3 charges, {found[2]} of 1 trigger left")
sys.exit(not is_same and f"CHANGED: expected {[contexts for _, contexts in cases.values()]}")
PY
"$dir/venv/bin/python" "$dir/run.py"
