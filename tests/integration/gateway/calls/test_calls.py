"""Calls (WebRTC, SIP) with the official SDK: a real gateway hears them, the simulator has them."""

import asyncio
import json
import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from socket import create_connection
from typing import Any

import pytest
from openai import APIStatusError, AsyncOpenAI, OpenAI, OpenAIError
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from gateway.limits import CREDIT_WAIT_S
from tests.support.harness import SETTLE_S, Cluster, Daemon, cluster_folder, eventually
from tests.support.http_client import ask

CALLS = "/v1/realtime/calls"
OFFER = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n"
SLOW = "sim-pace-0.1,caller-1"  # one answer that lasts for six seconds


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """Two gateways; the second one has Azure as well, and an account that is held to a model."""
    with cluster_folder() as running:
        (running.folder / "ephemeral.secret").write_text("s" * 64)
        (running.folder / "models.toml").write_text(
            '[models."house-voice"]\nprovider = "openai"\nmodel = "sim-caller-2,pace-0"\n'
            '[models."house-voice-quiet"]\nprovider = "openai"\nmodel = "sim-caller-0,pace-0"\n'
            '[accounts."held"]\nmodels = ["house-voice*"]\n'
        )
        running.env["GATEWAY_EPHEMERAL_SECRET_FILE"] = str(running.folder / "ephemeral.secret")
        running.env["GATEWAY_OPS_LISTEN"] = "127.0.0.1:0"
        running.start_accountd()
        running.start_simulator("--pace", "0")
        simulated = f"http://{running.simulator.field('listen')}" if running.simulator else ""
        for _ in range(2):
            running.start_gateway(AZURE_OPENAI_API_KEY="azure-key", AZURE_OPENAI_ENDPOINT=simulated)
        yield running


def client_of(cluster: Cluster, key: str, *, gateway: int = 0) -> OpenAI:
    """The official SDK as it comes; it tries nothing twice, so that every answer is seen."""
    address = cluster.gateways[gateway].field("listen")
    return OpenAI(api_key=key, base_url=f"http://{address}/v1", max_retries=0)


def charged(cluster: Cluster, account: str, *, responses: int) -> list[dict[str, Any]]:
    """The rows of an account, once they hold so many responses."""

    def rows() -> list[dict[str, Any]]:
        found = cluster.usage_rows(account)
        return found if sum(row["responses"] for row in found) >= responses else []

    return eventually(rows)


def sent(cluster: Cluster, call_id: str) -> dict[str, int]:
    """What the simulator says that the responses of a call cost, by their ids."""
    return {
        usage["response_id"]: usage["charge"]["total_tokens"]
        for usage in cluster.usage_sent()
        if usage["session"] == call_id
    }


def is_charged(cluster: Cluster, account: str, call_id: str, *, responses: int) -> None:
    """The rows of an account are what was sent in its only call, to the token, and once."""
    rows = charged(cluster, account, responses=responses)
    told = sent(cluster, call_id)
    assert len(told) == responses
    assert sorted(name for row in rows for name in row["response_ids"]) == sorted(told)
    assert sum(row["total_tokens"] for row in rows) == sum(told.values())
    assert {row["kind"] for row in rows} == {"response"}
    assert {row["session_id"] for row in rows} == {call_id}


def reported(cluster: Cluster, account: str, *, responses: int) -> int:
    """The tokens of an account's responses, once there are so many. One that the caller began in
    the moment of the hang-up is never reported; it is an estimate beside them.
    """

    def found() -> list[dict[str, Any]]:
        rows = [row for row in cluster.usage_rows(account) if row["kind"] == "response"]
        return rows if sum(row["responses"] for row in rows) == responses else []

    return sum(row["total_tokens"] for row in eventually(found))


