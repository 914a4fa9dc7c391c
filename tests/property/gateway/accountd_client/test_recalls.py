"""Whatever overtakes what, a session ends exactly when something was taken back after its key was
authorized.

accountd is a model of it that answers late and in portions, and of whose announcements some are
lost; everything of the gateway that hears it is real.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.accountd_client.authorizations import Authorization
from gateway.accountd_client.recall_log import RecallLog
from gateway.accountd_client.recalls import Recalls
from shared.announcements import Recall, RecallCause, encode_recall

PORTION = 2
NAMES = st.sampled_from(
    [("a", "", ""), ("a", "k", ""), ("a", "l", ""), ("a", "", "s"), ("a", "k", "t"), ("b", "", "")]
)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("recall"), NAMES, st.booleans()),
        st.tuples(st.just("authorize"), NAMES),
        st.tuples(st.just("hear"), st.integers(0, 9)),
        st.tuples(st.just("open"), st.integers(0, 9)),
        st.tuples(st.just("announce"), st.integers(0, 9)),
        st.tuples(st.just("ask")),
        st.tuples(st.just("answer")),
    ),
    min_size=5,
    max_size=40,
)


@dataclass
class Accountd:
    """What was taken back, in order. It answers once ``may_answer`` is set."""

    recall_log: RecallLog = field(default_factory=RecallLog)
    mark: int = 100
    written: list[Recall] = field(default_factory=list)
    ended: dict[int, int] = field(default_factory=dict)
    may_answer: asyncio.Event = field(default_factory=asyncio.Event)

    def write(self, names: tuple[str, str, str], *, keeps_sessions: bool) -> None:
        """Take something back."""
        self.mark += 1
        self.written.append(Recall(self.mark, RecallCause.SESSION_ENDED, *names, keeps_sessions))

    async def recalls(
        self, since: int | None, *, gateway: str, ended: Mapping[int, int], is_last: bool = False
    ) -> tuple[int, list[Recall]]:
        """What is true when it is asked, told when it may be."""
        assert gateway
        assert not is_last
        self.ended.update(ended)
        later = [r for r in self.written if since is not None and r.number > since][:PORTION]
        mark = later[-1].number if len(later) == PORTION else self.mark
        await self.may_answer.wait()
        return mark, later


class World:
    """A gateway, and the sessions that it opened."""

    def __init__(self) -> None:
        self.accountd = Accountd()
        self.recalls = Recalls(self.accountd, "gateway")
        self.under_way: list[tuple[Authorization, str]] = []  # answers of accountd
        self.admitted: list[tuple[Authorization, str]] = []
        self.opened: list[tuple[Authorization, str]] = []
        self.ended: list[int] = []
        self.asking: asyncio.Task[float] | None = None

    async def step(self, kind: str, *given: object) -> None:
        """One thing happens."""
        match kind, given:
            case "recall", ((str(account), str(key), str(name)), bool(keeps)):
                self.accountd.write((account, key, name), keeps_sessions=keeps)
            case "authorize", ((str(account), str(key), str(name)),):
                found = Authorization(account, "", 1, 1, key or "k", self.accountd.mark)
                self.under_way.append((found, name or "s"))
            case "hear", (int(number),) if self.under_way:
                heard = self.under_way.pop(number % len(self.under_way))
                self.accountd.recall_log.admitted(heard[0].mark)
                self.admitted.append(heard)
            case "open", (int(number),) if self.admitted:
                self.open(*self.admitted.pop(number % len(self.admitted)))
            case "announce", (int(number),) if self.accountd.written:
                written = self.accountd.written
                self.recalls.announced(encode_recall(written[number % len(written)]))
            case "ask", () if self.asking is None:
                self.accountd.may_answer.clear()
                self.asking = asyncio.create_task(self.recalls._ask())
            case "answer", () if self.asking is not None:
                self.accountd.may_answer.set()
                await self.asking
                self.asking = None
        await asyncio.sleep(0)

    def open(self, authorization: Authorization, name: str) -> None:
        """A session begins."""
        number = len(self.opened)
        self.opened.append((authorization, name))
        self.recalls.watch(number, authorization, name, lambda _cause: self.ended.append(number))

    async def settle(self) -> None:
        """All that is under way arrives, and everything is asked for that there is."""
        for authorization in (*self.under_way, *self.admitted):
            self.open(*authorization)
        await self.step("answer")
        self.accountd.may_answer.set()
        while await self.recalls._ask() == 0.0:
            pass
        for _ in range(len(self.opened) + 1):  # each turn of the loop ends some
            await asyncio.sleep(0)

    def should_end(self, authorization: Authorization, name: str) -> bool:
        """Whether something was taken back after this was authorized."""
        return any(
            recall.number > authorization.mark
            and not recall.keeps_sessions
            and recall.names(authorization.account_id, authorization.key_hash, name)
            for recall in self.accountd.written
        )


@settings(max_examples=500)
@given(STEPS)
def test_a_session_ends_exactly_when_it_was_taken_back(steps: list[tuple[object, ...]]) -> None:
    """Once each, and none that was authorized afterwards."""

    async def run() -> World:
        world = World()
        for kind, *given_ in steps:
            await world.step(str(kind), *given_)
        await world.settle()
        return world

    world = asyncio.run(run())
    expected = [n for n, opened in enumerate(world.opened) if world.should_end(*opened)]
    assert sorted(world.ended) == expected
