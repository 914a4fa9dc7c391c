"""Why a session is ended, as its client hears it: an error event, then a close. Pure.

``Session`` picks an ``Ending``; the provider's adapter puts it into the words of its protocol.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from gateway.connections.close import (
    INTERNAL_ERROR,
    POLICY_VIOLATION,
    TRY_AGAIN_LATER,
    CloseEvent,
)
from gateway.credit.purses import Purse
from gateway.metering.account_errors import NEUTRAL_CODE, is_about_account
from shared.announcements import RecallCause

# RFC 6455 section 7.4.2: codes from here on are the application's. No SDK of a provider redials.
_PRIVATE_CODES: Final = 3000


RESTARTING: Final = "gateway draining: it restarts, connect again"


@dataclass(frozen=True, slots=True)
class Ending:
    """``code`` and ``message`` go into the error event, ``close_code`` and ``reason`` into the
    close frame.
    """

    code: str
    message: str
    close_code: int
    reason: str


def refused(code: str, message: str) -> Ending:
    """The client asked for what it may not have. It is not to dial again."""
    return Ending(code, message, POLICY_VIOLATION, code)


def failed(code: str, message: str, close_code: int = INTERNAL_ERROR) -> Ending:
    """The provider does not serve the session (any more)."""
    return Ending(code, message, close_code, message)


def provider_closed(close_code: int, reason: str) -> Ending:
    """The provider, which speaks another protocol than the client, closed for ``reason``."""
    why = reason or f"code {close_code}"
    return Ending("provider_closed", f"The provider closed the session: {why}", close_code, reason)


_USED_UP: Final[Mapping[Purse, str]] = {
    Purse.CREDIT: "The account's credits are used up.",
    Purse.SPENDING: "The API key has spent what it may spend in this period.",
    Purse.SESSION_TOKENS: "The session has used the tokens that one may use.",
    Purse.SESSION_CREDITS: "The session has cost the credits that one may cost.",
    Purse.SESSION_LENGTH: "The session has lasted as long as one may last.",
}
# Others of the account are answered: it has credit left, so the client may come again.
TOO_MANY_FOR_CREDIT: Final = failed(
    "credit_too_low",
    "The credit, or what the key may spend, pays for too few responses at once; others were"
    " answered.",
    TRY_AGAIN_LATER,
)
CONFIGURATION_REFUSED: Final = refused(
    "configuration_refused",
    "The provider refused the session's configuration, which the key brought.",
)
SUPERSEDED: Final = refused(
    "session_superseded", "Another connection goes on with the session of this name."
)
PROVIDER_LOST: Final = failed("provider_connection_lost", "The provider's connection broke.")

# What accountd takes back while a session lives, in the words that the door has for the same.
_BY_CAUSE: Final[Mapping[str, Ending]] = {
    RecallCause.KEY_REVOKED: refused("invalid_api_key", "The API key was revoked."),
    RecallCause.KEY_EXPIRED: refused("expired_api_key", "The API key has expired."),
    RecallCause.ACCOUNT_DISABLED: refused("account_disabled", "The account was disabled."),
}
SESSION_ENDED: Final = refused("session_ended", "The operator of this service ended the session.")


def used_up(purse: Purse) -> Ending:
    """Nothing is left of what the session spends from."""
    return refused(purse.value, _USED_UP[purse])


def recalled(cause: str) -> Ending:
    """accountd took back what the session lives by."""
    return _BY_CAUSE.get(cause, SESSION_ENDED)


def model_not_allowed(model: str) -> Ending:
    """A message of the client named ``model``; empty: it names none that can be told."""
    message = (
        f"This key may not use the model {model[:80]!r}."
        if model
        else "This key may use certain models only: name one of them first, and clearly."
    )
    return refused("model_not_allowed", message)


def close_for_client(
    close: CloseEvent, *, has_account_errors: bool, has_just_refused: bool
) -> tuple[int, str]:
    """The code and reason with which a client hears of its provider's ``close``.

    What a provider says about our own account (its key, quota, billing) is not for clients; they
    hear 1013, because it passes when the operator has looked after it. The close itself may not
    name the cause. It is taken for one about our account when the last error was
    (``has_just_refused``), or when some error of the session was (``has_account_errors``) and the
    close is one after which a client would not dial again.
    """
    is_final = close.code == POLICY_VIOLATION or close.code >= _PRIVATE_CODES
    is_ours = (
        is_about_account(close.reason) or has_just_refused or (has_account_errors and is_final)
    )
    return (TRY_AGAIN_LATER, NEUTRAL_CODE) if is_ours else (close.code, close.reason)
