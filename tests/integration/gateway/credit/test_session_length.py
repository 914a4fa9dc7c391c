"""A session lasts as long as its key's may: what is being said then is heard whole, and charged."""

import asyncio
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from tests.support.calls import has_ended, place
from tests.support.crowd import charged
from tests.support.fake_provider import UNKEPT
from tests.support.harness import Cluster, cluster_folder, eventually
from tests.support.named_sessions import STORING, providers
from tests.support.simulator_client_gemini import PATH as GEMINI

LENGTH_S = 3
# An answer that is longer than the session: begun at its beginning, it ends after it.
MODEL = "sim-pace-1,reply_ms-4500"
REACHED = "session_length_reached"
HEARD_S = 30.0
OPENAI = f"/v1/realtime?model={MODEL}"
BETA = {"OpenAI-Beta": "realtime=v1"}


@dataclass(frozen=True)
class Kind:
    """A client: where it connects, with which headers, and whether it speaks Gemini's protocol."""

    name: str
    path: str
    headers: dict[str, str]
    is_gemini: bool = False


KINDS = [
    Kind("OpenAI", OPENAI, {}),
    Kind("OpenAI's beta", OPENAI, BETA),
    Kind("OpenAI to Gemini", f"{OPENAI}&provider=gemini", {}),
    Kind("OpenAI's beta to Gemini", f"{OPENAI}&provider=gemini", BETA),
    Kind("Gemini", f"{GEMINI}?", {}, is_gemini=True),
    Kind("Gemini to OpenAI", f"/provider/openai{GEMINI}?", {}, is_gemini=True),
]
SETUP = {"setup": {"model": f"models/{MODEL}"}}
TURN = {
    "clientContent": {
        "turns": [{"role": "user", "parts": [{"text": "Go on."}]}], "turnComplete": True,
    },
}  # fmt: skip


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """A gateway that keeps sessions, and one that does not."""
    with cluster_folder() as running:
        running.start_accountd()
        running.start_simulator()
        settings = {n: v for n, v in providers(running).items() if n not in STORING}
        running.start_gateway(**settings)
        running.start_gateway(**settings, **UNKEPT)
        yield running


async def heard(url: str, kind: Kind, *, is_asking: bool) -> tuple[list[Any], tuple[int, str]]:
    """What a client hears, and its close, which is no sooner than the session may last."""
    events: list[Any] = []
    begun = time.monotonic()
    async with connect(url, additional_headers=kind.headers, max_size=None) as socket:
        with pytest.raises(ConnectionClosed) as closed:
            async with asyncio.timeout(HEARD_S):
                if kind.is_gemini:
                    await socket.send(json.dumps(SETUP))
                events.append(json.loads(await socket.recv()))
                if is_asking:
                    asked = TURN if kind.is_gemini else {"type": "response.create"}
                    await socket.send(json.dumps(asked))
                while True:
                    events.append(json.loads(await socket.recv()))
    assert time.monotonic() - begun >= LENGTH_S, kind.name
    assert closed.value.rcvd is not None
    return events, (closed.value.rcvd.code, closed.value.rcvd.reason)


def ends(events: list[Any], kind: Kind) -> list[str]:
    """How responses ended."""
    if kind.is_gemini:
        contents = [event.get("serverContent", {}) for event in events]
        return ["completed" for content in contents if "turnComplete" in content]
    return [event["response"]["status"] for event in events if event["type"] == "response.done"]


async def test_every_client_hears_the_answer_that_it_was_at_and_why_it_ends(
    cluster: Cluster,
) -> None:
    """In its own protocol, kept and not; one that hears nothing is told at the same time."""
    key = await asyncio.to_thread(cluster.create_account, "a")
    limit = ("account", "limit", "a", "--session-length", f"{LENGTH_S}s")
    await asyncio.to_thread(cluster.accountctl, *limit)
    cases = [
        (kind, gateway.field("listen"), is_asking)
        for kind in KINDS
        for gateway in cluster.gateways
        for is_asking in (True, False)
    ]
    found = await asyncio.gather(
        *(
            heard(f"ws://{address}{kind.path}&rs_key={key}", kind, is_asking=is_asking)
            for kind, address, is_asking in cases
        )
    )
    for (kind, _, is_asking), (events, close) in zip(cases, found, strict=True):
        assert close == (1008, REACHED), kind.name
        assert ends(events, kind) == (["completed"] if is_asking else []), kind.name
        if not kind.is_gemini:
            assert (events[-1]["type"], events[-1]["error"]["code"]) == ("error", REACHED)
    await charged(cluster, "a", responses=len(KINDS) * len(cluster.gateways))


def test_a_call_is_hung_up_when_its_time_is_over(cluster: Cluster) -> None:
    """After the answer that is being spoken, which is charged."""
    key = cluster.create_account("b")
    cluster.accountctl("account", "limit", "b", "--session-length", f"{LENGTH_S}s")
    begun = time.monotonic()
    call_id = place(cluster, key, "sim-caller-90,pace-1,reply_ms-1000")
    eventually(lambda: has_ended(cluster, call_id))
    assert time.monotonic() - begun >= LENGTH_S
    log = cluster.gateways[0].log.read_text()
    assert f'event="call is hung up" call={call_id}' in log
    assert f"reason={REACHED}" in log
    assert eventually(lambda: cluster.usage_rows("b"))
