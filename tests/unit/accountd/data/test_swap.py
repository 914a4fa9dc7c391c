"""Files that are replaced together: all old or all new, wherever it is interrupted."""

import itertools
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from accountd.data import database, swap
from accountd.data.swap import Plan, Replacement
from shared.errors import DatabaseUnusableError
from tests.support.killed import OPERATIONS, before_each, killed_at

NOW = datetime(2026, 11, 30, 12, 0, 5, tzinfo=UTC)
STAMP = "replaced-20261130T120005Z"
# What a folder holds before and after, the files set aside under their first names.
OLD = {
    "a.db": "old database", "a.db-wal": "old log", "a.db-journal": "old rollback",
    "db.key": "old key", "other/changes": "old changes", "other/changes-wal": "old changes log",
}  # fmt: skip
NEW = {"a.db": "new database", "db.key": "new key"}


class PowerCutError(Exception):
    """Nothing of the process runs any more."""


def lay_out(folder: Path) -> Path:
    """A database with what belongs to it, and the files that are to replace it."""
    (folder / "other").mkdir(parents=True)
    for name, text in OLD.items():
        (folder / name).write_text(text)
    (folder / "a.db-shm").write_text("index")
    for name, text in NEW.items():
        swap.staging_path(folder / name).write_text(text)
    return folder / "a.db"


def plan_of(folder: Path) -> Plan:
    """The database and its key are replaced, the journal is set aside."""
    return Plan(
        tuple(Replacement(swap.staging_path(folder / n), folder / n) for n in NEW),
        removed=(folder / "other/changes",),
    )


def do_swap(folder: Path) -> tuple[Path, ...]:
    """The act under test."""
    return swap.swap(folder / "a.db", plan_of(folder), now=NOW)


def files(folder: Path) -> dict[str, str]:
    """Every file of the folder and what it holds."""
    found = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_text() for path in found}


def aside(name: str) -> str:
    """The name under which an old file is kept, the companion's ending last."""
    base, dash, ending = name.partition("-")
    return f"{base}.{STAMP}{dash}{ending}"


REPLACED = {**NEW, **{aside(name): text for name, text in OLD.items()}}


def is_old(folder: Path) -> bool:
    """Whether everything is as it was, whatever is staged beside it."""
    return OLD.items() <= files(folder).items()


def is_interrupted(monkeypatch: pytest.MonkeyPatch, act: Callable[[], object], at: int) -> bool:
    """Whether the power failed before operation ``at`` of ``act``, counted from 0."""

    def fail(step: int) -> None:
        if step >= at:
            raise PowerCutError

    with monkeypatch.context() as patched:
        for name, operation in before_each(fail).items():
            patched.setattr(os, name, operation)
        try:
            act()
        except PowerCutError:
            return True
        return False


def raise_power_cut(_path: Path) -> None:
    """In the place of a step that is not reached."""
    raise PowerCutError


def test_replaces_all_and_keeps_what_was_there(tmp_path: Path) -> None:
    """The new files have the names, the old ones and their logs others; no intent is left."""
    lay_out(tmp_path)
    kept = do_swap(tmp_path)
    assert files(tmp_path) == REPLACED
    assert sorted(str(path.relative_to(tmp_path)) for path in kept) == sorted(map(aside, OLD))


