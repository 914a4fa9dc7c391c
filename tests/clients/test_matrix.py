"""Every client holds its conversation unmodified, and is charged what the provider's log says."""

import asyncio
from collections.abc import Iterator

import pytest

from clients import (
    ephemeral,
    genai_python,
    openai_calls,
    openai_listening,
    openai_python,
    plain_websockets,
    programs,
)
from clients.matrix import Client, Matrix
from clients.outcome import TOOL
from clients.surroundings import every_provider

CLIENTS: dict[str, tuple[Client, str]] = {
    **openai_python.CLIENTS,
    **genai_python.CLIENTS,
    **plain_websockets.CLIENTS,
    **programs.CLIENTS,
    **ephemeral.CLIENTS,
}
LIVE = "openai-python live"  # GPT-Live delegates instead of calling a tool
# openai's sync client calls websockets in a way that websockets 17.1 and later discourage.
# google-genai calls its support of ephemeral keys experimental.
pytestmark = [
    pytest.mark.filterwarnings("ignore:The SDK's ephemeral token support"),
    pytest.mark.filterwarnings("ignore:connect.. must be used as a context manager"),
    pytest.mark.timeout(300),  # the first test waits for all conversations
]


@pytest.fixture(scope="module")
def matrix() -> Iterator[Matrix]:
    """One cluster and all clients."""
    # Slow enough that an answer is still being made when it is interrupted.
    # The story waits to be cut, however slow the machine is.
    with every_provider(pace=0.7, asked="sim-held-story") as cluster:
        all_clients = {**CLIENTS, **openai_listening.CLIENTS, **openai_calls.CLIENTS}
        matrix = Matrix(cluster, all_clients)
        asyncio.run(matrix.run())
        yield matrix


@pytest.mark.parametrize("name", CLIENTS)
def test_a_client_is_understood_and_charged(matrix: Matrix, name: str) -> None:
    """A spoken turn comes back, a tool is called, an answer is cut; each is charged as sent."""
    matrix.assert_understood(name, tool="delegated" if name == LIVE else TOOL)
    matrix.assert_charged(name)


@pytest.mark.parametrize("name", openai_listening.CLIENTS)
def test_a_client_that_only_listens_is_charged(matrix: Matrix, name: str) -> None:
    """What it said comes back in words, or in another language; the seconds are charged."""
    matrix.assert_listened(name)
    matrix.assert_charged(name)


@pytest.mark.parametrize("name", openai_calls.CLIENTS)
def test_a_client_with_a_sideband_is_charged(matrix: Matrix, name: str) -> None:
    """What it asked for came in words; it is charged once, though two sockets heard it."""
    assert matrix.answered(name)
    matrix.assert_charged(name)


def test_nothing_else_was_charged(matrix: Matrix) -> None:
    """Every usage that the provider sent is in the books once, and the books are right."""
    matrix.assert_nothing_else()
