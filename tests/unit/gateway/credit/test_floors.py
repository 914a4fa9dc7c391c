"""Who is told of the floor, and when."""

import asyncio
from collections.abc import Callable
from math import inf

import pytest

from gateway.credit.credit import Credit
from gateway.credit.floors import Floors, idle_s
from gateway.limits import FLOOR_ASKED_S, FLOOR_IDLE_S
from shared.announcements import AnnouncedBalance


class Member:
    """A session; ``told`` is what it knew whenever it was told."""

    account_id = "a"

    def __init__(self) -> None:
        self.is_crowded, self.has_floor = False, True
        self.under_way = 0
        self.has_asked = self.goes_on = self.speaks = False
        self.told: list[tuple[bool, bool]] = []

    def responses(self) -> int:
        """See ``FloorMember``."""
        return self.under_way

    def is_asked(self) -> bool:
        """See ``FloorMember``."""
        return self.has_asked

    def is_continuous(self) -> bool:
        """See ``FloorMember``."""
        return self.goes_on

    def may_answer(self) -> bool:
        """See ``FloorMember``."""
        return self.speaks

    def floor_changed(self) -> None:
        """See ``FloorMember``."""
        self.told.append((self.is_crowded, self.has_floor))


def credit(left: int) -> Credit:
    """A response is taken to cost 100."""
    balance = AnnouncedBalance("a", epoch=0, revision=0, topup=left, tokens=0)
    return Credit(balance, near_responses=0, typical_credits=100)


def crowd(
    count: int, left: int, *, before: Callable[[Member], None] | None = None
) -> tuple[Floors, Credit, list[Member]]:
    """So many members of an account that has so many credits."""
    floors, has = Floors(is_on=True), credit(left)
    members = [Member() for _ in range(count)]
    for member in members:
        floors.join(member, has)
        if before is not None:
            before(member)
    return floors, has, members


async def turn() -> None:
    """What was put off until the next turn of the loop has happened."""
    for _ in range(3):
        await asyncio.sleep(0)


async def test_who_makes_a_crowd_is_told_with_all_others_at_once() -> None:
    """Before any of their clients' words can be read."""
    floors, _, members = crowd(3, 250)
    assert [member.has_floor for member in members] == [False] * 3
    assert members[0].told == [(True, False)]
    assert floors.crowded == 1
    floors.stop()


async def test_an_account_that_is_not_crowded_is_told_nothing() -> None:
    """As many members as slots."""
    floors, _, members = crowd(2, 250)
    floors.ask(members[0])
    floors.report(members[0], 1)
    await turn()
    assert [member.told for member in members] == [[], []]
    assert floors.crowded == 0


async def test_who_has_asked_before_has_the_floor() -> None:
    """What is under way counts, and what was asked for."""

    def asks(member: Member) -> None:
        member.has_asked = True

    floors, _, members = crowd(2, 100, before=asks)
    assert [member.has_floor for member in members] == [True, False]
    floors.ask(members[1])
    await turn()
    assert not members[1].has_floor
    floors.stop()


async def test_a_session_without_turns_keeps_the_floor() -> None:
    """A live translation would be chopped: neither what it costs nor time takes it away."""

    def goes_on(member: Member) -> None:
        member.goes_on = True

    floors, _, (first, second) = crowd(2, 100, before=goes_on)
    assert (first.has_floor, second.has_floor) == (True, False)
    floors.ask(second)
    floors.answered(first)
    await turn()
    assert (first.has_floor, second.has_floor) == (True, False)
    floors.stop()


@pytest.mark.parametrize(
    ("does", "expected"),
    [
        ("", FLOOR_IDLE_S),
        ("has_asked", FLOOR_ASKED_S),
        ("speaks", FLOOR_ASKED_S),
        ("goes_on", inf),
    ],
)
def test_how_long_a_member_keeps_the_floor(does: str, expected: float) -> None:
    """Who speaks is not interrupted in the middle of a sentence."""
    member = Member()
    if does:
        setattr(member, does, True)
    assert idle_s(member) == expected


async def test_who_takes_no_turns_is_not_kept_back() -> None:
    """Such as a socket that only hears a session: with it there is no crowd."""
    floors, has, (first, second) = crowd(2, 100)
    assert not second.has_floor
    floors.leave(second, has)
    await turn()
    assert (second.is_crowded, second.has_floor) == (False, True)
    assert first.has_floor
    assert floors.crowded == 0
    floors.stop()


async def test_the_floor_goes_on_with_the_end_of_a_response() -> None:
    """Who had it knows at once, the next one in the next turn of the loop."""
    floors, _, (first, second) = crowd(2, 100)
    floors.ask(first)
    floors.ask(second)
    await turn()
    assert (first.has_floor, second.has_floor) == (True, False)
    assert [metric.read() for metric in floors.metrics()] == [1, 1]
    floors.report(first, 1)
    floors.report(first, 0)
    assert (first.has_floor, first.told[-1]) == (False, (True, False))
    await turn()
    assert second.told[-1] == (True, True)
    floors.stop()


async def test_an_answer_in_one_read_gives_the_floor_back() -> None:
    """That it began was never reported."""
    floors, _, (first, second) = crowd(2, 100)
    floors.ask(first)
    floors.ask(second)
    await turn()
    floors.answered(second)
    assert first.has_floor
    floors.answered(first)
    assert not first.has_floor
    await turn()
    assert second.has_floor
    floors.stop()


@pytest.mark.parametrize("leaves", [True, False], ids=["one leaves", "a top-up"])
async def test_all_go_on_when_there_is_no_crowd_any_more(leaves: bool) -> None:
    """Whoever waits, too."""
    floors, has, (first, second) = crowd(2, 100)
    floors.ask(first)
    floors.ask(second)
    await turn()
    if leaves:
        floors.leave(first, has)
    else:
        floors.review(credit(1_000))
    await turn()
    assert (second.is_crowded, second.has_floor, second.told[-1]) == (False, True, (False, True))
    assert floors.crowded == 0
    floors.leave(second, has)
    floors.leave(second, has)
    floors.stop()


async def test_there_is_room_for_another_call_where_the_credit_pays_for_it() -> None:
    """And always for the first, and where nothing is counted."""
    floors, has, _ = crowd(2, 350)
    assert floors.has_room(has)
    assert not floors.has_room(credit(299))
    assert Floors(is_on=True).has_room(credit(1))
    off = Floors(is_on=False)
    for _ in range(2):
        off.join(Member(), has)
    assert off.has_room(credit(1))
    assert off.crowded == 0
