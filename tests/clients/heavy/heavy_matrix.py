"""What ``make clients`` runs: matrix, tales, and the page's programs, of the heavy clients."""

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from functools import partial

import pytest

from clients.matrix import Client, Matrix
from clients.outcome import ASK_TOOL, SAID, TOOL, Outcome, Where
from clients.page import Section, sections
from clients.programs import heavy
from clients.surroundings import HEAVY_PYTHON, every_provider
from clients.tale import ASKED, BRIEF, FRENCH, IN_THE_END, LAST, NAME, SPEECH, assert_told, lines

GEMINI = "livekit-plugins-google"
AT_OPENAI = f"{GEMINI} to openai"
# Gemini takes other instructions in a session from 3.8 on; before, on another connection.
MODELS = {
    "openai": "gpt-realtime", "gemini": "gemini-3.8-live", "older gemini": "gemini-3.1-flash-live",
}  # fmt: skip


async def _asked(program: str, provider: str, where: Where) -> Outcome:
    """A program that names a provider in the path of its base URL; "" names none."""
    return await heavy(replace(where, provider=provider), program=program)


CLIENTS: dict[str, tuple[Client, str]] = {
    "pipecat": (partial(heavy, program="pipecat_openai"), "gpt-realtime"),
    "livekit-plugins-openai": (partial(heavy, program="livekit_openai"), "gpt-realtime"),
    GEMINI: (partial(heavy, program="livekit_google"), "gemini-live"),
    AT_OPENAI: (partial(_asked, "livekit_google", "openai"), "gpt-realtime"),
    "pipecat, Gemini": (partial(heavy, program="pipecat_google"), "gemini-live"),
    # By the version in the model's name the service asks for its first answer.
    "pipecat, Gemini 2 to openai": (partial(_asked, "pipecat_google", "openai"), "my-gemini-2.5"),
    "pipecat, Gemini 3 to openai": (partial(_asked, "pipecat_google", "openai"), "my-gemini-3.8"),
}
# The services for OpenAI: at OpenAI, which proves the programs, and crossed.
TALES: dict[str, tuple[Client, str]] = {
    f"{name} to {to}": (partial(_asked, f"{name}_tale", to.rpartition(" ")[2]), model)
    for name in ("livekit", "pipecat") for to, model in MODELS.items()
}  # fmt: skip
# What pipecat's answers know: its tale begins in writing, and its story is told and cut by voice.
PIPECAT_FIRST = [f"told {BRIEF}", f"user {ASK_TOOL}", f"call {TOOL}", "tool 21"]
PIPECAT_SECOND = [*PIPECAT_FIRST, "model", SPEECH]
PIPECAT_THIRD = [*PIPECAT_SECOND, "model", f"user {NAME}"]
PIPECAT_LAST = [
    f"told {FRENCH}", *PIPECAT_THIRD[1:], *["model", SPEECH] * 2, "model", f"user {LAST}"
]  # fmt: skip
SECTIONS = [x for x in sections() if x.name.startswith(("pipecat", "livekit"))]


@pytest.fixture(scope="module")
def matrix() -> Iterator[Matrix]:
    """One cluster and all clients."""
    with every_provider(pace=0.7, asked="sim-held-story") as cluster:
        matrix = Matrix(cluster, CLIENTS)
        asyncio.run(matrix.run())
        yield matrix


@pytest.fixture(scope="module", params=["as soon as generated", "when played"])
def tales(request: pytest.FixtureRequest) -> Iterator[Matrix]:
    """The same for the tales; Gemini's turns end as the parameter says."""
    played = ",playback" if request.param == "when played" else ""
    with every_provider(pace=1.5, asked=f"{ASKED}{played}") as cluster:
        matrix = Matrix(cluster, TALES)
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


@pytest.mark.parametrize("name", TALES)
def test_a_tale_is_understood_and_charged(tales: Matrix, name: str) -> None:
    """Each answer knows what was said before it, the tool's output and the instructions; a spoken
    one is heard whole, and one that is cut ends; each usage is charged in the provider's numbers.
    """
    outcome = tales.outcome_by_name[name]
    if isinstance(outcome, BaseException):
        raise outcome
    if name.startswith("pipecat"):
        assert_told_to_pipecat(outcome)
    else:
        assert_told(outcome, end=IN_THE_END)
    assert len(outcome.heard) >= len(SAID)
    assert any(outcome.heard in spoken for spoken in tales.spoken(name))
    tales.assert_charged(name)


def assert_told_to_pipecat(outcome: Outcome) -> None:
    """What is written later it tells as the system's, of which Gemini makes the user's."""
    found = [
        [line.replace("system ", "user ", 1) for line in lines(answer)]
        for answer in outcome.answers
    ]
    assert found == [PIPECAT_FIRST, PIPECAT_SECOND, PIPECAT_THIRD, PIPECAT_LAST]
    assert (outcome.tool, outcome.interrupted) == (TOOL, "interrupted")


def test_nothing_else_of_the_tales_was_charged(tales: Matrix) -> None:
    """Every usage that the provider sent is in the books once, and the books are right."""
    tales.assert_nothing_else()


@pytest.mark.parametrize("section", SECTIONS, ids=lambda section: section.name)
def test_the_program_of_the_page_works(section: Section) -> None:
    """It ends well, and what it did is charged."""
    with every_provider(pace=0) as cluster:
        asyncio.run(section.run(cluster, python=HEAVY_PYTHON))
