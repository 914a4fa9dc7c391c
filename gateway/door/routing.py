"""What a request asks for: which provider, which model, which session. Pure.

The provider is the one of ``?provider=``; else the one that the model table names; else, on the
path ``/v1/realtime`` that several providers share, the one whose model it is; else the one whose
path it is (``paths``). The session's name may be in the query, in a header or in the path
(``/s/NAME/v1/realtime``); names that differ are refused. Called by ``gatekeeper`` and ``calls``.
"""

import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from typing import Final
from urllib.parse import quote

from websockets.datastructures import Headers

from gateway.door.allowed_models import ModelTable
from gateway.door.paths import EXPECTED, ModelSource, model_parameter, route_of, session_segments
from gateway.door.queries import (
    MODEL_ALTERNATIVES,
    conflict_in,
    forwarded_query,
    join_pairs,
    query_for_provider,
    split_pairs,
    split_target,
)
from gateway.http.refusals import Refusal, bad_request, not_found
from gateway.providers.base import AZURE_GA, REALTIME, TRANSLATIONS, Target
from shared.usage import ID_CHARS_MAX

SESSION_HEADER: Final = "x-rs-session"
SESSION_PARAMETER: Final = "rs_sessid"
_SESSION_ID: Final = re.compile(r"[\x21-\x7e]{1,128}")
_DEFAULT_MODEL: Final = "gpt-realtime"
MISSING_MODEL: Final = "missing_model"  # a refusal's code: the URL should have named a model
_PROVIDER_BY_MODEL: Final = (("grok-", "xai"),)
# Providers that speak the protocol of ``/v1/realtime``.
_OPENAI_FAMILY: Final = ("openai", "azure", "xai")


def route(
    target: str,
    headers: Headers,
    *,
    table: ModelTable,
    providers: Collection[str],
    new_session_id: Callable[[], str],
) -> Target | Refusal:
    """What a client asks for, or why it cannot have it. ``providers`` are the names of those that
    are configured; ``new_session_id`` names a session where the client does not.
    """
    path, parameters, raw_query = split_target(target)
    if ";" in raw_query:  # some servers separate parameters there and would see other ones
        return bad_request("found ; in the query, expected parameters separated by &, or %3B")
    values = dict(reversed(parameters))  # of a repeated parameter the first counts
    found = conflict_in(values) or route_of(path, values)
    if isinstance(found, Refusal):
        return found
    parameter = model_parameter(found.path)
    query = forwarded_query(raw_query, parameter)
    is_named = any(values.get(name) for name in (parameter, *MODEL_ALTERNATIVES))
    if found.model_source is ModelSource.URL and not is_named:
        if path != "/":
            expected = f"expected {found.path}?{parameter}=…"
            return bad_request(f"found no {parameter}; {expected}", code=MISSING_MODEL)
        # The original system had one model and no parameter for it.
        values["model"] = _DEFAULT_MODEL
        rest = (pair for pair in split_pairs(query) if pair[0] != "model")  # drop an empty one
        query = join_pairs([*rest, ("model", _DEFAULT_MODEL)])
    session_id = _session_id(path, parameters, headers, own_path=found.path)
    if isinstance(session_id, Refusal):
        return session_id
    # A call has its model already, and only its provider knows which: a parameter proves nothing.
    model = "" if values.get("call_id") else values.get(parameter, "")
    if len(model) > ID_CHARS_MAX:
        return bad_request(f"model: expected at most {ID_CHARS_MAX} characters")
    # Where the first message names the model, that one is checked and not one in the URL.
    asked = None if found.model_source is ModelSource.MESSAGE else model
    wanted = Target(
        found.provider, asked, session_id or new_session_id(), found.path, query, not session_id
    )
    return _resolve(wanted, values.get("provider", ""), table, providers)


def with_provider_model(target: Target, table: ModelTable) -> Target:
    """``target`` with the model's name at its provider (see ``ModelTable``)."""
    known = table.route_by_model.get(target.model or "")
    if known is None or known.model == target.model:
        return target
    parameter = model_parameter(target.path)
    pairs = [
        (name, quote(known.model, safe="")) if name == parameter else (name, value)
        for name, value in split_pairs(target.query)
    ]
    return replace(target, model=known.model, query=join_pairs(pairs))


def _resolve(
    target: Target, wanted: str, table: ModelTable, providers: Collection[str]
) -> Target | Refusal:
    """``target`` with its provider, and with the path and query that it has there; ``wanted`` is
    ``?provider=``.
    """
    model = target.model or ""
    known = table.route_by_model.get(model)
    by_model = next((p for prefix, p in _PROVIDER_BY_MODEL if model.startswith(prefix)), "")
    # A model's name decides only on the path that several providers share.
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
        message = f"{provider} does not speak the protocol of this path; {EXPECTED}"
        return not_found(message, code="provider_not_found")
    if provider == target.provider:
        return target
    path = AZURE_GA if provider == "azure" else REALTIME
    query = query_for_provider(target.query, model_parameter(target.path), model_parameter(path))
    return replace(target, provider=provider, path=path, query=query)


def _session_id(
    path: str, parameters: Sequence[tuple[str, str]], headers: Headers, *, own_path: str
) -> str | Refusal:
    """The session's name from the query, a header or the path; empty when there is none."""
    named = {
        *(value for name, value in parameters if name == SESSION_PARAMETER),
        *headers.get_all(SESSION_HEADER),
        *session_segments(path.removesuffix(own_path)),
    } - {""}
    if any(_SESSION_ID.fullmatch(name) is None for name in named):
        return bad_request("session id: expected 1 to 128 printable ASCII characters")
    if len(named) > 1:
        found = " and ".join(sorted(name[:32] for name in named)[:2])
        return bad_request(f"found the session ids {found}", code="session_conflict")
    return named.pop() if named else ""
