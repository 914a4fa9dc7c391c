"""Spending caps of keys, and limits of single sessions: real processes, and what clients see."""

import asyncio
import contextlib
import hashlib
import json
import signal
from collections.abc import Iterator
from contextlib import AsyncExitStack
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tests.support import simulator_client_gemini as gemini
from tests.support.conversation import Conversation, conversation
from tests.support.harness import Cluster, cluster_folder, eventually
from tests.support.named_sessions import STORING, new_key, providers

GATEWAYS, SESSIONS = 3, 6
HEARD_S = 20
MONTH_S = 31 * 86_400 + 1
CREATE = {"type": "response.create"}
REACHED = "spending_limit_reached"


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """Three gateways with all providers, simulated."""
    with cluster_folder() as running:
        running.start_accountd()
        running.start_simulator("--pace", "0")
        for _ in range(GATEWAYS):
            start_gateway(running)
        yield running


def start_gateway(cluster: Cluster) -> None:
    """One more, which stores nothing."""
    cluster.start_gateway(**{n: v for n, v in providers(cluster).items() if n not in STORING})


def urls(cluster: Cluster) -> list[str]:
    """Where the gateways are."""
    return [f"ws://{gateway.field('listen')}/v1/realtime" for gateway in cluster.gateways]


def hash_of(key: str) -> str:
    """By which accountd knows it."""
    return hashlib.sha256(key.encode()).hexdigest()


def limited(cluster: Cluster, account: str, *options: str) -> str:
    """A key with limits."""
    key = new_key(cluster, account)
    cluster.accountctl("key", "limit", hash_of(key), *options)
    return key


def spent(cluster: Cluster, key: str) -> int:
    """What accountd has counted."""
    return int(cluster.accountctl("key", "show", hash_of(key))["spent_in_period"])


def sent(cluster: Cluster, tag: str) -> int:
    """What the provider says that it cost."""
    lines = (line for line in cluster.usage_sent() if f"tag={tag}" in line["query"])
    return sum(line["usage"]["total_tokens"] for line in lines)


async def heard_to_the_end(socket: ClientConnection) -> tuple[list[dict[str, Any]], str]:
    """Everything up to a close by the gateway's rules, and its reason."""
    events: list[dict[str, Any]] = []
    with pytest.raises(ConnectionClosed) as closed:
        async with asyncio.timeout(HEARD_S):
            while True:
                events.append(json.loads(await socket.recv()))
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1008
    return events, closed.value.rcvd.reason


async def talk_until_cut_off(client: Conversation) -> list[int]:
    """One response after another; what they cost that were heard whole."""
    costs: list[int] = []
    events: list[dict[str, Any]] = []
    with pytest.raises(ConnectionClosed) as closed:
        while True:
            if not events or events[-1]["type"] == "response.done":
                with contextlib.suppress(ConnectionClosed):
                    await client.socket.send(json.dumps(CREATE))
            events.append(json.loads(await asyncio.wait_for(client.socket.recv(), HEARD_S)))
            if events[-1]["type"] == "response.done":
                costs.append(events[-1]["response"]["usage"]["total_tokens"])
    assert [e["error"]["code"] for e in events if e["type"] == "error"] == [REACHED]
    assert events[-1]["type"] == "error"
    assert closed.value.rcvd is not None
    assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (1008, REACHED)
    begun = [e["type"] for e in events].count("response.created")
    assert begun == len(costs), "each is delivered whole"
    return costs


async def refusal(url: str, key: str) -> tuple[int, str, int]:
    """How a new session is refused: status, code, and when to come back."""
    with pytest.raises(InvalidStatus) as refused:
        await connect(f"{url}?model=gpt-realtime&rs_key={key}")
    response = refused.value.response
    code = json.loads(response.body or b"")["error"]["code"]
    return response.status_code, code, int(response.headers["Retry-After"])


# --- a cap for all gateways ----------------------------------------------------------------------


async def test_a_cap_ends_the_sessions_of_its_key_on_every_gateway(cluster: Cluster) -> None:
    """Each after the response that it was at, and no other key's; the door stays shut."""
    cap = 5_001  # no sum of their costs, which are multiples of 12: it cannot end at nothing
    key = await asyncio.to_thread(limited, cluster, "a", "--spending", f"{cap}/month")
    other = await asyncio.to_thread(new_key, cluster, "a")
    async with AsyncExitStack() as stack:
        going_on = await stack.enter_async_context(conversation(urls(cluster)[0], other))
        clients = [
            await stack.enter_async_context(
                conversation(urls(cluster)[n % GATEWAYS], key, tag="capped")
            )
            for n in range(SESSIONS)
        ]
        talks = await asyncio.gather(*map(talk_until_cut_off, clients))
        await going_on.respond()
    for url in urls(cluster):
        status, code, retry_after_s = await refusal(url, key)
        assert (status, code) == (429, REACHED)
        assert 0 < retry_after_s <= MONTH_S
    costs = [cost for talk in talks for cost in talk]
    await asyncio.to_thread(eventually, lambda: spent(cluster, key) == sent(cluster, "capped"))
    assert cap < sent(cluster, "capped") <= cap + SESSIONS * max(costs)
    assert cluster.audit()["ok"]