def place(cluster: Cluster, key: str, model: str, **session: Any) -> str:
    """Make a call; its id."""
    answer = client_of(cluster, key).realtime.calls.create(
        sdp=OFFER, session={"type": "realtime", "model": model, **session}
    )
    assert answer.text.startswith("v=0")
    assert answer.response.status_code == 201
    assert answer.response.headers["content-type"] == "application/sdp"
    path, _, call_id = answer.response.headers["location"].rpartition("/")
    assert path == CALLS
    return call_id


def is_call_gone(cluster: Cluster, key: str, call_id: str) -> bool:
    """Whether the provider knows the call no more."""
    try:
        client_of(cluster, key).realtime.calls.refer(call_id, target_uri="tel:+15550100")
    except APIStatusError as exc:
        return exc.status_code == 404
    return False


def has_ended(cluster: Cluster, call_id: str) -> bool:
    """Whether every gateway that heard the call has stopped."""
    logs = "".join(gateway.log.read_text() for gateway in cluster.gateways)
    opened, ended = (logs.count(f'event="call {x}" call={call_id} ') for x in ("opened", "ended"))
    return 0 < opened == ended


# --- made and taken -------------------------------------------------------------------------------


def test_a_call_is_charged_over_a_sideband_of_ours(cluster: Cluster) -> None:
    """Its client opens none. What is asked for of the session arrives at the provider."""
    key = cluster.create_account("webrtc")
    call_id = place(cluster, key, "sim-caller-7,pace-0", instructions="Be brief.")
    is_charged(cluster, "webrtc", call_id, responses=7)
    eventually(lambda: has_ended(cluster, call_id))


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
    """SIP: accepted by its id, which a webhook of the provider told."""
    key = cluster.create_account("sip")
    call_id = "rtc_incoming_taken"
    client_of(cluster, key).realtime.calls.accept(
        call_id, type="realtime", model="sim-caller-3,pace-0", instructions="Answer the phone."
    )
    is_charged(cluster, "sip", call_id, responses=3)


def test_a_call_that_came_in_is_turned_away(cluster: Cluster) -> None:
    """Nothing is heard of it, and it cannot be taken any more."""
    calls = client_of(cluster, cluster.create_account("away")).realtime.calls
    calls.reject("rtc_incoming_unwanted", status_code=486)
    with pytest.raises(APIStatusError) as refused:
        calls.accept("rtc_incoming_unwanted", type="realtime")
    assert refused.value.status_code == 404
    assert "not found" in str(refused.value)


def test_hanging_up_charges_what_was_being_said(cluster: Cluster) -> None:
    """The response is cancelled and reported before the call ends; nothing is an estimate."""
    key = cluster.create_account("ends")
    call_id = place(cluster, key, SLOW)
    eventually(lambda: cluster_is_saying(cluster, key, call_id))
    client_of(cluster, key).realtime.calls.hangup(call_id)
    is_charged(cluster, "ends", call_id, responses=1)
    assert is_call_gone(cluster, key, call_id)
    (usage,) = [u for u in cluster.usage_sent() if u["session"] == call_id]
    assert usage["status"] == "cancelled"


def cluster_is_saying(cluster: Cluster, key: str, call_id: str) -> bool:
    """Whether something is being said in a call."""
    with sideband(cluster, key, call_id) as socket:
        return any(
            json.loads(message)["type"].startswith("response.")
            for message in iter(lambda: next_or_none(socket), None)
        )


def next_or_none(socket: Any) -> Any:
    """The next message within a moment."""
    try:
        return socket.recv(timeout=0.3)
    except TimeoutError:
        return None


def sideband(cluster: Cluster, key: str, call_id: str, *, gateway: int = 0) -> Any:
    """A client's own socket to a call."""
    address = cluster.gateways[gateway].field("listen")
    url = f"ws://{address}/v1/realtime?call_id={call_id}"
    return connect(url, additional_headers={"Authorization": f"Bearer {key}"})


def test_a_call_is_passed_on(cluster: Cluster) -> None:
    """After that it is over as far as the provider goes."""
    key = cluster.create_account("refers")
    call_id = place(cluster, key, "sim-pace-0")
    client_of(cluster, key).realtime.calls.refer(call_id, target_uri="tel:+15550100")
    eventually(lambda: has_ended(cluster, call_id))
    assert is_call_gone(cluster, key, call_id)


