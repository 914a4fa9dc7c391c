"""Clients of one protocol talk to providers of the other, unmodified, and are charged as sent.

Each tells a tale (``tale.py``) whose answers say what has reached the provider. That the programs
are right is proved by the same tale told to the provider whose protocol they speak.
"""

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from functools import partial

import pytest

from clients import genai_tale, openai_tale
from clients.matrix import Client, Matrix
from clients.outcome import SAID, Outcome, Where
from clients.programs import agents_python, node
from clients.surroundings import every_provider
from clients.tale import ASKED, CUT_BY_VOICE, IN_THE_END, assert_told

OPENAI: dict[str, Client] = {
    "openai-python": openai_tale.tell,
    "openai-node": partial(node, program="openai_tale_ws"),
    "agents-python": partial(agents_python, program="agents_tale"),
    "agents-realtime": partial(node, program="agents_tale"),
}
BETA: dict[str, Client] = {"openai-python beta": openai_tale.tell_beta}
GEMINI: dict[str, Client] = {
    "google-genai": genai_tale.tell,
    "genai-js": partial(node, program="genai_tale"),
}
# Gemini takes other instructions in a session from 3.8 on; before, on another connection.
MODELS = {
    "openai": "gpt-realtime", "xai": "grok-voice", "azure": "voice-deployment",
    "gemini": "gemini-3.8-live", "older gemini": "gemini-3.1-flash-live",
}  # fmt: skip
# Who cuts a story by voice is answered to that, too.
BY_VOICE = ("agents-python", "agents-realtime", "genai-js")
pytestmark = pytest.mark.timeout(120)  # the first test waits for all conversations


async def asked(client: Client, provider: str, where: Where) -> Outcome:
    """The client asks for a provider."""
    return await client(replace(where, provider=provider))


def told(to: str, clients: dict[str, Client], *, is_named: bool) -> dict[str, tuple[Client, str]]:
    """These clients with a provider, which they ask for where its model does not tell it."""
    provider = to.rsplit(maxsplit=1)[-1] if is_named else ""
    return {
        f"{name} to {to}": (partial(asked, client, provider), MODELS[to])
        for name, client in clients.items()
    }


CLIENTS = {
    # The provider whose protocol they speak: this proves the programs.
    **told("openai", OPENAI, is_named=False),
    **told("xai", {"openai-python": openai_tale.tell}, is_named=False),
    **told("gemini", GEMINI, is_named=False),
    # The others.
    **told("openai", BETA, is_named=False),
    **told("gemini", OPENAI | BETA, is_named=True),
    **told("older gemini", OPENAI, is_named=True),
    **{
        name: found for to in ("openai", "xai", "azure")
        for name, found in told(to, GEMINI, is_named=True).items()
    },
}  # fmt: skip


@pytest.fixture(scope="module")
def matrix() -> Iterator[Matrix]:
    """One cluster and all clients."""
    with every_provider(pace=0, asked=ASKED) as cluster:
        matrix = Matrix(cluster, CLIENTS)
        asyncio.run(matrix.run())
        yield matrix


@pytest.mark.parametrize("name", CLIENTS)
def test_a_tale_is_understood_and_charged(matrix: Matrix, name: str) -> None:
    """Each answer knows what was said before it, the tool's answer and the instructions; each
    usage that the provider sent is charged in the provider's numbers.
    """
    outcome = matrix.outcome_by_name[name]
    if isinstance(outcome, BaseException):
        raise outcome
    end = CUT_BY_VOICE if name.startswith(BY_VOICE) else IN_THE_END
    assert_told(outcome, end=end)
    assert len(outcome.heard) >= len(SAID)
    assert any(outcome.heard in spoken for spoken in matrix.spoken(name))
    matrix.assert_charged(name)


def test_nothing_else_was_charged(matrix: Matrix) -> None:
    """Every usage that the provider sent is in the books once, and the books are right."""
    matrix.assert_nothing_else()
