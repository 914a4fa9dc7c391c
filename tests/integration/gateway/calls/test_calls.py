"""Calls (WebRTC, SIP) are made, accepted and joined with the official SDK, and charged."""

import asyncio

import pytest
from openai import APIStatusError, AsyncOpenAI
from websockets.exceptions import InvalidStatus

from tests.support.calls import (
    CALLS,
    LONG_WINDED,
    OFFER,
    SLOW,
    assert_books_are_right,
    client_of,
    has_ended,
    is_call_gone,
    is_charged,
    place,
    sideband,
    wait_until_said,
)
from tests.support.harness import Cluster, eventually
from tests.support.http_client import ask


def test_a_call_is_charged_over_a_sideband_of_ours(cluster: Cluster) -> None:
    """Its client opens none. What is asked for of the session arrives at the provider."""
    key = cluster.create_account("webrtc")
    call_id = place(cluster, key, "sim-caller-7,pace-0", instructions="Be brief.")
    is_charged(cluster, "webrtc", call_id, responses=7)
    eventually(lambda: has_ended(cluster, call_id))


def test_what_several_gateways_hear_of_a_call_counts_for_its_key(cluster: Cluster) -> None:
    """Whichever of them reports a response first."""
    key = cluster.create_account("capped")
    key_hash = cluster.ask("key.list", account_id="capped")["keys"][0]["key_hash"]
    cluster.accountctl("key", "limit", key_hash, "--spending", "1000000/month")
    call_id = place(cluster, key, "sim-caller-2,pace-1,reply_ms-500")
    with sideband(cluster, key, call_id, gateway=1):
        is_charged(cluster, "capped", call_id, responses=2)
    eventually(lambda: has_ended(cluster, call_id))
    spent = cluster.accountctl("key", "show", key_hash)["spent_in_period"]
    assert spent == sum(row["total_tokens"] for row in cluster.usage_rows("capped"))


def test_a_browser_makes_a_call_with_an_ephemeral_key(cluster: Cluster) -> None:
    """Its body is the offer alone; the key brings the model and the configuration."""
    key = cluster.create_account("browser")
    secret = client_of(cluster, key).realtime.client_secrets.create(
        session={"type": "realtime", "model": "sim-caller-2,pace-0", "instructions": "Hi."}
    )
    made = ask(
        cluster.address, "POST", CALLS, key=secret.value, body=OFFER,
        headers={"Content-Type": "application/sdp", "Origin": "https://app.example.org"},
    )  # fmt: skip
    assert made.status == 201, made.body
    assert made.headers["Access-Control-Allow-Origin"] == "*"
    assert "Location" in made.headers["Access-Control-Expose-Headers"]
    call_id = made.headers["Location"].rpartition("/")[2]
    is_charged(cluster, "browser", call_id, responses=2)
    refused = ask(cluster.address, "POST", f"{CALLS}/{call_id}/hangup", key=secret.value)
    assert (refused.status, refused.error) == (401, "invalid_api_key")


def test_a_browser_asks_first_whether_it_may(cluster: Cluster) -> None:
    """A page of another origin: the preflight, and a refusal that it can read."""
    asked = ask(
        cluster.address, "OPTIONS", CALLS,
        headers={
            "Origin": "https://app.example.org", "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "authorization,content-type",
        },
    )  # fmt: skip
    assert asked.status == 200
    assert asked.headers["Access-Control-Allow-Methods"] == "POST"
    assert "Authorization" in asked.headers["Access-Control-Allow-Headers"]
    refused = ask(cluster.address, "POST", CALLS, body=b"", headers={"Content-Type": "text/plain"})
    assert refused.status == 400
    assert refused.headers["Access-Control-Allow-Origin"] == "*"


def test_a_call_that_came_in_is_taken_and_charged(cluster: Cluster) -> None:
    """SIP: accepted by its id, which the provider sends in a webhook."""
    key = cluster.create_account("sip")
    call_id = "rtc_incoming_taken"
    client_of(cluster, key).realtime.calls.accept(
        call_id, type="realtime", model="sim-caller-3,pace-0", instructions="Answer the phone."
    )
    is_charged(cluster, "sip", call_id, responses=3)


