"""Stores of several gateways with accountd's own handlers: who goes on, and what is lost."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from accountd.data import models
from gateway.conversations import backlog, store
from shared.announcements import NewHolder, encode_new_holder
from shared.wire import CONFIGURATION_BYTES_MAX
from tests.support.conversation_world import ACCOUNT, World, connect, world
from tests.support.peers import until


@pytest.fixture
async def there(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    """accountd, and no gateway yet; stores look often at what has changed."""
    monkeypatch.setattr(store, "PERIOD_S", 0.01)
    with world() as found:
        yield found
        for each in found.stores:
            await each.close()


def metric(of: store.ConversationStore, name: str) -> float:
    """A number of a store."""
    full = f"rts_gateway_conversations_{name}".removesuffix("_")
    (value,) = [m.read() for m in of.metrics() if m.name == full]
    assert isinstance(value, int)
    return value


async def test_what_is_said_is_stored_while_the_session_goes_on(there: World) -> None:
    """And the next connection, at another gateway, goes on with it."""
    first, second = there.gateway(), there.gateway()
    talk = await connect(first)
    talk.say("one")
    await until(lambda: "one" in there.stored())
    talk.say("two")
    talk.leave()
    await until(lambda: "two" in there.stored())
    later = await connect(second)
    assert later.words == ["one", "two"]
    assert metric(second, "continued") == 1


async def test_nothing_is_sent_of_a_session_in_which_nothing_changes(there: World) -> None:
    """While another one is stored again and again."""
    gateway = there.gateway()
    quiet, busy = await connect(gateway, "quiet"), await connect(gateway, "busy")
    quiet.say("one")
    await until(lambda: "one" in there.stored("quiet"))
    before = len(there.requests)
    for number in range(3):
        busy.say(f"word {number}.")
        await until(lambda number=number: f"word {number}." in there.stored("busy"))
    sent = [each["session_id"] for x in there.requests[before:] for each in x.params["sessions"]]
    assert set(sent) == {"busy"}


async def test_of_two_on_one_gateway_the_newer_goes_on(there: World) -> None:
    """With all that the older one said, stored or not."""
    gateway = there.gateway()
    older = await connect(gateway)
    older.say("unstored")
    newer = await connect(gateway)
    assert older.is_superseded
    assert newer.words == ["unstored"]
    newer.say("more")
    newer.leave()
    await until(lambda: "more" in there.stored())
    assert metric(gateway, "superseded") == 1


async def test_of_two_gateways_the_newer_one_hears_the_last_words(there: World) -> None:
    """The older one stores them when it hears of the newer one, which asks again."""
    first, second = there.gateway(), there.gateway()
    older = await connect(first)
    older.say("unstored")
    newer = await connect(second)
    assert older.is_superseded
    assert newer.words == ["unstored"]


async def test_a_lost_announcement_costs_time_only(there: World) -> None:
    """The older one is refused with the next thing that is said, and closed."""
    there.loses_announcements = True
    first, second = there.gateway(), there.gateway()
    older = await connect(first)
    newer = await connect(second)
    older.say("too late")
    await until(lambda: older.is_superseded)
    newer.say("newer")
    newer.leave()
    await until(lambda: "newer" in there.stored())
    assert "too late" not in there.stored()


async def test_a_late_announcement_closes_nobody_who_is_newest(there: World) -> None:
    """It is asked whether it is true."""
    gateway = there.gateway()
    newest = await connect(gateway)
    change = NewHolder(ACCOUNT, "s", b"of one before...")
    gateway.holder_announced(encode_new_holder(change))
    newest.say("still here")
    await until(lambda: "still here" in there.stored())
    assert not newest.is_superseded


async def test_two_that_connect_at_once_leave_one(there: World) -> None:
    """Whichever was asked for last."""
    gateway = there.gateway()
    talks = await asyncio.gather(*(connect(gateway) for _ in range(3)))
    assert [talk.is_superseded for talk in talks] == [True, True, False]
    talks[2].say("mine")
    talks[2].leave()
    await until(lambda: "mine" in there.stored())


async def test_many_that_connect_at_once_take_few_requests(there: World) -> None:
    """Each request is a commit of accountd."""
    gateway = there.gateway()
    await asyncio.gather(*(connect(gateway, f"s{number}") for number in range(100)))
    opens = [x for x in there.requests if x.method == "sessions.open"]
    assert len(opens) <= 7


async def test_what_is_said_while_accountd_is_away_is_stored_later(there: World) -> None:
    """Also of a session that has ended by then."""
    gateway = there.gateway()
    live, ended = await connect(gateway, "live"), await connect(gateway, "ended")
    there.is_away = True
    live.say("live words")
    ended.say("last words")
    ended.leave()
    await until(lambda: metric(gateway, "waiting") > 0)
    there.is_away = False
    await until(lambda: "live words" in there.stored("live"))
    await until(lambda: "last words" in there.stored("ended"))


async def test_a_client_that_comes_back_while_accountd_is_away(there: World) -> None:
    """On the same gateway it goes on, and is stored; elsewhere it begins anew, and is not."""
    first, second = there.gateway(), there.gateway()
    talk = await connect(first)
    there.is_away = True
    talk.say("one")
    talk.leave()
    foreign = await connect(second)
    assert foreign.words == []
    assert metric(second, "unopened") == 1
    again = await connect(first)
    assert again.words == ["one"]
    again.say("two")
    there.is_away = False
    await until(lambda: "two" in there.stored())
    assert not again.is_superseded


async def test_an_answer_that_is_lost_closes_nobody(there: World) -> None:
    """accountd has taken one of two tokens: the gateway finds out which."""
    gateway = there.gateway()
    older = await connect(gateway)
    older.say("one")
    await until(lambda: "one" in there.stored())
    older.say("two")
    there.loses_answers = 1
    newer = await connect(gateway)
    assert newer.words == ["one", "two"]
    newer.say("three")
    await until(lambda: "three" in there.stored())
    assert not newer.is_superseded
    assert (await connect(there.gateway())).words == ["one", "two", "three"]


async def test_an_accountd_of_an_earlier_release_stores_nothing(
    there: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sessions go on without; nothing large is ever sent to it."""
    monkeypatch.setattr(store, "OUTDATED_RETRY_S", 0.01)
    gateway = there.gateway()
    talk = await connect(gateway)
    there.is_old = True
    assert (await connect(gateway, "new")).words == []
    talk.say("words " * 1000)

    def questions() -> int:
        return sum(request.params == {"sessions": []} for request in there.requests)

    await until(lambda: questions() == 1)
    count = len(there.requests)
    await until(lambda: questions() > 3)
    assert all(request.params == {"sessions": []} for request in there.requests[count:])
    there.is_old = False
    await until(lambda: "words" in there.stored())


