"""How a gateway ends: its sessions finish, its usage is handed over, its exit code says so."""

import asyncio
import json
import signal
from collections.abc import Iterator

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tests.support.fake_provider import UNKEPT
from tests.support.harness import SETTLE_S, Cluster, cluster_folder, eventually, running_cluster
from tests.support.ports import listeners


@pytest.fixture
def fresh() -> Iterator[Cluster]:
    """A cluster of its own, because the test ends its gateway."""
    with running_cluster() as running:
        yield running


async def speak(socket: ClientConnection) -> str:
    """Ask for a response and wait until its audio comes; the response's id."""
    await socket.send(json.dumps({"type": "response.create"}))
    while (event := json.loads(await socket.recv()))["type"] != "response.output_audio.delta":
        pass
    return str(event["response_id"])


async def test_sigterm_lets_the_response_finish(fresh: Cluster) -> None:
    """The response in flight arrives whole, then 1001; its usage is charged; the exit code is 0."""
    key = fresh.create_account("leaver")
    query = f"?model=gpt-realtime&reply_ms=2000&rs_key={key}"
    async with connect(fresh.url + query, max_size=None) as talking:
        async with connect(fresh.url + query, max_size=None) as silent:
            await silent.recv()
            response_id = await speak(talking)
            fresh.gateways[0].process.send_signal(signal.SIGTERM)
            with pytest.raises(ConnectionClosed):
                await silent.recv()
            assert silent.close_code == 1001
        events = []
        with pytest.raises(ConnectionClosed):
            while True:
                events.append(json.loads(await talking.recv()))
    assert talking.close_code == 1001
    done = [e["response"] for e in events if e["type"] == "response.done"]
    assert [(r["id"], r["status"]) for r in done] == [(response_id, "completed")]
    assert await asyncio.to_thread(fresh.gateways[0].stop) == 0
    (row,) = eventually(lambda: fresh.usage_rows("leaver"))
    assert row["total_tokens"] == done[0]["usage"]["total_tokens"]
    assert fresh.gateways[0].complaints() == []


@pytest.mark.parametrize("model", ["gpt-realtime", "sim-usage-null"])
async def test_a_session_leaves_with_the_end_of_its_response(fresh: Cluster, model: str) -> None:
    """Not with the next check of what has a deadline, of which there is none here; also where the
    response reports nothing.
    """
    gateway = fresh.start_gateway(tuned={"gateway.session_registry.CHECK_S": 3_600.0})
    key = fresh.create_account("leaver")
    query = f"/v1/realtime?model={model}&reply_ms=2000&rs_key={key}"
    async with connect(f"ws://{gateway.field('listen')}{query}", max_size=None) as socket:
        await speak(socket)
        gateway.process.send_signal(signal.SIGTERM)
        await until_done(socket)
        async with asyncio.timeout(SETTLE_S):
            await socket.wait_closed()
    assert socket.close_code == 1001
    assert await asyncio.to_thread(gateway.stop) == 0


async def test_a_restart_may_be_called_one(fresh: Cluster) -> None:
    """Every quiet session is closed with the chosen code, and a reason that says restart."""
    gateway = fresh.start_gateway(GATEWAY_DRAIN_CLOSE_CODE="1012")
    key = fresh.create_account("many")
    url = f"ws://{gateway.field('listen')}/v1/realtime?model=gpt-realtime&rs_key={key}"
    sockets = [await connect(url) for _ in range(60)]
    gateway.process.send_signal(signal.SIGTERM)
    async with asyncio.timeout(5):
        await asyncio.gather(*(socket.wait_closed() for socket in sockets))
    assert {(s.close_code, s.close_reason) for s in sockets} == {
        (1012, "gateway draining: it restarts, connect again")
    }
    assert await asyncio.to_thread(gateway.stop) == 0


async def test_usage_metered_while_accountd_is_away_is_charged(fresh: Cluster) -> None:
    """A session goes on while accountd is down; its usage is sent afterwards."""
    assert fresh.accountd is not None
    key = fresh.create_account("patient")
    query = f"?model=gpt-realtime&pace=0&rs_key={key}"
    async with connect(fresh.url + query, max_size=None) as socket:
        await speak(socket)
        assert await asyncio.to_thread(fresh.accountd.stop) == 0
        for _ in range(6):
            await until_done(socket)
            await speak(socket)
        await until_done(socket)
    fresh.start_accountd()
    sent = fresh.usage_sent()
    assert len(sent) == 7
    rows = eventually(lambda: (r := fresh.usage_rows("patient")) and len(r) == 2 and r)
    assert sum(row["total_tokens"] for row in rows) == sum(x["usage"]["total_tokens"] for x in sent)
    assert fresh.audit()["ok"]


async def until_done(socket: ClientConnection) -> None:
    """Listen to the end of a response."""
    while json.loads(await socket.recv())["type"] != "response.done":
        pass