# --- sidebands of clients -------------------------------------------------------------------------


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
    """What is being said to the caller goes on; it is heard three times, and counts once."""
    key = cluster.create_account("observed")
    call_id = place(cluster, key, "sim-pace-0.2,caller-1")
    eventually(lambda: cluster_is_saying(cluster, key, call_id))
    with sideband(cluster, key, call_id), sideband(cluster, key, call_id):
        pass
    is_charged(cluster, "observed", call_id, responses=1)
    (usage,) = [u for u in cluster.usage_sent() if u["session"] == call_id]
    assert usage["status"] == "completed"


def test_a_call_that_is_over_has_no_sideband(cluster: Cluster) -> None:
    """404 before the upgrade, for a call that nobody knows as well."""
    key = cluster.create_account("late")
    call_id = place(cluster, key, "sim-pace-0")
    client_of(cluster, key).realtime.calls.hangup(call_id)
    for name in (call_id, "rtc_unknown"):
        with pytest.raises(InvalidStatus) as refused, sideband(cluster, key, name):
            pass
        assert refused.value.response.status_code == 404


# --- when it must not go on -----------------------------------------------------------------------


def test_a_call_ends_with_its_credit(cluster: Cluster) -> None:
    """What is being said is finished and charged; nothing new is said for long."""
    key = cluster.create_account("poor", tokens=100)
    call_id = place(cluster, key, "sim-pace-0,caller-100")
    eventually(lambda: has_ended(cluster, call_id))
    told = sent(cluster, call_id)
    assert 2 <= len(told) < 10
    assert reported(cluster, "poor", responses=len(told)) == sum(told.values())
    log = cluster.gateways[0].log.read_text()
    assert "the account's credits are used up" in log
    with pytest.raises(APIStatusError) as refused:
        place(cluster, key, "sim-pace-0")
    assert refused.value.status_code == 402


def test_a_call_whose_credit_cannot_be_confirmed(cluster: Cluster) -> None:
    """Two gateways split the balance, and accountd is silent: once the allotment is spent the call
    may go on for a moment only, and what was said is charged when accountd is back.
    """
    assert cluster.accountd is not None
    key = cluster.create_account("held-up", tokens=3_000)
    call_id = place(cluster, key, "sim-pace-0")
    with sideband(cluster, key, call_id, gateway=1), sideband(cluster, key, call_id) as socket:
        respond(socket)
        eventually(lambda: cluster.usage_rows("held-up"))
        cluster.accountd.process.send_signal(signal.SIGSTOP)
        try:
            with pytest.raises(TimeoutError):  # the client is held, too
                while True:
                    respond(socket)
            eventually(lambda: has_ended(cluster, call_id), seconds=CREDIT_WAIT_S + SETTLE_S)
        finally:
            cluster.accountd.process.send_signal(signal.SIGCONT)
    logs = "".join(gateway.log.read_text() for gateway in cluster.gateways)
    assert "the credit cannot be confirmed" in logs, "whichever gateway came first"
    is_charged(cluster, "held-up", call_id, responses=len(sent(cluster, call_id)))


def respond(socket: Any) -> None:
    """One response, asked for on a sideband."""
    socket.send('{"type": "response.create"}')
    while json.loads(socket.recv(timeout=2))["type"] != "response.done":
        pass


def test_a_sideband_that_breaks_is_opened_again(cluster: Cluster) -> None:
    """In the middle of a response, whose usage comes over the next one."""
    key = cluster.create_account("broken")
    call_id = place(cluster, key, "sim-call-dropping,pace-0.5,caller-2")
    is_charged(cluster, "broken", call_id, responses=2)
    assert f'event="call heard again" call={call_id}' in cluster.gateways[0].log.read_text()


