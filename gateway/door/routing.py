"""What a request asks for: which provider, which model, which session. Pure.

The provider is the one that the request names (``crossing.chosen_provider``); else the one that the
model table names; else, on the path ``/v1/realtime`` that several providers share, the one whose
model it is; else the one whose path it is (``paths``). Where it speaks another protocol than the
client the session is translated. The session's name may be in the query, in a header or in the path
(``/s/NAME/v1/realtime``); names that differ are refused. Called by ``gatekeeper`` and ``calls``.
"""

import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from typing import Final
from urllib.parse import quote

from websockets.datastructures import Headers

from gateway.door import crossing
from gateway.door.allowed_models import ModelRoute, ModelTable
from gateway.door.paths import (
    ModelSource,
    Route,
    model_parameter,
    route_of,
    session_segments,
)
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
from gateway.providers.base import AZURE_GA, REALTIME, TRANSLATIONS, Dialect, Target
from gateway.providers.catalog import default_model, owner_of
from shared.provider_kinds import kind_of
from shared.usage import ID_CHARS_MAX

SESSION_HEADER: Final = "x-rs-session"
SESSION_PARAMETER: Final = "rs_sessid"
_SESSION_ID: Final = re.compile(r"[\x21-\x7e]{1,128}")
_DEFAULT_MODEL: Final = "gpt-realtime"
MISSING_MODEL: Final = "missing_model"  # a refusal's code: the URL should have named a model
# Kinds of providers that speak the protocol of ``/v1/realtime``.
_OPENAI_FAMILY: Final = ("openai", "azure", "xai")


def route(
    target: str,
    headers: Headers,
    *,
    table: ModelTable,
    providers: Collection[str],
    new_session_id: Callable[[], str],
    standing: Callable[[str], int] = crossing.alike,
) -> Target | Refusal:
    """What a client asks for, or why it cannot have it. ``providers`` are the names of those that
    are configured, ``standing`` says which of them is chosen (``ModelTable.chosen``);
    ``new_session_id`` names a session where the client does not.
    """
    path, parameters, raw_query = split_target(target)
    if ";" in raw_query:  # some servers separate parameters there and would see other ones
        return bad_request("found ; in the query, expected parameters separated by &, or %3B")
    values = dict(reversed(parameters))  # of a repeated parameter the first counts
    chosen = crossing.chosen_provider(path, parameters, headers)
    found = (
        chosen
        if isinstance(chosen, Refusal)
        else conflict_in(values) or route_of(path, {**values, "provider": kind_of(chosen)})
    )
    if isinstance(found, Refusal):
        return found
    assert isinstance(chosen, str)
    parameter = model_parameter(found.path)
    query = forwarded_query(raw_query, parameter)
    is_named = any(values.get(name) for name in (parameter, *MODEL_ALTERNATIVES))
    if found.model_source is ModelSource.URL and not is_named:
        if path != "/" and not _has_default(found, chosen, table):
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
        found.provider, asked, session_id or new_session_id(), found.path, query, not session_id,
        dialect=crossing.client_dialect(found.provider, found.path, model, headers),
        is_chosen=bool(chosen),
    )  # fmt: skip
    known = table.chosen(wanted.model or "", providers, standing)
    return _resolve(wanted, chosen, table, providers, known)


def _has_default(found: Route, chosen: str, table: ModelTable) -> bool:
    """Whether the chosen provider, of another family than the path's, has a model for clients that
    name none.
    """
    is_crossed = _is_family(chosen) is not _is_family(found.provider)
    return bool(chosen) and is_crossed and bool(default_model(chosen, table.default_models))


def with_provider_model(target: Target, table: ModelTable) -> Target:
    """``target`` with the model's name at its provider (see ``ModelTable``)."""
    known = table.route_at(target.model or "", target.provider)
    if known is None or known.model == target.model:
        return target
    parameter = model_parameter(target.path)
    pairs = [
        (name, quote(known.model, safe="")) if name == parameter else (name, value)
        for name, value in split_pairs(target.query)
    ]
    return replace(target, model=known.model, query=join_pairs(pairs))


