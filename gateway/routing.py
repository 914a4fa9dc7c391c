"""What a request asks for: which provider, which model, which session. Pure.

Any path prefix and repeated slashes are tolerated, because SDKs build URLs in many ways.
"""

import re
import secrets
from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qsl, unquote_plus

from websockets.datastructures import Headers

from gateway.auth import KEY_PARAMETERS
from gateway.refusals import Refusal, bad_request, not_found
from shared.wire import ID_CHARS_MAX

SESSION_HEADER: Final = "x-rs-session"
SESSION_PARAMETER: Final = "rs_sessid"
_SESSION_ID: Final = re.compile(r"[\x21-\x7e]{1,128}")
# Parameters that name what a realtime connection is for (OpenAI: exactly one of them).
_SUBJECTS: Final = ("model", "call_id", "intent")
_DEFAULT_MODEL: Final = "gpt-realtime"


@dataclass(frozen=True, slots=True)
class Target:
    """A request understood: ``query`` is what goes on to the provider, verbatim."""

    provider: str
    model: str
    session_id: str
    query: str


def split_target(target: str) -> tuple[str, list[tuple[str, str]], str]:
    """(normalised path, decoded parameters, raw query) of a request target."""
    path, _, query = target.partition("#")[0].partition("?")
    path = "/" + "/".join(part for part in path.split("/") if part)
    return path, parse_qsl(query, keep_blank_values=True), query


def route(target: str, headers: Headers) -> Target | Refusal:
    """Find out what the client wants."""
    path, parameters, raw_query = split_target(target)
    values = dict(reversed(parameters))  # of a repeated parameter the first counts
    query = _forwarded(raw_query)
    if path == "/" and any(name.startswith("rs_") for name in values):
        refusal = _check_original(values)
        if not refusal and not any(values.get(name) for name in _SUBJECTS):
            # The original system knew one model and no parameter for it.
            values["model"] = _DEFAULT_MODEL
            query = f"{query}&model={_DEFAULT_MODEL}".lstrip("&")
    else:
        refusal = _check_path(path, values)
    return refusal or _target(values, query, headers)


def _check_path(path: str, values: dict[str, str]) -> Refusal | None:
    if not path.endswith("/realtime") or path.endswith(("/openai/realtime", "/openai/v1/realtime")):
        return not_found(f"found path {path[:200]!r}, expected /v1/realtime?model=…")
    if values.get("provider", "openai").lower() != "openai":
        return not_found("no such provider here; expected openai", code="provider_not_found")
    return None


def _check_original(values: dict[str, str]) -> Refusal | None:
    api = values.get("rs_api", "OPENAI")
    if api.upper() != "OPENAI":
        return not_found(f"found rs_api={api[:32]!r}, expected OPENAI", code="provider_not_found")
    return None


def _target(values: dict[str, str], query: str, headers: Headers) -> Target | Refusal:
    if not any(values.get(name) for name in _SUBJECTS):
        return bad_request("found no model; expected /v1/realtime?model=…", code="missing_model")
    model = values.get("model", "")
    if len(model) > ID_CHARS_MAX:
        return bad_request(f"model: expected at most {ID_CHARS_MAX} characters")
    named = values.get(SESSION_PARAMETER) or next(iter(headers.get_all(SESSION_HEADER)), None)
    if named is not None and _SESSION_ID.fullmatch(named) is None:
        return bad_request("session id: expected 1 to 128 printable ASCII characters")
    return Target("openai", model, named or f"sess_{secrets.token_hex(12)}", query)


def _forwarded(raw_query: str) -> str:
    """The query without the parameters that are the gateway's; the rest keeps its spelling."""
    kept = []
    for pair in raw_query.split("&"):
        name = unquote_plus(pair.partition("=")[0])
        is_ours = name.startswith("rs_") or name in KEY_PARAMETERS or name == "provider"
        if pair and not is_ours:
            kept.append(pair)
    return "&".join(kept)
