"""``accountd rekey``."""

import json
import os
import sys
from pathlib import Path

import click

from accountd.commands.options import DB_PATH, JOURNAL, JSON
from accountd.config import load_database, load_journal
from accountd.data import unopenable
from accountd.maintenance import rekeying
from accountd.maintenance.rekeying import Rekeyed
from shared import core_dumps, secret_files
from shared.errors import ConfigError
from shared.progress import TerminalProgress

_KEY_FILE = "DB_ENCRYPTION_KEY_FILE"


@click.command()
@DB_PATH
@JOURNAL
@click.option(
    "--new-key-file", type=click.Path(path_type=Path),
    help="The file that has the new key: 64 hex digits or a passphrase. Without it the new key is"
    " asked for.",
)  # fmt: skip
@click.option(
    "--replace-key-file", is_flag=True,
    help=f"Write the new key to the file that {_KEY_FILE} names, in the same step.",
)  # fmt: skip
@JSON
def rekey(
    new_key_file: Path | None, *, replace_key_file: bool, as_json: bool, **settings: str | None
) -> None:
    """Encrypt the database and its journal with another key; accountd must be stopped."""
    core_dumps.forbid()
    loaded = load_database(settings)
    key_file = _key_file() if replace_key_file else None
    new_key = _new_key(new_key_file)
    if new_key == loaded.key:
        raise ConfigError("the new key is the one in use", hint="make another one")
    with TerminalProgress() as progress:
        done = rekeying.rekey(
            loaded.path, loaded.key, new_key,
            journal=load_journal(settings, loaded.path), key_file=key_file, tell=progress.tell,
        )  # fmt: skip
    if as_json:
        click.echo(json.dumps(_as_json(done)))
    else:
        _tell(done, loaded.path, key_file=key_file, new_key_file=new_key_file)


def _key_file() -> Path:
    path = os.environ.get(_KEY_FILE)
    if not path:
        raise ConfigError(
            f"--replace-key-file: {_KEY_FILE} is not set", hint="keep the key in a file"
        )
    return Path(path)


def _new_key(new_key_file: Path | None) -> str:
    """The new key, from a file or typed twice. Raises ``ConfigError``."""
    if new_key_file is not None:
        if not new_key_file.exists():
            raise ConfigError(
                f"--new-key-file: no file at {new_key_file}",
                hint=f"make one: (umask 077; openssl rand -hex 32 > {new_key_file})",
            )
        found = secret_files.read("--new-key-file", new_key_file).strip()
    elif sys.stdin.isatty():
        found = click.prompt("New key", hide_input=True, confirmation_prompt=True, err=True)
    else:
        raise ConfigError("no new key", hint="name its file with --new-key-file, or use a terminal")
    if flaw := unopenable.flaw_of(found) if found else "is empty":
        raise ConfigError(f"the new key {flaw}", hint="expected 64 hex digits, or a passphrase")
    return found


def _as_json(done: Rekeyed) -> dict[str, object]:
    return {
        "replaced": [str(path) for path in done.replaced],
        "kept": [str(path) for path in done.kept],
        "seconds": round(done.seconds, 3),
    }


def _tell(done: Rekeyed, path: Path, *, key_file: Path | None, new_key_file: Path | None) -> None:
    """What was done and what remains to do."""
    click.echo(f"{path} is under the new key, in {done.seconds:.1f} s")
    for kept in done.kept:
        click.echo(f"  kept  {kept}")
    click.echo("Backups and archives made before stay under the old key: keep it as long as them.")
    if key_file:
        click.echo(f"{key_file} has the new key. Next: start accountd")
    else:
        name = new_key_file or "a file with the new key"
        click.echo(f"Next: let {_KEY_FILE} name {name}, then start accountd")
    ledgers = [str(kept) for kept in done.kept if not (key_file and _is_kept_of(kept, key_file))]
    click.echo(f"Once it serves, nothing needs the files under the old key: rm {' '.join(ledgers)}")


def _is_kept_of(kept: Path, file: Path) -> bool:
    return kept.name.startswith(f"{file.name}.replaced-")
