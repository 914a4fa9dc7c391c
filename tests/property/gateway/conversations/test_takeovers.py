"""Whatever happens to gateways, accountd and announcements: one connection goes on, with all that
was stored, and in the end all that was said in it.
"""

import asyncio
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.conversations import store
from tests.support.conversation_world import Talk, World, connect, world
from tests.support.peers import until

GATEWAYS = 3
STEPS = st.one_of(
    st.tuples(st.just("connect"), st.integers(0, GATEWAYS - 1)),
    st.tuples(st.just("say"), st.booleans()),
    st.tuples(st.just("leave"), st.just(0)),
    st.tuples(st.just("accountd"), st.booleans()),
    st.tuples(st.just("announcements"), st.booleans()),
    st.tuples(st.just("answer lost"), st.just(0)),
    st.tuples(st.just("wait"), st.just(0)),
)


@dataclass
class Story:
    """One name, its connections in order, and what the newest one knows."""

    there: World
    talks: list[Talk] = field(default_factory=list)
    said: int = 0

    async def do(self, step: str, how: int) -> None:
        """One thing happens."""
        live = [talk for talk in self.talks if not talk.has_left]
        if step == "connect":
            self.talks.append(await connect(self.there.stores[how]))
        elif step == "say":
            for talk in live[-1:] if how else live:
                self.said += 1
                talk.say(f"word {self.said}.")
        elif step == "leave":
            for talk in live[-1:]:
                talk.leave()
        elif step == "wait":
            for _ in range(20):
                await asyncio.sleep(0)
        else:
            self._disturb(step, how)

    def _disturb(self, step: str, how: int) -> None:
        if step == "accountd":
            self.there.is_away = bool(how)
        elif step == "announcements":
            self.there.loses_announcements = bool(how)
        else:
            self.there.loses_answers = 1


async def told(steps: list[tuple[str, int]]) -> None:
    """What happens, then a calm end: all is told, and another client connects."""
    with world() as there:
        for _ in range(GATEWAYS):
            there.gateway()
        story = Story(there)
        for step, how in steps:
            await story.do(step, how)
        there.is_away, there.loses_announcements, there.loses_answers = False, False, 0
        # Whoever could not ask accountd is not stored: the next one is the newest.
        last = await connect(there.stores[0])
        last.say("the end.")
        last.leave()
        await until(lambda: "the end." in there.stored())
        older = [talk for talk in story.talks if talk.is_stored and not talk.has_left]
        for talk in older:
            talk.say("too late.")
        await until(lambda: all(talk.is_superseded for talk in older))
        for each in there.stores:
            await each.close()
        assert "too late" not in there.stored()
        final = await connect(there.gateway())
        assert final.words == last.words
        assert len(set(final.words)) == len(final.words), "nothing is told twice"
        for each in there.stores:
            await each.close()


@settings(max_examples=60, deadline=None)
@given(steps=st.lists(STEPS, max_size=14))
def test_the_newest_connection_is_the_one_that_is_stored(steps: list[tuple[str, int]]) -> None:
    """No older one writes over it, whatever it has heard."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store, "PERIOD_S", 0.002)
        patch.setattr(store, "HANDOVER_PAUSE_S", 0.001)
        patch.setattr(store, "HANDOVER_S", 0.002)
        asyncio.run(told(steps))
