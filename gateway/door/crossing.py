"""Where a client's provider speaks another protocol than the client: which one, which model. Pure.

A client names the provider by ``?provider=gemini``, by the original system's ``?rs_core=GEMINI``,
by the header ``x-rs-provider``, or in the path (``/provider/gemini/v1/realtime``) where its SDK
leaves no room for a query. Else the model decides, by the table or by its name. Called by
``routing``, and by ``server`` once a Gemini client has named its model.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import replace
from typing import Final
from urllib.parse import quote, unquote

from websockets.datastructures import Headers

from gateway.door.allowed_models import ModelTable
from gateway.door.paths import BETA_PATHS, GEMINI_DEFAULT, PROVIDER_SEGMENT, SESSION_SEGMENT
from gateway.http.refusals import Refusal, bad_request, not_found
from gateway.providers.base import (
    AZURE_GA,
    HANDLE_PARAMETERS,
    REALTIME,
    Dialect,
    Target,
    parameters_of,
)
from gateway.providers.catalog import default_model, owner_of
from shared.provider_kinds import KINDS, kind_of

PROVIDER_HEADER: Final = "x-rs-provider"
_PARAMETERS: Final = ("provider", "rs_core")
_BETA_HEADER: Final = "realtime=v1"
_BETA_SUBPROTOCOL: Final = "openai-beta.realtime-v1"
# What a session may be for that no other protocol has.
_UNTRANSLATABLE: Final = ("intent", *HANDLE_PARAMETERS)


def chosen_provider(
    path: str, parameters: Sequence[tuple[str, str]], headers: Headers
) -> str | Refusal:
    """The provider that a request names, in lower case; empty where it names none."""
    named = {
        *(value.lower() for name, value in parameters if name in _PARAMETERS),
        *(value.lower() for value in headers.get_all(PROVIDER_HEADER)),
        *_provider_segments(path),
    } - {""}
    if len(named) > 1:
        found = " and ".join(sorted(name[:32] for name in named)[:2])
        return bad_request(f"found the providers {found}", code="provider_conflict")
    return named.pop() if named else ""


def _provider_segments(path: str) -> Iterator[str]:
    segments = iter(path.split("/"))
    for segment in segments:
        if segment == SESSION_SEGMENT:
            next(segments, None)  # a session's name, which may be any text
        elif segment == PROVIDER_SEGMENT:
            yield unquote(next(segments, "")).lower()


def client_dialect(provider: str, path: str, model: str, headers: Headers) -> Dialect:
    """What a client speaks, by the ``path`` of ``provider`` that it asks for, and by what clients
    of OpenAI's beta say of themselves where they name a ``model``: the sideband of a call, or a
    transcription, goes on as it came.
    """
    if kind_of(provider) == "gemini":
        return Dialect.GEMINI
    offered = ",".join(headers.get_all("Sec-WebSocket-Protocol"))
    is_beta = path in BETA_PATHS or (
        bool(model)
        and path in (REALTIME, AZURE_GA)
        and (
            _BETA_HEADER in headers.get_all("OpenAI-Beta")
            or _BETA_SUBPROTOCOL in (name.strip() for name in offered.split(","))
        )
    )
    return Dialect.OPENAI_BETA if is_beta else Dialect.OPENAI


def provider_dialect(provider: str, path: str) -> Dialect:
    """What ``provider`` speaks on its ``path``."""
    if kind_of(provider) == "gemini":
        return Dialect.GEMINI
    return Dialect.OPENAI_BETA if path in BETA_PATHS else Dialect.OPENAI


def crossed(target: Target, provider: str, table: ModelTable) -> Target | Refusal:
    """``target`` at a ``provider`` of another family than that of the client's path."""
    values = parameters_of(target.query)
    if found := next((name for name in _UNTRANSLATABLE if values.get(name)), None):
        message = f"found {found}, which {provider} does not know; expected a session with a model"
        return bad_request(message, code="not_translatable")
    if kind_of(provider) == "gemini":
        path = target.gemini_path or GEMINI_DEFAULT
        return named(replace(target, provider=provider, path=path, query=""), table)
    path = AZURE_GA if kind_of(provider) == "azure" else REALTIME
    there = replace(target, provider=provider, path=path, query="", gemini_path=target.path)
    return replace(there, provider_dialect=Dialect.OPENAI)