def test_a_call_that_came_in_is_turned_away(cluster: Cluster) -> None:
    """Nothing of it is metered, and it cannot be accepted any more."""
    calls = client_of(cluster, cluster.create_account("away")).realtime.calls
    calls.reject("rtc_incoming_unwanted", status_code=486)
    with pytest.raises(APIStatusError) as refused:
        calls.accept("rtc_incoming_unwanted", type="realtime")
    assert refused.value.status_code == 404
    assert "not found" in str(refused.value)


def test_hanging_up_charges_what_was_being_said(cluster: Cluster) -> None:
    """The response is cancelled and reported before the call ends; nothing is an estimate."""
    key = cluster.create_account("ends")
    call_id = place(cluster, key, SLOW, **LONG_WINDED)
    wait_until_said(cluster, key, call_id)
    client_of(cluster, key).realtime.calls.hangup(call_id)
    is_charged(cluster, "ends", call_id, responses=1)
    assert is_call_gone(cluster, key, call_id)
    (usage,) = [u for u in cluster.usage_sent() if u["session"] == call_id]
    assert usage["status"] == "cancelled"


def test_a_call_is_passed_on(cluster: Cluster) -> None:
    """After that it is over as far as the provider goes."""
    key = cluster.create_account("refers")
    call_id = place(cluster, key, "sim-pace-0")
    client_of(cluster, key).realtime.calls.refer(call_id, target_uri="tel:+15550100")
    eventually(lambda: has_ended(cluster, call_id))
    assert is_call_gone(cluster, key, call_id)


async def test_a_client_listens_and_speaks_on_a_sideband(cluster: Cluster) -> None:
    """openai-python with ``call_id``: it hears the call, asks for a response, and pays once."""
    key = await asyncio.to_thread(cluster.create_account, "sideband")
    call_id = await asyncio.to_thread(place, cluster, key, "sim-pace-0")
    client = AsyncOpenAI(api_key=key, base_url=f"http://{cluster.address}/v1")
    async with client.realtime.connect(call_id=call_id) as connection:
        await connection.response.create()
        kinds = []
        async for event in connection:
            kinds.append(event.type)
            if event.type == "response.done":
                break
    assert kinds[0] == "session.created"
    await asyncio.to_thread(is_charged, cluster, "sideband", call_id, responses=1)
    # It left, and the call goes on: another one listens, on another gateway.
    address = cluster.gateways[1].field("listen")
    client = AsyncOpenAI(api_key=key, base_url=f"http://{address}/v1")
    async with client.realtime.connect(call_id=call_id) as connection:
        await connection.response.create()
        async for event in connection:
            if event.type == "response.done":
                break
    await asyncio.to_thread(is_charged, cluster, "sideband", call_id, responses=2)
    await client.realtime.calls.hangup(call_id)


def test_an_observer_that_leaves_cuts_nobody_short(cluster: Cluster) -> None:
    """The response to the caller goes on; three sockets get its usage, and it is charged once."""
    key = cluster.create_account("observed")
    call_id = place(cluster, key, "sim-pace-1,reply_ms-5000,caller-1", **LONG_WINDED)
    wait_until_said(cluster, key, call_id)
    with sideband(cluster, key, call_id), sideband(cluster, key, call_id):
        pass
    is_charged(cluster, "observed", call_id, responses=1)
    (usage,) = [u for u in cluster.usage_sent() if u["session"] == call_id]
    assert usage["status"] == "completed"


def test_a_call_that_is_over_has_no_sideband(cluster: Cluster) -> None:
    """404 before the upgrade, as for a call that does not exist."""
    key = cluster.create_account("late")
    call_id = place(cluster, key, "sim-pace-0")
    client_of(cluster, key).realtime.calls.hangup(call_id)
    for name in (call_id, "rtc_unknown"):
        with pytest.raises(InvalidStatus) as refused, sideband(cluster, key, name):
            pass
        assert refused.value.response.status_code == 404


def test_the_books_are_right(cluster: Cluster) -> None:
    """After all of that."""
    assert_books_are_right(cluster)