def test_a_call_that_cannot_be_heard_is_hung_up(cluster: Cluster) -> None:
    """Its caller never gets the answer: 503, which SDKs try again."""
    key = cluster.create_account("unheard")
    with pytest.raises(APIStatusError) as refused:
        client_of(cluster, key).realtime.calls.accept(
            "rtc_incoming_deaf", type="realtime", model="sim-call-deaf,pace-0"
        )
    assert refused.value.status_code == 503
    assert is_call_gone(cluster, key, "rtc_incoming_deaf")


def test_a_call_without_a_name_is_not_answered(cluster: Cluster) -> None:
    """Nobody could hear it, nor hang it up."""
    key = cluster.create_account("nameless")
    with pytest.raises(APIStatusError) as refused:
        place(cluster, key, "sim-call-nameless")
    assert refused.value.status_code == 503


def test_a_gateway_that_stops_hangs_up(cluster: Cluster) -> None:
    """Once what is being said is finished; everything is charged, and its exit is clean."""
    key = cluster.create_account("stopped")
    third = cluster.start_gateway()
    try:
        client = OpenAI(api_key=key, base_url=f"http://{third.field('listen')}/v1")
        answer = client.realtime.calls.create(
            sdp=OFFER,
            session={"type": "realtime", "model": "sim-pace-0.2,caller-100"},
        )
        call_id = answer.response.headers["location"].rpartition("/")[2]
        assert third.metrics()["rts_gateway_calls"] == 1
        eventually(lambda: cluster_is_saying(cluster, key, call_id))
        assert third.stop(signal.SIGTERM) == 0
    finally:
        cluster.gateways.remove(third)
    told = sent(cluster, call_id)
    assert reported(cluster, "stopped", responses=len(told)) == sum(told.values())
    assert is_call_gone(cluster, key, call_id)


def descriptors(gateway: Daemon) -> int:
    """How many descriptors a gateway has open."""
    return len(os.listdir(f"/proc/{gateway.process.pid}/fd"))


def test_a_call_that_is_taken_while_the_gateway_stops(cluster: Cluster) -> None:
    """The provider's answer is waited for, and the call hung up; none is taken after that."""
    key = cluster.create_account("late-taken")
    third = cluster.start_gateway()
    cluster.gateways.remove(third)
    client = OpenAI(
        api_key=key, base_url=f"http://{third.field('listen')}/v1", max_retries=0
    ).realtime.calls
    quiet = descriptors(third)
    with ThreadPoolExecutor(1) as thread:
        taken = thread.submit(
            client.accept, "rtc_incoming_slow", type="realtime", model="sim-pace-0",
            extra_query={"dial_ms": "1500"},
        )  # fmt: skip
        # The client's connection and one to the provider, who answers a second later.
        eventually(lambda: descriptors(third) >= quiet + 2)
        third.process.send_signal(signal.SIGTERM)
        eventually(lambda: "draining" in third.log.read_text())
        with pytest.raises(APIStatusError) as refused:
            client.accept("rtc_incoming_late", type="realtime", model="sim-pace-0")
        assert refused.value.status_code == 503
        taken.result(timeout=20)
    assert third.stop() == 0
    assert is_call_gone(cluster, key, "rtc_incoming_slow")
    assert "call abandoned" not in third.log.read_text()


# --- whose it is, and what is refused -------------------------------------------------------------


@pytest.mark.parametrize("kind", ["transcription", "translation"])
def test_a_key_for_something_else_makes_no_call(cluster: Cluster, kind: str) -> None:
    """Whatever the form asks for: the key says what its sessions are."""
    key = cluster.create_account(f"key-{kind}")
    path = "/v1/realtime/" + ("translations/" if kind == "translation" else "") + "client_secrets"
    body = {"session": {"type": kind, "model": "sim-pace-0"}}
    if kind == "transcription":
        del body["session"]["model"]
    made = ask(cluster.address, "POST", path, key=key, body=json.dumps(body))
    assert made.status == 200, made.body
    with pytest.raises(APIStatusError) as refused:
        place(cluster, made.json["value"], "sim-pace-0")
    assert (refused.value.status_code, refused.value.code) == (400, "not_configurable")


