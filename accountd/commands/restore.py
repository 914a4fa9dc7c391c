"""``accountd restore``."""

import json
from pathlib import Path
from typing import Any

import click

from accountd.commands.options import DB_PATH, FILE, JOURNAL, JSON, key_file_named
from accountd.config import load_database, load_journal
from accountd.data.journal import AdminChange
from accountd.data.links import followed
from accountd.maintenance import restoring
from accountd.maintenance.restoring import Asked, Restored
from shared import core_dumps, secret_files
from shared.progress import TerminalProgress


@click.command()
@DB_PATH
@JOURNAL
@click.argument("source", type=FILE)
@click.option(
    "--key-file", type=FILE,
    help="The key of the backup, where it is another one than the database's.",
)  # fmt: skip
@click.option(
    "--other-ledger", is_flag=True, help="Restore a backup of another ledger than the database."
)
@JSON
def restore(
    source: Path,
    key_file: Path | None,
    *,
    other_ledger: bool,
    as_json: bool,
    **settings: str | None,
) -> None:
    """Put the backup SOURCE in the place of the database, which is kept; accountd must be stopped.

    Accounts, keys and grants of since then are taken from the journal.
    """
    core_dumps.forbid()
    source = followed(source)
    loaded = load_database(settings)
    key = secret_files.read_key("--key-file", key_file) if key_file else loaded.key
    asked = Asked(
        loaded.path, loaded.key, source, key, load_journal(settings, loaded.path),
        is_other_ledger=other_ledger,
    )  # fmt: skip
    with TerminalProgress() as progress, key_file_named(key_file):
        done = restoring.restore(asked, progress.tell)
    click.echo(json.dumps(as_json_of(asked, done)) if as_json else text_of(asked, done))


def as_json_of(asked: Asked, done: Restored) -> dict[str, Any]:
    """For programs."""
    return {
        "restored": str(asked.path),
        "source": str(asked.source),
        "made_at": done.made_at,
        "epoch": done.verified.epoch,
        "usage_rows": done.verified.counts.get("usage", 0),
        "migrated": done.migrated,
        "changes": [
            {"from": name, "number": c.number, "at": c.at, "subject": c.subject, **_values(c)}
            for name, c in done.changes
        ],
        "lost_changes": [list(each) for each in done.lost],
        "expected_producers": done.expected_producers,
        "expected_batches": done.expected_batches,
        "kept": [str(path) for path in done.kept],
        "notes": done.notes,
        "seconds": round(done.seconds, 3),
    }


def text_of(asked: Asked, done: Restored) -> str:
    """What was done, and what remains to do."""
    made = f", made {done.made_at}" if done.made_at else ""
    lines = [
        f"restored {asked.path} from {asked.source}{made}, in {done.seconds:.1f} s",
        f"  holds     {done.verified.counts.get('usage', 0):,} usage rows,"
        f" {done.verified.counts.get('accounts', 0):,} accounts",
    ]
    lines += [f"  migrated  {name}" for name in done.migrated]
    lines += [f"  put back  {_told(change)}, from the {name}" for name, change in done.changes]
    lines += [
        f"  LOST      changes {first} to {last} of accounts, keys and grants: nothing has them"
        for first, last in done.lost
    ]
    if done.expected_batches:
        lines.append(
            f"  expected  {done.expected_batches:,} batches of {done.expected_producers:,}"
            " producers, which gateways send again"
        )
    lines += [f"  note      {note}" for note in done.notes]
    lines += [f"  kept      {path}" for path in done.kept]
    lines.append("Next: start accountd; gateways send again what their spools have;")
    lines.append("accountctl audit says OK when all of it is there.")
    return "\n".join(lines)


def _told(change: AdminChange) -> str:
    found = _values(change)
    if change.subject == "grant":
        return (
            f"{change.at} grant {change.name} of {found['account_id']}:"
            f" topup {found['topup_delta']:+,}, tokens {found['token_delta']:+,}"
        )
    if change.subject == "key":
        return f"{change.at} key {found['key_indicator']} of {found['account_id']}"
    return f"{change.at} account {change.name}"


def _values(change: AdminChange) -> dict[str, Any]:
    """What tells one change from another; a key's hash is none of that."""
    row = json.loads(change.body)
    shown = {
        "grant": ("account_id", "kind", "topup_delta", "token_delta", "reason"),
        "key": ("account_id", "key_indicator", "label", "revoked_at"),
        "account": ("status", "plan_name"),
    }[change.subject]
    name = {} if change.subject == "key" else {"name": change.name}
    return {**name, **{column: row.get(column) for column in shown}}
