"""Finds the provider of a request by its URL. Pure."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qs, unquote

from simulator.faults import FAULTY, parameters

# Paths and their providers. The first entry that matches the end of a request's path counts.
_ENDS: Final = tuple(
    (re.compile(form), place)
    for form, place in (
        (
            r"/ws/google\.ai\.generativelanguage\.(v1|v1beta|v1alpha)\.GenerativeService"
            r"\.BidiGenerateContent(Constrained)?$",
            ("gemini", "developer"),
        ),
        (
            r"/google\.cloud\.aiplatform\.\w+\.LlmBidiService/BidiGenerateContent$",
            ("gemini", "vertex"),
        ),
        (r"/agents/[^/]+/endpoint/protocols/voice/live/sessions$", ("azure", "beta")),
        (r"/live/sessions/[^/]+/attach$", ("gpt-live", "attach")),
        (r"/live/sessions/[^/]+/fork$", ("gpt-live", "fork")),
        (r"/live(?:/sessions)?$", ("gpt-live", "live")),
        (r"/realtime/translations$", ("openai", "translation")),
        (r"/openai/v1/realtime$", ("azure", "ga")),
        (r"/openai/realtime$", ("azure", "beta")),
        (r"/voice-live/realtime$", ("azure", "beta")),
        (r"/voice-agent/realtime$", ("azure", "beta")),
        (r"/realtime$", ("openai", "ga")),
    )
)
_DEFAULT_MODELS: Final[Mapping[str, str]] = {
    "openai": "gpt-realtime",
    "azure": "gpt-realtime",
    "xai": "grok-voice-latest",
}
# Parameters of Azure's older paths, of which one is required: a deployment, a model, or an agent,
# which has a model of its own.
_NAMED: Final[Mapping[str, tuple[str, ...]]] = {
    "openai/realtime": ("deployment",),
    "voice-live/realtime": ("model", "agent-name", "agent-id"),
}
# Models that Azure refuses in the URL: a session names them as its transcriber.
_TRANSCRIBERS: Final = ("gpt-realtime-whisper", "gpt-live-transcribe", "whisper")
DIALECTS: Final = ("ga", "beta")
_OPENAI: Final = ("openai", "azure", "xai")
# Parameters that only these providers implement.
_ONLY: Final[Mapping[str, tuple[str, ...]]] = {
    "dialect": ("openai", "azure"),
    "cancel": _OPENAI,
    "recall": (*_OPENAI, "gemini"),
    "held": (*_OPENAI, "gemini", "gpt-live"),  # nobody writes to GPT-Live: there is no such reply
    "duplicate": _OPENAI,
    "end": (*_OPENAI, "gemini"),
    "transcription": ("openai", "azure"),
    "transcribed": ("openai", "azure"),
    "go_away_ms": ("gemini",),
    "activity": ("gemini",),
    "usage_style": ("gemini",),
    "usage_at": ("gemini",),
}
# Parameters about the time before the first message; a model that a message names comes too late.
_TOO_LATE: Final = ("refuse", "redirect", "account", "dial_ms", "expire_ms", "dialect")


@dataclass(frozen=True, slots=True)
class Route:
    """The provider and the parameters of a request.

    ``provider``: openai, azure, xai, gemini or gpt-live. ``dialect``: the protocol spoken there.
    ``model``: the one in the URL; empty where a message names it or there is none.
    ``parameters``: the first value of each one in the query, and those in the path and the model.
    ``names``: the path's segments.
    """

    provider: str
    dialect: str
    model: str
    query: str
    parameters: Mapping[str, str]
    names: tuple[str, ...] = ()

    @property
    def live_session(self) -> str | None:
        """The id of the GPT-Live session that a socket attaches to or forks, else None."""
        return self.names[-2] if self.dialect in ("attach", "fork") else None

    @property
    def is_transcription(self) -> bool:
        """Whether the session only transcribes."""
        return self.dialect == "ga" and self.parameters.get("intent") == "transcription"


def route(target: str) -> Route | None:
    """The route of a request target; None for an unknown path.

    Raises ``ValueError`` for wrong parameters. The target is split by hand, because ``urlsplit``
    reads ``ws`` in ``//ws/x``, which some clients send, as a host.
    """
    path, _, query = target.partition("?")
    segments = [unquote(part) for part in path.split("/") if part]
    found = _provider(segments)
    if found is None:
        return None
    provider, dialect = found
    values = {name: value[0] for name, value in parse_qs(query).items()}
    model = values.get("model") or values.get("deployment") or ""
    if not model and "intent" not in values:
        model = _DEFAULT_MODELS.get(provider, "")
    asked = parameters(values, *(x for x in segments if x.startswith(FAULTY)), model)
    _check_provider(provider, asked)
    if provider == "azure" and model.startswith(_TRANSCRIBERS):
        raise ValueError(f"{model}: found a transcriber, expected a model that answers")
    if provider == "azure" and dialect == "beta":
        for names in (("api-version",), _NAMED.get("/".join(segments[-2:]), ())):
            if names and not any(values.get(name) for name in names):
                raise ValueError(f"{names[0]}: found nothing, expected a value")
    if dialect != "translation" and provider in ("openai", "azure") and "dialect" in asked:
        dialect = asked["dialect"]
        if dialect not in DIALECTS:
            raise ValueError(f"dialect: found {dialect!r}, expected {' or '.join(DIALECTS)}")
    return Route(provider, dialect, model, query, asked, tuple(segments))


def with_model(to: Route, model: str) -> Mapping[str, str]:
    """The parameters of a session whose model is named in a message; raises ``ValueError``."""
    late = parameters({}, model)
    for name in late:
        if name in _TOO_LATE or (name, late[name]) == ("stall", "read"):
            raise ValueError(f"{name}: found in {model[:40]!r}, expected in the URL")
    _check_provider(to.provider, late)
    return {**late, **to.parameters}


def _check_provider(provider: str, asked: Mapping[str, str]) -> None:
    """Refuse a parameter that this provider does not implement."""
    for name in asked:
        if provider not in _ONLY.get(name, (provider,)):
            raise ValueError(f"{name}: found with {provider}, expected {' or '.join(_ONLY[name])}")


def _provider(segments: list[str]) -> tuple[str, str] | None:
    """Provider and dialect by the end of the path; any prefix may come before it."""
    path = "/" + "/".join(segments)
    found = next((place for form, place in _ENDS if form.search(path)), None)
    return ("xai", "xai") if found == ("openai", "ga") and "xai" in segments else found
