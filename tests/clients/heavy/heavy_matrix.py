"""What ``make clients`` runs: the matrix, and the page's programs, of the heavy clients."""

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from functools import partial

import pytest

from clients.matrix import Client, Matrix
from clients.outcome import Outcome, Where
from clients.page import Section, sections
from clients.programs import heavy
from clients.surroundings import HEAVY_PYTHON, every_provider

GEMINI = "livekit-plugins-google"
AT_OPENAI = f"{GEMINI} to openai"


async def _at_openai(where: Where) -> Outcome:
    """Gemini's plugin, whose provider is named in the path of its base URL."""
    return await heavy(replace(where, provider="openai"), program="livekit_google")


CLIENTS: dict[str, tuple[Client, str]] = {
    "pipecat": (partial(heavy, program="pipecat_openai"), "gpt-realtime"),
    "livekit-plugins-openai": (partial(heavy, program="livekit_openai"), "gpt-realtime"),
    GEMINI: (partial(heavy, program="livekit_google"), "gemini-live"),
    # The services for OpenAI are not told at Gemini: pipecat stops what it plays at speech_started,
    # which comes with the answer there; livekit asks again before the turn is complete.
    AT_OPENAI: (_at_openai, "gpt-realtime"),
}
SECTIONS = [x for x in sections() if x.name.startswith(("pipecat", "livekit"))]


@pytest.fixture(scope="module")
def matrix() -> Iterator[Matrix]:
    """One cluster and all clients."""
    with every_provider(pace=0.7, asked="sim-held-story") as cluster:
        matrix = Matrix(cluster, CLIENTS)
        asyncio.run(matrix.run())
        yield matrix


@pytest.mark.parametrize("name", CLIENTS)
def test_a_client_is_understood_and_charged(matrix: Matrix, name: str) -> None:
    """A spoken turn comes back, a tool is called, an answer is cut; each is charged as sent."""
    # Gemini's plugin sends 16 kHz, whatever it is given.
    matrix.assert_understood(name, is_resampled=name.startswith(GEMINI))
    matrix.assert_charged(name)


def test_nothing_else_was_charged(matrix: Matrix) -> None:
    """Every usage that the provider sent is in the books once, and the books are right."""
    matrix.assert_nothing_else()


@pytest.mark.parametrize("section", SECTIONS, ids=lambda section: section.name)
def test_the_program_of_the_page_works(section: Section) -> None:
    """It ends well, and what it did is charged."""
    with every_provider(pace=0) as cluster:
        asyncio.run(section.run(cluster, python=HEAVY_PYTHON))