def test_an_ephemeral_key_joins_no_call(cluster: Cluster) -> None:
    """It may be an end user's, and the call another one's."""
    key = cluster.create_account("joins")
    call_id = place(cluster, key, "sim-pace-0")
    secret = client_of(cluster, key).realtime.client_secrets.create()
    with pytest.raises(InvalidStatus) as refused:
        sideband(cluster, secret.value, call_id)
    assert refused.value.response.status_code == 403
    client_of(cluster, key).realtime.calls.hangup(call_id)


def test_who_has_no_credit_turns_calls_away(cluster: Cluster) -> None:
    """And takes none."""
    calls = client_of(cluster, cluster.create_account("broke", tokens=0)).realtime.calls
    with pytest.raises(APIStatusError) as refused:
        calls.accept("rtc_incoming_broke", type="realtime", model="sim-pace-0")
    assert refused.value.status_code == 402
    calls.reject("rtc_incoming_broke")


@pytest.mark.parametrize("name", ["..", ".", "%2e%2e", "%ff", "a%00b", "x" * 129, "a%2fb", "ü"])
def test_what_is_no_name_of_a_call(cluster: Cluster, name: str) -> None:
    """Nothing of it reaches the provider."""
    key = cluster.create_account(f"named-{abs(hash(name))}")
    quoted = name if name.isascii() else "%C3%BC"
    refused = ask(cluster.address, "POST", f"{CALLS}/{quoted}/hangup", key=key)
    assert refused.status == 404
    with pytest.raises(InvalidStatus) as told:
        sideband(cluster, key, quoted)
    assert told.value.response.status_code == 400


def test_two_types_of_content(cluster: Cluster) -> None:
    """One of them would count, and who knows which."""
    host, port = cluster.address.split(":")
    with create_connection((host, int(port)), timeout=10) as raw:
        raw.sendall(
            f"POST {CALLS} HTTP/1.1\r\nHost: here\r\nContent-Type: application/sdp\r\n"
            "Content-Type: text/plain\r\nContent-Length: 3\r\n\r\nv=0".encode()
        )
        assert b" 400 " in raw.recv(4096).partition(b"\r\n")[0]


def test_a_call_belongs_to_its_account(cluster: Cluster) -> None:
    """Whoever else knows its name finds nothing, over HTTP and with a socket."""
    key = cluster.create_account("mine")
    other = cluster.create_account("theirs")
    call_id = place(cluster, key, "sim-pace-0")
    for gateway in (0, 1):
        for verb in ("hangup", "accept", "refer", "reject"):
            address = cluster.gateways[gateway].field("listen")
            refused = ask(address, "POST", f"{CALLS}/{call_id}/{verb}", key=other, body="{}")
            assert (refused.status, refused.error) == (404, "not_found")
        with pytest.raises(InvalidStatus) as told:
            sideband(cluster, other, call_id, gateway=gateway)
        assert told.value.response.status_code == 404
    client_of(cluster, key, gateway=1).realtime.calls.hangup(call_id)
    eventually(lambda: has_ended(cluster, call_id))


