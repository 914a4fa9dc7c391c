"""Who has the floor, step by step."""

from collections.abc import Callable

import pytest

from gateway.credit.credit_table import CreditTable
from gateway.credit.floor import Floor
from gateway.limits import FLOOR_ASKED_S, FLOOR_IDLE_S
from shared.rates import NANO_PER_CREDIT

Step = Callable[[Floor[str], float], object]


def asks(member: str) -> Step:
    """Its client says something."""
    return lambda floor, _: floor.ask(member)


def has(member: str, responses: int) -> Step:
    """So many of its responses are under way."""
    return lambda floor, now: floor.report(member, responses, now)


def is_answered(member: str) -> Step:
    """A response of it was metered."""
    return lambda floor, _: floor.answered(member)


def leaves(member: str) -> Step:
    """Its client is gone."""
    return lambda floor, _: floor.leave(member)


def slots(count: int) -> Step:
    """The credit pays for so many."""
    return lambda floor, _: setattr(floor, "slots", count)


def had_asked(member: str) -> Step:
    """Before the account was crowded."""
    return lambda floor, now: floor.give(member, now)


NEVER = FLOOR_ASKED_S + 1
A_ASKED = [(0.0, asks("a")), (0.0, asks("b"))]
CASES: list[tuple[str, int, list[tuple[float, Step]], str]] = [
    # what it shows, the slots, what happens when, and who has the floor in the end
    ("the first that asks", 1, [(0.0, asks("b")), (0.0, asks("a"))], "b"),
    ("as many as there are slots", 2, [*A_ASKED, (0.0, asks("c"))], "ab"),
    ("none while nothing new may start", 0, A_ASKED, ""),
    ("it is kept while nobody waits", 1, [(0.0, asks("a")), (NEVER, slots(1))], "a"),
    ("an end gives it back", 1, [*A_ASKED, (1.0, has("a", 1)), (2.0, has("a", 0))], "b"),
    ("also where nobody waits", 1, [(0.0, asks("a")), (1.0, has("a", 1)), (2.0, has("a", 0))], ""),
    ("not while another is under way", 1, [*A_ASKED, (1.0, has("a", 2)), (2.0, has("a", 1))], "a"),
    ("an answer in one read gives it back", 1, [*A_ASKED, (1.0, is_answered("a"))], "b"),
    ("its end is reported", 1, [*A_ASKED, (1.0, has("a", 2)), (2.0, is_answered("a"))], "a"),
    ("who waits is not answered", 1, [*A_ASKED, (1.0, is_answered("b")), (2.0, leaves("a"))], "b"),
    ("silence gives it back", 1, [*A_ASKED, (FLOOR_IDLE_S + 0.1, asks("c"))], "b"),
    ("of as few as have to", 2, [*A_ASKED, (FLOOR_IDLE_S + 0.1, asks("c"))], "bc"),
    ("not at once", 1, [*A_ASKED, (FLOOR_IDLE_S, asks("c"))], "a"),
    ("not while it is under way", 1, [*A_ASKED, (1.0, has("a", 1)), (NEVER, asks("c"))], "a"),
    ("not where nothing new may start", 1, [*A_ASKED, (0.0, slots(0)), (NEVER, asks("c"))], "a"),
    ("a response that began by itself", 1, [(0.0, has("c", 1)), *A_ASKED], "c"),
    ("it began while its client waited", 1, [*A_ASKED, (1.0, has("b", 1))], "ab"),
    ("two of one count twice", 3, [(0.0, has("c", 2)), *A_ASKED], "ac"),
    ("more credit", 1, [*A_ASKED, (0.0, asks("c")), (1.0, slots(3))], "abc"),
    ("less credit takes none away", 2, [*A_ASKED, (1.0, slots(1))], "ab"),
    ("who leaves makes room", 1, [*A_ASKED, (1.0, leaves("a"))], "b"),
    ("who leaves waits no more", 1, [*A_ASKED, (1.0, leaves("b")), (2.0, leaves("a"))], ""),
    ("what was asked before counts", 1, [(0.0, had_asked("c")), *A_ASKED], "c"),
    ("who has it need not wait", 1, [*A_ASKED, (1.0, asks("a")), (2.0, leaves("a"))], "b"),
]


@pytest.mark.parametrize(
    ("count", "steps", "expected"), [x[1:] for x in CASES], ids=[x[0] for x in CASES]
)
def test_who_has_the_floor(count: int, steps: list[tuple[float, Step]], expected: str) -> None:
    """After each step it is settled."""
    floor = Floor[str](count)
    for now, step in steps:
        step(floor, now)
        floor.settle(now, idle_s=lambda _: FLOOR_IDLE_S)
    assert "".join(member for member in "abc" if floor.has(member)) == expected


def test_who_was_asked_for_an_answer_is_given_longer() -> None:
    """A provider may be slow."""
    floor = Floor[str](1)
    floor.ask("a")
    floor.settle(0.0, idle_s=lambda _: FLOOR_ASKED_S)
    floor.ask("b")
    assert floor.settle(FLOOR_ASKED_S, idle_s=lambda _: FLOOR_ASKED_S) == []
    assert floor.settle(FLOOR_ASKED_S + 0.1, idle_s=lambda _: FLOOR_ASKED_S) == ["a", "b"]
    assert floor.waiting == 0


def test_only_what_is_news_is_reported() -> None:
    """Every frame of a provider asks, so nothing is to follow from most of them."""
    floor = Floor[str](1)
    assert not floor.report("a", 0, 0.0)
    assert floor.report("a", 1, 0.0)
    assert not floor.report("a", 1, 1.0)
    assert floor.settle(1.0, idle_s=lambda _: FLOOR_IDLE_S) == ["a"]


SLOTS = [
    # credits left, what a response is taken to cost, what the last one cost, and the slots
    (1_000, 100, 0, 10),
    (1_099, 100, 0, 10),
    (99, 100, 0, 1),
    (1_000, 100, 250, 3),  # 750 are left
    (1_000, 100, 10, 9),
    (1_000, 100, 1_000, 0),
    (0, 100, 0, 0),
]


@pytest.mark.parametrize(("left", "typical", "cost", "expected"), SLOTS)
def test_how_many_responses_the_credit_pays(
    left: int, typical: int, cost: int, expected: int
) -> None:
    """One at least, while any is left; by what responses cost, where that is more."""
    credit = CreditTable(near_responses=0, typical_credits=typical).open("a", topup=left, tokens=0)
    if cost:
        credit.metered(cost * NANO_PER_CREDIT, is_response=True)
    assert credit.slots == expected
