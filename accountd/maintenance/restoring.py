"""``accountd restore``: a backup takes the place of the database, and what it lacks is put back.

The backup is proven and copied beside the database, under the database's key. The copy gets the
admin changes that were made since: from the journal, and from the database that is replaced, where
that still opens. What producers had been told is durable is noted as expected: the audit is not OK
before their gateways have sent it again. Then the copy takes the database's place in one step
(``swap``); what is replaced is kept.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import peewee
from sqlcipher3 import dbapi2 as sqlcipher

from accountd.clock import now_iso
from accountd.data import database, migrating, private_copy, snapshot, standby_role, swap
from accountd.data.journal import (
    AdminChange,
    ChangeSource,
    Journal,
    JournalError,
    JournalFault,
    StoredChanges,
)
from accountd.data.swap import Replacement
from accountd.ledger import expectations
from accountd.maintenance import rekeying, staging
from accountd.maintenance.manifests import differences, read_manifest
from accountd.maintenance.replaying import DivergedError, replay
from accountd.maintenance.staging import Tell
from accountd.maintenance.verifying import Verified, verify
from shared.errors import ConfigError, DatabaseUnusableError

JOURNAL: Final = "journal"
REPLACED: Final = "replaced database"
_ANOTHER: Final = "restore another backup; nothing was changed"
# Errors of the disk under the copy, and not of what was copied.
_OF_THE_COPY: Final = ("SQLITE_IOERR", "SQLITE_FULL")


@dataclass(frozen=True, slots=True)
class Asked:
    """What an operator asks for. ``key`` is that of the database, ``source_key`` that of the
    backup.
    """

    path: Path
    key: str
    source: Path
    source_key: str
    journal: Path
    is_other_ledger: bool = False


@dataclass(slots=True)
class Restored:
    """What was done. ``changes`` were put back, with the name of what had each; ``lost`` are ranges
    of the numbers of changes that nothing has; ``notes`` are what an operator should know.
    """

    verified: Verified
    made_at: str | None = None
    migrated: list[str] = field(default_factory=list)
    changes: list[tuple[str, AdminChange]] = field(default_factory=list)
    lost: list[tuple[int, int]] = field(default_factory=list)
    expected_producers: int = 0
    expected_batches: int = 0
    kept: tuple[Path, ...] = ()
    notes: list[str] = field(default_factory=list)
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class _Witness:
    """Something that knows what came after the backup, by its name."""

    name: str
    changes: ChangeSource
    watermarks: dict[bytes, int]


def restore(asked: Asked, tell: Tell) -> Restored:
    """Let the backup take the place of the database. Raises an ``OperatorError`` that says whether
    something was changed.
    """
    started = time.monotonic()
    _check_source(asked)
    with database.locked(asked.path):
        standby_role.check_may_serve(asked.path)
        found = _proven(asked, tell)
        _check_space(asked, found.verified)
        with staging.staged(asked.path, asked.path) as (replacement,):
            rekeying.stage(
                asked.source, replacement, asked.source_key, asked.key, tell, is_proven=True
            )
            removed = _complete(asked, replacement, found, tell)
            staging.prove(replacement, asked.key, named=asked.source, tell=tell)
            tell("replacing the files", 1.0)
            found.kept = staging.exchange(asked.path, (replacement,), removed=removed)
    found.seconds = time.monotonic() - started
    return found


# --- before anything is made ---------------------------------------------------------------------


def _check_source(asked: Asked) -> None:
    if not asked.source.is_file():
        raise ConfigError(f"no backup at {asked.source}", hint="name the file that was made")
    if asked.path.exists() and asked.source.samefile(asked.path):
        raise ConfigError(
            f"{asked.source} is the database itself", hint="name a backup to restore from"
        )


def _proven(asked: Asked, tell: Tell) -> Restored:
    """The backup, after it was compared with its manifest and read whole."""
    what = f"proving {asked.source}"
    manifest = read_manifest(asked.source)
    try:
        with database.errors_translated(asked.source):
            verified = verify(
                asked.source, asked.source_key,
                on_progress=lambda done, total: tell(what, done / total if total else 1.0),
            )  # fmt: skip
    except DatabaseUnusableError as exc:
        if database.error_name(exc).startswith("SQLITE_CORRUPT"):
            exc.hint = _ANOTHER
        raise
    wrong = [*verified.damage, *(differences(manifest, verified) if manifest else ())]
    if wrong:
        raise DatabaseUnusableError(
            f"{asked.source} cannot be restored: {wrong[0]}",
            hint=_ANOTHER,
        )
    found = Restored(verified, made_at=str(manifest["made_at"]) if manifest else None)
    if manifest is None:
        found.notes.append(f"{asked.source} has no manifest beside it to compare it with")
    found.notes += [f"in the backup: {finding}" for finding in verified.findings]
    return found


def _check_space(asked: Asked, verified: Verified) -> None:
    """Room for the copy, for that of the database that is replaced, and for what a migration
    rewrites.
    """
    needed = private_copy.length(asked.source)
    if verified.audit is None:  # an older schema
        needed *= 2
    if asked.path.exists():
        needed += private_copy.length(asked.path)
    private_copy.check_space(asked.path.parent, needed)


# --- what came after the backup ------------------------------------------------------------------


def _complete(
    asked: Asked, replacement: Replacement, found: Restored, tell: Tell
) -> tuple[Path, ...]:
    """Put into the staged copy what witnesses have; the files to set aside with the database."""
    with migrating.opened_copy(replacement.staged, asked.key) as opened:
        found.migrated = migrating.migrate_copy(opened, tell)
        connection = opened.database.connection()
        if found.verified.database_id is None:
            found.notes.append("the backup is older than ledgers' ids: it counts as of this one")
        with _replaced(asked, found, tell) as old, _journal(asked, found, old) as journal:
            witnesses = [w for w in (journal, old) if w is not None]
            is_other = _is_other_ledger(asked, connection, witnesses, found)
            for witness in [] if is_other else witnesses:
                _replay(connection, witness, found)
                expectations.expect_usage(
                    connection, witness.watermarks, source=witness.name, now=now_iso()
                )
            if not witnesses:
                expectations.note_unknown(connection, source="restore", now=now_iso())
                found.notes.append(
                    "nothing remembers what operators changed since the backup: compare accounts,"
                    " keys and grants with what was asked for; until accountctl audit --settle the"
                    " audit is not OK"
                )
        expectations.begin_history(connection)
        found.expected_producers, found.expected_batches = expectations.expected_usage(connection)
        has_bad_journal = journal is None and asked.journal.exists()
    return (asked.journal,) if has_bad_journal or (is_other and asked.journal.exists()) else ()


def _is_other_ledger(
    asked: Asked, connection: Any, witnesses: list[_Witness], found: Restored
) -> bool:
    """Whether the backup is of another ledger than the witnesses, and that is what was asked for.

    A backup from before ledgers had ids gets that of the witnesses.
    """
    ours = {witness.changes.database_id for witness in witnesses}
    (backup_id,) = connection.execute("SELECT database_id FROM custody").fetchone()
    if found.verified.database_id is None and len(ours) == 1 and not asked.is_other_ledger:
        connection.execute("UPDATE custody SET database_id = ?", tuple(ours))
        return False
    if ours <= {backup_id}:
        return False
    if not asked.is_other_ledger:
        raise DatabaseUnusableError(
            f"{asked.source} is a backup of another ledger than {asked.path}",
            hint="name a backup of this one; --other-ledger restores it nevertheless",
        )
    return True


def _replay(connection: Any, witness: _Witness, found: Restored) -> None:
    """Put back the changes that ``witness`` has and the copy lacks."""
    missing = list(witness.changes.changes_after(StoredChanges(connection).newest()))
    try:
        outcome = replay(connection, witness.changes, named=witness.name)
    except DivergedError as exc:
        if witness.name == JOURNAL:
            raise
        found.notes.append(f"nothing was taken over from the {witness.name}: {exc}")
        return
    found.changes += [(witness.name, change) for change in missing]
    found.lost += outcome.lost


@contextmanager
def _journal(asked: Asked, found: Restored, old: _Witness | None) -> Iterator[_Witness | None]:
    """The journal; None, with a note, where it cannot be used, or is not that of ``old``."""
    if not asked.journal.exists():
        found.notes.append(f"there is no journal at {asked.journal}")
        yield None
        return
    try:
        journal = Journal.open(asked.journal, asked.key)
    except JournalError as exc:
        if exc.fault is JournalFault.OTHER_FILE:
            raise
        found.notes.append(f"the journal was not used: {exc}")
        yield None
        return
    try:
        if old is not None and journal.database_id != old.changes.database_id:
            found.notes.append(f"{asked.journal} is the journal of another ledger")
            yield None
        else:
            yield _Witness(JOURNAL, journal, journal.watermarks())
    finally:
        journal.close()


@contextmanager
def _replaced(asked: Asked, found: Restored, tell: Tell) -> Iterator[_Witness | None]:
    """The database that is replaced, from a copy of it: it may be damaged, and stays as it is.

    None, with a note, where it does not open.
    """
    if not asked.path.exists():
        yield None
        return
    copy = Replacement(Path(f"{swap.staging_path(asked.path)}-old"), asked.path)
    try:
        try:
            staging.copy(asked.path, copy, tell)
            if lost := snapshot.settle(copy.staged, asked.key):
                found.notes.append(
                    f"the log of the {REPLACED} is damaged: {lost:,} commits in it cannot be read"
                )
            old = database.connect(copy.staged, asked.key)
        except (private_copy.UnreadableError, DatabaseUnusableError, peewee.DatabaseError) as exc:
            if database.error_name(exc).startswith(_OF_THE_COPY):
                raise
            found.notes.append(f"the {REPLACED} was not read: {exc}")
            yield None
            return
        try:
            yield _witness(old.connection(), found)
        finally:
            old.close()
    finally:
        with suppress(OSError):
            swap.discard(copy.staged)


def _witness(connection: Any, found: Restored) -> _Witness | None:
    try:
        changes = StoredChanges(connection)
        _ = changes.database_id, list(changes.changes_after(changes.newest()))
        marks = expectations.applied(connection)
    except sqlcipher.Error as exc:
        if database.error_name(exc).startswith(_OF_THE_COPY):
            raise
        found.notes.append(f"the {REPLACED} was not read: {exc}")
        return None
    return _Witness(REPLACED, changes, marks)
