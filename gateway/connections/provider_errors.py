"""Why a provider cannot be used: what its client is told, and what the operator has to do. Pure.

Raised by ``upstream`` and ``upstream_http``. ``error_for`` maps the answer to a handshake.
"""

from typing import Final, NamedTuple

from gateway.connections.close import INTERNAL_ERROR, POLICY_VIOLATION, TRY_AGAIN_LATER
from gateway.metering.account_errors import ACCOUNT_STATUSES
from shared.errors import PeerError

_OK_TO_FOLLOW: Final = (301, 302, 303, 307, 308)


class ProviderUnavailableError(PeerError):
    """The provider could not be reached or refused the connection.

    ``client_message`` is sent to the client, ``hint`` tells the operator what to do, ``status`` is
    the HTTP status of a refusal, else 0. The close code says whether trying again may help: SDKs
    that reconnect do so on 1011 and 1013, and never on 1008.
    """

    def __init__(
        self,
        message: str = "",
        *,
        close_code: int = INTERNAL_ERROR,
        code: str = "provider_unavailable",
        client_message: str = "The provider could not be reached.",
        hint: str = "",
        status: int = 0,
    ) -> None:
        super().__init__(message, code=code, close_code=close_code)
        self.client_message = client_message
        self.hint = hint
        self.status = status

    @property
    def is_about_account(self) -> bool:
        """Whether the provider refuses our own account: its key, billing, quota or rate limit."""
        return self.status in ACCOUNT_STATUSES

    @property
    def is_about_health(self) -> bool:
        """Whether it says that the provider does not serve now: it cannot be reached, is busy, or
        over a limit of ours. A refusal for good is about the request, or about our key.
        """
        return self.close_code != POLICY_VIOLATION

    @property
    def is_about_request(self) -> bool:
        """Whether the client asked for what no provider would take."""
        is_refusal = 400 <= self.status < 500 and self.code == "provider_refused"
        return is_refusal and not self.is_about_account


class ProviderRedirectsError(ProviderUnavailableError):
    """The provider answers with a redirect. Its location may repeat the key: it is in no text."""

    def __init__(self, status: int, location: str) -> None:
        super().__init__(
            f"redirects: {status}",
            close_code=POLICY_VIOLATION,
            code="provider_refused",
            client_message="The provider is not at the address that the gateway knows.",
            hint="only a redirect to the same origin is followed, once: mend the base URL",
        )
        self.location = location


class _Refusal(NamedTuple):
    """What an HTTP status of the provider means for the client, and for the operator."""

    close_code: int
    code: str
    client_message: str
    hint: str


_KEY_REFUSED: Final = _Refusal(
    POLICY_VIOLATION, "provider_refused", "The provider refuses the gateway's credentials.",
    "look at the provider's key and what it may use",
)  # fmt: skip
_REFUSED: Final = _Refusal(
    POLICY_VIOLATION, "provider_refused", "The provider does not accept this request.",
    "look at the model, the path and the query that the client sent",
)  # fmt: skip
_PASSING: Final = _Refusal(
    TRY_AGAIN_LATER, "provider_unavailable", "The provider cannot serve this now.",
    "it may pass: the provider is busy, restarting, or at a rate limit",
)  # fmt: skip
_BY_STATUS: Final = {
    401: _KEY_REFUSED,
    402: _PASSING._replace(hint="it passes when it is paid: look at the billing of our account"),
    403: _KEY_REFUSED,
    404: _Refusal(
        POLICY_VIOLATION, "model_not_found", "The provider does not know this model.",
        "look at the model's name, the deployment and the base URL",
    ),
    408: _PASSING,
    425: _PASSING,
    429: _PASSING,
}  # fmt: skip


def error_for(head: bytes) -> ProviderUnavailableError:
    """The error for a handshake's answer, by its status alone: the body may quote the key."""
    words = head.split(b"\r\n", 1)[0].split()
    text = words[1].decode(errors="replace")[:3] if len(words) > 1 else ""
    status = int(text) if text.isdecimal() and text.isascii() else 0
    if status in _OK_TO_FOLLOW:
        return ProviderRedirectsError(status, _location_in(head))
    if 400 <= status < 500:
        meaning = _BY_STATUS.get(status, _REFUSED)
    elif 500 <= status < 600:
        meaning = _PASSING
    else:
        return ProviderUnavailableError(f"refused the connection: {text or 'no status'}")
    return ProviderUnavailableError(
        f"refused the connection: {status}",
        close_code=meaning.close_code,
        code=meaning.code,
        client_message=meaning.client_message,
        hint=meaning.hint,
        status=status,
    )


def _location_in(head: bytes) -> str:
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.strip().lower() == b"location":
            return value.strip().decode("latin-1")
    return ""
