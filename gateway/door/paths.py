"""Whose path a request is for: the providers' own paths, after any prefix. Pure.

SDKs build URLs in many ways, so any prefix and repeated slashes are tolerated. But no segment of
the providers' own paths (``_OWN_SEGMENTS``) may stand in the prefix: a path that only ends like one
of these is another path, perhaps another provider's, and is refused. ``_OWN_PATHS`` is the table.
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

SESSION_SEGMENT: Final = "s"  # followed by the name, before the provider's own path
_AZURE_PREVIEW: Final = "/openai/realtime"  # calls the model a deployment
_AZURE_VOICE_LIVE: Final = "/voice-live/realtime"
_AZURE_VOICE_AGENT: Final = "/voice-agent/realtime"
AZURE_PATHS: Final = (AZURE_GA, _AZURE_PREVIEW, _AZURE_VOICE_LIVE, _AZURE_VOICE_AGENT)
_AZURE_WITH_MODEL: Final = (AZURE_GA, _AZURE_PREVIEW, _AZURE_VOICE_LIVE)
# By which a Voice Live session names an agent, which brings its model, in place of a model.
_AGENT_PARAMETERS: Final = ("agent-name", "agent-id")
# Segments that providers' own paths begin with or consist of: no prefix has them.
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
_XAI_SEGMENT: Final = "xai"  # the last one of a prefix: /xai/v1/realtime
_GEMINI: Final = re.compile(
    r"/ws/google\.ai\.generativelanguage\.(v1|v1beta|v1alpha)"
    r"\.GenerativeService\.BidiGenerateContent(?:Constrained)?$"
)
_GEMINI_DEFAULT: Final = (
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


class Subject(Enum):
    """Where a path's sessions get their model from."""

    URL = auto()  # the URL must name one, or something else that the connection is for
    PROVIDER = auto()  # the URL may name one, or the provider has its own
    MESSAGE = auto()  # the client's first message does


@dataclass(frozen=True, slots=True)
class Route:
    """What a path says: the provider, its own path, and what names the model."""

    provider: str
    path: str
    subject: Subject = Subject.URL


def own_path(pattern: re.Pattern[str], path: str) -> re.Match[str] | None:
    """What ``pattern``, a path of ours up to its end, finds in a normalised path: after any prefix,
    as the WebSocket routes, but in none that belongs to a provider's other path.
    """
    found = pattern.search(path)
    if found is None or not _is_prefix(path[: found.start()], may_lack_name=True):
        return None
    return found


def route_of(path: str, values: dict[str, str]) -> Route | Refusal:
    if path == "/" and any(name.startswith("rs_") for name in values):
        return _original(values)
    # What follows an ``s`` is a session's name, as long as a path of somebody's is left.
    for may_lack_name in (False, True):
        for pattern, make in _OWN_PATHS:
            found = pattern.search(path)
            if found is None:
                continue
            prefix = path[: found.start()]
            if make is _plain_route:
                prefix = prefix.removesuffix("/v1").removesuffix(f"/{_XAI_SEGMENT}")
            if _is_prefix(prefix, may_lack_name=may_lack_name):
                return make(found, values)
    return not_found(f"found path {path[:200]!r}, {EXPECTED}")


def _gemini_route(found: re.Match[str], _values: dict[str, str]) -> Route:
    """Constrained is for the provider's own ephemeral keys; ours shows it an ordinary one."""
    return Route("gemini", found[0].removesuffix("Constrained"), Subject.MESSAGE)


def _plain_route(found: re.Match[str], values: dict[str, str]) -> Route:
    """``/realtime`` is OpenAI's; after ``/xai``, and with ``?provider=xai``, it is xAI's, which has
    a model of its own for who names none.
    """
    prefix = found.string[: found.start()].removesuffix("/v1")
    wanted = values.get("provider", "").lower()
    if prefix.endswith(f"/{_XAI_SEGMENT}") and wanted in ("", _XAI_SEGMENT):
        return Route("xai", REALTIME, Subject.PROVIDER)
    subject = Subject.PROVIDER if wanted == _XAI_SEGMENT else Subject.URL
    return Route("openai", REALTIME, subject)