def choices(target: Target, table: ModelTable, providers: Collection[str]) -> list[Target]:
    """Where a session of ``target`` can be served, in the table's order; it is one of them.

    It can be served by ``providers`` of both families. One that the client named is the only one.
    """
    if target.is_chosen or target.handles:
        return [target]
    names = [route.provider for route in table.routes(target.model or "")]
    found = [_served_by(name, target, table) for name in names if name in providers]
    return [there for there in found if there is not None] or [target]


def _served_by(provider: str, target: Target, table: ModelTable) -> Target | None:
    """The session of ``target`` at another provider; None where it cannot be served there."""
    if kind_of(provider) == kind_of(target.provider):
        return beside(provider, target)
    if target.path not in (REALTIME, AZURE_GA) and kind_of(target.provider) != "gemini":
        return None
    if kind_of(provider) == "gemini":
        there = crossing.crossed(target, provider, table)
        return None if isinstance(there, Refusal) or target.is_transcription else there
    if _is_family(target.provider):
        return beside(provider, target)
    if target.dialect is Dialect.GEMINI:
        target = replace(target, gemini_path=target.path)
    query = f"model={quote(target.model or '', safe='')}"
    there = replace(target, provider="openai", path=REALTIME, query=query)
    return beside(provider, replace(there, provider_dialect=Dialect.OPENAI))


def _resolve(
    target: Target,
    wanted: str,
    table: ModelTable,
    providers: Collection[str],
    known: ModelRoute | None,
) -> Target | Refusal:
    """``target`` with its provider, and with the path and query that it has there. ``wanted`` is
    the provider that the client names, ``known`` the place that the table gives its model.
    """
    model = target.model or ""
    by_model = owner_of(model)
    # A model's name decides only on the path that several providers share.
    by_name = by_model if target.path == REALTIME and target.provider == "openai" else ""
    wanted = crossing.meant(wanted, model, table, providers)
    if known is not None and wanted and table.route_at(model, wanted) is None:
        return crossing.elsewhere(model, wanted, table)
    provider = wanted or (known.provider if known else "")
    provider = provider or crossing.meant(by_name or target.provider, model, table, providers)
    if provider not in providers:
        found = ", ".join(sorted(providers))
        message = f"found provider {provider[:32]!r}, expected one of: {found}"
        return not_found(message, code="provider_not_found")
    is_same_kind = kind_of(provider) == kind_of(target.provider)
    if (target.is_live or target.path == TRANSLATIONS) and not is_same_kind:
        return not_found(f"{provider} has no such sessions", code="provider_not_found")
    return _led_to(provider, target, wanted, table)


def _led_to(provider: str, target: Target, wanted: str, table: ModelTable) -> Target | Refusal:
    """``target`` at ``provider``, which may be of another family than the client's path."""
    if _is_family(provider) is not _is_family(target.provider):
        return _cross(target, provider, table)
    if kind_of(provider) == kind_of(target.provider):
        is_open = target.dialect is Dialect.GEMINI and crossing.is_open_to_others(table)
        return replace(
            target,
            provider=provider,
            provider_dialect=crossing.provider_dialect(provider, target.path),
            is_undecided=is_open and not wanted,
        )
    return beside(provider, target)


def beside(provider: str, target: Target) -> Target:
    """``target`` at another provider of its family, or of Gemini's where it is at one of these."""
    if kind_of(provider) == kind_of(target.provider):
        return target if provider == target.provider else replace(target, provider=provider)
    path = AZURE_GA if kind_of(provider) == "azure" else REALTIME
    query = query_for_provider(target.query, model_parameter(target.path), model_parameter(path))
    dialect = crossing.provider_dialect(provider, path)
    return replace(target, provider=provider, path=path, query=query, provider_dialect=dialect)


def _is_family(provider: str) -> bool:
    return kind_of(provider) in _OPENAI_FAMILY


def _cross(target: Target, provider: str, table: ModelTable) -> Target | Refusal:
    there = crossing.crossed(target, provider, table)
    if isinstance(there, Refusal) or target.dialect is not Dialect.GEMINI:
        return there
    return replace(there, is_undecided=True)  # its first message names the model


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
