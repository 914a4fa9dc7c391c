"""The provider's errors about *our* account: its key, quota, billing and rate limits. Pure.

A tenant must not get them as they are. Their text may hold a fragment of our key or the name of our
organisation, and clients take their codes for the state of their own credit (``insufficient_quota``
ends a session for good in livekit and others). The tenant is told that the provider fails and may
come back; the operator is told what it is.
"""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from gateway.metering.base import MaskedError

# Codes and types of errors of OpenAI (and xAI), of Azure and of HTTP, in small letters and without
# marks: ``invalid_api_key`` and ``InvalidApiKey`` are one.
_ACCOUNT_CODES: Final = frozenset(
    {
        "invalidapikey", "incorrectapikey", "authenticationerror", "permissionerror",
        "insufficientquota", "quotaexceeded", "creditbalanceexhausted", "billinghardlimitreached",
        "billingnotactive", "accountdeactivated", "accessterminated", "organizationnotfound",
        "organizationsuspended", "projectnotfound", "invalidorganization", "ratelimitexceeded",
        "ratelimiterror", "ratelimitreached", "toomanyrequests", "accessdenied", "unauthorized",
        "401", "403", "429",
    }
)  # fmt: skip
# HTTP statuses that refuse a request or an upgrade because of our account: its key, its bill, its
# permissions, its rate limit.
ACCOUNT_STATUSES: Final = frozenset({401, 402, 403, 429})
# Text that names our account, in an error whose code is not known: "sk-abcd…", "in organization x".
_NAMES_US: Final = re.compile(
    r"\b(?:sk|xai|org|proj)[-_][\w*.…-]{4,}|\b(?:api|subscription)[ _]key\b|\bin organization \S",
    re.IGNORECASE,
)
# Reasons of closes: OpenAI's name an error, Gemini's are sentences.
_CLOSE_WORDS: Final = re.compile(
    r"api[ _]key|quota|billing|credential|unauthenticated|permission[ _]denied|consumer"
    r"|account_deactivated|organization|project",
    re.IGNORECASE,
)
_MARKS: Final = re.compile(r"[\W_]")
# The types of events that may tell of a failure.
MAY_FAIL: Final = frozenset(
    {
        "error", "response.done", "conversation.item.input_audio_transcription.failed",
        "response.event", "decision.event", "transport.failed",
    }
)  # fmt: skip
# Of these, the types that tell of more than an error; the others are one by themselves.
_HOLD_ERRORS: Final = frozenset({"response.done", "response.event", "decision.event"})
# The fields that stay in an event whose error is replaced.
_KEPT: Final = ("type", "event_id", "item_id", "content_index", "client_event_id")
# Where an event that tells of more than an error holds one: under ``error`` in the event itself, in
# its response (Realtime: in the details of its status), in what a tool made, or in a decision.
_HOLDERS: Final = ((), ("response",), ("response", "status_details"), ("item",), ("decision",))
NEUTRAL_CODE: Final = "provider_unavailable"
NEUTRAL_MESSAGE: Final = "The provider cannot serve this now; try again later."


def may_hold_error(kind: str, message: bytes) -> bool:
    """Whether an event of a type of ``MAY_FAIL`` can hold an error: a ``response.done`` in which
    the word stands nowhere, and no escape that could spell it, holds none.
    """
    return kind not in _HOLD_ERRORS or b"error" in message or b"\\" in message


def mask_account_error(event: Mapping[str, Any]) -> MaskedError | None:
    """What the client gets in place of ``event``, whose type is one of ``MAY_FAIL``; None where
    there is no error about our account in it.

    A ``response.done``, and what another model did for a session, stays whole but for its error.
    An ``error``, or a transcription that failed, keeps only the fields that name what failed.
    """
    match event.get("type"):
        case "response.done":
            code, told = _without_error(event)
        case "response.event" | "decision.event":  # GPT-Live: it holds an event of another API
            inner = event.get("event")
            code, told = _delegated(inner) if isinstance(inner, dict) else ("", {})
            told = {**event, "event": told}
        case _:
            error = event.get("error", event)  # without that field the event itself is the error
            kept = {name: event[name] for name in _KEPT if name in event}
            code, told = _account_code(error), {**kept, "error": _neutral(error)}
    return MaskedError(code, _text(told), str(event.get("type"))) if code else None


def names_us(message: str) -> bool:
    """Whether a text names our key, organisation or project."""
    return _NAMES_US.search(message) is not None


def is_about_account(reason: str) -> bool:
    """Whether a close's reason is about our account."""
    return _CLOSE_WORDS.search(reason) is not None or _NAMES_US.search(reason) is not None


def _delegated(inner: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """As ``_without_error``, of an event of the Responses or the Decision API. Their ``error``
    event holds code and message itself.
    """
    if inner.get("type") != "error" or "error" in inner:
        return _without_error(inner)
    kept = {name: inner[name] for name in ("type", "sequence_number") if name in inner}
    return _account_code(inner), {**_neutral(inner), "param": None, **kept}


def _without_error(event: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """The code of the first error about our account, and ``event`` with no such error's details."""
    code, told = "", dict(event)
    for path in _HOLDERS:
        holder: Any = event
        for name in path:
            holder = holder.get(name) if isinstance(holder, dict) else None
        # An error of the client's own tool server (MCP) is not about our account.
        if not isinstance(holder, dict) or str(holder.get("type")).startswith("mcp"):
            continue
        found = _account_code(holder.get("error"))
        if found:
            code = code or found
            told = _replaced(told, (*path, "error"), _neutral(holder["error"]))
    return code, told


def _replaced(values: Mapping[str, Any], path: Sequence[str], value: Any) -> dict[str, Any]:
    name, *rest = path
    return {**values, name: _replaced(values[name], rest, value) if rest else value}


def _account_code(error: object) -> str:
    """The code of ``error`` where it is about our account, else empty."""
    if isinstance(error, str):  # a text without a code
        error = {"message": error}
    if not isinstance(error, dict):
        return ""
    code, kind = str(error.get("code") or ""), str(error.get("type") or "")
    if any(_MARKS.sub("", name).lower() in _ACCOUNT_CODES for name in (code, kind)):
        return code or kind
    names_us = _NAMES_US.search(str(error.get("message"))) is not None
    # An error about a parameter may quote what the client sent, which may look like a key of ours.
    is_clients = kind == "invalid_request_error" and error.get("param") is not None
    return (code or kind or "error") if names_us and not is_clients else ""


def _neutral(error: Any) -> dict[str, Any]:
    neutral = {"type": "server_error", "code": NEUTRAL_CODE, "message": NEUTRAL_MESSAGE}
    kept = error if isinstance(error, dict) else {}
    return {**{name: None for name in kept if name in ("param", "event_id")}, **neutral}


def _text(event: Mapping[str, Any]) -> bytes:
    return json.dumps(event, separators=(",", ":")).encode()
