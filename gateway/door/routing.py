"""What a request asks for: which provider, which model, which session. Pure.

Any path prefix and repeated slashes are tolerated, because SDKs build URLs in many ways, but no
segment of the providers' own paths (``_OWN_SEGMENTS``) may stand in it: a path that only ends like
one of ours is another path, perhaps another provider's, and is refused. The provider is the one of
``?provider=``, else the one that the model table names, else the one whose path it is, else the one
whose model it is. The session's name may stand in the query, in a header or in the path
(``/s/NAME/v1/realtime``); two names that differ are refused.
"""

import re
import secrets
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import Enum, auto
from typing import Final
from urllib.parse import parse_qsl, quote, unquote, unquote_plus

from websockets.datastructures import Headers

from gateway.door.auth import KEY_PARAMETERS
from gateway.door.models import ModelTable
from gateway.http.refusals import Refusal, bad_request, not_found
from gateway.providers.base import (
    AZURE_GA,
    HANDLE_PARAMETERS,
    LIVE,
    LIVE_WITH_MODEL,
    REALTIME,
    TRANSLATIONS,
    Target,
)
from shared.usage import ID_CHARS_MAX

SESSION_HEADER: Final = "x-rs-session"
SESSION_PARAMETER: Final = "rs_sessid"
EVENTS_PARAMETER: Final = "rs_events"
SESSION_SEGMENT: Final = "s"  # followed by the name, before the provider's own path
# What providers call a call; never a path of dots.
CALL_ID: Final = re.compile(r"(?!\.+$)[A-Za-z0-9_.\-]{1,128}")
_SESSION_ID: Final = re.compile(r"[\x21-\x7e]{1,128}")
# What else than a model a realtime connection can be for (OpenAI: exactly one of them).
_OTHER_SUBJECTS: Final = ("call_id", "intent")
_MODEL_NAMES: Final = ("model", "deployment")
# What a provider must not find twice in a query: it might take another one than was looked at.
_ONCE: Final = (*_MODEL_NAMES, *_OTHER_SUBJECTS, *HANDLE_PARAMETERS)
_DEFAULT_MODEL: Final = "gpt-realtime"
MISSING_MODEL: Final = "missing_model"  # of a refusal: the URL should have named one

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
# What Azure's paths alone know.
_AZURE_PARAMETERS: Final = ("api-version",)
_GEMINI: Final = re.compile(
    r"/ws/google\.ai\.generativelanguage\.(v1|v1beta|v1alpha)"
    r"\.GenerativeService\.BidiGenerateContent(?:Constrained)?$"
)
_GEMINI_DEFAULT: Final = (
    "/ws/google.ai.generativelanguage.v1beta.GenerativeService.BidiGenerateContent"
)
_PROVIDER_BY_MODEL: Final = (("grok-", "xai"),)
# Providers whose events a client of ``/v1/realtime`` understands.
_OPENAI_FAMILY: Final = ("openai", "azure", "xai")
_EXPECTED: Final = (
    "expected /v1/realtime?model=…, /v1/realtime/translations?model=…, /xai/v1/realtime,"
    " /openai/v1/realtime?model=…, /voice-live/realtime?model=…, /voice-agent/realtime,"
    " /agents/NAME/endpoint/protocols/voice/live/sessions, /v1/live/sessions,"
    " /v1/live?model=… or"
    " /ws/google.ai.generativelanguage.v1beta.GenerativeService.BidiGenerateContent,"
    " after any prefix without the names of these"
)


class _Subject(Enum):
    """Where a path's sessions get their model from."""

    URL = auto()  # the URL must name one, or something else that the connection is for
    PROVIDER = auto()  # the URL may name one, or the provider has its own
    MESSAGE = auto()  # the client's first message does


@dataclass(frozen=True, slots=True)
class _Route:
    """What a path says: the provider, its own path, and what names the model."""

    provider: str
    path: str
    subject: _Subject = _Subject.URL


def split_target(target: str) -> tuple[str, list[tuple[str, str]], str]:
    """(normalised path, decoded parameters, raw query) of a request target."""
    path, _, query = target.partition("#")[0].partition("?")
    path = "/" + "/".join(part for part in path.split("/") if part)
    return path, parse_qsl(query, keep_blank_values=True), query