async def test_a_higher_cap_lets_the_key_in_again(cluster: Cluster) -> None:
    """At once, and for as much as it is higher."""
    key = await asyncio.to_thread(limited, cluster, "b", "--spending", "1/total")
    async with conversation(urls(cluster)[0], key) as client:
        assert await talk_until_cut_off(client)
    before = await asyncio.to_thread(eventually, lambda: spent(cluster, key))
    with pytest.raises(InvalidStatus) as refused:
        await connect(f"{urls(cluster)[1]}?model=gpt-realtime&rs_key={key}")
    assert "Retry-After" not in refused.value.response.headers, "waiting does not help"
    more = ["key", "limit", hash_of(key), "--spending", f"{before + 1}/total"]
    await asyncio.to_thread(cluster.accountctl, *more)
    async with conversation(urls(cluster)[1], key) as client:
        assert await talk_until_cut_off(client)


async def test_a_live_session_hears_of_another_cap(cluster: Cluster) -> None:
    """Where it began with one: what it had is taken away under it."""
    key = await asyncio.to_thread(limited, cluster, "c", "--spending", "1000000/day")
    async with conversation(urls(cluster)[2], key) as client:
        await client.respond()
        await client.respond()
        lower = ["key", "limit", hash_of(key), "--spending", "1/day"]
        await asyncio.to_thread(cluster.accountctl, *lower)
        events, reason = await heard_to_the_end(client.socket)
    assert [event["error"]["code"] for event in events if event["type"] == "error"] == [REACHED]
    assert reason == REACHED


# --- one session ---------------------------------------------------------------------------------

OPENAI = "/v1/realtime?model=gpt-realtime&pace=0"
BETA = {"OpenAI-Beta": "realtime=v1"}
ASKED: list[dict[str, Any]] = [
    {"type": "session.update", "session": {"type": "realtime", "output_modalities": ["text"]}},
    {"type": "conversation.item.create", "item": {
        "type": "message", "role": "user", "content": [{"type": "input_text", "text": "hello"}],
    }},
    CREATE,
]  # fmt: skip
SAID: list[dict[str, Any]] = [
    {"setup": {"model": gemini.MODEL}},
    {"clientContent": {
        "turns": [{"role": "user", "parts": [{"text": "hello"}]}], "turnComplete": True,
    }},
]  # fmt: skip
KINDS = {
    # the URL, its headers, and what the client says
    "ga": (OPENAI, {}, ASKED),
    "beta": (OPENAI, BETA, [{"type": "session.update", "session": {"modalities": ["text"]}},
                            *ASKED[1:]]),
    "gemini": (f"{gemini.PATH}?pace=0", {}, SAID),
    "openai to gemini": (f"{OPENAI}&rs_core=GEMINI", {}, ASKED),
    "gemini to openai": (f"/provider/openai{gemini.PATH}?pace=0", {}, SAID),
}  # fmt: skip
LIMITS = [
    ("--session-tokens", "session_tokens_reached"),
    ("--session-credits", "session_credits_reached"),
]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("option", "code"), LIMITS, ids=["tokens", "credits"])
async def test_a_session_ends_at_its_own_limit(
    cluster: Cluster, kind: str, option: str, code: str
) -> None:
    """After the response that reached it, in the words of its protocol; another one may begin."""
    path, headers, said = KINDS[kind]
    key = await asyncio.to_thread(limited, cluster, "d", option, "1")
    url = f"ws://{cluster.address}{path}&rs_key={key}"
    for _ in range(2):
        async with connect(url, additional_headers=headers) as socket:
            for message in said:
                await socket.send(json.dumps(message))
            events, reason = await heard_to_the_end(socket)
        assert reason == code
        if said is SAID:
            assert sum("turnComplete" in event.get("serverContent", {}) for event in events) == 1
        else:
            assert [event["type"] for event in events].count("response.done") == 1
            assert (events[-1]["type"], events[-1]["error"]["code"]) == ("error", code)


# --- processes that are killed --------------------------------------------------------------------


async def test_sums_are_exact_after_kills(cluster: Cluster) -> None:
    """Of a gateway with usage that it had only noted, and of accountd with what was on its way."""
    key = await asyncio.to_thread(limited, cluster, "e", "--spending", "1000000/month")
    async with (
        conversation(urls(cluster)[0], key, tag="killed") as living,
        conversation(urls(cluster)[1], key, tag="killed") as dying,
    ):
        await dying.respond_times(7)
        assert cluster.accountd is not None
        cluster.accountd.stop(signal.SIGKILL)
        await living.respond_times(7)
        cluster.gateways.pop(1).stop(signal.SIGKILL)
        await asyncio.to_thread(cluster.start_accountd)
        await asyncio.to_thread(start_gateway, cluster)
        await living.respond_times(1)
    await asyncio.to_thread(eventually, lambda: spent(cluster, key) == sent(cluster, "killed"))
    assert len([x for x in cluster.usage_sent() if "tag=killed" in x["query"]]) == 15
    assert cluster.audit()["wrong_spending"] == []
