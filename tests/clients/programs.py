"""Clients that are programs of their own: another environment, another language."""

import shutil
import sys
from functools import partial

import pytest

from clients.outcome import Outcome, Where
from clients.surroundings import AGENTS_PYTHON, HEAVY_PYTHON, NODE_MODULES, ROOT, run_program

HERE = ROOT / "tests" / "clients"


async def genai_environment(where: Where) -> Outcome:
    """google-genai, told by environment variables alone."""
    env = {
        **where.environment(),
        "PYTHONPATH": f"{ROOT / 'tests'}:{ROOT}",
        "GOOGLE_API_KEY": where.key,
        "GOOGLE_GEMINI_BASE_URL": f"https://{where.tls}",
        "SSL_CERT_FILE": where.ca,
    }
    return Outcome.of(await run_program(sys.executable, HERE / "genai_environment.py", env=env))


async def agents_python(where: Where, *, program: str = "agents_python") -> Outcome:
    """openai-agents in the environment that ``make test`` made for it."""
    env = {
        **where.environment(),
        "PYTHONPATH": f"{ROOT / 'tests'}:{ROOT}",
        "OPENAI_AGENTS_DISABLE_TRACING": "1",  # it would report to OpenAI
    }
    return Outcome.of(await run_program(AGENTS_PYTHON, HERE / f"{program}.py", env=env))


async def node(where: Where, *, program: str) -> Outcome:
    """A program in JavaScript."""
    needs_node()
    env = {**where.environment(), "NODE_EXTRA_CA_CERTS": where.ca}
    return Outcome.of(await run_program("node", HERE / "node" / f"{program}.mjs", env=env))


def needs_node() -> None:
    """Skip where there is no Node."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        pytest.skip("found no node and npm; .ci/run installs them")
    assert NODE_MODULES.exists(), "found no packages of Node; `make test` installs them"


async def heavy(where: Where, *, program: str) -> Outcome:
    """A program in the environment that ``make clients`` made."""
    env = {
        **where.environment(),
        "PYTHONPATH": f"{ROOT / 'tests'}:{ROOT}",
        "LOGURU_LEVEL": "WARNING",
    }
    return Outcome.of(await run_program(HEAVY_PYTHON, HERE / "heavy" / f"{program}.py", env=env))


CLIENTS = {
    "google-genai environment": (genai_environment, "gemini-live"),
    "openai-agents": (agents_python, "gpt-realtime"),
    "openai-node OpenAIRealtimeWS": (partial(node, program="openai_realtime_ws"), "gpt-realtime"),
    "@openai/agents-realtime": (partial(node, program="agents_realtime"), "gpt-realtime"),
    "@google/genai": (partial(node, program="google_genai"), "gemini-live"),
}