def route(
    target: str, headers: Headers, *, table: ModelTable, providers: Collection[str]
) -> Target | Refusal:
    """Find out what the client wants. ``providers`` are the names of those that there are."""
    path, parameters, raw_query = split_target(target)
    if ";" in raw_query:  # to some servers it separates, too: they would see other parameters
        return bad_request("found ; in the query, expected parameters separated by &, or %3B")
    values = dict(reversed(parameters))  # of a repeated parameter the first counts
    found = _wrong_subject(values) or _route_of(path, values)
    if isinstance(found, Refusal):
        return found
    subject = _subject_of(found.path)
    query = _forwarded(raw_query, subject)
    has_subject = any(values.get(name) for name in (subject, *_OTHER_SUBJECTS))
    needs_subject = found.subject is _Subject.URL
    if path == "/" and needs_subject and not has_subject:
        # The original system knew one model and no parameter for it.
        values["model"] = _DEFAULT_MODEL
        rest = (pair for pair in _pairs(query) if pair[0] != "model")  # one without a value
        query = _joined([*rest, ("model", _DEFAULT_MODEL)])
    elif needs_subject and not has_subject:
        expected = f"expected {found.path}?{subject}=…"
        return bad_request(f"found no {subject}; {expected}", code=MISSING_MODEL)
    session_id = _session_id(path, parameters, headers, own_path=found.path)
    if isinstance(session_id, Refusal):
        return session_id
    # Of a call that there is already nobody here knows the model, whatever the parameter says.
    model = "" if values.get("call_id") else values.get(subject, "")
    if len(model) > ID_CHARS_MAX:
        return bad_request(f"model: expected at most {ID_CHARS_MAX} characters")
    # Where the first message names the model, the URL's would only get round the check.
    asked = None if found.subject is _Subject.MESSAGE else model
    wanted = Target(
        found.provider, asked, session_id or _new_session_id(), found.path, query, not session_id
    )
    return _resolve(wanted, values.get("provider", ""), table, providers)


def own_path(pattern: re.Pattern[str], path: str) -> re.Match[str] | None:
    """What ``pattern``, a path of ours up to its end, finds in a normalised path: after any prefix,
    as the WebSocket routes, but in none that belongs to a provider's other path.
    """
    found = pattern.search(path)
    if found is None or not _is_prefix(path[: found.start()], may_lack_name=True):
        return None
    return found


def wants_events(target: str) -> bool | Refusal:
    """Whether the client asks for the gateway's own events beside the provider's."""
    _, parameters, _ = split_target(target)
    value = next((value for name, value in parameters if name == EVENTS_PARAMETER), "0")
    if value not in ("0", "1"):
        return bad_request(f"{EVENTS_PARAMETER}: found {value[:32]!r}, expected 0 or 1")
    return value == "1"


def mapped(target: Target, table: ModelTable) -> Target:
    """``target`` with the model called what its provider calls it."""
    known = table.route_by_model.get(target.model or "")
    if known is None or known.model == target.model:
        return target
    subject = _subject_of(target.path)
    pairs = [
        (name, quote(known.model, safe="")) if name == subject else (name, value)
        for name, value in _pairs(target.query)
    ]
    return replace(target, model=known.model, query=_joined(pairs))


def of_call(target: Target, call_id: str) -> Target:
    """``target`` with a call in the place of what it is for: a sideband of that call."""
    query = _joined([*_without_subject(target), ("call_id", quote(call_id, safe=""))])
    return replace(target, model="", query=query)


def rest_of_query(target: Target) -> str:
    """What stands in the query beside what the connection is for."""
    return _joined(_without_subject(target))


def with_model(target: str, model: str) -> str:
    """A request target that names no model, naming one."""
    return _with(target, "model", model)


def with_call(target: str, call_id: str) -> str:
    """A request target of sessions, as that of a sideband of a call."""
    return _with(target, "call_id", call_id)


def _with(target: str, name: str, value: str) -> str:
    path, _, query = target.partition("#")[0].partition("?")
    named = f"{path}?{name}={quote(value, safe='')}"  # first: it counts
    return f"{named}&{query}" if query else named


# --- helpers -------------------------------------------------------------------------------------


def _route_of(path: str, values: dict[str, str]) -> _Route | Refusal:
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
    return not_found(f"found path {path[:200]!r}, {_EXPECTED}")


def _gemini_route(found: re.Match[str], _values: dict[str, str]) -> _Route:
    """Constrained is for the provider's own ephemeral keys; ours shows it an ordinary one."""
    return _Route("gemini", found[0].removesuffix("Constrained"), _Subject.MESSAGE)


