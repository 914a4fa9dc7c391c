"""Whatever sessions ask, and providers begin: nobody is kept waiting without need, or for ever."""

from hypothesis import given
from hypothesis import strategies as st

from gateway.credit.floor import Floor
from gateway.limits import FLOOR_ASKED_S, FLOOR_IDLE_S

MEMBERS = 6
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["ask", "ask", "begin", "surprise", "end", "leave", "slots", "time"]),
        st.integers(0, MEMBERS - 1),
        st.integers(0, 4),
    ),
    max_size=60,
)


class World:
    """Sessions that do what they may, and some that begin responses by themselves."""

    def __init__(self, slots: int) -> None:
        self.floor = Floor[int](slots)
        self.now = 0.0
        self.waiting: dict[int, None] = {}
        self.responses: dict[int, int] = {}
        self.asked: set[int] = set()

    def step(self, what: str, member: int, count: int) -> None:
        """One thing happens."""
        match what:
            case "ask":
                if not self.floor.has(member):
                    self.waiting.setdefault(member)
                self.floor.ask(member)
            case "begin" if self.floor.has(member):
                self.asked.discard(member)
                self._report(member, self.responses.get(member, 0) + 1)
            case "surprise":
                self.waiting.pop(member, None)
                self._report(member, self.responses.get(member, 0) + 1)
            case "end" if self.responses.get(member):
                self._report(member, self.responses[member] - 1)
            case "leave":
                self.waiting.pop(member, None)
                self.responses.pop(member, None)
                self.floor.leave(member)
            case "slots":
                self.floor.slots = count
            case "time":
                self.now += count * FLOOR_ASKED_S / 3

    def settle(self) -> None:
        """See who has the floor now, and hold it to the rules."""
        before = {member for member in range(MEMBERS) if self.floor.has(member)}
        order = list(self.waiting)
        changed = self.floor.settle(self.now, idle_s=self._idle_s)
        after = {member for member in range(MEMBERS) if self.floor.has(member)}
        granted = [member for member in order if member in after]
        assert granted == order[: len(granted)], "first come, first served"
        assert after ^ before <= set(changed)
        for member in granted:
            del self.waiting[member]
        if granted:
            assert self.floor.free >= 0, "no more than the slots, by what is given"
        assert not self.waiting or self.floor.free <= 0, "a slot is free, and somebody waits"
        assert self.floor.waiting == len(self.waiting)
        assert all(member in after for member, n in self.responses.items() if n)

    def _idle_s(self, member: int) -> float:
        return FLOOR_ASKED_S if member in self.asked else FLOOR_IDLE_S

    def _report(self, member: int, responses: int) -> None:
        self.responses[member] = responses
        self.floor.report(member, responses, self.now)


@given(st.integers(0, 4), STEPS)
def test_the_floor_is_given_as_far_as_there_are_slots(
    slots: int, steps: list[tuple[str, int, int]]
) -> None:
    """Holders are no more than slots and what providers began by themselves, or was under way when
    the slots became fewer; and nobody waits while a slot is free.
    """
    world = World(slots)
    for step in steps:
        world.step(*step)
        world.settle()


@given(st.integers(1, 4), STEPS)
def test_whoever_waits_gets_the_floor_in_the_end(
    slots: int, steps: list[tuple[str, int, int]]
) -> None:
    """Once responses end, and although nobody uses the floor: after as many turns as wait."""
    world = World(slots)
    for step in steps:
        world.step(*step)
        world.settle()
    world.step("slots", 0, slots)
    for member in range(MEMBERS):
        while world.responses.get(member):
            world.step("end", member, 0)
    for _ in range(MEMBERS):
        world.now += FLOOR_ASKED_S + 1
        world.settle()
    assert not world.waiting


@given(STEPS)
def test_all_go_on_when_there_are_slots_for_all(steps: list[tuple[str, int, int]]) -> None:
    """As after a top-up: whoever waits is let through at once."""
    world = World(1)
    for step in steps:
        world.step(*step)
        world.settle()
    world.step("slots", 0, MEMBERS + sum(world.responses.values()))
    world.settle()
    assert not world.waiting
