"""A client that comes back with the name of its session continues its conversation, wherever."""

import asyncio
import contextlib
import hashlib
import json
import signal

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tests.support.checked_clients import update
from tests.support.harness import Cluster, Daemon, eventually
from tests.support.http_client import ask
from tests.support.named_sessions import Talker, live, new_key, providers, storing_cluster, talker
from tests.support.simulator_client import CREATE, Event, send, write

MODEL = "sim-recall,pace-0"
# A gateway that stops may get no CPU for longer than anybody would wait.
PATIENT = {"gateway.conversations.store.HANDOVER_S": 10.0}
PIRATE = update(output_modalities=["text"], instructions="Be a pirate.")


def stored(cluster: Cluster, session: str, account: str = "a") -> str:
    """What accountd has of a conversation, as text; empty where it has none."""
    found = cluster.ask("sessions.list", account_id=account, limit=None)["sessions"]
    if session not in [row["session_id"] for row in found]:
        return ""
    return json.dumps(cluster.ask("sessions.show", account_id=account, session_id=session))


async def until_stored(cluster: Cluster, session: str, words: str) -> None:
    """Wait until accountd has these words."""
    await asyncio.to_thread(eventually, lambda: words in stored(cluster, session))


async def until_answered(cluster: Cluster, session: str, times: int = 1) -> None:
    """Wait until accountd has so many answers: another gateway may be asked before the one that
    hears the client leave has the CPU.
    """
    await asyncio.to_thread(eventually, lambda: stored(cluster, session).count("Recalled") == times)


async def superseded(socket: ClientConnection) -> Event | None:
    """The error event that a client gets before it is closed, as another one goes on."""
    error = None
    async with asyncio.timeout(20):
        with pytest.raises(ConnectionClosed) as found:
            while True:
                message = await socket.recv()
                if isinstance(message, str) and json.loads(message)["type"] == "error":
                    error = json.loads(message)["error"]
    assert found.value.rcvd is not None
    assert (found.value.rcvd.code, found.value.rcvd.reason) == (1008, "session_superseded")
    return error


async def test_a_conversation_survives_its_gateway(pair: Cluster) -> None:
    """Two turns, the gateway is killed, and the third turn at another one knows the first."""
    key = new_key(pair, "a")
    killed = await asyncio.to_thread(lambda: pair.start_gateway(**providers(pair)))
    pair.gateways.remove(killed)
    async with talker(killed, key, "ada") as client:
        await client.say("My name is Ada")
        await client.say("I like tea")
        await until_answered(pair, "ada", 2)
        killed.stop(signal.SIGKILL)
    async with talker(pair.gateways[0], key, "ada") as client:
        answer = await client.say("What do you know?")
    assert answer == (
        "Recalled | user My name is Ada | model | user I like tea | model | user What do you know?"
    )


@pytest.mark.parametrize("core", ["OPENAI", "XAI", "AZURE"])
async def test_a_client_whose_protocol_the_provider_speaks_comes_back(
    pair: Cluster, core: str
) -> None:
    """Nothing is translated there; the client hears nothing of what the provider is told."""
    key, name = new_key(pair, "a"), f"kept-{core}"
    first, second = pair.gateways
    async with talker(first, key, name, rs_core=core) as client:
        await client.say("My name is Ada")
        await until_answered(pair, name)
        async with talker(second, key, name, rs_core=core) as newer:
            assert await superseded(client.socket) is not None
            await send(newer.socket, write("Who am I?"), CREATE)
            added = await newer.hear("conversation.item.added")
            assert added["item"]["content"][0]["text"] == "Who am I?"
            (item,) = (await newer.hear("response.done"))["response"]["output"]
    assert item["content"][0]["text"].endswith("user My name is Ada | model | user Who am I?")


@pytest.mark.parametrize("provider", ["openai", "xai"])
async def test_a_gemini_client_comes_back(pair: Cluster, provider: str) -> None:
    """Its setup is a whole configuration; what was said is told before it says anything."""
    key, name = new_key(pair, "a"), f"live-{provider}"
    first, second = pair.gateways
    async with live(first, key, name, provider) as client:
        await client.say("My name is Ada")
    await until_answered(pair, name)
    async with live(second, key, name, provider) as client:
        answer = await client.say("Who am I?")
    assert answer == "Recalled | user My name is Ada | model | user Who am I?"


@pytest.mark.parametrize("provider", ["openai", "gemini"])
async def test_a_client_of_the_beta_comes_back(pair: Cluster, provider: str) -> None:
    """Translated to GA, or on to Gemini."""
    key, name = new_key(pair, "a"), f"beta-{provider}"
    url = f"/v1/realtime?provider={provider}&model={MODEL}&rs_sessid={name}"
    headers = {"Authorization": f"Bearer {key}", "OpenAI-Beta": "realtime=v1"}
    written = {"type": "session.update", "session": {"modalities": ["text"]}}
    answers = []
    for gateway, words in zip(pair.gateways, ("My name is Ada", "Who am I?"), strict=True):
        address = f"ws://{gateway.field('listen')}{url}"
        async with connect(address, additional_headers=headers) as socket:
            client = Talker(socket)
            await client.hear("session.created")
            await send(socket, written)
            await client.hear("session.updated")
            answers.append(await client.say(words))
        await until_answered(pair, name, len(answers))
    assert answers[1].endswith("| user My name is Ada | model | user Who am I?")


