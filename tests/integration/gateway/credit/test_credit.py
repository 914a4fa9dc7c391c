"""Credit decides how live sessions end: real processes, and what their clients see."""

import asyncio
import base64
import json
import signal
from collections.abc import Iterator
from contextlib import AsyncExitStack
from typing import Any

import pytest
from openai import AsyncOpenAI
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, ConnectionClosedError, InvalidStatus

from accountd.ctl.client import call
from tests.support.conversation import Conversation, conversation
from tests.support.deadlines import within
from tests.support.harness import Cluster, eventually, running_cluster
from tests.support.speech import chunks, silence, tone

GATEWAYS, SESSIONS = 3, 20
COST_MAX = 400  # tokens; no response of the simulator costs that much here


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """Three gateways that serve the same accounts."""
    with running_cluster(GATEWAYS) as running:
        yield running


def urls(cluster: Cluster) -> list[str]:
    """Where the gateways are."""
    return [f"ws://{gateway.field('listen')}/v1/realtime" for gateway in cluster.gateways]


def left(cluster: Cluster, account: str) -> int:
    """Both buckets together."""
    shown = cluster.accountctl("account", "show", account)
    return int(shown["topup_remaining"]) + int(shown["token_remaining"])


async def ended(socket: Any) -> tuple[list[dict[str, Any]], ConnectionClosed]:
    """Everything up to the close, and the close."""
    events: list[dict[str, Any]] = []
    with pytest.raises(ConnectionClosed) as closed:
        while True:
            events.append(json.loads(await asyncio.wait_for(socket.recv(), 20)))
    return events, closed.value


# --- cut off -------------------------------------------------------------------------------------


async def test_the_last_response_is_delivered_whole_then_the_client_is_told(
    cluster: Cluster,
) -> None:
    """Whole response, error event, close 1008; new sessions are refused, none is redialled."""
    key = cluster.create_account("last", tokens=1)
    async with conversation(urls(cluster)[0], key, tag="last") as client:
        await client.socket.send(json.dumps({"type": "response.create"}))
        events, closed = await ended(client.socket)
    assert [e["type"] for e in events].count("response.done") == 1
    assert events[-1]["type"] == "error"
    assert events[-1]["error"]["code"] == events[-1]["error"]["type"] == "insufficient_quota"
    assert closed.rcvd is not None
    assert (closed.rcvd.code, closed.rcvd.reason) == (1008, "insufficient_quota")
    (sent,) = [x for x in cluster.usage_sent() if "tag=last" in x["query"]]
    eventually(lambda: left(cluster, "last") == 1 - sent["usage"]["total_tokens"] < 0)
    with pytest.raises(InvalidStatus) as refused:
        await connect(f"{urls(cluster)[0]}?model=gpt-realtime&tag=last", additional_headers={
            "Authorization": f"Bearer {key}",
        })  # fmt: skip
    assert refused.value.response.status_code == 402
    assert json.loads(refused.value.response.body)["error"]["code"] == "insufficient_credits"
    assert len([x for x in cluster.usage_sent() if "tag=last" in x["query"]]) == 1


async def test_the_openai_sdk_raises_what_its_users_know(cluster: Cluster) -> None:
    """The error event with its code, then ConnectionClosedError with 1008."""
    key = cluster.create_account("sdk", tokens=1)
    client = AsyncOpenAI(api_key=key, base_url=f"http://{cluster.address}/v1")
    errors = []
    with pytest.raises(ConnectionClosedError) as closed:
        async with client.realtime.connect(
            model="gpt-realtime", extra_query={"pace": "0"}
        ) as connection:
            await connection.session.update(
                session={"type": "realtime", "output_modalities": ["text"]}
            )
            await connection.response.create()
            while True:
                event = await asyncio.wait_for(connection.recv(), 20)
                if event.type == "error":
                    errors.append(event.error.code)
    assert errors == ["insufficient_quota"]
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1008


async def test_responses_that_the_provider_starts_are_gated_too(cluster: Cluster) -> None:
    """A client that speaks on an exhausted account hears one answer, not two."""
    key = cluster.create_account("vad", tokens=1)
    turn = silence(0.2) + tone(0.6) + silence(0.8)
    url = f"{urls(cluster)[0]}?model=gpt-realtime&tag=vad&rs_key={key}"
    async with connect(url, max_size=None) as socket:
        hearing = asyncio.create_task(ended(socket))
        for piece in chunks(turn * 4):
            audio = base64.b64encode(piece).decode()
            try:
                await socket.send(json.dumps({"type": "input_audio_buffer.append", "audio": audio}))
            except ConnectionClosed:
                break
            await asyncio.sleep(0.005)
        events, closed = await hearing
    assert closed.rcvd is not None
    assert closed.rcvd.code == 1008
    assert [e["type"] for e in events].count("response.done") == 1