def _azure_route(found: re.Match[str], values: dict[str, str]) -> Route:
    return Route("azure", found[0], _azure_subject(found[0], values))


def _live_route(found: re.Match[str], _values: dict[str, str]) -> Route:
    """What another socket does with a session of GPT-Live, which has its model."""
    return Route("openai", found[0], Subject.PROVIDER)


def _not_offered(found: re.Match[str], _values: dict[str, str]) -> Refusal:
    """The sideband of a call to GPT-Live, which is not made or taken here: nobody charges it."""
    message = f"{found[0][:200]} is not offered: nobody here would charge such a call; {EXPECTED}"
    return not_found(message, code="not_offered")


def _azure_subject(path: str, values: dict[str, str]) -> Subject:
    """Agents bring their model; a Voice Live session may name one in place of a model."""
    names_agent = any(values.get(name) for name in _AGENT_PARAMETERS)
    if path not in _AZURE_WITH_MODEL or (path == _AZURE_VOICE_LIVE and names_agent):
        return Subject.PROVIDER
    return Subject.URL


def _is_prefix(prefix: str, *, may_lack_name: bool) -> bool:
    """Whether ``prefix`` holds nothing that belongs to a provider's path. A session may be called
    anything.
    """
    segments = iter(prefix.split("/"))
    for segment in segments:
        if unquote(segment).lower() in _OWN_SEGMENTS:  # to some servers both spell the same
            return False
        if segment == SESSION_SEGMENT and next(segments, None) is None:
            return may_lack_name
    return True


# The providers' own paths, the most particular ones first.
_OWN_PATHS: Final[
    tuple[tuple[re.Pattern[str], Callable[[re.Match[str], dict[str, str]], Route | Refusal]], ...]
] = (
    (_GEMINI, _gemini_route),
    (re.compile(r"/agents/[^/]+/endpoint/protocols/voice/live/sessions$"), _azure_route),
    (re.compile("|".join(f"(?:{path}$)" for path in AZURE_PATHS)), _azure_route),
    (re.compile(rf"{LIVE_WITH_MODEL}/rtc_[^/]+$"), _not_offered),
    (re.compile(rf"{LIVE}/[^/]+/(?:attach|fork)$"), _live_route),
    (re.compile(f"{LIVE_WITH_MODEL}$"), lambda _found, _values: Route("openai", LIVE_WITH_MODEL)),
    (re.compile(f"{LIVE}$"), lambda _found, _values: Route("openai", LIVE, Subject.MESSAGE)),
    (re.compile(f"{TRANSLATIONS}$"), lambda _found, _values: Route("openai", TRANSLATIONS)),
    (re.compile(f"{REALTIME}$"), _plain_route),
)


def _original(values: dict[str, str]) -> Route | Refusal:
    """The original system's own URL: ``/?rs_key=…&rs_sessid=…&rs_api=OPENAI|GEMINI``."""
    api = values.get("rs_api", "OPENAI")
    match api.upper():
        case "OPENAI":
            return Route("openai", REALTIME)
        case "GEMINI":
            return Route("gemini", _GEMINI_DEFAULT, Subject.MESSAGE)
    expected = "expected OPENAI or GEMINI"
    return not_found(f"found rs_api={api[:32]!r}, {expected}", code="provider_not_found")


def subject_of(path: str) -> str:
    """The parameter that names the model on a provider's path."""
    return "deployment" if path == _AZURE_PREVIEW else "model"


def session_segments(prefix: str) -> Iterator[str]:
    """The names in what stands before a provider's path; ``v1`` there is the base URL's."""
    segments = prefix.removesuffix("/v1").split("/")
    for at, segment in enumerate(segments[:-1]):
        if segment == SESSION_SEGMENT:
            yield unquote(segments[at + 1])
