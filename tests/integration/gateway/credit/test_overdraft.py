"""Many sessions of one account whose credit pays for few responses: real processes, and a provider
that speaks 900 tokens in a second and a half.
"""

import asyncio
import base64
import hashlib
import json
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from tests.support.conversation import charged_ids
from tests.support.harness import Cluster, eventually, running_cluster
from tests.support.speech import chunks, silence, tone

GATEWAYS, SESSIONS, OVERSHOOT_MAX = 3, 300, 20
ANSWER = 900  # tokens: 45 s of speech
ANSWERS = "reply_ms=45000&pace=30"  # a chime in the format below: no echo of what was said
CREDIT_ENDED = ("insufficient_quota", 1008)
HEARD_S = 30.0
OPENING_AT_ONCE = 30
CONFIGURED = json.dumps(
    {
        "type": "session.update",
        "session": {"type": "realtime", "audio": {"output": {"format": {"type": "audio/pcmu"}}}},
    }
)
ITEM = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Well?"}]}
WRITTEN = (
    json.dumps({"type": "conversation.item.create", "item": ITEM}),
    json.dumps({"type": "response.create"}),
)
SPOKEN = tuple(
    json.dumps(
        {"type": "input_audio_buffer.append", "audio": base64.b64encode(piece).decode()}
    )
    for piece in chunks(silence(0.2) + tone(0.6) + silence(0.8), 100)
)  # fmt: skip


@dataclass
class Client:
    """One session: the responses that it heard whole, the last error, and the close."""

    socket: ClientConnection
    begun: list[str] = field(default_factory=list)
    whole: list[str] = field(default_factory=list)
    cut: list[str] = field(default_factory=list)
    error: str = ""
    code: int = 0
    is_ready: asyncio.Event = field(default_factory=asyncio.Event)

    async def ask(self, question: tuple[str, ...]) -> None:
        """Say all of it; whoever is sent away meanwhile says no more."""
        try:
            for message in question:
                await self.socket.send(message)
        except ConnectionClosed:
            pass

    async def hear(self) -> None:
        """Listen until the close."""
        try:
            while True:
                event = json.loads(await self.socket.recv())
                match event["type"]:
                    case "session.updated":
                        self.is_ready.set()
                    case "response.created":
                        self.begun.append(event["response"]["id"])
                    case "response.done":
                        is_whole = event["response"]["status"] == "completed"
                        (self.whole if is_whole else self.cut).append(event["response"]["id"])
                    case "error":
                        self.error = event["error"]["code"]
        except ConnectionClosed as closed:
            self.code = 0 if closed.rcvd is None else closed.rcvd.code

    @property
    def end(self) -> tuple[str, int]:
        """How the session ended."""
        return self.error, self.code


ALL = slice(None)
ONE = slice(1)


@asynccontextmanager
async def clients(
    cluster: Cluster, account: str, key: str, count: int, *, at: slice = ALL
) -> AsyncIterator[list[Client]]:
    """So many sessions, one after the other at each of the gateways ``at``, all configured; and
    listening.
    """
    addresses = [gateway.field("listen") for gateway in cluster.gateways[at]]
    several = asyncio.Semaphore(OPENING_AT_ONCE)

    async def opened(number: int) -> Client:
        address = f"ws://{addresses[number % len(addresses)]}/v1/realtime?model=gpt-realtime"
        url = f"{address}&{ANSWERS}&tag={account}&rs_key={key}"
        async with several:
            socket = await stack.enter_async_context(
                connect(url, max_size=None, max_queue=None, compression=None)
            )
        await socket.send(CONFIGURED)
        return Client(socket)

    async with AsyncExitStack() as stack, asyncio.timeout(HEARD_S):
        found = await asyncio.gather(*(opened(number) for number in range(count)))
        async with asyncio.TaskGroup() as listening:
            tasks = [listening.create_task(client.hear()) for client in found]
            await asyncio.gather(*(client.is_ready.wait() for client in found))
            yield found
            for task in tasks:
                task.cancel()


async def all_ended(found: list[Client]) -> None:
    """Wait until each client was sent away."""
    await asyncio.gather(*(client.socket.wait_closed() for client in found))


async def settled(cluster: Cluster, account: str) -> int:
    """What the account was charged, once that is all that the provider has reported."""

    def spent() -> tuple[int, int]:
        sent = [x for x in cluster.usage_sent() if f"tag={account}" in x["query"]]
        rows = cluster.usage_rows(account)
        return (
            sum(x["usage"]["total_tokens"] for x in sent),
            sum(row["total_tokens"] for row in rows),
        )

    def charged() -> int:
        reported, in_rows = spent()
        return in_rows if in_rows == reported else 0

    return await asyncio.to_thread(eventually, charged)


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """Three gateways that serve the same accounts."""
    with running_cluster(GATEWAYS) as running:
        yield running