async def test_a_silent_session_is_ended_when_another_has_used_up_the_credit(
    cluster: Cluster,
) -> None:
    """On another gateway, within a second."""
    key = cluster.create_account("silent", tokens=1)
    async with AsyncExitStack() as stack:
        silent = await stack.enter_async_context(conversation(urls(cluster)[1], key))
        busy = await stack.enter_async_context(conversation(urls(cluster)[0], key))
        await busy.socket.send(json.dumps({"type": "response.create"}))
        await ended(busy.socket)
        with within(1.0, cluster.accountd, *cluster.gateways):
            events, closed = await ended(silent.socket)
    assert events[-1]["error"]["code"] == "insufficient_quota"
    assert closed.rcvd is not None
    assert closed.rcvd.code == 1008


async def test_with_debt_the_door_stays_shut_until_the_sum_is_positive(cluster: Cluster) -> None:
    """A top-up that does not cover the debt lets no session in."""
    key = cluster.create_account("debt", tokens=-500)
    url = f"{urls(cluster)[0]}?model=gpt-realtime&tag=debt&rs_key={key}"
    for amount in (499, 1):
        cluster.accountctl("account", "topup", "debt", str(amount))
        with pytest.raises(InvalidStatus) as refused:
            await connect(url)
        assert refused.value.response.status_code == 402
    cluster.accountctl("account", "topup", "debt", "1")
    async with connect(url) as socket:
        assert json.loads(await socket.recv())["type"] == "session.created"


# --- a balance for all ---------------------------------------------------------------------------


CHANGES: list[tuple[str, dict[str, Any], tuple[int, int]]] = [
    # request -> top-up credits and tokens of an account that had 1,000 tokens
    ("topup", {"amount": 77}, (77, 1_000)),
    ("renew", {"plan_name": "Pro"}, (0, 50_000)),
    ("adjust", {"tokens": -77, "reason": "a test"}, (0, 923)),
]


@pytest.mark.parametrize(("request_", "params", "expected"), CHANGES, ids=[x[0] for x in CHANGES])
async def test_a_change_of_balance_reaches_live_sessions_within_a_second(
    cluster: Cluster, request_: str, params: dict[str, Any], expected: tuple[int, int]
) -> None:
    """On every gateway, whoever made it."""
    account = f"changed-{request_}"
    key = cluster.create_account(account, tokens=1_000)
    async with AsyncExitStack() as stack:
        sockets = []
        for url in urls(cluster):
            socket = await stack.enter_async_context(
                connect(f"{url}?model=gpt-realtime&rs_key={key}&rs_events=1")
            )
            await heard(socket, "session.created")
            sockets.append(socket)
        endpoint = cluster.env["ACCOUNTD_RPC_ENDPOINT"]
        with within(1.0, cluster.accountd, *cluster.gateways):
            call(endpoint, f"account.{request_}", {"account_id": account, **params})
            for socket in sockets:
                while buckets(await heard(socket, "rts.credit")) != expected:
                    pass


async def test_an_adjustment_to_nothing_ends_live_sessions(cluster: Cluster) -> None:
    """Within a second, as if they had used it up."""
    key = cluster.create_account("taken", tokens=1_000)
    async with connect(f"{urls(cluster)[1]}?model=gpt-realtime&rs_key={key}") as socket:
        await heard(socket, "session.created")
        params = {"account_id": "taken", "tokens": -1_000, "reason": "a test"}
        with within(1.0, cluster.accountd, *cluster.gateways):
            call(cluster.env["ACCOUNTD_RPC_ENDPOINT"], "account.adjust", params)
            events, closed = await ended(socket)
    assert events[-1]["error"]["code"] == "insufficient_quota"
    assert closed.rcvd is not None
    assert closed.rcvd.code == 1008


async def test_only_who_asks_hears_of_credit(cluster: Cluster) -> None:
    """At the start, and after every batch that was applied; others hear the provider alone."""
    key = cluster.create_account("events", tokens=200)
    async with AsyncExitStack() as stack:
        asking = await stack.enter_async_context(conversation(urls(cluster)[0], key, rs_events=1))
        other = await stack.enter_async_context(conversation(urls(cluster)[0], key))
        first = await heard(asking.socket, "rts.credit")
        assert first == {"type": "rts.credit", "topup_remaining": 0, "token_remaining": 200}
        await other.respond()
        cost = 200 - left_when(lambda: left(cluster, "events"), below=200)
        while (event := await heard(asking.socket, "rts.credit"))["token_remaining"] == 200:
            pass
        assert event["token_remaining"] == 200 - cost
        cluster.accountctl("account", "topup", "events", "5")
        while buckets(await heard(asking.socket, "rts.credit")) != (5, 200 - cost):
            pass
        await other.socket.send(json.dumps({"type": "response.create"}))
        events = []
        while (event := json.loads(await other.socket.recv()))["type"] != "response.done":
            events.append(event["type"])
        assert "rts.credit" not in events


