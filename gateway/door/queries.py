"""The query of a request: what of it is the gateway's, and what goes on to the provider. Pure.

What goes on keeps its spelling. A parameter that says what the connection is for (a model, a call,
an intent), or what it resumes, goes on once, as it was checked: of ``?model=a&model=b`` the gateway
checks ``a``, and a provider might use ``b``. Called by the rest of ``door``, by ``server``,
``endpoints`` and ``calls``.
"""

import re
from collections.abc import Iterable
from dataclasses import replace
from typing import Final
from urllib.parse import parse_qsl, quote, unquote_plus

from gateway.door.client_key import KEY_PARAMETERS
from gateway.http.refusals import Refusal, bad_request
from gateway.providers.base import CONVERSATION_PARAMETER, HANDLE_PARAMETERS, Target

EVENTS_PARAMETER: Final = "rs_events"
# The id of a call. It becomes a segment of a URL, so ``.`` and ``..`` are none.
CALL_ID: Final = re.compile(r"(?!\.+$)[A-Za-z0-9_.\-]{1,128}")
# What a realtime connection can be for instead of a model (OpenAI: exactly one of the three).
MODEL_ALTERNATIVES: Final = ("call_id", "intent")
_MODEL_NAMES: Final = ("model", "deployment")
# Parameters that go on at most once: of two the provider might use the one that was not checked.
_ONCE: Final = (*_MODEL_NAMES, *MODEL_ALTERNATIVES, *HANDLE_PARAMETERS)
# Parameters that only Azure knows.
_AZURE_PARAMETERS: Final = ("api-version",)


def split_target(target: str) -> tuple[str, list[tuple[str, str]], str]:
    """(normalised path, decoded parameters, raw query) of a request target."""
    return path_of(target), parameters_in(target), _query_of(target)


def parameters_in(target: str) -> list[tuple[str, str]]:
    """The decoded parameters of a request target."""
    query = _query_of(target)
    if "%" in query or "+" in query:
        return parse_qsl(query, keep_blank_values=True)
    # Nothing is encoded, as in most: a third of the time.
    pairs = [pair.partition("=") for pair in query.split("&") if pair]
    return [(name, value) for name, _, value in pairs]


def path_of(target: str) -> str:
    """The normalised path of a request target."""
    path = target.partition("#")[0].partition("?")[0]
    return "/" + "/".join([part for part in path.split("/") if part])


def wants_events(target: str) -> bool | Refusal:
    """Whether the client asks for the gateway's own events beside the provider's."""
    parameters = parameters_in(target)
    value = next((value for name, value in parameters if name == EVENTS_PARAMETER), "0")
    if value not in ("0", "1"):
        return bad_request(f"{EVENTS_PARAMETER}: found {value[:32]!r}, expected 0 or 1")
    return value == "1"


def sideband_of(target: Target, call_id: str) -> Target:
    """The target of a sideband of a call: ``target`` with the call instead of its model."""
    query = join_pairs([*_without_subject(target), ("call_id", quote(call_id, safe=""))])
    return replace(target, model="", query=query)


def rest_of_query(target: Target) -> str:
    """The target's query without what the connection is for and what it resumes."""
    return join_pairs(_without_subject(target))


def resuming(target: Target, conversation_id: str) -> Target:
    """``target`` on another connection than its first: one that goes on with this conversation of
    the provider's, with none where it is empty.
    """
    pairs = [pair for pair in split_pairs(target.query) if pair[0] != CONVERSATION_PARAMETER]
    if conversation_id:
        pairs.append((CONVERSATION_PARAMETER, quote(conversation_id, safe="")))
    query = join_pairs(pairs)
    return target if query == target.query else replace(target, query=query)


def with_model(target: str, model: str) -> str:
    """``target`` with the parameter ``model``."""
    return _with(target, "model", model)


def with_call(target: str, call_id: str) -> str:
    """``target`` with the parameter ``call_id``."""
    return _with(target, "call_id", call_id)


def _with(target: str, name: str, value: str) -> str:
    path, _, query = target.partition("#")[0].partition("?")
    named = f"{path}?{name}={quote(value, safe='')}"  # in front: the first of a name counts
    return f"{named}&{query}" if query else named


def conflict_in(values: dict[str, str]) -> Refusal | None:
    """Why the parameters cannot be meant: ``call_id`` is no call's id, or a model and an intent are
    named together, which the providers refuse.
    """
    if (call_id := values.get("call_id")) and CALL_ID.fullmatch(call_id) is None:
        return bad_request(f"call_id: found {call_id[:32]!r}, expected the id of a call")
    named = next((name for name in _MODEL_NAMES if values.get(name)), None)
    if named is None or not values.get("intent") or values.get("call_id"):
        return None
    return bad_request(f"found {named} and intent, expected one of them", code="model_and_intent")


def forwarded_query(raw_query: str, model_parameter: str) -> str:
    """The query without the parameters that are the gateway's; the rest keeps its spelling.

    Of the parameters in ``_ONCE`` only the first goes on, and only in lower case: some providers
    take ``Model`` for ``model``. Of the names for a model only ``model_parameter`` goes on.
    """
    kept: list[tuple[str, str | None]] = []
    seen: set[str] = set()
    for raw_name, value in split_pairs(raw_query):
        spelled = unquote_plus(raw_name)
        name = spelled.lower()
        is_ours = name.startswith("rs_") or name in KEY_PARAMETERS or name == "provider"
        is_second = name in seen or (name in _MODEL_NAMES and name != model_parameter)
        if name in _ONCE:
            if name == spelled and not is_second:
                seen.add(name)
                kept.append((name, value))
        elif not is_ours:
            kept.append((raw_name, value))
    return join_pairs(kept)


def query_for_provider(query: str, model_parameter: str, new_model_parameter: str) -> str:
    """The query for another provider than the one whose path the client used: the model's parameter
    gets the name that it has there, and what only Azure knows is left out.
    """
    return join_pairs(
        (new_model_parameter if name == model_parameter else name, value)
        for name, value in split_pairs(query)
        if name not in _AZURE_PARAMETERS
    )


def _query_of(target: str) -> str:
    return target.partition("#")[0].partition("?")[2]


def _without_subject(target: Target) -> Iterable[tuple[str, str | None]]:
    return [pair for pair in split_pairs(target.query) if pair[0] not in _ONCE]


def split_pairs(query: str) -> list[tuple[str, str | None]]:
    """(name, value) of each parameter, still percent-encoded; None where there is no ``=``."""
    pairs = (pair.partition("=") for pair in query.split("&") if pair)
    return [(name, value if equals else None) for name, equals, value in pairs]


def join_pairs(pairs: Iterable[tuple[str, str | None]]) -> str:
    """The query of such pairs."""
    return "&".join(name if value is None else f"{name}={value}" for name, value in pairs)