async def test_a_provider_that_is_not_there_is_explained() -> None:
    """The client gets an error event in the provider's format, then 1011."""
    with cluster_folder() as cluster:
        cluster.start_accountd()
        cluster.start_gateway(OPENAI_BASE_URL="http://127.0.0.1:9/v1")
        key = cluster.create_account("lonely")
        async with connect(f"{cluster.url}?model=gpt-realtime&rs_key={key}") as socket:
            event = json.loads(await socket.recv())
            with pytest.raises(ConnectionClosed):
                await socket.recv()
    assert event["type"] == "error"
    assert event["error"]["code"] == "provider_unavailable"
    assert socket.close_code == 1011


async def test_a_provider_that_breaks_off_is_explained(fresh: Cluster) -> None:
    """When the provider dies midway, the client gets 1011 and what was metered is charged."""
    assert fresh.simulator is not None
    key = fresh.create_account("cut")
    gateway = await asyncio.to_thread(fresh.start_gateway, **UNKEPT)
    url = f"ws://{gateway.field('listen')}/v1/realtime"
    query = f"?model=gpt-realtime&pace=0&rs_key={key}"
    async with connect(url + query, max_size=None) as socket:
        await speak(socket)
        await until_done(socket)
        fresh.simulator.process.kill()
        with pytest.raises(ConnectionClosed):
            while True:
                event = json.loads(await socket.recv())
    assert event["type"] == "error"
    assert event["error"]["code"] == "provider_connection_lost"
    assert socket.close_code == 1011
    eventually(lambda: len(fresh.usage_rows("cut")) == 1)


async def test_a_draining_gateway_takes_nobody(fresh: Cluster) -> None:
    """After SIGTERM newcomers, and the load balancer, hear 503 while the last response plays."""
    key = fresh.create_account("late")
    query = f"?model=gpt-realtime&reply_ms=20000&rs_key={key}"
    async with connect(fresh.url + query, max_size=None) as socket:
        await speak(socket)
        fresh.gateways[0].process.send_signal(signal.SIGTERM)
        await asyncio.to_thread(eventually, lambda: "stopping" in fresh.gateways[0].log.read_text())
        with pytest.raises(InvalidStatus) as refused:
            await connect(fresh.url + query)
        assert refused.value.response.status_code == 503
        assert "Retry-After" in refused.value.response.headers
        with pytest.raises(InvalidStatus) as probed:
            await connect(f"ws://{fresh.address}/readyz")
        assert probed.value.response.status_code == 503
        socket.transport.abort()
    assert await asyncio.to_thread(fresh.gateways[0].stop) == 0


async def talk_until_closed(url: str) -> None:
    """Ask for responses until the gateway says goodbye."""
    async with connect(url, max_size=None) as socket:
        with pytest.raises(ConnectionClosed):
            while True:
                await socket.send(json.dumps({"type": "response.create"}))
                await until_done(socket)
    assert socket.close_code == 1001


async def test_sigterm_twice_under_load_loses_nothing(fresh: Cluster) -> None:
    """Twenty sessions are streaming when the gateway gets SIGTERM twice: all is charged."""
    key = fresh.create_account("busy")
    url = f"{fresh.url}?model=gpt-realtime&pace=20&reply_ms=3000&rs_key={key}"
    talking = [asyncio.create_task(talk_until_closed(url)) for _ in range(20)]
    await asyncio.to_thread(eventually, lambda: len(fresh.usage_sent()) > 20)
    for _ in range(2):
        fresh.gateways[0].process.send_signal(signal.SIGTERM)
        await asyncio.sleep(0.1)
    await asyncio.gather(*talking)
    assert await asyncio.to_thread(fresh.gateways[0].stop) == 0
    sent = [entry["usage"]["total_tokens"] for entry in fresh.usage_sent()]
    assert sum(row["total_tokens"] for row in fresh.usage_rows("busy")) == sum(sent)
    audit = fresh.audit()
    assert audit["ok"]
    assert audit["producers"]["complete"] == 1, "it said where it ended"


async def test_gateways_on_one_port_leave_it_to_the_others(fresh: Cluster) -> None:
    """With a shared port a draining gateway closes its door at once: its neighbour answers."""
    first = fresh.start_gateway(GATEWAY_REUSE_PORT="yes")
    address = first.field("listen")
    second = fresh.start_gateway(GATEWAY_REUSE_PORT="yes", GATEWAY_LISTEN=address)
    key = fresh.create_account("shared")
    url = f"ws://{address}/v1/realtime?model=gpt-realtime&pace=0&rs_key={key}"
    port = int(address.rpartition(":")[2])
    assert listeners(port) == 2
    first.process.send_signal(signal.SIGTERM)
    await asyncio.to_thread(eventually, lambda: listeners(port) == 1)
    for _ in range(10):
        async with connect(url, max_size=None) as socket:
            await socket.recv()
    assert await asyncio.to_thread(first.stop) == 0
    assert await asyncio.to_thread(second.stop) == 0