def test_cut_off_anywhere_it_is_old_or_can_be_finished(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without an intent all is old; with one, ``finish`` makes all new, and another one finds
    nothing to do.
    """
    is_cut, outcomes = True, []
    while is_cut:
        folder = tmp_path / str(len(outcomes))
        path = lay_out(folder)
        is_cut = is_interrupted(monkeypatch, lambda folder=folder: do_swap(folder), len(outcomes))
        was_unfinished = swap.is_unfinished(path)
        swap.finish(path)
        assert swap.finish(path) == ()
        is_new = files(folder) == REPLACED
        assert is_new or (not was_unfinished and is_old(folder)), len(outcomes)
        assert is_new or is_cut
        outcomes.append(is_new)
    assert outcomes == sorted(outcomes)
    assert len(outcomes) > 20


def test_a_finish_that_is_cut_off_anywhere_is_finished_by_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Power fails again and again while accountd starts."""
    is_cut, at = True, 0
    while is_cut:
        folder = tmp_path / str(at)
        path = lay_out(folder)
        with pytest.raises(PowerCutError), monkeypatch.context() as patched:
            patched.setattr(swap, "finish", raise_power_cut)
            do_swap(folder)
        is_cut = is_interrupted(monkeypatch, lambda path=path: swap.finish(path), at)
        is_interrupted(monkeypatch, lambda path=path: swap.finish(path), 3)
        swap.finish(path)
        assert files(folder) == REPLACED, at
        at += 1
    assert at > 15


@dataclass
class Disk:
    """The operations on a folder, of which a power failure keeps those that were synced and any of
    the others.
    """

    folder: Path
    steps: list[tuple[str, ...]] = field(default_factory=list)

    def record(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Write down what the process does from now on."""
        real = {name: getattr(os, name) for name in OPERATIONS}
        paths: dict[int, str] = {}

        def name(path: Any) -> str:
            return str(Path(path).relative_to(self.folder))

        def opened(path: Any, flags: int, *mode: int, **options: Any) -> int:
            is_new = bool(flags & os.O_CREAT)
            descriptor: int = real["open"](path, flags, *mode, **options)
            paths[descriptor] = name(path)
            if is_new:
                self.steps.append(("create", name(path)))
            return descriptor

        def synced(descriptor: int) -> None:
            real["fsync"](descriptor)
            path = self.folder / paths[descriptor]
            text = "" if path.is_dir() else path.read_text()
            self.steps.append(("sync", paths[descriptor], text))

        def renamed(source: Any, target: Any) -> None:
            real["rename"](source, target)
            self.steps.append(("rename", name(source), name(target)))

        def unlinked(path: Any) -> None:
            real["unlink"](path)
            self.steps.append(("unlink", name(path)))

        for operation, act in (
            ("open", opened), ("fsync", synced), ("rename", renamed), ("unlink", unlinked),
        ):  # fmt: skip
            monkeypatch.setattr(os, operation, act)

    def after_power_failures(self, before: dict[str, str]) -> Iterator[dict[str, str]]:
        """Every content that the folder may have after the power failed at any step."""
        for length in range(len(self.steps) + 1):
            done = self.steps[:length]
            loose = [i for i, step in enumerate(done) if not self._is_durable(i, done)]
            for lost in itertools.chain.from_iterable(
                itertools.combinations(loose, n) for n in range(len(loose) + 1)
            ):
                yield self._content(before, [s for i, s in enumerate(done) if i not in lost])

    @staticmethod
    def _is_durable(index: int, done: list[tuple[str, ...]]) -> bool:
        """Whether the folder of a changed name was synced later."""
        step = done[index]
        if step[0] == "sync":
            return True
        folder = str(Path(step[1]).parent)
        return any(later[:2] == ("sync", folder) for later in done[index:])

    @staticmethod
    def _content(before: dict[str, str], steps: list[tuple[str, ...]]) -> dict[str, str]:
        held = dict(before)
        for kind, path, *rest in steps:
            if kind == "create":
                held[path] = "{torn"
            elif kind == "sync" and path in held:
                held[path] = rest[0]
            elif kind == "rename" and path in held:
                held[rest[0]] = held.pop(path)
            elif kind == "unlink":
                held.pop(path, None)
        return held


def test_a_power_failure_leaves_all_old_or_all_new(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the disk had not yet been told to keep: any part of it may be lost."""
    folder = tmp_path / "disk"
    path = lay_out(folder)
    disk = Disk(folder)
    # What a command has just written is on the disk only once it is synced.
    before = {n: "{torn" if n.endswith(".staged") else text for n, text in files(folder).items()}
    with monkeypatch.context() as patched:
        disk.record(patched)
        do_swap(folder)
    states = {tuple(sorted(state.items())) for state in disk.after_power_failures(before)}
    outcomes = set()
    monkeypatch.setattr(os, "fsync", lambda _: None)  # this time it has no power failure
    for number, state in enumerate(states):
        here = tmp_path / str(number)
        (here / "other").mkdir(parents=True)
        for name, text in state:
            (here / name).write_text(text.replace(str(folder), str(here)))
        swap.finish(here / path.name)
        found = files(here)
        is_new = found.items() >= REPLACED.items()
        assert is_new or is_old(here), (state, found)
        assert not (is_new and "a.db-wal" in found)
        outcomes.add(is_new)
    assert outcomes == {True, False}
    assert len(states) > 30


def test_sigkill_at_every_step(tmp_path: Path) -> None:
    """Real processes that are killed; the next opening under the lock finishes what is left."""
    at, code = 0, -9
    while code:
        folder = tmp_path / str(at)
        path = lay_out(folder)
        code = killed_at(at, lambda folder=folder: do_swap(folder))  # type: ignore[misc]
        was_unfinished = swap.is_unfinished(path)
        with database.locked(path):
            found = files(folder)
        found.pop("a.db.lock")
        found.pop("a.db.pruning.lock")
        is_new = found == REPLACED
        assert is_new or (not was_unfinished and is_old(folder)), at
        assert is_new or code
        at += 1
    assert at > 20


def test_a_file_that_was_put_there_meanwhile_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between a kill and ``finish`` an operator copies a database in: it is set aside as well."""
    for at in itertools.count():
        folder = tmp_path / str(at)
        path = lay_out(folder)
        is_interrupted(monkeypatch, lambda folder=folder: do_swap(folder), at)
        if not path.exists():
            break
    path.write_text("copied in")
    swap.finish(path)
    assert files(folder) == {**REPLACED, aside("a.db") + ".2": "copied in"}


def test_two_replacements_in_one_second(tmp_path: Path) -> None:
    """The names of files set aside do not meet."""
    path = lay_out(tmp_path)
    do_swap(tmp_path)
    staged = swap.staging_path(path)
    staged.write_text("newest")
    swap.swap(path, Plan((Replacement(staged, path),)), now=NOW)
    assert files(tmp_path) == {**REPLACED, "a.db": "newest", aside("a.db") + ".2": "new database"}


def test_nothing_to_replace_on_a_lost_disk(tmp_path: Path) -> None:
    """A new file comes where none is."""
    path = tmp_path / "a.db"
    staged = swap.staging_path(path)
    staged.write_text("new")
    assert swap.swap(path, Plan((Replacement(staged, path),)), now=NOW) == ()
    assert files(tmp_path) == {"a.db": "new"}


def test_behind_a_link(tmp_path: Path) -> None:
    """The file is replaced, and the link to it stays."""
    real = lay_out(tmp_path / "disk")
    link = tmp_path / "a.db"
    link.symlink_to(real)
    swap.swap(link, plan_of(tmp_path / "disk"), now=NOW)
    assert link.is_symlink()
    assert link.read_text() == NEW["a.db"]


@pytest.mark.parametrize("text", ["", "{", "[]", '{"version": 2}', '{"version": 1}'])
def test_a_damaged_intent_is_refused(tmp_path: Path, text: str) -> None:
    """Nothing is renamed by what cannot be read."""
    path = lay_out(tmp_path)
    (tmp_path / "a.db.swap").write_text(text)
    with pytest.raises(DatabaseUnusableError, match="cannot be read"):
        swap.finish(path)
    assert is_old(tmp_path)


def test_a_failed_sync_of_a_staged_file_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk says so before the intent is there."""
    path = lay_out(tmp_path)
    before = files(tmp_path)
    with monkeypatch.context() as patched, pytest.raises(OSError, match="full"):
        patched.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(OSError(28, "full")))
        do_swap(tmp_path)
    assert not swap.is_unfinished(path)
    assert files(tmp_path) == before
