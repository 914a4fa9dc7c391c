"""What a request asks for: which provider, which model, which session. Pure.

The provider is the one of ``?provider=``, else the one that the model table names, else the one
whose path it is (``paths``), else the one whose model it is. The session's name may stand in the
query, in a header or in the path (``/s/NAME/v1/realtime``); two names that differ are refused.
"""

import re
import secrets
from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Final
from urllib.parse import quote

from websockets.datastructures import Headers

from gateway.door.models import ModelTable
from gateway.door.paths import (
    EXPECTED,
    Subject,
    route_of,
    session_segments,
    subject_of,
)
from gateway.door.queries import (
    OTHER_SUBJECTS,
    forwarded,
    joined,
    pairs_of,
    readdressed,
    split_target,
    wrong_subject,
)
from gateway.http.refusals import Refusal, bad_request, not_found
from gateway.providers.base import (
    AZURE_GA,
    REALTIME,
    TRANSLATIONS,
    Target,
)
from shared.usage import ID_CHARS_MAX

SESSION_HEADER: Final = "x-rs-session"
SESSION_PARAMETER: Final = "rs_sessid"
_SESSION_ID: Final = re.compile(r"[\x21-\x7e]{1,128}")
_DEFAULT_MODEL: Final = "gpt-realtime"
MISSING_MODEL: Final = "missing_model"  # of a refusal: the URL should have named one
_PROVIDER_BY_MODEL: Final = (("grok-", "xai"),)
# Providers whose events a client of ``/v1/realtime`` understands.
_OPENAI_FAMILY: Final = ("openai", "azure", "xai")


def route(
    target: str, headers: Headers, *, table: ModelTable, providers: Collection[str]
) -> Target | Refusal:
    """Find out what the client wants. ``providers`` are the names of those that there are."""
    path, parameters, raw_query = split_target(target)
    if ";" in raw_query:  # to some servers it separates, too: they would see other parameters
        return bad_request("found ; in the query, expected parameters separated by &, or %3B")
    values = dict(reversed(parameters))  # of a repeated parameter the first counts
    found = wrong_subject(values) or route_of(path, values)
    if isinstance(found, Refusal):
        return found
    subject = subject_of(found.path)
    query = forwarded(raw_query, subject)
    has_subject = any(values.get(name) for name in (subject, *OTHER_SUBJECTS))
    needs_subject = found.subject is Subject.URL
    if path == "/" and needs_subject and not has_subject:
        # The original system knew one model and no parameter for it.
        values["model"] = _DEFAULT_MODEL
        rest = (pair for pair in pairs_of(query) if pair[0] != "model")  # one without a value
        query = joined([*rest, ("model", _DEFAULT_MODEL)])
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
    asked = None if found.subject is Subject.MESSAGE else model
    wanted = Target(
        found.provider, asked, session_id or _new_session_id(), found.path, query, not session_id
    )
    return _resolve(wanted, values.get("provider", ""), table, providers)


def mapped(target: Target, table: ModelTable) -> Target:
    """``target`` with the model called what its provider calls it."""
    known = table.route_by_model.get(target.model or "")
    if known is None or known.model == target.model:
        return target
    subject = subject_of(target.path)
    pairs = [
        (name, quote(known.model, safe="")) if name == subject else (name, value)
        for name, value in pairs_of(target.query)
    ]
    return replace(target, model=known.model, query=joined(pairs))


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
        message = f"{provider} does not speak the protocol of this path; {EXPECTED}"
        return not_found(message, code="provider_not_found")
    if provider == target.provider:
        return target
    path = AZURE_GA if provider == "azure" else REALTIME
    query = readdressed(target.query, subject_of(target.path), subject_of(path))
    return replace(target, provider=provider, path=path, query=query)


def _session_id(
    path: str, parameters: Sequence[tuple[str, str]], headers: Headers, *, own_path: str
) -> str | Refusal:
    """The session's name, by whichever of the three places has one; empty: the client gave none."""
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


def _new_session_id() -> str:
    return f"sess_{secrets.token_hex(12)}"
