"""The query of a request: what of it is the gateway's, and what goes on to the provider. Pure.

What goes on keeps its spelling. A parameter that says what the connection is for, or what it
resumes, goes on once, spelled as it was checked: of two a provider might take the other one.
"""

import re
from collections.abc import Iterable
from dataclasses import replace
from typing import Final
from urllib.parse import parse_qsl, quote, unquote_plus

from gateway.door.auth import KEY_PARAMETERS
from gateway.http.refusals import Refusal, bad_request
from gateway.providers.base import (
    HANDLE_PARAMETERS,
    Target,
)

EVENTS_PARAMETER: Final = "rs_events"
# What providers call a call; never a path of dots.
CALL_ID: Final = re.compile(r"(?!\.+$)[A-Za-z0-9_.\-]{1,128}")
# What else than a model a realtime connection can be for (OpenAI: exactly one of them).
OTHER_SUBJECTS: Final = ("call_id", "intent")
_MODEL_NAMES: Final = ("model", "deployment")
# What a provider must not find twice in a query: it might take another one than was looked at.
_ONCE: Final = (*_MODEL_NAMES, *OTHER_SUBJECTS, *HANDLE_PARAMETERS)
# What Azure's paths alone know.
_AZURE_PARAMETERS: Final = ("api-version",)


def split_target(target: str) -> tuple[str, list[tuple[str, str]], str]:
    """(normalised path, decoded parameters, raw query) of a request target."""
    path, _, query = target.partition("#")[0].partition("?")
    path = "/" + "/".join(part for part in path.split("/") if part)
    return path, parse_qsl(query, keep_blank_values=True), query


def wants_events(target: str) -> bool | Refusal:
    """Whether the client asks for the gateway's own events beside the provider's."""
    _, parameters, _ = split_target(target)
    value = next((value for name, value in parameters if name == EVENTS_PARAMETER), "0")
    if value not in ("0", "1"):
        return bad_request(f"{EVENTS_PARAMETER}: found {value[:32]!r}, expected 0 or 1")
    return value == "1"


def of_call(target: Target, call_id: str) -> Target:
    """``target`` with a call in the place of what it is for: a sideband of that call."""
    query = joined([*_without_subject(target), ("call_id", quote(call_id, safe=""))])
    return replace(target, model="", query=query)


def rest_of_query(target: Target) -> str:
    """What stands in the query beside what the connection is for."""
    return joined(_without_subject(target))


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


def wrong_subject(values: dict[str, str]) -> Refusal | None:
    """What is no call, or a model and an intent: the providers refuse both together."""
    if (call_id := values.get("call_id")) and CALL_ID.fullmatch(call_id) is None:
        return bad_request(f"call_id: found {call_id[:32]!r}, expected the id of a call")
    named = next((name for name in _MODEL_NAMES if values.get(name)), None)
    if named is None or not values.get("intent") or values.get("call_id"):
        return None
    return bad_request(f"found {named} and intent, expected one of them", code="model_and_intent")


def forwarded(raw_query: str, subject: str) -> str:
    """The query without the parameters that are the gateway's; the rest keeps its spelling.

    Of what a connection can be for, and can go on with, each is named by one parameter, the one
    that was looked at: of several the provider might take another one. To some a name in another
    case is the same.
    """
    kept: list[tuple[str, str | None]] = []
    seen: set[str] = set()
    for raw_name, value in pairs_of(raw_query):
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
    return joined(kept)


def readdressed(query: str, subject: str, new_subject: str) -> str:
    """The query for another provider of the family than the one whose path the client used."""
    return joined(
        (new_subject if name == subject else name, value)
        for name, value in pairs_of(query)
        if name not in _AZURE_PARAMETERS
    )


def _without_subject(target: Target) -> Iterable[tuple[str, str | None]]:
    return [pair for pair in pairs_of(target.query) if pair[0] not in _ONCE]


def pairs_of(query: str) -> list[tuple[str, str | None]]:
    """Names and values as they are spelled; no value where there is no ``=``."""
    pairs = (pair.partition("=") for pair in query.split("&") if pair)
    return [(name, value if equals else None) for name, equals, value in pairs]


def joined(pairs: Iterable[tuple[str, str | None]]) -> str:
    return "&".join(name if value is None else f"{name}={value}" for name, value in pairs)
