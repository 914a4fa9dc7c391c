"""The provider's errors about *our* account: its key, quota, billing and rate limits. Pure.

A tenant must not hear them as they are. A fragment of our key or our organisation's name stands in
their text, and their codes are what clients take for the state of their own credit
(``insufficient_quota`` ends a session for good in livekit and others). The tenant hears of a
provider that fails and may come back; the operator hears what it is.
"""

import json
import re
from collections.abc import Mapping
from typing import Any, Final

from gateway.metering import Withheld

# Codes and types of OpenAI's errors, which xAI shares, of Azure's, and of HTTP; without the marks
# between their words, which differ.
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
# What names our account in an error whose code is not known: fragments of keys, organisations.
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
# What of an event stays when its error is replaced.
_KEPT: Final = ("type", "event_id", "item_id", "content_index", "client_event_id")
NEUTRAL_CODE: Final = "provider_unavailable"
NEUTRAL_MESSAGE: Final = "The provider cannot serve this now; try again later."


def withheld(event: Mapping[str, Any]) -> Withheld | None:
    """What to say in place of ``event``: an ``error``, a transcription that failed, or a
    ``response.done``; None: as it is.

    A failed response keeps everything but the details of its failure.
    """
    if event.get("type") != "response.done":  # an error, or a transcription that failed
        error = event.get("error", event)  # where nothing is inside, it stands at the top
        if isinstance(error, str):  # no code, a text alone
            error = {"message": error}
        code = _account_code(error)
        if not code:
            return None
        kept = {name: event[name] for name in _KEPT if name in event}
        return Withheld(code, _text({**kept, "error": _neutral(error)}))
    response = event.get("response")
    details = response.get("status_details") if isinstance(response, dict) else None
    if not isinstance(response, dict) or not isinstance(details, dict):
        return None
    code = _account_code(details.get("error"))
    if not code:
        return None
    told = {**details, "error": _neutral(details["error"])}
    return Withheld(code, _text({**event, "response": {**response, "status_details": told}}))


def names_us(message: str) -> bool:
    """Whether a text names our key, organisation or project."""
    return _NAMES_US.search(message) is not None


def is_about_account(reason: str) -> bool:
    """Whether a close's reason is about our account."""
    return _CLOSE_WORDS.search(reason) is not None or _NAMES_US.search(reason) is not None


def _account_code(error: object) -> str:
    """The code of an error about our account; empty when it is none."""
    if not isinstance(error, dict):
        return ""
    code, kind = str(error.get("code") or ""), str(error.get("type") or "")
    if any(_MARKS.sub("", name).lower() in _ACCOUNT_CODES for name in (code, kind)):
        return code or kind
    names_us = _NAMES_US.search(str(error.get("message"))) is not None
    # An error about what the client sent may quote what looks like a name of ours.
    is_clients = kind == "invalid_request_error" and error.get("param") is not None
    return (code or kind or "error") if names_us and not is_clients else ""


def _neutral(error: Any) -> dict[str, Any]:
    neutral = {"type": "server_error", "code": NEUTRAL_CODE, "message": NEUTRAL_MESSAGE}
    return {**{name: None for name in error if name in ("param", "event_id")}, **neutral}


def _text(event: Mapping[str, Any]) -> bytes:
    return json.dumps(event, separators=(",", ":")).encode()