async def test_another_protocol_and_provider_go_on(pair: Cluster) -> None:
    """From OpenAI's client on Gemini to Gemini's client on OpenAI, and back."""
    key = new_key(pair, "a")
    first, second = pair.gateways
    async with talker(first, key, "mixed") as client:
        await client.say("My name is Ada")
    await until_answered(pair, "mixed")
    async with live(second, key, "mixed") as gemini_client:
        await gemini_client.say("I like tea")
    await until_answered(pair, "mixed", 2)
    async with talker(first, key, "mixed") as client:
        answer = await client.say("And?")
    assert answer == "Recalled | user My name is Ada | model | user I like tea | model | user And?"


async def test_the_clients_own_configuration_counts(pair: Cluster) -> None:
    """Without one the stored one is in effect, and shown."""
    key = new_key(pair, "a")
    first, second = pair.gateways
    async with talker(first, key, "pirate", update=PIRATE) as client:
        await client.say("Ahoy")
    await until_answered(pair, "pirate")
    async with talker(second, key, "pirate", update=None) as client:
        assert "told Be a pirate." in await client.say("Who are you?")
    await until_answered(pair, "pirate", 2)
    polite = update(output_modalities=["text"], instructions="Be polite.")
    async with talker(first, key, "pirate", update=polite) as client:
        answer = await client.say("And now?")
    assert "told Be polite. | user Ahoy" in answer
    assert "pirate" not in answer


async def test_the_newer_connection_goes_on_at_the_same_gateway(pair: Cluster) -> None:
    """The older client is told why, and closed; nothing that it said is lost."""
    key, gateway = new_key(pair, "a"), pair.gateways[0]
    async with talker(gateway, key, "twice") as older:
        await older.say("My name is Ada")
        async with talker(gateway, key, "twice") as newer:
            error = await superseded(older.socket)
            assert error is not None
            assert error["code"] == "session_superseded"
            assert "user My name is Ada" in await newer.say("Who am I?")


async def test_the_newer_connection_goes_on_at_another_gateway(pair: Cluster) -> None:
    """The older one is closed in the words of its protocol, and can store nothing more."""
    key = new_key(pair, "a")
    first, second = pair.gateways
    async with live(first, key, "both") as older:
        await older.say("My name is Ada")
        await until_answered(pair, "both")
        async with live(second, key, "both") as newer:
            assert await superseded(older.socket) is None
            assert "user My name is Ada" in await newer.say("Who am I?")
    await until_stored(pair, "both", "Who am I?")


async def test_another_account_has_another_conversation(pair: Cluster) -> None:
    """The same name leads nowhere there, and closes nobody."""
    first, second = pair.gateways
    async with talker(first, new_key(pair, "a"), "secret") as client:
        await client.say("My name is Ada")
        async with talker(second, new_key(pair, "b"), "secret") as other:
            assert await other.say("Who am I?") == "Recalled | user Who am I?"
        assert "user My name is Ada" in await client.say("Still here")


async def test_a_long_conversation_is_stored_whole(pair: Cluster) -> None:
    """It is longer than any other message to accountd may be."""
    key = new_key(pair, "a")
    first, second = pair.gateways
    chapters = [f"chapter-{number}." + "x" * 50_000 for number in range(4)]
    async with talker(first, key, "novel", model="sim-pace-0") as client:
        await send(client.socket, *map(write, chapters))
        await client.say("The end")
    await until_stored(pair, "novel", "The end")
    async with talker(second, key, "novel", model="sim-pace-0") as client:
        await client.say("And now?")
        await until_stored(pair, "novel", "And now?")
    found = await asyncio.to_thread(stored, pair, "novel")
    assert all(chapter in found for chapter in chapters)


async def test_a_session_without_a_name_is_not_stored(pair: Cluster) -> None:
    """Nobody could come back to it."""
    gateway, key = pair.gateways[0], new_key(pair, "nameless")
    url = f"ws://{gateway.field('listen')}/v1/realtime?model={MODEL}&rs_core=GEMINI"
    async with connect(url, additional_headers={"Authorization": f"Bearer {key}"}) as socket:
        client = Talker(socket)
        await client.hear("session.created")
        await client.say("My name is Ada")
    async with talker(gateway, key, "named") as client:
        await client.say("Good morning")
    await asyncio.to_thread(eventually, lambda: "morning" in stored(pair, "named", "nameless"))
    found = pair.ask("sessions.list", account_id="nameless", limit=None)
    assert [row["session_id"] for row in found["sessions"]] == ["named"]