def test_an_account_that_is_held_to_models(cluster: Cluster) -> None:
    """It uses them under the names of the house, on a sideband too, and no other."""
    settings = {"GATEWAY_MODELS_FILE": str(cluster.folder / "models.toml")}
    held = cluster.start_gateway(**settings)
    try:
        number = len(cluster.gateways) - 1
        key = cluster.create_account("held")
        client = client_of(cluster, key, gateway=number)
        answer = client.realtime.calls.create(
            sdp=OFFER, session={"type": "realtime", "model": "house-voice"}
        )
        call_id = answer.response.headers["location"].rpartition("/")[2]
        is_charged(cluster, "held", call_id, responses=2)
        answer = client.realtime.calls.create(
            sdp=OFFER, session={"type": "realtime", "model": "house-voice-quiet"}
        )
        quiet = answer.response.headers["location"].rpartition("/")[2]
        for gateway in (number, 0):
            with sideband(cluster, key, quiet, gateway=gateway) as listening:
                assert json.loads(listening.recv(timeout=10))["type"] == "session.created"
        for ask_for in (
            lambda: client.realtime.calls.create(
                sdp=OFFER, session={"type": "realtime", "model": "gpt-realtime"}
            ),
            lambda: client.realtime.calls.accept("rtc_incoming_held", type="realtime"),
        ):
            with pytest.raises(APIStatusError) as refused:
                ask_for()
            assert refused.value.status_code == 403
    finally:
        cluster.gateways.remove(held)
        held.stop()


@pytest.mark.parametrize(
    ("asked", "answered"), [("400", 400), ("404", 404), ("401", 503), ("429", 503), ("503", 503)]
)
def test_a_provider_s_refusal(cluster: Cluster, asked: str, answered: int) -> None:
    """What is about the request is told; what is about our account is not."""
    key = cluster.create_account(f"refused-{asked}")
    with pytest.raises(APIStatusError) as refused:
        client_of(cluster, key).realtime.calls.create(
            sdp=OFFER,
            session={"type": "realtime", "model": "gpt-realtime"},
            extra_query={"refuse": asked},
        )
    assert refused.value.status_code == answered
    is_told = "refused:" in str(refused.value)
    assert is_told == (answered != 503)


def test_a_provider_that_is_not_there(cluster: Cluster) -> None:
    """503, and nothing of it is left behind."""
    alone = cluster.start_gateway(OPENAI_BASE_URL="http://127.0.0.1:9/v1")
    try:
        key = cluster.create_account("alone")
        client = client_of(cluster, key, gateway=len(cluster.gateways) - 1)
        with pytest.raises(APIStatusError) as refused:
            client.realtime.calls.create(
                sdp=OFFER, session={"type": "realtime", "model": "gpt-realtime"}
            )
        assert refused.value.status_code == 503
    finally:
        cluster.gateways.remove(alone)
        alone.stop()


def test_azure_takes_calls(cluster: Cluster) -> None:
    """Under its own path, with its own key."""
    key = cluster.create_account("azure")
    client = OpenAI(api_key=key, base_url=f"http://{cluster.address}/openai/v1", max_retries=0)
    answer = client.realtime.calls.create(
        sdp=OFFER, session={"type": "realtime", "model": "sim-caller-2,pace-0"}
    )
    path, _, call_id = answer.response.headers["location"].rpartition("/")
    assert path == "/openai/v1/realtime/calls"
    is_charged(cluster, "azure", call_id, responses=2)
    assert {row["provider"] for row in cluster.usage_rows("azure")} == {"azure"}


def test_a_client_that_left_gets_no_call(cluster: Cluster) -> None:
    """It asked, and is gone before the provider has answered: the call is hung up."""
    key = cluster.create_account("gone")
    with pytest.raises(OpenAIError):
        client_of(cluster, key).with_options(timeout=0.5).realtime.calls.create(
            sdp=OFFER,
            session={"type": "realtime", "model": "sim-pace-0"},
            extra_query={"dial_ms": "1500"},
        )

    def withdrawn() -> str:
        """The call that was hung up for it."""
        lines = cluster.gateways[0].log.read_text().splitlines()
        left = [x for x in lines if "its caller left before it was answered" in x]
        return left[0].partition(" call=")[2].split()[0] if left else ""

    call_id = eventually(withdrawn)
    eventually(lambda: has_ended(cluster, call_id))
    assert is_call_gone(cluster, key, call_id)


def test_the_books_are_right(cluster: Cluster) -> None:
    """After all of that."""
    assert cluster.audit()["ok"]
    assert "Traceback" not in "".join(gateway.log.read_text() for gateway in cluster.gateways)
