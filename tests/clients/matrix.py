"""Holds conversations of many clients and compares what was charged with the provider's log."""

import asyncio
import contextlib
import re
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from clients.outcome import SAID, TOOL, Outcome, Where
from clients.surroundings import where
from tests.support.harness import Cluster, eventually

Client = Callable[[Where], Awaitable[Outcome]]
AT_ONCE = 4
CLIENT_S = 100.0
UNITS = ("input_tokens", "output_tokens", "total_tokens", "billed_ms")
# What a row is called for what the provider's log calls otherwise.
KIND_BY_LOGGED = {
    "turn": "response", "delegated": "response", "seconds": "duration",
    "translation": "estimated_duration",
}  # fmt: skip
# What is never reported is measured by the base64 of its audio, with names and quotes around it.
ESTIMATED = 0.05


@dataclass
class Matrix:
    """Clients by name, each with the model that it asks for, and how their conversations went."""

    cluster: Cluster
    clients: Mapping[str, tuple[Client, str]]
    outcome_by_name: dict[str, Outcome | BaseException] = field(default_factory=dict)

    async def run(self) -> None:
        """Hold all conversations, a few at a time."""
        places = asyncio.Semaphore(AT_ONCE)
        key_by_name = {name: self.cluster.create_account(account_of(name)) for name in self.clients}

        async def run(name: str) -> Outcome:
            told = where(self.cluster, key=key_by_name[name], model=self.model_of(name))
            async with places, asyncio.timeout(CLIENT_S):
                return await self.clients[name][0](told)

        found = await asyncio.gather(*map(run, self.clients), return_exceptions=True)
        self.outcome_by_name = dict(zip(self.clients, found, strict=True))

    def model_of(self, name: str) -> str:
        """Every client asks for a model of its own: by it the provider's log is told apart."""
        return f"{self.clients[name][1]}-{account_of(name)}"

    def assert_understood(self, name: str, *, tool: str = TOOL, is_resampled: bool = False) -> None:
        """A spoken turn came back, a tool was called, an answer was cut."""
        outcome = self.outcome_by_name[name]
        if isinstance(outcome, BaseException):
            raise outcome
        (spoken,) = self.spoken(name)
        assert outcome.heard in spoken
        assert len(outcome.heard) >= len(SAID)
        assert is_resampled or SAID in outcome.heard, "the simulator says what it heard"
        assert outcome.tool == tool
        assert outcome.interrupted in ("cancelled", "interrupted", "cut")

    def spoken(self, name: str) -> list[bytes]:
        """The audio that the provider sent to a client, by session."""
        sessions = {x["session"] for x in self._sent(name)}
        files = [self.cluster.folder / "audio" / f"{session}.pcm" for session in sessions]
        return [file.read_bytes() for file in files if file.exists()]

    def assert_listened(self, name: str) -> None:
        """What was said came back in words, and where it was translated, in sound."""
        outcome = self.outcome_by_name[name]
        if isinstance(outcome, BaseException):
            raise outcome
        assert outcome.words.split() == ["word"] * len(outcome.words.split())
        assert outcome.words
        assert outcome.heard == (SAID if "translat" in name else b"")

    def answered(self, name: str) -> str:
        """The words that a client got."""
        outcome = self.outcome_by_name[name]
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome.words

    def assert_charged(self, name: str) -> None:
        """The rows of the client's account are what the provider's log says, by kind and unit."""
        account, expected = account_of(name), logged(self._sent(name))
        with contextlib.suppress(AssertionError):  # what differs is shown below
            eventually(lambda: charged(self.cluster.usage_rows(account)) == expected)
        rows = self.cluster.usage_rows(account)
        assert charged(rows) == expected
        assert expected
        assert self.model_of(name) in {row["model"] for row in rows}
        assert len({row["session_id"] for row in rows}) == 1

    def assert_nothing_else(self) -> None:
        """Every usage that the provider sent is in the books once, and the books are right."""
        rows = [row for name in self.clients for row in self.cluster.usage_rows(account_of(name))]
        assert charged(rows) == logged(self.cluster.usage_sent())
        assert self.cluster.audit()["ok"]
        assert self.cluster.gateways[0].complaints() == []

    def _sent(self, name: str) -> list[dict[str, Any]]:
        model, sent = self.model_of(name), self.cluster.usage_sent()
        names = ("model", "transcription_model")
        sessions = {x["session"] for x in sent for n in names if x.get(n, "").endswith(model)}
        return [x for x in sent if x["session"] in sessions]


def account_of(name: str) -> str:
    """Every client has an account of its own."""
    return re.sub(r"\W+", "-", name.lower()).strip("-")


def charged(rows: list[dict[str, Any]]) -> dict[tuple[str, str], int]:
    """What stands in the books, by kind and unit."""
    counts: Counter[tuple[str, str]] = Counter()
    for row in rows:
        counts.update({(row["kind"], unit): row[unit] for unit in UNITS})
    return dict(+counts)


def logged(sent: list[dict[str, Any]]) -> dict[tuple[str, str], Any]:
    """What a correct meter charges for what the provider sent, by kind and unit."""
    counts: Counter[tuple[str, str]] = Counter()
    for entry in sent:
        kind = KIND_BY_LOGGED.get(entry["kind"], entry["kind"])
        charge = entry["charge"]
        counts.update({(kind, unit): charge[unit] for unit in UNITS[:-1]})
        # Seconds of audio beside the tokens of a response (xAI) are a row of their own kind.
        second_kind = "duration" if kind == "response" else kind
        counts.update({(second_kind, UNITS[-1]): charge[UNITS[-1]]})
    return {
        (kind, unit): pytest.approx(count, rel=ESTIMATED) if kind.startswith("estimated") else count
        for (kind, unit), count in (+counts).items()
    }