def _plain_route(found: re.Match[str], values: dict[str, str]) -> _Route:
    """``/realtime`` is OpenAI's; after ``/xai``, and with ``?provider=xai``, it is xAI's, which has
    a model of its own for who names none.
    """
    prefix = found.string[: found.start()].removesuffix("/v1")
    wanted = values.get("provider", "").lower()
    if prefix.endswith(f"/{_XAI_SEGMENT}") and wanted in ("", _XAI_SEGMENT):
        return _Route("xai", REALTIME, _Subject.PROVIDER)
    subject = _Subject.PROVIDER if wanted == _XAI_SEGMENT else _Subject.URL
    return _Route("openai", REALTIME, subject)


def _azure_route(found: re.Match[str], values: dict[str, str]) -> _Route:
    return _Route("azure", found[0], _azure_subject(found[0], values))


def _live_route(found: re.Match[str], _values: dict[str, str]) -> _Route:
    """What another socket does with a session of GPT-Live, which has its model."""
    return _Route("openai", found[0], _Subject.PROVIDER)


def _not_offered(found: re.Match[str], _values: dict[str, str]) -> Refusal:
    """The sideband of a call to GPT-Live, which is not made or taken here: nobody charges it."""
    message = f"{found[0][:200]} is not offered: nobody here would charge such a call; {_EXPECTED}"
    return not_found(message, code="not_offered")


def _wrong_subject(values: dict[str, str]) -> Refusal | None:
    """What is no call, or a model and an intent: the providers refuse both together."""
    if (call_id := values.get("call_id")) and CALL_ID.fullmatch(call_id) is None:
        return bad_request(f"call_id: found {call_id[:32]!r}, expected the id of a call")
    named = next((name for name in _MODEL_NAMES if values.get(name)), None)
    if named is None or not values.get("intent") or values.get("call_id"):
        return None
    return bad_request(f"found {named} and intent, expected one of them", code="model_and_intent")


def _azure_subject(path: str, values: dict[str, str]) -> _Subject:
    """Agents bring their model; a Voice Live session may name one in place of a model."""
    names_agent = any(values.get(name) for name in _AGENT_PARAMETERS)
    if path not in _AZURE_WITH_MODEL or (path == _AZURE_VOICE_LIVE and names_agent):
        return _Subject.PROVIDER
    return _Subject.URL


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
    tuple[tuple[re.Pattern[str], Callable[[re.Match[str], dict[str, str]], _Route | Refusal]], ...]
] = (
    (_GEMINI, _gemini_route),
    (re.compile(r"/agents/[^/]+/endpoint/protocols/voice/live/sessions$"), _azure_route),
    (re.compile("|".join(f"(?:{path}$)" for path in AZURE_PATHS)), _azure_route),
    (re.compile(rf"{LIVE_WITH_MODEL}/rtc_[^/]+$"), _not_offered),
    (re.compile(rf"{LIVE}/[^/]+/(?:attach|fork)$"), _live_route),
    (re.compile(f"{LIVE_WITH_MODEL}$"), lambda _found, _values: _Route("openai", LIVE_WITH_MODEL)),
    (re.compile(f"{LIVE}$"), lambda _found, _values: _Route("openai", LIVE, _Subject.MESSAGE)),
    (re.compile(f"{TRANSLATIONS}$"), lambda _found, _values: _Route("openai", TRANSLATIONS)),
    (re.compile(f"{REALTIME}$"), _plain_route),
)


def _original(values: dict[str, str]) -> _Route | Refusal:
    """The original system's own URL: ``/?rs_key=…&rs_sessid=…&rs_api=OPENAI|GEMINI``."""
    api = values.get("rs_api", "OPENAI")
    match api.upper():
        case "OPENAI":
            return _Route("openai", REALTIME)
        case "GEMINI":
            return _Route("gemini", _GEMINI_DEFAULT, _Subject.MESSAGE)
    expected = "expected OPENAI or GEMINI"
    return not_found(f"found rs_api={api[:32]!r}, {expected}", code="provider_not_found")


