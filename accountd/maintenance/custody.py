"""The daemon's care that nothing gets lost unnoticed: the open mark, the journal, what is missing.

At the start the journal is opened, a ledger that is older than it is brought up to it, and what
its watermarks know is expected. Admin changes are appended before they are answered. A journal that
cannot be written stops nothing: the change stands, its answer has a warning, and it is appended as
soon as that is possible. One that is damaged is set aside under another name, never overwritten;
one of another ledger is left alone. Runs on the daemon's one writing thread.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any, Final

import structlog

from accountd.clock import now_iso
from accountd.data.database import passing_trouble, transaction
from accountd.data.journal import Journal, JournalError, JournalFault, StoredChanges
from accountd.data.open_mark import set_mark
from accountd.ledger import expectations
from accountd.maintenance.replaying import DivergedError, replay
from accountd.request_params import Json, Params
from shared.metrics import Metric
from shared.wire import EPOCH_MAX, SEQUENCE_MAX

log = structlog.get_logger()

RETRY_S: Final = 1.0
# To open a journal with a passphrase takes 0.2 s, in which no usage is applied.
REOPEN_S: Final = 10.0
# Usage that was acknowledged later than the last note is known from the gateways.
WATERMARKS_S: Final = 10.0
# Changes appended in one transaction of the journal.
PORTION: Final = 10_000
WARNING: Final = (
    "this is done, but the journal cannot be written: until it can, a restored backup would lack"
    " it; accountd's log says why"
)
_STAMP: Final = "%Y%m%dT%H%M%S.%fZ"
# These may be right again without anything being done to the file.
_LEFT_ALONE: Final = (
    JournalFault.UNREACHABLE,
    JournalFault.OTHER_LEDGER,
    JournalFault.OTHER_FILE,
)


class Custody:
    """The journal at ``path`` of the ledger that ``connection`` writes. ``begin`` before use."""

    def __init__(self, connection: Any, path: Path, key: str) -> None:
        self._connection, self._path, self._key = connection, path, key
        self._ledger = StoredChanges(connection)
        self._journal: Journal | None = None
        self._appended = 0
        self._noted: dict[bytes, int] = {}
        self._claims: dict[bytes, int] = {}
        self._claimed_change = 0
        self._known_change = 0  # up to here no change can be missing unnoticed
        self._epoch = 0
        self._retry_at = self._reopen_at = self._watermarks_at = 0.0
        self._is_compared = False
        self._compared_at = ""  # whose expectations may be there already
        self._known: dict[bytes, int] = {}  # what the journal had noted when it was opened
        self._is_noted = False  # whether it has the watermarks of all producers
        self.newest = 0  # these are read by another thread
        self.is_failing = False

    # --- called by the daemon ---------------------------------------------------------------------

    def begin(self) -> None:
        """Open the journal, and bring the ledger up to it. Raises an ``OperatorError``."""
        set_mark(self._connection, is_open=True)
        self._known_change = expectations.newest_change(self._connection)
        self._open()
        self._keep()

    def serve(self, *, epoch: int) -> None:
        """Gateways may tell what they know; ``epoch`` is that of this boot."""
        self._epoch = epoch

    def applied(self, throughs: Iterable[tuple[bytes, int]]) -> None:
        """So much of the usage of these producers is committed."""
        self._noted.update(throughs)

    def has_changed(self) -> bool:
        """Whether the last request has changed something that ``keep`` has to append."""
        newest = self._ledger.newest()
        is_newer = newest > self.newest
        self.newest = newest
        return is_newer

    def keep(self) -> str | None:
        """Append what requests have changed, before they are answered; a warning if that fails."""
        self._keep()
        return WARNING if self.behind else None

    def tick(self, *, now: float) -> None:
        """Try again what failed, note watermarks, and look whether what was missing has come.

        Called before the first request is answered, and then in each turn of the loop.
        """
        if now >= self._retry_at:
            self._retry_at = now + RETRY_S
            self._write_claims()
            if self._journal is not None and not self._is_compared:
                self._compare(self._journal)
            elif self._journal is not None and (self.behind or self.is_failing):
                self._keep()
        if self.is_failing and now >= self._reopen_at:
            self._reopen_at = now + REOPEN_S
            self._close()  # SQLite goes on only reading what it could only read
            self._write(self._open)
            self._keep()
        if not self._watermarks_at:
            self._watermarks_at = now + WATERMARKS_S  # a start looks at no producer
        if now >= self._watermarks_at:
            self._watermarks_at = now + WATERMARKS_S
            self._check_place()
            self._note_watermarks()
            self._write(self._drop_reached)

    def end(self) -> None:
        """The daemon stops, and everything is committed."""
        self._write_claims()
        self._keep()
        self._note_watermarks()
        self._write(self._drop_reached)
        self._write(lambda: set_mark(self._connection, is_open=False))
        self._close()

    @property
    def behind(self) -> int:
        """How many numbers of changes the journal has not yet."""
        return max(0, self.newest - self._appended)

    def metrics(self) -> list[Metric]:
        """For ``/metrics``."""
        return [
            Metric(
                "rts_accountd_journal_behind", "gauge",
                "Admin changes that are in the ledger and could not be appended to the journal.",
                lambda: self.behind,
            ),
            Metric(
                "rts_accountd_journal_failing", "gauge",
                "1 while the journal cannot be written.",
                lambda: int(self.is_failing),
            ),
        ]  # fmt: skip

    # --- what gateways know -----------------------------------------------------------------------

    def told(self) -> list[int]:
        """What gateways remember of this boot: its epoch, and the number of the newest change."""
        return [self._epoch, self.newest]

    def hear(self, params: Params, producers: Sequence[bytes], throughs: Sequence[int]) -> None:
        """A gateway says what it has seen acknowledged, and of which change it has heard."""
        if params.has("seen"):
            seen = params.integers("seen", 0, SEQUENCE_MAX, at_most=len(producers))
            for producer, claimed, through in zip(producers, seen, throughs, strict=False):
                if claimed > max(through, self._claims.get(producer, 0)):
                    self._claims[producer] = claimed
        if params.has("changes"):
            epoch, number = (*params.integers("changes", 0, EPOCH_MAX, at_most=2), 0)[:2]
            if epoch < self._epoch and number > max(self._known_change, self._claimed_change):
                self._claimed_change = number

    def settle(self, params: Params) -> Json:
        """Expect no longer what is missing: an operator says why."""
        reason = params.words("reason")
        self._write_claims()
        with transaction(self._connection):
            producers, ranges = expectations.settle(self._connection, reason=reason, now=now_iso())
        log.warning("missing usage and changes settled", producers=producers, changes=ranges)
        return {"producers": producers, "changes": ranges, "reason": reason}

    # --- the journal's file -----------------------------------------------------------------------

    def _open(self) -> None:
        try:
            self._use(Journal.open(self._path, self._key))
        except JournalError as exc:
            if exc.fault in _LEFT_ALONE:
                self._failed(exc)
            else:
                self._begin_anew(exc)
        except DivergedError as exc:
            self._begin_anew(exc)
        self.newest = self._ledger.newest()

    def _use(self, journal: Journal) -> None:
        """Continue the journal; a ledger that is older than it gets what it lacks."""
        try:
            if journal.database_id != self._ledger.database_id:
                raise JournalError(self._path, JournalFault.OTHER_LEDGER)
            self._appended = journal.newest()
            replayed = replay(self._connection, journal)
        except BaseException:
            journal.close()
            raise
        self._begun(journal)
        self._known_change = max(self._known_change, self._appended)
        if replayed.applied or replayed.lost:
            log.warning(
                "ledger is older than its journal, changes replayed",
                applied=replayed.applied, grants=replayed.grants, lost=replayed.lost_count,
            )  # fmt: skip

    def _begun(self, journal: Journal) -> None:
        self._journal = journal
        self._is_compared = self._is_noted = False

    def _begin_anew(self, reason: JournalError | DivergedError) -> None:
        self._close()
        if isinstance(reason, DivergedError):
            self._claimed_change = max(self._claimed_change, reason.last)
            after, source = reason.first - 1, "journal that was set aside"
            self._write(lambda: self._expect_changes(after=after, source=source))
        is_missing = isinstance(reason, JournalError) and reason.fault is JournalFault.MISSING
        try:
            aside = None if is_missing else self._set_aside()
            self._begun(Journal.create(self._path, self._key, self._ledger.database_id))
        except (OSError, JournalError) as exc:
            self._failed(exc)
            return
        self._appended = 0
        first = next((change.number for change in self._ledger.changes_after(0)), 1)
        if aside is not None:
            log.error("journal set aside", why=str(reason), kept=str(aside), complete_from=first)
        elif self._ledger.newest():
            log.warning("journal is new", path=str(self._path), complete_from=first)

    def _set_aside(self) -> Path:
        stamp = datetime.now(UTC).strftime(_STAMP)
        return self._path.rename(f"{self._path}.set-aside-{stamp}")

    def _check_place(self) -> None:
        """A journal that was moved away under the daemon is not the one that a restore finds."""
        if self._journal is not None and not self._journal.is_in_place:
            log.error("journal was moved or removed", path=str(self._path))
            self._close()
            self._write(self._open)
            self._keep()

    def _close(self) -> None:
        if self._journal is not None:
            self._journal.close()
            self._journal = None

    def _keep(self) -> None:
        """Append what the journal lacks."""
        try:
            while self._journal is not None and self.behind:
                changes = list(islice(self._ledger.changes_after(self._appended), PORTION))
                if not changes:  # the last numbers are those of changes that are missing here
                    self._appended = self.newest
                    break
                self._journal.append(changes)
                self._appended = changes[-1].number
        except JournalError as exc:
            self._failed(exc)
            return
        if self.is_failing:
            self._note_watermarks()

    def _note_watermarks(self) -> None:
        if self._journal is None:
            return
        if self._is_compared and not self._is_noted:
            applied = expectations.applied(self._connection)
            unnoted = {p: n for p, n in applied.items() if n > self._known.get(p, 0)}
            self._noted, self._known, self._is_noted = unnoted | self._noted, {}, True
        if not (self._noted or self.is_failing):
            return
        try:
            if self.is_failing:
                self._journal.prove_writable()
            self._journal.note_watermarks(self._noted)
        except JournalError as exc:
            self._failed(exc)
            return
        self._noted = {}
        if self.is_failing and not self.behind:
            self.is_failing = False
            log.info("journal is complete again", newest=self.newest)

    def _failed(self, exc: Exception) -> None:
        if not self.is_failing:
            self.is_failing = True
            hint = getattr(exc, "hint", "")
            log.error("journal cannot be written", why=str(exc), behind=self.behind, hint=hint)
        if isinstance(exc, JournalError) and exc.fault is JournalFault.DAMAGED and self._journal:
            self._begin_anew(exc)

    # --- what is missing --------------------------------------------------------------------------

    def _compare(self, journal: Journal) -> None:
        """Expect what the journal knows of usage. What is there already is dropped soon."""
        try:
            known = journal.watermarks()
        except JournalError as exc:
            self._failed(exc)
            return
        self._is_compared = not known or self._write(lambda: self._expect_known(known))
        self._known = known
        try:
            journal.prove_writable()
        except JournalError as exc:
            self._failed(exc)

    def _write_claims(self) -> None:
        if self._claims:
            self._write(lambda: self._expect(self._claims, source="gateway"))
        if self._claimed_change > self._known_change:
            self._write(lambda: self._expect_changes(after=self._known_change, source="gateway"))

    def _expect(self, throughs: Mapping[bytes, int], *, source: str) -> None:
        with transaction(self._connection):
            expectations.expect_usage(self._connection, throughs, source=source, now=now_iso())
        if throughs is self._claims:
            self._claims = {}

    def _expect_known(self, known: Mapping[bytes, int]) -> None:
        now = now_iso()
        with transaction(self._connection):
            expectations.expect_whatever_is_applied(
                self._connection, known, source="journal", now=now
            )
        self._compared_at = now

    def _expect_changes(self, *, after: int, source: str) -> None:
        through = self._claimed_change
        with transaction(self._connection):
            expectations.expect_changes(
                self._connection, after=after, through=through, source=source, now=now_iso()
            )
        self._known_change = through
        log.error("admin changes are missing", first=after + 1, last=through)

    def _drop_reached(self) -> None:
        if not expectations.has_expectations(self._connection):
            return
        if self._compared_at:
            with transaction(self._connection):
                expectations.drop_applied(self._connection, noted_at=self._compared_at)
            self._compared_at = ""
            return
        with transaction(self._connection):
            reached = expectations.drop_reached(self._connection)
        if reached:
            log.info("expected usage has arrived", producers=reached)

    def _write(self, write: Callable[[], None]) -> bool:
        """Write to the ledger; where that fails for now, a later turn tries again."""
        try:
            write()
        except Exception as exc:
            if passing_trouble(exc) is None:
                raise
            return False
        return True
