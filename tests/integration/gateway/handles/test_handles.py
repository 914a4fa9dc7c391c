"""A call, a conversation or a session to resume is used by the account that was given it alone."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from tests.support.harness import Cluster, Daemon, cluster_folder, eventually
from tests.support.http_client import ask
from tests.support.simulator_client_gemini import PATH, TEXT, content
from tests.support.tuned import SOON_AWAY, Constants

XAI = "/xai/v1/realtime"
CALL = "/v1/realtime"
RESUMABLE = {"type": "session.update", "session": {"resumption": {"enabled": True}}}
SECONDS = 20.0


@contextmanager
def served(*, tuned: Constants | None = None, **settings: str) -> Iterator[Cluster]:
    """A cluster with the providers whose handles there are; ``settings`` are the gateway's, and so
    are the constants of ``tuned``.
    """
    with cluster_folder() as cluster:
        cluster.env["GATEWAY_OPS_LISTEN"] = "127.0.0.1:0"
        cluster.start_accountd()
        provider = f"http://{cluster.start_simulator().field('listen')}"
        cluster.env |= {
            "XAI_API_KEY": "xai-key", "XAI_BASE_URL": f"{provider}/xai/v1",
            "GEMINI_API_KEY": "gemini-key", "GEMINI_BASE_URL": provider, **settings,
        }  # fmt: skip
        cluster.start_gateway(tuned=tuned)
        yield cluster


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """One that lets unknown handles be claimed."""
    with served() as running:
        yield running


@pytest.fixture(scope="module")
def strict() -> Iterator[Cluster]:
    """One that refuses them, with two gateways."""
    with served(GATEWAY_UNKNOWN_HANDLES="refuse") as running:
        running.start_gateway()
        yield running


_accounts = iter(range(1_000))


def new_key(cluster: Cluster) -> str:
    """Of a new account."""
    return cluster.create_account(f"acct{next(_accounts)}")


def call_past_us(cluster: Cluster) -> str:
    """A call that was made at the provider without a gateway; its id."""
    assert cluster.simulator is not None
    made = ask(
        cluster.simulator.field("listen"), "POST", f"{CALL}/calls", key="sk-theirs", body="v=0",
        headers={"Content-Type": "application/sdp"},
    )  # fmt: skip
    assert made.status == 201
    return str(made.headers["Location"].rpartition("/")[2])


def session(
    cluster: Cluster, key: str, path: str, gateway: Daemon | None = None, **query: str
) -> ClientConnection:
    """A connection."""
    address = (gateway or cluster.gateways[0]).field("listen")
    pairs = "".join(f"&{name}={value}" for name, value in {"pace": "0", **query}.items())
    return connect(f"ws://{address}{path}?rs_key={key}{pairs}", max_size=None)


def send(socket: ClientConnection, *events: dict[str, Any]) -> None:
    """Messages of the client."""
    for event in events:
        socket.send(json.dumps(event))


def until(socket: ClientConnection, name: str) -> dict[str, Any]:
    """The next message that has a field, or is of a type, of this name."""
    while True:
        event: dict[str, Any] = json.loads(socket.recv(SECONDS))
        if name in event or event.get("type") == name:
            return event


def refused(cluster: Cluster, key: str, path: str, **query: str) -> tuple[int, str]:
    """Status and code with which a session is refused at the door."""
    with pytest.raises(InvalidStatus) as caught:
        session(cluster, key, path, **query)
    response = caught.value.response
    return response.status_code, json.loads(response.body or b"")["error"]["code"]


# --- Gemini ---------------------------------------------------------------------------------------


def given_handle(cluster: Cluster, key: str) -> str:
    """What a session of Gemini can be resumed by, in which something was said."""
    with session(cluster, key, PATH) as socket:
        send(socket, {"setup": {**TEXT, "sessionResumption": {}}})
        until(socket, "setupComplete")
        until(socket, "sessionResumptionUpdate")
        send(socket, content("x" * 400))
        update = until(socket, "sessionResumptionUpdate")["sessionResumptionUpdate"]
    handle = update["newHandle"]
    assert isinstance(handle, str)
    return handle


def resumes(
    cluster: Cluster,
    key: str,
    handle: object,
    *,
    name: str = "sessionResumption",
    gateway: Daemon | None = None,
    **query: str,
) -> bool | tuple[int, str]:
    """Whether a session goes on with what was said, or how it was closed."""
    with session(cluster, key, PATH, gateway, **query) as socket:
        try:  # it may be closed between the two messages
            send(socket, {"setup": {**TEXT, name: {"handle": handle}}}, content("more"))
            until(socket, "setupComplete")
        except ConnectionClosed as exc:
            assert exc.rcvd is not None
            return exc.rcvd.code, exc.rcvd.reason
        usage = until(socket, "usageMetadata")["usageMetadata"]
        return bool(usage["promptTokenCount"] > 100)


NOT_FOUND = (1008, "BidiGenerateContent session not found")


def test_a_gemini_session_is_resumed_by_its_own_account_alone(cluster: Cluster) -> None:
    """In both spellings; the refusal is what Google says about a session that does not exist."""
    alice, bob = new_key(cluster), new_key(cluster)
    handle = given_handle(cluster, alice)
    for name in ("sessionResumption", "session_resumption"):
        assert resumes(cluster, alice, handle, name=name) is True
        assert resumes(cluster, bob, handle, name=name) == NOT_FOUND


def test_an_unclear_handle_resumes_nothing(cluster: Cluster) -> None:
    """Two readers might find two handles in it."""
    alice = new_key(cluster)
    handle = given_handle(cluster, alice)
    assert resumes(cluster, alice, [handle]) == NOT_FOUND
    assert resumes(cluster, alice, handle) is True


def test_a_refusal_is_counted(cluster: Cluster) -> None:
    """And logged, without the handle."""
    alice, bob = new_key(cluster), new_key(cluster)
    handle = given_handle(cluster, alice)
    before = cluster.gateways[0].metrics()["rts_gateway_handles_refused_total"]
    assert resumes(cluster, bob, handle) == NOT_FOUND
    assert cluster.gateways[0].metrics()["rts_gateway_handles_refused_total"] == before + 1
    log = cluster.gateways[0].log.read_text()
    assert "handle refused" in log
    assert handle not in log


# --- xAI, and calls -------------------------------------------------------------------------------


def given_conversation(cluster: Cluster, key: str, gateway: Daemon | None = None) -> str:
    """The name of a conversation that can be resumed."""
    with session(cluster, key, XAI, gateway, model="grok-voice-latest") as socket:
        name = until(socket, "conversation.created")["conversation"]["id"]
        send(socket, RESUMABLE)
        until(socket, "session.updated")
    assert isinstance(name, str)
    return name


def conversation(cluster: Cluster, key: str, name: str, gateway: Daemon | None = None) -> str:
    """The conversation that one gets who asks for that of this name."""
    with session(
        cluster, key, XAI, gateway, model="grok-voice-latest", conversation_id=name
    ) as socket:
        found = until(socket, "conversation.created")["conversation"]["id"]
    assert isinstance(found, str)
    return found


def test_a_conversation_is_resumed_by_its_own_account_alone(cluster: Cluster) -> None:
    """Another account gets 404, as often as it tries, and does not take it away."""
    alice, bob = new_key(cluster), new_key(cluster)
    name = given_conversation(cluster, alice)
    for _ in range(2):
        assert refused(cluster, bob, XAI, conversation_id=name) == (404, "not_found")
        assert conversation(cluster, alice, name) == name


@pytest.mark.parametrize("query", ["call_id={0}&call_id={1}", "call_id={0}&Call_ID={1}"])
def test_a_second_name_beside_ones_own_does_not_go_on(cluster: Cluster, query: str) -> None:
    """The provider sees the one that was looked at, and no other."""
    alice, bob = new_key(cluster), new_key(cluster)
    own, others = call_past_us(cluster), call_past_us(cluster)
    with session(cluster, bob, CALL, call_id=others):
        pass
    address = cluster.gateways[0].field("listen")
    both = query.format(own, others)
    with connect(f"ws://{address}{CALL}?rs_key={alice}&{both}&pace=0") as socket:
        until(socket, "session.created")
        send(socket, {"type": "response.create"})
        until(socket, "response.done")
    heard_in = {line["session"] for line in cluster.usage_sent()} & {own, others}
    assert heard_in == {own}


def test_a_call_belongs_to_the_first_that_names_it(cluster: Cluster) -> None:
    """A call that this gateway did not make is unknown until a sideband to it is opened."""
    alice, bob = new_key(cluster), new_key(cluster)
    call = call_past_us(cluster)
    for _ in range(2):
        with session(cluster, alice, CALL, call_id=call) as socket:
            until(socket, "session.created")
        assert refused(cluster, bob, CALL, call_id=call) == (404, "not_found")


def test_to_ask_why_there_is_no_session_claims_nothing(cluster: Cluster) -> None:
    """A page does so with a plain request; the call still belongs to the first that listens."""
    alice, bob = new_key(cluster), new_key(cluster)
    call = call_past_us(cluster)
    told = ask(cluster.address, "GET", f"{CALL}?call_id={call}", key=alice)
    assert told.status == 426
    with session(cluster, bob, CALL, call_id=call) as socket:
        until(socket, "session.created")
    assert refused(cluster, alice, CALL, call_id=call) == (404, "not_found")


# --- unknown ones, other gateways, restarts -------------------------------------------------------


def test_unknown_handles_are_refused_where_the_operator_wants_it(strict: Cluster) -> None:
    """In the words of one that is another account's."""
    alice = new_key(strict)
    assert refused(strict, alice, XAI, conversation_id="conv_x") == (404, "not_found")
    assert refused(strict, alice, CALL, call_id="rtc_x") == (404, "not_found")
    assert resumes(strict, alice, "handle_x") == NOT_FOUND