async def test_the_holder_of_an_ephemeral_key_continues_nothing(pair: Cluster) -> None:
    """It could name the session of another user of the account."""
    key, gateway = new_key(pair, "a"), pair.gateways[0]
    body = json.dumps({"session": {"type": "realtime", "model": MODEL}})
    address = str(gateway.field("listen"))
    made = await asyncio.to_thread(
        lambda: ask(address, "POST", "/v1/realtime/client_secrets", key=key, body=body)
    )
    async with talker(gateway, key, "user-7") as client:
        await client.say("My name is Ada")
        async with talker(gateway, made.json["value"], "user-7") as other:
            assert "Ada" not in await other.say("Who am I?")
        assert "Who am I?" not in await client.say("Still here")


async def test_an_answer_that_was_cut_is_part_of_it(pair: Cluster) -> None:
    """The client leaves while the model speaks: what was said to it is known."""
    key = new_key(pair, "a")
    first, second = pair.gateways
    async with talker(first, key, "cut", model="sim-held", update=None) as client:
        await send(client.socket, write("A story, please"), CREATE)
        await client.hear("response.output_audio_transcript.delta")
    await until_stored(pair, "cut", '"incomplete"')
    async with talker(second, key, "cut") as client:
        answer = await client.say("Go on")
    assert answer == "Recalled | user A story, please | model | user Go on"


async def test_operators_list_show_and_delete(pair: Cluster) -> None:
    """What was deleted is unknown to a client that comes back; the database holds no words."""
    key, words = new_key(pair, "deleted"), "The word is xylophone"
    async with talker(pair.gateways[0], key, "doomed") as client:
        await client.say(words)
    await asyncio.to_thread(eventually, lambda: words in stored(pair, "doomed", "deleted"))
    (row,) = pair.accountctl("sessions", "list", "--account", "deleted")["sessions"]
    assert row["bytes"] > len(words)
    shown = pair.run("accountctl", "sessions", "show", "deleted", "doomed")
    assert words in shown.stdout
    for path in pair.folder.iterdir():
        if path.is_file():
            assert b"xylophone" not in path.read_bytes(), path.name
    assert pair.run("accountctl", "sessions", "delete").returncode == 2
    done = pair.accountctl("sessions", "delete", "--account", "deleted", "--session", "doomed")
    assert done == {"deleted": 1}
    async with talker(pair.gateways[1], key, "doomed") as client:
        assert await client.say("Hello") == "Recalled | user Hello"


async def test_clients_go_on_while_gateways_are_rolled() -> None:
    """Five clients come back whenever they are closed; each answer knows all that was said."""
    async with storing_cluster(2, tuned=PATIENT) as cluster:
        key = await asyncio.to_thread(cluster.create_account, "a")
        is_over = asyncio.Event()
        clients = [
            asyncio.create_task(keep_talking(cluster, key, f"roller-{number}", is_over))
            for number in range(5)
        ]
        for _ in range(2):
            old = cluster.gateways[0]
            await asyncio.to_thread(
                lambda: cluster.start_gateway(tuned=PATIENT, **providers(cluster))
            )
            cluster.gateways.remove(old)  # as a load balancer would
            assert await asyncio.to_thread(old.stop) == 0
            assert old.complaints() == []
        is_over.set()
        connections = await asyncio.gather(*clients)
        assert (await asyncio.to_thread(cluster.audit))["ok"]
        assert all(count >= 2 for count in connections)


async def keep_talking(cluster: Cluster, key: str, name: str, is_over: asyncio.Event) -> int:
    """One client, through whichever gateway there is; how often it connected."""
    said: list[str] = []
    connections = 0
    while not is_over.is_set():
        connections += 1
        gateway: Daemon = cluster.gateways[connections % len(cluster.gateways)]
        with contextlib.suppress(ConnectionClosed, OSError):
            async with talker(gateway, key, name) as client:
                while not is_over.is_set():
                    words = f"word-{len(said)}-end"
                    answer = await client.say(words)
                    missing = [each for each in said if each not in answer]
                    assert not missing, f"{name} lost {missing} at connection {connections}"
                    said.append(words)
                    await asyncio.sleep(0.1)  # a gateway that stops closes who has no response
    return connections


async def test_a_client_that_comes_back_needs_no_second_place(pair: Cluster) -> None:
    """With a key that may have one session: the former connection is still counted, at a gateway
    that was killed or one that does not know yet that it broke. Another session finds no place.
    """
    key = new_key(pair, "a")
    name = hashlib.sha256(key.encode()).hexdigest()
    await asyncio.to_thread(pair.accountctl, "key", "limit", name, "--sessions", "1")
    killed = await asyncio.to_thread(lambda: pair.start_gateway(**providers(pair)))
    pair.gateways.remove(killed)
    async with talker(killed, key, "one") as client:
        await client.say("My name is Ada")
        await until_answered(pair, "one", 1)
        killed.stop(signal.SIGKILL)
    async with talker(pair.gateways[0], key, "one") as former:
        assert "My name is Ada" in await former.say("Hello")
        async with talker(pair.gateways[1], key, "one") as client:
            assert "My name is Ada" in await client.say("Hello again")
            await superseded(former.socket)
            with pytest.raises(InvalidStatus):
                async with talker(pair.gateways[1], key, "another"):
                    pass
