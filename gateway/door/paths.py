"""Whose path a request is for: the providers' own paths, after any prefix. Pure.

SDKs build URLs in many ways, so any prefix is tolerated. But no segment of the providers' own paths
(``_OWN_SEGMENTS``) may be in the prefix: a path that only ends like one of these is another path,
perhaps of another provider. ``/voice-agent/realtime`` is Azure's, although it ends like OpenAI's.
``_OWN_PATHS`` is the table; ``routing`` and ``endpoints.api`` look paths up.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final
from urllib.parse import unquote

from gateway.http.refusals import Refusal, not_found
from gateway.providers.base import (
    AZURE_GA,
    LIVE,
    LIVE_WITH_MODEL,
    REALTIME,
    TRANSLATIONS,
)

SESSION_SEGMENT: Final = "s"  # followed by the session's name: /s/NAME/v1/realtime
PROVIDER_SEGMENT: Final = "provider"  # followed by the provider's: /provider/gemini/v1/realtime
_AZURE_PREVIEW: Final = "/openai/realtime"  # its parameter for the model is called deployment
_AZURE_VOICE_LIVE: Final = "/voice-live/realtime"
_AZURE_VOICE_AGENT: Final = "/voice-agent/realtime"
# Where Azure speaks the names of OpenAI's beta.
BETA_PATHS: Final = (_AZURE_PREVIEW, _AZURE_VOICE_LIVE, _AZURE_VOICE_AGENT)
AZURE_PATHS: Final = (AZURE_GA, _AZURE_PREVIEW, _AZURE_VOICE_LIVE, _AZURE_VOICE_AGENT)
_AZURE_WITH_MODEL: Final = (AZURE_GA, _AZURE_PREVIEW, _AZURE_VOICE_LIVE)
# Parameters by which a Voice Live session names an agent instead of a model; the agent has one.
_AGENT_PARAMETERS: Final = ("agent-name", "agent-id")
# Segments that providers' own paths begin with or consist of; a prefix must not contain any.
_OWN_SEGMENTS: Final = frozenset(
    {
        "openai",
        "voice-live",
        "voice-agent",
        "agents",
        "endpoint",
        "protocols",
        "voice",
        "realtime",
        "live",
        "ws",
        "xai",
    }
)
_XAI_SEGMENT: Final = "xai"  # the last segment of a prefix: /xai/v1/realtime
_GEMINI: Final = re.compile(
    r"/ws/google\.ai\.generativelanguage\.(v1|v1beta|v1alpha)"
    r"\.GenerativeService\.BidiGenerateContent(?:Constrained)?$"
)
GEMINI_DEFAULT: Final = (
    "/ws/google.ai.generativelanguage.v1beta.GenerativeService.BidiGenerateContent"
)
EXPECTED: Final = (
    "expected /v1/realtime?model=…, /v1/realtime/translations?model=…, /xai/v1/realtime,"
    " /openai/v1/realtime?model=…, /voice-live/realtime?model=…, /voice-agent/realtime,"
    " /agents/NAME/endpoint/protocols/voice/live/sessions, /v1/live/sessions,"
    " /v1/live?model=… or"
    " /ws/google.ai.generativelanguage.v1beta.GenerativeService.BidiGenerateContent,"
    " after any prefix without the names of these"
)


class ModelSource(Enum):
    """Where the sessions of a path get their model from."""

    URL = auto()  # the URL must name a model, or a call or an intent instead
    PROVIDER = auto()  # the URL may name a model; the provider has a default
    MESSAGE = auto()  # the client's first message names it


@dataclass(frozen=True, slots=True)
class Route:
    """What a path says: the kind of provider, the path there, and where the model comes from."""

    provider: str
    path: str
    model_source: ModelSource = ModelSource.URL


def own_path(pattern: re.Pattern[str], path: str) -> re.Match[str] | None:
    """Match ``pattern``, which ends with ``$``, in a normalised path after any allowed prefix.

    None when it does not match, or when the prefix contains a segment of a provider's own path.
    """
    found = pattern.search(path)
    if found is None or not _is_prefix(path[: found.start()], may_lack_name=True):
        return None
    return found


def route_of(path: str, values: dict[str, str]) -> Route | Refusal:
    """The route of a normalised path, or 404; ``values`` are the parameters of the query."""
    if path == "/" and any(name.startswith("rs_") for name in values):
        return _original_route(values)
    # First every segment after an ``s`` is read as a session's name. Only when no path is left over
    # by that, an ``s`` at the end of the prefix may stand without a name.
    for may_lack_name in (False, True):
        for pattern, rule in _OWN_PATHS:
            found = pattern.search(path)
            if found is None:
                continue
            prefix = path[: found.start()]
            if rule is _plain_route:
                prefix = prefix.removesuffix("/v1").removesuffix(f"/{_XAI_SEGMENT}")
            if _is_prefix(prefix, may_lack_name=may_lack_name):
                return rule if isinstance(rule, Route) else rule(found, values)
    return not_found(f"found path {path[:200]!r}, {EXPECTED}")


def _gemini_route(found: re.Match[str], _values: dict[str, str]) -> Route:
    """Google's SDKs use the path ``…Constrained`` with an ephemeral key. The gateway connects with
    an ordinary key, for which the provider has the path without it.
    """
    return Route("gemini", found[0].removesuffix("Constrained"), ModelSource.MESSAGE)


def _plain_route(found: re.Match[str], values: dict[str, str]) -> Route:
    """``/realtime`` is OpenAI's. After ``/xai``, or with ``?provider=xai``, it is xAI's, where the
    model may be left out: xAI has a default.
    """
    prefix = found.string[: found.start()].removesuffix("/v1")
    wanted = values.get("provider", "").lower()
    if prefix.endswith(f"/{_XAI_SEGMENT}") and wanted in ("", _XAI_SEGMENT):
        return Route("xai", REALTIME, ModelSource.PROVIDER)
    source = ModelSource.PROVIDER if wanted == _XAI_SEGMENT else ModelSource.URL
    return Route("openai", REALTIME, source)


def _azure_route(found: re.Match[str], values: dict[str, str]) -> Route:
    return Route("azure", found[0], _azure_model_source(found[0], values))


def _live_route(found: re.Match[str], _values: dict[str, str]) -> Route:
    """Attach to a GPT-Live session, or fork it; the session has its model already."""
    return Route("openai", found[0], ModelSource.PROVIDER)


def _not_offered(found: re.Match[str], _values: dict[str, str]) -> Refusal:
    """404 for the sideband of a call to GPT-Live: the gateway makes and takes no such calls, so
    nothing would meter this one.
    """
    message = f"{found[0][:200]} is not offered: nobody here would charge such a call; {EXPECTED}"
    return not_found(message, code="not_offered")


def _azure_model_source(path: str, values: dict[str, str]) -> ModelSource:
    """An agent has its own model; a Voice Live session may name an agent instead of a model."""
    names_agent = any(values.get(name) for name in _AGENT_PARAMETERS)
    if path not in _AZURE_WITH_MODEL or (path == _AZURE_VOICE_LIVE and names_agent):
        return ModelSource.PROVIDER
    return ModelSource.URL


def _is_prefix(prefix: str, *, may_lack_name: bool) -> bool:
    """Whether ``prefix`` contains no segment of a provider's own path. The segment after ``s`` is
    a session's name and may be any text: ``/s/realtime/v1/realtime`` is allowed; so is the one
    after ``provider``. With ``may_lack_name`` the prefix may end with ``s``.
    """
    segments = iter(prefix.split("/"))
    for segment in segments:
        if unquote(segment).lower() in _OWN_SEGMENTS:  # %72ealtime is realtime to some servers
            return False
        if segment in (SESSION_SEGMENT, PROVIDER_SEGMENT) and next(segments, None) is None:
            return may_lack_name
    return True


# A route, or what makes one of the match and the query's parameters.
_Rule = Route | Callable[[re.Match[str], dict[str, str]], Route | Refusal]
# The providers' own paths. The first that matches counts, so longer paths come before their ends.
_OWN_PATHS: Final[tuple[tuple[re.Pattern[str], _Rule], ...]] = (
    (_GEMINI, _gemini_route),
    (re.compile(r"/agents/[^/]+/endpoint/protocols/voice/live/sessions$"), _azure_route),
    (re.compile("|".join(f"(?:{path}$)" for path in AZURE_PATHS)), _azure_route),
    (re.compile(rf"{LIVE_WITH_MODEL}/rtc_[^/]+$"), _not_offered),
    (re.compile(rf"{LIVE}/[^/]+/(?:attach|fork)$"), _live_route),
    (re.compile(f"{LIVE_WITH_MODEL}$"), Route("openai", LIVE_WITH_MODEL)),
    (re.compile(f"{LIVE}$"), Route("openai", LIVE, ModelSource.MESSAGE)),
    (re.compile(f"{TRANSLATIONS}$"), Route("openai", TRANSLATIONS)),
    (re.compile(f"{REALTIME}$"), _plain_route),
)


def _original_route(values: dict[str, str]) -> Route | Refusal:
    """The original system's own URL: ``/?rs_key=…&rs_sessid=…&rs_api=OPENAI|GEMINI``."""
    api = values.get("rs_api", "OPENAI")
    match api.upper():
        case "OPENAI":
            return Route("openai", REALTIME)
        case "GEMINI":
            return Route("gemini", GEMINI_DEFAULT, ModelSource.MESSAGE)
    expected = "expected OPENAI or GEMINI"
    return not_found(f"found rs_api={api[:32]!r}, {expected}", code="provider_not_found")


def model_parameter(path: str) -> str:
    """The query parameter that names the model on a provider's path."""
    return "deployment" if path == _AZURE_PREVIEW else "model"


def session_segments(prefix: str) -> Iterator[str]:
    """The sessions' names in a prefix. A last segment ``v1`` belongs to the provider's path."""
    segments = prefix.removesuffix("/v1").split("/")
    for at, segment in enumerate(segments[:-1]):
        if segment == SESSION_SEGMENT:
            yield unquote(segments[at + 1])
