"""Ephemeral keys: what a browser may hold instead of an account's key. Pure.

``ek_`` and base64url of a packed payload and its HMAC-SHA256. The payload says for whom the key
stands and until when, so any replica that knows the secret can check one without asking anybody. It
limits the *start* of a session only; a session then is authorized as the key that it stands for, so
that one which was revoked or has no credit opens none.

A payload can be read by who holds it. The hash in it opens nothing: a client shows keys, and what
takes hashes is private to the gateway and accountd.
"""

import base64
import binascii
import hashlib
import hmac
import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from websockets.http11 import MAX_LINE_LENGTH

from gateway.http.refusals import Refusal, refused_key

PREFIX: Final = "ek_"
# OpenAI's bounds (``expires_after.seconds`` of client_secrets).
LIFETIME_S_MIN: Final = 10
LIFETIME_S_MAX: Final = 7_200
LIFETIME_S_DEFAULT: Final = 600
# As many characters as 128 random bits need in hex; `make up` makes twice that.
SECRET_CHARS_MIN: Final = 32
SECRET_CHARS_MAX: Final = 1_024
# The one that signs, and the one before it, whose keys are still out for up to two hours.
SECRETS_MAX: Final = 2
# A key travels in a header, a subprotocol or a query, with a path, a model and a session's name
# beside it: 8,192 bytes are the longest line of a handshake here, and in many proxies. A hash, an
# account, a model and an origin at their longest always fit, and instructions of a thousand words.
TOKEN_CHARS_MAX: Final = 6_144
assert TOKEN_CHARS_MAX + 2_048 <= MAX_LINE_LENGTH

_MAC_BYTES: Final = hashlib.sha256().digest_size
# The secret signs nothing else, and would not by accident. The number is that of the payload's
# form: a key of another form is not one of ours.
_CONTEXT: Final = b"realtime-switch ephemeral key 2\0"


@dataclass(frozen=True, slots=True)
class Claims:
    """What an ephemeral key says. ``expires_at`` in Unix seconds; None binds to nothing.

    ``configuration`` is how its sessions begin, as OpenAI's ``session`` objects say it.
    """

    account_id: str
    key_hash: str
    expires_at: int
    model: str | None = None
    origin: str | None = None
    configuration: Mapping[str, Any] | None = None


def read_secrets(text: str) -> tuple[bytes, ...]:
    """The secrets of a file, one in a line, the first signs. Raises ``ValueError``."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if not 1 <= len(lines) <= SECRETS_MAX:
        raise ValueError(f"found {len(lines)} secrets, expected 1 or {SECRETS_MAX}, one in a line")
    for number, line in enumerate(lines, start=1):
        if not SECRET_CHARS_MIN <= len(line) <= SECRET_CHARS_MAX:
            expected = f"expected {SECRET_CHARS_MIN} to {SECRET_CHARS_MAX}"
            raise ValueError(f"secret {number} has {len(line)} characters, {expected}")
    return tuple(line.encode() for line in lines)


def is_ephemeral(key: str) -> bool:
    """Whether a client's key claims to be one of these."""
    return key.startswith(PREFIX)


def mint(claims: Claims, secret: bytes) -> str:
    """The key that says ``claims``."""
    fields = [getattr(claims, name) for name in Claims.__slots__]
    text = json.dumps(fields, separators=(",", ":"), ensure_ascii=False)
    payload = zlib.compress(text.encode(errors="surrogatepass"), 9)  # as json reads it again
    return PREFIX + _encoded(payload + _mac(payload, secret))


def read(key: str, secrets: Sequence[bytes], *, now: float) -> Claims | Refusal:
    """What ``key`` says; 401 unless one of ``secrets`` signed it and it is valid at ``now`` (Unix
    seconds).
    """
    signed = _decoded(key.removeprefix(PREFIX)) if len(key) <= TOKEN_CHARS_MAX else b""
    payload, mac = signed[:-_MAC_BYTES], signed[-_MAC_BYTES:]
    if not any(hmac.compare_digest(mac, _mac(payload, secret)) for secret in secrets):
        return refused_key("invalid_api_key", "the ephemeral key is not one of this gateway's")
    claims = Claims(*json.loads(zlib.decompress(payload)))  # ours, as the signature says
    if claims.expires_at <= now:
        return refused_key("expired_api_key", "the ephemeral key has expired; get a new one")
    return claims


def _mac(payload: bytes, secret: bytes) -> bytes:
    return hmac.digest(secret, _CONTEXT + payload, "sha256")


def _encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def _decoded(text: str) -> bytes:
    """The bytes; none when ``text`` is not how they are spelled (base64 has spare bits)."""
    try:
        data = base64.urlsafe_b64decode(text.encode("ascii") + b"=" * (-len(text) % 4))
    except (UnicodeEncodeError, binascii.Error):
        return b""
    return data if _encoded(data) == text else b""
