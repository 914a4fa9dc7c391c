"""The providers of a local cluster: the real ones for which there is a key, else the simulator."""

from collections.abc import Mapping
from dataclasses import dataclass

SIMULATED_KEY = "simulated"


@dataclass(frozen=True, slots=True)
class Provider:
    """One provider: its display name, its variables, and its path in the simulator."""

    name: str
    key: str
    url: str
    path: str


PROVIDERS = (
    Provider("OpenAI", "OPENAI_API_KEY", "OPENAI_BASE_URL", "/v1"),
    Provider("Gemini", "GEMINI_API_KEY", "GEMINI_BASE_URL", ""),
    Provider("xAI", "XAI_API_KEY", "XAI_BASE_URL", "/xai/v1"),
    Provider("Azure OpenAI", "AZURE_OPENAI_API_KEY", "AZURE_OPENAI_ENDPOINT", ""),
)
# The prefixes of the providers' variables.
PREFIXES = ("OPENAI_", "GEMINI_", "XAI_", "AZURE_OPENAI_")


def real(environ: Mapping[str, str]) -> list[Provider]:
    """The providers for which there is a key, or a file with one."""
    return [p for p in PROVIDERS if environ.get(p.key) or environ.get(f"{p.key}_FILE")]


def simulated(environ: Mapping[str, str], simulator: str) -> dict[str, str]:
    """The variables that send all providers' sessions to the simulator; none with a provider's key.

    Real and simulated providers are never mixed, so that all usage of a cluster is either real or
    simulated.
    """
    if real(environ):
        return {}
    return {
        variable: value
        for p in PROVIDERS
        for variable, value in ((p.key, SIMULATED_KEY), (p.url, simulator + p.path))
    }


def describe(environ: Mapping[str, str]) -> list[str]:
    """A line for each provider: where its sessions go."""
    known = real(environ)
    if not known:
        return [f"{', '.join(p.name for p in PROVIDERS)}: simulated; no provider key is set"]
    lines = [f"{p.name}: {environ.get(p.url) or 'the real provider'}" for p in known]
    lines += [f"{p.name}: not available; set {p.key}" for p in PROVIDERS if p not in known]
    return lines