async def test_three_hundred_sessions_overshoot_by_twenty_responses_at_most(
    cluster: Cluster,
) -> None:
    """On three gateways, with credit for one response; at the third gateway they speak. Who is
    charged for a response has heard all of it, and everybody is told why the session ends.
    """
    key = await asyncio.to_thread(cluster.create_account, "crowd", tokens=ANSWER)
    begun = time.monotonic()
    async with clients(cluster, "crowd", key, SESSIONS) as found:
        opened = time.monotonic()
        await asyncio.gather(
            *(
                client.ask(SPOKEN if n % GATEWAYS == 2 else WRITTEN)
                for n, client in enumerate(found)
            )
        )
        await all_ended(found)
        ended = time.monotonic()
    spent = await settled(cluster, "crowd")
    charged = await asyncio.to_thread(charged_ids, cluster, "crowd")
    whole = sorted(name for client in found for name in client.whole)
    overshoot = (spent - ANSWER) / (spent / len(charged))
    in_part = sum(len(client.cut) for client in found)
    print(
        f"{SESSIONS} sessions opened in {opened - begun:.1f} s, all ended {ended - opened:.1f} s"
        f" later: {len(charged)} responses, {spent} tokens charged; {len(whole)} reached a client"
        f" whole, {in_part} in part; overshoot {overshoot:.1f} responses"
    )
    assert overshoot <= OVERSHOOT_MAX
    assert whole == charged
    assert {client.end for client in found} == {CREDIT_ENDED}
    assert (await asyncio.to_thread(cluster.audit))["ok"]


async def test_a_cap_is_overshot_by_few_responses_as_well(cluster: Cluster) -> None:
    """Sixty sessions of an account with credit for all, and a key that may spend what one response
    costs.
    """
    key = await asyncio.to_thread(cluster.create_account, "capped")
    name = hashlib.sha256(key.encode()).hexdigest()
    await asyncio.to_thread(
        cluster.accountctl, "key", "limit", name, "--spending", f"{ANSWER}/total"
    )
    async with clients(cluster, "capped", key, 60) as found:
        await asyncio.gather(*(client.ask(WRITTEN) for client in found))
        await all_ended(found)
    spent = await settled(cluster, "capped")
    charged = await asyncio.to_thread(charged_ids, cluster, "capped")
    print(f"{len(found)} sessions, a cap of {ANSWER}: {len(charged)} responses, {spent} tokens")
    assert sorted(name for client in found for name in client.whole) == charged
    assert len(charged) <= GATEWAYS
    assert {client.end for client in found} == {("spending_limit_reached", 1008)}


async def test_who_waits_is_answered_while_there_is_credit(cluster: Cluster) -> None:
    """Thirty sessions with credit for ten responses: ten are answered, or a few more, as it is not
    known before what the last ones cost.
    """
    responses, cost = 10, ANSWER + 200  # what the text of the answers costs, at most
    key = await asyncio.to_thread(cluster.create_account, "ten", tokens=responses * cost)
    async with clients(cluster, "ten", key, 30, at=ONE) as found:
        await asyncio.gather(*(client.ask(WRITTEN) for client in found))
        await all_ended(found)
    await settled(cluster, "ten")
    charged = await asyncio.to_thread(charged_ids, cluster, "ten")
    whole = sorted(name for client in found for name in client.whole)
    print(f"{len(whole)} of {len(found)} answered, with credit for {responses}")
    assert whole == charged
    assert responses <= len(whole) <= responses + 2
    assert {client.end for client in found} == {CREDIT_ENDED}


async def test_a_top_up_lets_all_go_on_that_wait(cluster: Cluster) -> None:
    """One is answered, five wait; then all of them are answered at once."""
    key = await asyncio.to_thread(cluster.create_account, "topped", tokens=ANSWER)
    async with clients(cluster, "topped", key, 6, at=ONE) as found:
        await asyncio.gather(*(client.ask(WRITTEN) for client in found))
        await asyncio.to_thread(eventually, lambda: any(client.begun for client in found))
        for client in found:  # whatever was sent to it before has arrived
            await (await client.socket.ping())
        assert sum(len(client.begun) for client in found) == 1
        await asyncio.to_thread(
            cluster.ask, "account.topup", account_id="topped", amount=10**6, id="top-up"
        )
        await asyncio.to_thread(eventually, lambda: all(client.whole for client in found))
    assert [client.code for client in found] == [0] * 6
