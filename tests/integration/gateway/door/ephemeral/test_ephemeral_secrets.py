"""The secrets that sign ephemeral keys, and the keys that the demo gives away."""

import signal
import time

import pytest

from gateway.limits import DEMO_KEYS_BURST
from tests.support.ephemeral import (
    LATER,
    ORIGIN,
    PATH,
    SECRET,
    browse,
    make,
    refused,
)
from tests.support.harness import Cluster, eventually
from tests.support.http_client import Answer, ask
from tests.support.private_files import write_private


def test_the_demo_gives_keys_to_the_gateway_s_own_page(cluster: Cluster) -> None:
    """Once its account is there: for ten minutes at most, and to no other page."""
    own = {"Origin": f"http://{cluster.address}", "Sec-Fetch-Site": "same-origin"}

    def demo(**headers: str) -> Answer:
        return ask(cluster.address, "POST", "/demo/client_secrets", headers=headers)

    assert demo(**own).status == 503
    write_private(cluster.folder / "demo.key", cluster.create_account("demo") + "\n")
    answer = demo(**own)
    secret = answer.json["value"]
    assert browse(cluster.address, secret, origin=own["Origin"]) == "session.created"
    for elsewhere in (ORIGIN, None):
        assert refused(cluster.address, secret, origin=elsewhere) == (403, "origin_not_allowed")
    assert answer.json["expires_at"] - time.time() <= 600
    for headers in ({}, {**own, "Origin": ORIGIN}, {**own, "Sec-Fetch-Site": "cross-site"}):
        assert (demo(**headers).status, demo(**headers).error) == (403, "cross_origin")
    rebound = {"Host": "evil.example.org", "Origin": "http://evil.example.org"}
    assert (demo(**rebound).status, demo(**rebound).error) == (403, "unknown_host")
    named = cluster.start_gateway(GATEWAY_DEMO_HOSTS="demo.example.org, other.example.org")
    theirs = {"Host": "demo.example.org", "Origin": "https://demo.example.org"}
    path = "/demo/client_secrets"
    assert ask(named.field("listen"), "POST", path, headers=theirs).status == 200


def test_the_demo_gives_keys_at_a_pace(cluster: Cluster) -> None:
    """A burst of them; then it says when there is the next one, and no other endpoint minds."""
    write_private(cluster.folder / "demo.key", cluster.create_account("paced"))
    gateway = cluster.start_gateway()
    address, path = gateway.field("listen"), "/demo/client_secrets"
    own = {"Origin": f"http://{address}"}
    given = 0
    while (answer := ask(address, "POST", path, headers=own)).status == 200:
        given += 1
    assert given >= DEMO_KEYS_BURST
    assert (answer.status, answer.error) == (429, "rate_limit_exceeded")
    assert answer.headers["Retry-After"] == "1"
    assert ask(address, "POST", PATH, key=cluster.create_account("unpaced")).status == 200


def test_secrets_rotate_without_a_restart(cluster: Cluster, key: str) -> None:
    """SIGHUP: the new one signs, the old one's keys are valid until its line is gone."""
    gateway = cluster.gateways[0]
    path = cluster.folder / "ephemeral.secret"

    def reload(text: str, event: str) -> None:
        path.write_text(text)
        before = gateway.log.read_text().count(event)
        gateway.process.send_signal(signal.SIGHUP)
        eventually(lambda: gateway.log.read_text().count(event) > before)

    old = make(cluster, key).json["value"]
    reload(f"{LATER}\n{SECRET}\n", "ephemeral secrets reloaded")
    new = make(cluster, key).json["value"]
    assert [browse(cluster.address, secret) for secret in (old, new)] == ["session.created"] * 2
    reload("short\n", "ephemeral secrets not reloaded")
    assert browse(cluster.address, new) == "session.created"
    reload(f"{LATER}\n", "ephemeral secrets reloaded")
    assert refused(cluster.address, old) == (401, "invalid_api_key")
    assert browse(cluster.address, new) == "session.created"
    assert all(SECRET not in g.log.read_text() for g in cluster.gateways)
    assert all(old not in g.log.read_text() for g in cluster.gateways)


def test_a_gateway_without_a_secret_has_no_ephemeral_keys(cluster: Cluster, key: str) -> None:
    """It says so; their keys are invalid there, and there is no demo."""
    secret = make(cluster, key).json["value"]
    plain = cluster.start_gateway(GATEWAY_EPHEMERAL_SECRET_FILE="", GATEWAY_DEMO_KEY_FILE="")
    address = plain.field("listen")
    answer = ask(address, "POST", PATH, key=key)
    assert (answer.status, answer.error) == (404, "no_ephemeral_keys")
    assert refused(address, secret) == (401, "invalid_api_key")
    assert ask(address, "POST", "/demo/client_secrets").status == 404


@pytest.mark.parametrize(
    ("text", "complaint"), [("short", "secret 1 has 5 characters"), ("", "0 secrets")]
)
def test_a_secret_that_cannot_be_used_ends_the_start(
    cluster: Cluster, text: str, complaint: str
) -> None:
    """The line says what was found, and not the secret."""
    path = cluster.folder / "bad.secret"
    write_private(path, text)
    done = cluster.run("rts-gateway", "serve", GATEWAY_EPHEMERAL_SECRET_FILE=str(path))
    assert done.returncode == 78
    assert complaint in done.stderr