def told(cluster: Cluster) -> bool:
    """Whether accountd knows all that its gateways were given."""
    return all(not g.metrics()["rts_gateway_handles_waiting"] for g in cluster.gateways)


def test_another_gateway_knows_whose_it_is_after_a_restart_of_accountd() -> None:
    """accountd keeps it; also unknown ones that are refused elsewhere are the first one's."""
    with served(GATEWAY_UNKNOWN_HANDLES="refuse") as cluster:
        alice, bob = new_key(cluster), new_key(cluster)
        handle, name = given_handle(cluster, alice), given_conversation(cluster, alice)
        eventually(lambda: told(cluster))
        assert cluster.accountd is not None
        assert cluster.accountd.stop() == 0
        cluster.start_accountd()
        fresh = cluster.start_gateway()
        assert resumes(cluster, bob, handle, gateway=fresh) == NOT_FOUND
        assert resumes(cluster, alice, handle, gateway=fresh) is True
        assert conversation(cluster, alice, name, fresh) == name
        assert cluster.gateways[0].complaints() == [] == fresh.complaints()


def test_while_accountd_is_away_what_is_known_here_can_be_used() -> None:
    """What is not known cannot be: it might be another account's."""
    with served(tuned=SOON_AWAY) as cluster:
        alice, bob = new_key(cluster), new_key(cluster)
        handle, name = given_handle(cluster, alice), given_conversation(cluster, alice)
        with session(cluster, bob, CALL, model="gpt-realtime"):  # so that it may come in again
            pass
        assert cluster.accountd is not None
        cluster.accountd.stop()
        assert resumes(cluster, alice, handle) is True
        assert conversation(cluster, alice, name) == name
        assert resumes(cluster, bob, handle) == NOT_FOUND
        assert refused(cluster, bob, XAI, conversation_id=name) == (404, "not_found")
        assert refused(cluster, alice, CALL, call_id="rtc_1") == (503, "service_unavailable")
        code, reason = resumes(cluster, alice, "handle_x")  # type: ignore[misc]
        assert (code, "accountd" in reason) == (1013, True)


def test_what_was_given_while_accountd_is_away_is_told_when_it_is_back() -> None:
    """Another account that names it afterwards, elsewhere, is refused."""
    with served(tuned=SOON_AWAY) as cluster:
        alice, bob = new_key(cluster), new_key(cluster)
        with session(cluster, alice, CALL, model="gpt-realtime"):
            pass
        assert cluster.accountd is not None
        cluster.accountd.stop()
        handle = given_handle(cluster, alice)
        assert not told(cluster)
        cluster.start_accountd()
        eventually(lambda: told(cluster))
        fresh = cluster.start_gateway()
        assert resumes(cluster, bob, handle, gateway=fresh) == NOT_FOUND
        assert resumes(cluster, alice, handle, gateway=fresh) is True
