"""A flood of questions with one key: it is bounded, and another key's question is asked at once."""

import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus

import pytest

from gateway.limits import ASKING_EACH_MAX, REPORTS_EACH
from tests.support.fake_accountd import FakeAccountd, fake_accountd
from tests.support.harness import Cluster, cluster_folder, eventually
from tests.support.http_client import Answer, ask
from tests.support.tuned import PATIENT_RPC

EAGER, CALM = ("rslive_v1_" + digit * 48 for digit in "01")
REFUSED = 25


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    """A folder; accountd is a fake, and nobody talks."""
    with cluster_folder() as made:
        made.env["OPENAI_BASE_URL"] = "http://127.0.0.1:9/v1"
        yield made
        for gateway in made.gateways:  # nobody acknowledges its end: it would take seconds
            gateway.stop(signal.SIGKILL)


@pytest.fixture
def accountd(cluster: Cluster) -> Iterator[FakeAccountd]:
    """It answers questions about accounts when the test says so."""
    with fake_accountd(cluster.env) as fake:
        fake.holds = "console.account"
        yield fake


def test_one_key_leaves_room_for_the_others(cluster: Cluster, accountd: FakeAccountd) -> None:
    """A few of its questions are asked, more wait in line, and the rest are refused with 429."""
    cluster.start_gateway(tuned=PATIENT_RPC, GATEWAY_PAGE="yes")

    def look(key: str) -> Answer:
        return ask(cluster.address, "GET", "/api/account", key=key, seconds=60)

    with ThreadPoolExecutor(ASKING_EACH_MAX + REFUSED + 1) as pool:
        flood = [pool.submit(look, EAGER) for _ in range(ASKING_EACH_MAX + REFUSED)]
        eventually(lambda: sum(answer.done() for answer in flood) == REFUSED)
        calm = pool.submit(look, CALM)
        # Questions arrive in the order in which they were asked.
        eventually(lambda: len(accountd.held) == REPORTS_EACH + 1)
        *eager, last = (request.params["key_hash"] for request in accountd.held)
        accountd.holds = ""
    assert len(set(eager)) == 1
    assert last not in eager
    assert calm.result().status == HTTPStatus.OK
    answers = [answer.result() for answer in flood]
    refused = [answer for answer in answers if answer.status == HTTPStatus.TOO_MANY_REQUESTS]
    assert len(refused) == REFUSED
    assert {answer.error for answer in refused} == {"rate_limit_exceeded"}
    assert {answer.headers["Retry-After"] for answer in refused} == {"1"}
    assert [answer.status for answer in answers].count(HTTPStatus.OK) == ASKING_EACH_MAX