def _resolve(
    target: Target, wanted: str, table: ModelTable, providers: Collection[str]
) -> Target | Refusal:
    """The provider, and its own path."""
    model = target.model or ""
    known = table.route_by_model.get(model)
    by_model = next((p for prefix, p in _PROVIDER_BY_MODEL if model.startswith(prefix)), "")
    # A model's name only decides where the path leaves it open.
    by_name = by_model if target.path == REALTIME and target.provider == "openai" else ""
    if known is not None and wanted and wanted.lower() != known.provider:
        message = (
            f"found provider={wanted[:32]!r}, but the model {model[:80]!r} is {known.provider}'s"
        )
        return bad_request(message, code="provider_conflict")
    provider = wanted.lower() or (known.provider if known else "") or by_name or target.provider
    if provider not in providers:
        found = ", ".join(sorted(providers))
        message = f"found provider {provider[:32]!r}, expected one of: {found}"
        return not_found(message, code="provider_not_found")
    if (target.is_live or target.path == TRANSLATIONS) and provider != target.provider:
        return not_found(f"{provider} has no such sessions", code="provider_not_found")
    is_family = provider in _OPENAI_FAMILY
    if is_family is not (target.provider in _OPENAI_FAMILY):
        message = f"{provider} does not speak the protocol of this path; {_EXPECTED}"
        return not_found(message, code="provider_not_found")
    if provider == target.provider:
        return target
    path = AZURE_GA if provider == "azure" else REALTIME
    query = _readdressed(target.query, _subject_of(target.path), _subject_of(path))
    return replace(target, provider=provider, path=path, query=query)


def _subject_of(path: str) -> str:
    """The parameter that names the model on a provider's path."""
    return "deployment" if path == _AZURE_PREVIEW else "model"


def _session_id(
    path: str, parameters: Sequence[tuple[str, str]], headers: Headers, *, own_path: str
) -> str | Refusal:
    """The session's name, by whichever of the three places has one; empty: the client gave none."""
    named = {
        *(value for name, value in parameters if name == SESSION_PARAMETER),
        *headers.get_all(SESSION_HEADER),
        *_session_segments(path.removesuffix(own_path)),
    } - {""}
    if any(_SESSION_ID.fullmatch(name) is None for name in named):
        return bad_request("session id: expected 1 to 128 printable ASCII characters")
    if len(named) > 1:
        found = " and ".join(sorted(name[:32] for name in named)[:2])
        return bad_request(f"found the session ids {found}", code="session_conflict")
    return named.pop() if named else ""


def _new_session_id() -> str:
    return f"sess_{secrets.token_hex(12)}"


def _session_segments(prefix: str) -> Iterator[str]:
    """The names in what stands before a provider's path; ``v1`` there is the base URL's."""
    segments = prefix.removesuffix("/v1").split("/")
    for at, segment in enumerate(segments[:-1]):
        if segment == SESSION_SEGMENT:
            yield unquote(segments[at + 1])


def _forwarded(raw_query: str, subject: str) -> str:
    """The query without the parameters that are the gateway's; the rest keeps its spelling.

    Of what a connection can be for, and can go on with, each is named by one parameter, the one
    that was looked at: of several the provider might take another one. To some a name in another
    case is the same.
    """
    kept: list[tuple[str, str | None]] = []
    seen: set[str] = set()
    for raw_name, value in _pairs(raw_query):
        spelled = unquote_plus(raw_name)
        name = spelled.lower()
        is_ours = name.startswith("rs_") or name in KEY_PARAMETERS or name == "provider"
        is_second = name in seen or (name in _MODEL_NAMES and name != subject)
        if name in _ONCE:
            if name == spelled and not is_second:
                seen.add(name)
                kept.append((name, value))
        elif not is_ours:
            kept.append((raw_name, value))
    return _joined(kept)


def _readdressed(query: str, subject: str, new_subject: str) -> str:
    """The query for another provider of the family than the one whose path the client used."""
    return _joined(
        (new_subject if name == subject else name, value)
        for name, value in _pairs(query)
        if name not in _AZURE_PARAMETERS
    )


def _without_subject(target: Target) -> Iterable[tuple[str, str | None]]:
    return [pair for pair in _pairs(target.query) if pair[0] not in _ONCE]


def _pairs(query: str) -> list[tuple[str, str | None]]:
    """Names and values as they are spelled; no value where there is no ``=``."""
    pairs = (pair.partition("=") for pair in query.split("&") if pair)
    return [(name, value if equals else None) for name, equals, value in pairs]


def _joined(pairs: Iterable[tuple[str, str | None]]) -> str:
    return "&".join(name if value is None else f"{name}={value}" for name, value in pairs)
