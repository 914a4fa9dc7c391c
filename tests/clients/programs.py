"""Clients that are programs of their own: another environment, another language."""

import sys

from clients.outcome import Outcome, Where
from clients.surroundings import ROOT, run_program

HERE = ROOT / "tests" / "clients"


async def genai_environment(where: Where) -> Outcome:
    """google-genai, told by environment variables alone."""
    env = {
        **where.environment(),
        "PYTHONPATH": str(ROOT / "tests"),
        "GOOGLE_API_KEY": where.key,
        "GOOGLE_GEMINI_BASE_URL": f"https://{where.tls}",
        "SSL_CERT_FILE": where.ca,
    }
    program = HERE / "genai_environment.py"
    return Outcome.of(await run_program(sys.executable, program, env=env))


CLIENTS = {"google-genai environment": (genai_environment, "gemini-live")}