async def test_who_watches_sees_the_credits_move_with_each_response(cluster: Cluster) -> None:
    """One response is charged while the session goes on; who does not watch sends batches."""
    watched, unwatched = cluster.create_account("watched"), cluster.create_account("unwatched")
    url = urls(cluster)[0]
    async with (
        conversation(url, watched, rs_events=1) as seen,
        conversation(url, unwatched) as other,
    ):
        await other.respond_times(1)
        await seen.respond_times(1)
        rows = await asyncio.to_thread(eventually, lambda: cluster.usage_rows("watched"))
        assert [row["responses"] for row in rows] == [1]
        shown = await asyncio.to_thread(cluster.accountctl, "account", "show", "watched")
        assert shown["token_remaining"] == 10**9 - rows[0]["total_tokens"]
        assert await asyncio.to_thread(cluster.usage_rows, "unwatched") == []


async def test_rs_events_is_0_or_1(cluster: Cluster) -> None:
    """Anything else is a mistake that is named."""
    key = cluster.create_account("odd")
    with pytest.raises(InvalidStatus) as refused:
        await connect(f"{urls(cluster)[0]}?model=gpt-realtime&rs_key={key}&rs_events=yes")
    assert refused.value.response.status_code == 400
    assert "expected 0 or 1" in refused.value.response.body.decode()


@pytest.mark.parametrize("is_restarted", [False, True], ids=["calm", "accountd restarts"])
async def test_twenty_sessions_overshoot_by_a_response_each_at_most(
    cluster: Cluster, is_restarted: bool
) -> None:
    """Twenty sessions of one account on three gateways talk until they are cut off."""
    account = f"bound-{is_restarted}"
    opening = 30_001  # no sum of their costs, which are multiples of 12: it cannot end at nothing
    key = cluster.create_account(account, tokens=opening)
    tag = f"tag={account}"
    talks = asyncio.gather(
        *(talk_until_cut_off(urls(cluster)[n % GATEWAYS], key, account) for n in range(SESSIONS))
    )
    if is_restarted:

        def is_nearly_empty() -> bool:
            endpoint = cluster.env["ACCOUNTD_RPC_ENDPOINT"]
            shown = call(endpoint, "account.show", {"account_id": account})
            return int(shown["token_remaining"]) < opening // 4

        await asyncio.to_thread(eventually, is_nearly_empty)
        assert cluster.accountd is not None
        cluster.accountd.stop(signal.SIGKILL)
        await asyncio.sleep(2.0)
        await asyncio.to_thread(cluster.start_accountd)
    costs = await talks

    def spent() -> int:
        """What the provider says; responses that a close has cancelled may come later."""
        sent = (x for x in cluster.usage_sent() if tag in x["query"])
        return sum(x["usage"]["total_tokens"] for x in sent)

    await asyncio.to_thread(eventually, lambda: left(cluster, account) == opening - spent())
    largest = max(cost for session in costs for cost in session)
    overshoot = spent() - opening
    print(f"{sum(map(len, costs))} responses, overshoot {overshoot} tokens,"
          f" {overshoot / largest:.1f} responses of {largest}")  # fmt: skip
    assert 0 < overshoot <= SESSIONS * largest
    assert cluster.audit()["ok"]


# --- helpers -------------------------------------------------------------------------------------


async def talk_until_cut_off(url: str, key: str, account: str) -> list[int]:
    """One response after another until the gateway says that the credit is used up; their costs."""
    costs: list[int] = []
    async with conversation(url, key, tag=account) as client:
        with pytest.raises(ConnectionClosedError) as closed:
            while True:
                costs += await cost_of_response(client)
        assert closed.value.rcvd is not None
        assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (1008, "insufficient_quota")
    return costs


async def cost_of_response(client: Conversation) -> list[int]:
    """What a response cost; nothing when it was not to be."""
    await client.socket.send(json.dumps({"type": "response.create"}))
    while True:
        event = json.loads(await asyncio.wait_for(client.socket.recv(), 30))
        if event["type"] == "response.done":
            return [event["response"]["usage"]["total_tokens"]]


async def heard(socket: Any, name: str) -> dict[str, Any]:
    """The next event of that type."""
    while True:
        event = json.loads(await asyncio.wait_for(socket.recv(), 20))
        if event["type"] == name:
            assert isinstance(event, dict)
            return event


def buckets(event: dict[str, Any]) -> tuple[int, int]:
    """The top-up credits and the tokens of an ``rts.credit`` event."""
    return event["topup_remaining"], event["token_remaining"]


def left_when(read: Any, *, below: int) -> int:
    """The balance once it is less than ``below``."""
    return int(eventually(lambda: (value := read()) < below and value))
