"""Which session was issued which handle, and when that is forgotten."""

import asyncio

import pytest

from gateway.handles import resumable
from gateway.handles.resumable import Resumables


class Drain:
    """A session that ends when it is closed, or never."""

    def __init__(self, known: Resumables, *, is_stuck: bool = False) -> None:
        self._known = known
        self._is_stuck = is_stuck
        self.told: list[str] = []

    def close_superseded(self) -> None:
        """See ``ResumableSession``."""
        self.told.append("give way")
        if not self._is_stuck:
            asyncio.get_running_loop().call_soon(self._known.ended, self)

    def abandon(self) -> None:
        """See ``ResumableSession``."""
        self.told.append("abandon")
        self._known.ended(self)


async def test_the_session_that_was_given_a_handle_gives_way() -> None:
    """By any of its handles, and once it has ended by none."""
    known = Resumables()
    former, other = Drain(known), Drain(known)
    for name in (b"1", b"2"):
        known.issued(name, former)
    known.issued(b"3", other)
    await known.end_predecessor(b"1", Drain(known))
    await known.end_predecessor(b"2", Drain(known))
    assert (former.told, other.told) == (["give way"], [])
    assert len(known) == 1


async def test_one_that_does_not_end_is_abandoned(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a moment, which each that resumes it waits for."""
    monkeypatch.setattr(resumable, "FORMER_S", 0.01)
    known = Resumables()
    former = Drain(known, is_stuck=True)
    known.issued(b"1", former)
    await known.end_predecessor(b"1", Drain(known))
    assert former.told == ["give way", "abandon"]
    assert len(known) == 0


async def test_a_session_does_not_give_way_to_itself() -> None:
    """Its client named its own handle in a second setup, which is the provider's to refuse."""
    known = Resumables()
    former = Drain(known)
    known.issued(b"1", former)
    await known.end_predecessor(b"1", former)
    assert former.told == []


async def test_what_is_known_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest handle is forgotten, whosever it is; a handle has one session."""
    monkeypatch.setattr(resumable, "RESUMABLES_MAX", 2)
    known = Resumables()
    first, second = Drain(known), Drain(known)
    known.issued(b"1", first)
    known.issued(b"2", second)
    known.issued(b"2", second)
    known.issued(b"3", second)
    assert len(known) == 2
    await known.end_predecessor(b"1", Drain(known))
    assert first.told == []
    known.ended(first)
    known.issued(b"3", first)
    known.ended(second)
    assert len(known) == 1
    await known.end_predecessor(b"3", Drain(known))
    assert first.told == ["give way"]
