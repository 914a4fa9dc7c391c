"""Every client holds its conversation unmodified, and is charged what the provider's log says."""

import asyncio
import contextlib
import re
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from harness import Cluster, eventually

from clients import genai_python, openai_python, plain_websockets, programs
from clients.outcome import SAID, TOOL, Outcome, Where
from clients.surroundings import every_provider, where

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
UNITS = ("input_tokens", "output_tokens", "total_tokens", "billed_ms")


# What a row is called for what the provider's log calls otherwise.
KIND_BY_LOGGED = {"turn": "response", "delegated": "response", "seconds": "duration"}


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
        model, sent = model_of(name), self.cluster.usage_sent()
        sessions = {x["session"] for x in sent if x["model"].endswith(model)}
        return [x for x in sent if x["session"] in sessions]


@pytest.fixture(scope="module")
def matrix() -> Iterator[Matrix]:
    """One cluster and all clients, a few at a time."""
    # Slow enough that an answer is still being made when it is interrupted.
    with every_provider(pace=0.7) as cluster:
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
    return re.sub(r"\W+", "-", name.lower()).strip("-")


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
    assert outcome.heard == spoken[: len(outcome.heard)]
    assert SAID in outcome.heard, "the simulator says what it heard"
    assert outcome.tool in (TOOL, "delegated")
    assert outcome.interrupted in ("cancelled", "interrupted", "cut")

    account = account_of(name)
    expected = logged(sent)
    with contextlib.suppress(AssertionError):  # what differs is shown below
        eventually(lambda: charged(matrix.cluster.usage_rows(account)) == expected)
    rows = matrix.cluster.usage_rows(account)
    assert charged(rows) == expected
    assert model_of(name) in {row["model"] for row in rows}
    assert len({row["session_id"] for row in rows}) == 1


def test_nothing_else_was_charged(matrix: Matrix) -> None:
    """Every usage that the provider sent is in the books once, and the books are right."""
    rows = [row for name in CLIENTS for row in matrix.cluster.usage_rows(account_of(name))]
    assert charged(rows) == logged(matrix.cluster.usage_sent())
    assert matrix.cluster.audit()["ok"]
    assert matrix.cluster.gateways[0].complaints() == []


def charged(rows: list[dict[str, Any]]) -> Counter[tuple[str, str]]:
    """What stands in the books, by kind and unit."""
    counts: Counter[tuple[str, str]] = Counter()
    for row in rows:
        counts.update({(row["kind"], unit): row[unit] for unit in UNITS})
    return +counts


def logged(sent: list[dict[str, Any]]) -> Counter[tuple[str, str]]:
    """What a correct meter charges for what the provider sent, by kind and unit."""
    counts: Counter[tuple[str, str]] = Counter()
    for entry in sent:
        kind = KIND_BY_LOGGED.get(entry["kind"], entry["kind"])
        counts.update({(kind, unit): entry["charge"][unit] for unit in UNITS})
    assert counts["response", "total_tokens"] > 0
    return +counts