def meant(name: str, model: str, table: ModelTable, providers: Collection[str]) -> str:
    """The configured provider that ``name`` means. The name of a kind is that of its first
    provider; where there is none, or the table has ``model`` at others of the kind alone, it is the
    first of these.
    """
    there = [route.provider for route in table.routes(model)] or list(providers)
    if name not in KINDS or name in there:
        return name
    return next((p for p in there if kind_of(p) == name and p in providers), name)


def alike(_provider: str) -> int:
    """Every provider stands as high as the others."""
    return 0


def decided(
    target: Target,
    model: str,
    table: ModelTable,
    providers: Collection[str],
    standing: Callable[[str], int] = alike,
    *,
    is_resuming: bool = False,
) -> Target | Refusal:
    """An undecided ``target`` once the client's first message has named its ``model``. See
    ``routing.route``. ``is_resuming``: it names a session, too, which only Gemini has.
    """
    known = table.chosen(model, providers, standing)
    provider = meant(target.provider, model, table, providers)
    if kind_of(provider) == "gemini" and is_resuming:
        geminis = [name for name in providers if kind_of(name) == "gemini"]
        former = table.chosen(model, geminis, standing)
        if former is not None and former.provider in geminis:
            known, target = former, replace(target, is_chosen=True)
    if kind_of(provider) == "gemini":
        provider = known.provider if known is not None else provider
    elif known is not None and table.route_at(model, provider) is None:
        return elsewhere(model, provider, table)
    if provider not in providers:
        return not_found(f"{provider} is not configured", code="provider_not_found")
    if kind_of(provider) == "gemini":  # the same protocol: the gate reads the first message, too
        return replace(target, provider=provider, model=model, is_undecided=False)
    there = crossed(replace(target, model=model), provider, table)
    return there if isinstance(there, Refusal) else named(there, table)


def named(target: Target, table: ModelTable) -> Target | Refusal:
    """A translated ``target`` with a model that its provider has: where the client names one of
    another provider's, or none, the provider's default takes its place.
    """
    asked, provider = target.model or "", target.provider
    owner = owner_of(asked)
    if asked not in table.route_by_model and (not asked or owner not in ("", kind_of(provider))):
        asked = default_model(provider, table.default_models)
    if not asked:
        expected = f"expected one of {provider}'s, or a default for it in the table of models"
        return bad_request(f"found the model {target.model!r}; {expected}", code="missing_model")
    dialect = provider_dialect(provider, target.path)
    query = "" if dialect is Dialect.GEMINI else f"model={quote(asked, safe='')}"
    return replace(target, model=asked, query=query, provider_dialect=dialect, is_undecided=False)


def elsewhere(model: str, wanted: str, table: ModelTable) -> Refusal:
    """The client names a provider and a model that the table has only at others."""
    there = " and ".join(f"{route.provider}'s" for route in table.routes(model))
    message = f"found provider={wanted[:32]!r}, but the model {model[:80]!r} is {there}"
    return bad_request(message, code="provider_conflict")


def is_open_to_others(table: ModelTable) -> bool:
    """Whether the model that a Gemini client names may lead to another provider than ``gemini``:
    where the table leads a name there that begins as Gemini's do, or one that Gemini serves, too.
    Other names are for other clients, and no Gemini session has to wait on their account.
    """
    for name in table.route_by_model:
        providers = {route.provider for route in table.routes(name)}
        is_geminis = owner_of(name) == "gemini" or "gemini" in map(kind_of, providers)
        if is_geminis and providers != {"gemini"}:
            return True
    return False
