"""Which provider a request is for, by the form of its URL. Pure."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qs, unquote

from simulator.faults import FAULTY, wishes

# The first form that fits the end of a path counts.
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
# What Azure's older paths must name, one of these each; an agent, too, brings a model.
_NAMED: Final[Mapping[str, tuple[str, ...]]] = {
    "openai/realtime": ("deployment",),
    "voice-live/realtime": ("model", "agent-name", "agent-id"),
}
# What Azure does not take for a model of a session: it is named inside of one.
_TRANSCRIBERS: Final = ("gpt-realtime-whisper", "gpt-live-transcribe", "whisper")
DIALECTS: Final = ("ga", "beta")
_OPENAI: Final = ("openai", "azure", "xai")
# Wishes that only some providers can fulfil.
_ONLY: Final[Mapping[str, tuple[str, ...]]] = {
    "dialect": ("openai", "azure"),
    "cancel": _OPENAI,
    "duplicate": _OPENAI,
    "end": (*_OPENAI, "gemini"),
    "transcription": ("openai", "azure"),
    "transcribed": ("openai", "azure"),
    "go_away_ms": ("gemini",),
    "usage_style": ("gemini",),
    "usage_at": ("gemini",),
}
# What has happened, or not, before a model is named in a message.
_TOO_LATE: Final = ("refuse", "redirect", "account", "dial_ms", "expire_ms", "dialect")


@dataclass(frozen=True, slots=True)
class Route:
    """Where a request goes.

    ``provider``: openai, azure, xai, gemini or gpt-live. ``dialect``: what is spoken there.
    ``model``: as the URL names it, empty where the client names it later, or none. ``wishes``: the
    first value of every parameter, and what names in the path and the model ask for. ``names``:
    the path's segments.
    """

    provider: str
    dialect: str
    model: str
    query: str
    wishes: Mapping[str, str]
    names: tuple[str, ...] = ()

    @property
    def live_session(self) -> str | None:
        """The session of GPT-Live that a socket attaches to, or forks."""
        return self.names[-2] if self.dialect in ("attach", "fork") else None

    @property
    def is_transcription(self) -> bool:
        """Whether the session only transcribes."""
        return self.dialect == "ga" and self.wishes.get("intent") == "transcription"


def route(target: str) -> Route | None:
    """The route of a request target; None: unknown path. Raises ``ValueError``: bad parameters.

    The target is cut by hand: of ``//ws/x``, which some clients send, ``urlsplit`` takes ``ws``
    for a host.
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
    asked = wishes(values, *(x for x in segments if x.startswith(FAULTY)), model)
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
    """The wishes of a session whose model is named in a message; raises ``ValueError``."""
    late = wishes({}, model)
    for name in late:
        if name in _TOO_LATE or (name, late[name]) == ("stall", "read"):
            raise ValueError(f"{name}: found in {model[:40]!r}, expected in the URL")
    _check_provider(to.provider, late)
    return {**late, **to.wishes}


def _check_provider(provider: str, asked: Mapping[str, str]) -> None:
    """A fault that no provider implements is refused, too."""
    for name in asked:
        if provider not in _ONLY.get(name, (provider,)):
            raise ValueError(f"{name}: found with {provider}, expected {' or '.join(_ONLY[name])}")


def _provider(segments: list[str]) -> tuple[str, str] | None:
    """Provider and dialect by the end of the path; any prefix may come before it."""
    path = "/" + "/".join(segments)
    found = next((place for form, place in _ENDS if form.search(path)), None)
    return ("xai", "xai") if found == ("openai", "ga") and "xai" in segments else found
