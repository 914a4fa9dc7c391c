"""The simulator's calls, with the official SDK and without a gateway: what the SDK's types say."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from openai import APIStatusError, AsyncOpenAI, OpenAI
from openai.types.realtime import RealtimeServerEvent
from pydantic import TypeAdapter

from tests.support.harness import Cluster, cluster_folder, eventually

SERVER_EVENT: Any = TypeAdapter(RealtimeServerEvent)
OFFER = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\n"


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """The simulator alone."""
    with cluster_folder() as running:
        running.start_simulator("--pace", "0", "--api-key", "sk-right")
        yield running


def sdk(cluster: Cluster, kind: Any, key: str = "sk-right") -> Any:
    """A client of the provider."""
    return kind(api_key=key, base_url=cluster.env["OPENAI_BASE_URL"], max_retries=0)


def make(cluster: Cluster, model: str) -> str:
    """A call's id."""
    answer = sdk(cluster, OpenAI).realtime.calls.create(
        sdp=OFFER, session={"type": "realtime", "model": model}
    )
    assert answer.text.startswith("v=0")
    return str(answer.response.headers["location"].rpartition("/")[2])


async def test_two_sidebands_hear_one_conversation(cluster: Cluster) -> None:
    """The same events, each of the SDK's types, no audio; the usage is logged once."""
    call_id = await asyncio.to_thread(make, cluster, "sim-caller-2")
    client = sdk(cluster, AsyncOpenAI)

    async def listen() -> list[Any]:
        async with client.realtime.connect(call_id=call_id) as connection:
            return [event async for event in connection]

    first, second = await asyncio.gather(listen(), listen())
    for event in (*first, *second):
        SERVER_EVENT.validate_python(event.model_dump())
    done = [event.response.id for event in second if event.type == "response.done"]
    assert done
    assert done == [e.response.id for e in first if e.type == "response.done"][-len(done) :]
    assert "response.output_audio.delta" not in {event.type for event in (*first, *second)}
    told = [x for x in cluster.usage_sent() if x["session"] == call_id]
    assert len(told) == len({x["response_id"] for x in told}) == 2


def test_a_call_comes_in(cluster: Cluster) -> None:
    """It is accepted once, ended once, and unknown after that."""
    calls = sdk(cluster, OpenAI).realtime.calls
    calls.accept("rtc_incoming_1", type="realtime", model="sim-pace-0")
    for verb, status in (("accept", 409), ("reject", 409), ("hangup", 0), ("hangup", 404)):
        named = {"accept": {"type": "realtime"}}.get(verb, {})
        if not status:
            getattr(calls, verb)("rtc_incoming_1", **named)
            continue
        with pytest.raises(APIStatusError) as refused:
            getattr(calls, verb)("rtc_incoming_1", **named)
        assert refused.value.status_code == status


def test_what_is_refused(cluster: Cluster) -> None:
    """A wrong key, an offer that is none, a call that nobody knows."""
    asked = (
        lambda: sdk(cluster, OpenAI, "sk-wrong").realtime.calls.create(sdp=OFFER),
        lambda: sdk(cluster, OpenAI).realtime.calls.create(sdp="hello"),
        lambda: sdk(cluster, OpenAI).realtime.calls.refer("rtc_x", target_uri="tel:+1"),
    )
    for ask, status in zip(asked, (401, 400, 404), strict=True):
        with pytest.raises(APIStatusError) as refused:
            ask()
        assert refused.value.status_code == status


async def test_the_caller_hangs_up(cluster: Cluster) -> None:
    """After its turns; then the call is unknown."""
    call_id = await asyncio.to_thread(make, cluster, "sim-caller-1")
    async with sdk(cluster, AsyncOpenAI).realtime.connect(call_id=call_id) as connection:
        assert "response.done" in [event.type async for event in connection]

    def is_unknown() -> bool:
        try:
            sdk(cluster, OpenAI).realtime.calls.refer(call_id, target_uri="")
        except APIStatusError as exc:
            return exc.status_code == 404
        return False

    assert await asyncio.to_thread(eventually, is_unknown)
