"""Every client holds its conversation unmodified, and is charged what the provider's log says."""

import asyncio
import re
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from clients import genai_python, openai_python, plain_websockets, programs
from clients.outcome import SAID, TOOL, Outcome, Where
from clients.surroundings import every_provider, where
from harness import Cluster, eventually

Client = Callable[[Where], Awaitable[Outcome]]
CLIENTS: dict[str, tuple[Client, str]] = {
    **openai_python.CLIENTS,
    **genai_python.CLIENTS,
    **plain_websockets.CLIENTS,
    **programs.CLIENTS,
}
AT_ONCE = 4
CLIENT_S = 60.0
# openai's sync client calls websockets in a way that websockets 17.1 and later discourage.
pytestmark = pytest.mark.filterwarnings("ignore:connect.. must be used as a context manager")
COUNTS = ("input_tokens", "output_tokens", "total_tokens", "billed_ms")


@dataclass
class Matrix:
    """How the conversations went, by the client's name."""

    cluster: Cluster
    outcome_by_name: dict[str, Outcome | BaseException]

    def outcome(self, name: str) -> Outcome:
        """How it went; raises what the client raised."""
        outcome = self.outcome_by_name[name]
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome

    def sent(self, name: str) -> list[dict[str, Any]]:
        """The provider's log of the client's session."""
        model = model_of(name)
        return [x for x in self.cluster.usage_sent() if x["model"].endswith(model)]


@pytest.fixture(scope="module")
def matrix() -> Iterator[Matrix]:
    """One cluster and all clients, a few at a time."""
    with every_provider() as cluster:
        yield Matrix(cluster, asyncio.run(run_all(cluster)))


async def run_all(cluster: Cluster) -> dict[str, Outcome | BaseException]:
    """The outcome of every client, or its exception."""
    places = asyncio.Semaphore(AT_ONCE)
    key_by_name = {name: cluster.create_account(account_of(name)) for name in CLIENTS}

    async def run(name: str) -> Outcome:
        told = where(cluster, key=key_by_name[name], model=model_of(name))
        async with places, asyncio.timeout(CLIENT_S):
            return await CLIENTS[name][0](told)

    found = await asyncio.gather(*map(run, CLIENTS), return_exceptions=True)
    return dict(zip(CLIENTS, found, strict=True))


def account_of(name: str) -> str:
    """Every client has an account of its own."""
    return re.sub(r"\W+", "-", name.lower())


def model_of(name: str) -> str:
    """Every client asks for a model of its own: by it the provider's log is told apart."""
    return f"{CLIENTS[name][1]}-{account_of(name)}"


@pytest.mark.parametrize("name", CLIENTS)
def test_a_client_is_understood_and_charged(matrix: Matrix, name: str) -> None:
    """A spoken turn comes back, a tool is called, an answer is cut; each is charged as sent."""
    outcome = matrix.outcome(name)
    sent = matrix.sent(name)
    assert len({x["session"] for x in sent}) == 1
    spoken = (matrix.cluster.folder / "audio" / f"{sent[0]['session']}.pcm").read_bytes()
    assert outcome.heard == SAID == spoken[: len(SAID)]
    assert outcome.tool == TOOL
    assert outcome.interrupted in ("cancelled", "interrupted")

    charges = [x["charge"] for x in sent]
    account = account_of(name)
    rows = eventually(
        lambda: (r := matrix.cluster.usage_rows(account))
        and sum(x["responses"] for x in r) == len(charges)
        and r
    )
    for count in COUNTS:
        assert sum(row[count] for row in rows) == sum(x[count] for x in charges), count
    assert sum(row["total_tokens"] for row in rows) > 0
    assert {row["model"] for row in rows} == {model_of(name)}


def test_nothing_else_was_charged(matrix: Matrix) -> None:
    """Every usage that the provider sent is in the books once, and the books are right."""
    for name in CLIENTS:
        matrix.outcome(name)
    rows = [row for name in CLIENTS for row in matrix.cluster.usage_rows(account_of(name))]
    charges = [x["charge"] for x in matrix.cluster.usage_sent()]
    for count in COUNTS:
        assert sum(row[count] for row in rows) == sum(x[count] for x in charges), count
    assert matrix.cluster.audit()["ok"]
    assert matrix.cluster.gateways[0].complaints() == []