async def test_too_many_that_wait_are_dropped(
    there: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The oldest, and they are counted."""
    monkeypatch.setattr(backlog, "STATES_MAX", 2)
    gateway = there.gateway()
    talks = [await connect(gateway, f"s{number}") for number in range(3)]
    there.is_away = True
    for talk in talks:
        talk.say("words")
        talk.leave()
    assert metric(gateway, "dropped") == 1
    there.is_away = False
    await until(lambda: "words" in there.stored("s2"))
    assert "words" not in there.stored("s0")


async def test_what_is_left_is_handed_over_at_the_end(there: World) -> None:
    """The gateway stops: what its sessions said last is stored before it exits."""
    gateway = there.gateway()
    talks = [await connect(gateway, f"s{number}") for number in range(150)]
    for number, talk in enumerate(talks):
        talk.say(f"last {number}.")
        talk.leave()
    await gateway.close()
    assert all(f"last {number}." in there.stored(f"s{number}") for number in range(150))


async def test_a_client_that_left_before_its_session_gives_its_claim_back(there: World) -> None:
    """Nobody waits for last words that will not come; what was stored stays."""
    gateway = there.gateway()
    talk = await connect(gateway)
    talk.say("one")
    talk.leave()
    await until(lambda: "one" in there.stored())
    claim = await gateway.open(ACCOUNT, "s")
    assert claim is not None
    gateway.give_back(claim)
    await until(lambda: metric(gateway, "waiting") == 0)
    later = await connect(there.gateway())
    assert later.words == ["one"]


async def test_a_configuration_that_is_too_large_stores_nothing(
    there: World, capsys: pytest.CaptureFixture[str]
) -> None:
    """The log says so, and nothing of what it says."""
    gateway = there.gateway()
    talk = await connect(gateway)
    talk.conversation.session["instructions"] = "secret" * CONFIGURATION_BYTES_MAX
    talk.say("one")
    talk.leave()
    await until(lambda: metric(gateway, "waiting") == 0)
    assert there.stored() == ""
    logged = capsys.readouterr().out
    assert "conversation too large" in logged
    assert "secret" not in logged


async def test_what_accountd_does_not_take_is_not_sent_again(
    there: World, capsys: pytest.CaptureFixture[str]
) -> None:
    """And not logged."""
    gateway = there.gateway()
    talk = await connect(gateway)
    there.refuses = True
    talk.say("secret")
    await until(lambda: metric(gateway, "waiting") == 0 and len(there.requests) > 1)
    count = len(there.requests)
    talk.leave()
    await until(lambda: len(there.requests) > count)
    there.refuses = False
    talk = await connect(gateway)
    talk.say("later")
    await until(lambda: "later" in there.stored())
    logged = capsys.readouterr().out
    assert "conversations refused" in logged
    assert "secret" not in logged


async def test_what_cannot_be_read_is_ignored(there: World) -> None:
    """The session begins anew, and is stored."""
    gateway = there.gateway()
    talk = await connect(gateway)
    talk.say("one")
    talk.leave()
    await until(lambda: "one" in there.stored())
    models.database.execute_sql("""UPDATE sessions SET data = '{"v":2}' WHERE type = 'CONV'""")
    later = await connect(gateway)
    assert later.words == []
    assert metric(gateway, "unreadable") == 1
    later.say("anew")
    await until(lambda: "anew" in there.stored())
