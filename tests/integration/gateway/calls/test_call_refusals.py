"""Whose a call is, and which requests about calls are refused."""

import http.client
import json
from socket import create_connection

import pytest
from openai import APIStatusError, OpenAI
from websockets.exceptions import InvalidStatus

from tests.support.calls import (
    CALLS,
    OFFER,
    assert_books_are_right,
    client_of,
    connections_to,
    has_ended,
    is_call_gone,
    is_charged,
    place,
    sideband,
)
from tests.support.harness import Cluster, eventually
from tests.support.http_client import ask


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


def test_a_call_that_the_credit_does_not_pay_beside_another(cluster: Cluster) -> None:
    """A call cannot be paused, so it is refused while others may use up what is left; made, or
    accepted. A top-up lets it in.
    """
    key = cluster.create_account("little", tokens=1_999)
    calls, first = client_of(cluster, key).realtime.calls, place(cluster, key, "sim-pace-0")
    with pytest.raises(APIStatusError) as refused:
        place(cluster, key, "sim-pace-0")
    assert (refused.value.status_code, refused.value.code) == (429, "credit_too_low")
    assert refused.value.response.headers["Retry-After"] == "10"
    with pytest.raises(APIStatusError) as refused:
        calls.accept("rtc_incoming_little", type="realtime", model="sim-pace-0")
    assert refused.value.status_code == 429
    cluster.accountctl("account", "topup", "little", "100000")

    def second() -> str:
        try:
            return place(cluster, key, "sim-pace-0")
        except APIStatusError as exc:
            assert exc.status_code == 429
            return ""

    for call_id in (first, eventually(second)):
        calls.hangup(call_id)


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
    """A refusal about the request is passed on; one about the gateway's account is replaced."""
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
    key, provider = cluster.create_account("gone"), cluster.simulator
    assert provider is not None
    quiet = connections_to(provider)
    client = http.client.HTTPConnection(*cluster.address.split(":"))
    client.request(
        "POST", f"{CALLS}?model=sim-pace-0&dial_ms=1500", body=OFFER,
        headers={"Content-Type": "application/sdp", "Authorization": f"Bearer {key}"},
    )  # fmt: skip
    eventually(lambda: connections_to(provider) - quiet)
    client.close()

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
    assert_books_are_right(cluster)
