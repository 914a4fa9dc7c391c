"""Ephemeral keys: what a browser may hold instead of an account's key. Pure.

A key is ``ek_`` and the base64url of a compressed payload and its HMAC-SHA256. The payload has the
account, the hash of the account's key and an expiry, so that every gateway with the same secret can
verify a key by itself. The expiry limits when a session may begin, not how long it lasts. accountd
authorizes the session by the hash in the payload; once that key is revoked, or its account has no
credit, the ephemeral keys made for it open no sessions.

The payload is signed, not encrypted: its holder can read it. The hash in it is no credential,
because clients have to present keys, and only the gateway sends hashes to accountd.
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

from gateway.http.refusals import Refusal, invalid_key, refused_key

PREFIX: Final = "ek_"
# OpenAI's bounds (``expires_after.seconds`` of client_secrets).
LIFETIME_S_MIN: Final = 10
LIFETIME_S_MAX: Final = 7_200
LIFETIME_S_DEFAULT: Final = 600
# As many characters as 128 random bits need in hex; `make up` makes twice that.
SECRET_CHARS_MIN: Final = 32
SECRET_CHARS_MAX: Final = 1_024
# The current one, which signs, and the one before it, whose keys are valid for up to two hours.
SECRETS_MAX: Final = 2
# A key is sent in a header, a subprotocol or a query, in one line with a path, a model and a
# session's name. websockets, and many proxies, allow 8,192 bytes in a line. The longest account,
# model and origin fit, with instructions of about a thousand words.
TOKEN_CHARS_MAX: Final = 6_144
assert TOKEN_CHARS_MAX + 2_048 <= MAX_LINE_LENGTH

# What is read in place of what nobody signed, which would else be refused the sooner.
_DECOY: Final = zlib.compress(json.dumps(["account", "0" * 64, 0, None, None, None]).encode(), 9)
_MAC_BYTES: Final = hashlib.sha256().digest_size
# Separates these signatures from any other use of the secret. The number is the version of the
# payload's format: keys of another version do not verify.
_CONTEXT: Final = b"realtime-switch ephemeral key 2\0"


@dataclass(frozen=True, slots=True)
class Claims:
    """The payload of a key. ``expires_at`` in Unix seconds; a ``model`` or ``origin`` of None means
    any.

    ``configuration`` is the initial configuration of its sessions, as an OpenAI ``session`` object.
    """

    account_id: str
    key_hash: str
    expires_at: int
    model: str | None = None
    origin: str | None = None
    configuration: Mapping[str, Any] | None = None


def read_secrets(text: str) -> tuple[bytes, ...]:
    """The secrets in a file, one per line; the first one signs. Raises ``ValueError``."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if not 1 <= len(lines) <= SECRETS_MAX:
        raise ValueError(f"found {len(lines)} secrets, expected 1 or {SECRETS_MAX}, one in a line")
    for number, line in enumerate(lines, start=1):
        if not SECRET_CHARS_MIN <= len(line) <= SECRET_CHARS_MAX:
            expected = f"expected {SECRET_CHARS_MIN} to {SECRET_CHARS_MAX}"
            raise ValueError(f"secret {number} has {len(line)} characters, {expected}")
    return tuple(line.encode() for line in lines)


def is_ephemeral(key: str) -> bool:
    """Whether a key has the prefix of an ephemeral one; it may still be invalid."""
    return key.startswith(PREFIX)


def mint(claims: Claims, secret: bytes) -> str:
    """The key with the payload ``claims``, signed with ``secret``."""
    fields = [getattr(claims, name) for name in Claims.__slots__]
    text = json.dumps(fields, separators=(",", ":"), ensure_ascii=False)
    payload = zlib.compress(text.encode(errors="surrogatepass"), 9)  # as json reads it again
    return PREFIX + _encoded(payload + _mac(payload, secret))


def read(key: str, secrets: Sequence[bytes], *, now: float) -> Claims | Refusal:
    """The claims of ``key``; 401 unless one of ``secrets`` signed it and it has not expired at
    ``now`` (Unix seconds).
    """
    signed = _decoded(key.removeprefix(PREFIX)) if len(key) <= TOKEN_CHARS_MAX else b""
    payload, mac = signed[:-_MAC_BYTES], signed[-_MAC_BYTES:]
    is_signed = sum(hmac.compare_digest(mac, _mac(payload, secret)) for secret in secrets) > 0
    # Only what was signed is trusted, and decoded.
    claims = Claims(*json.loads(zlib.decompress(payload if is_signed else _DECOY)))
    if not is_signed:
        return invalid_key()
    if claims.expires_at <= now:
        return refused_key("expired_api_key", "the ephemeral key has expired; get a new one")
    return claims


def _mac(payload: bytes, secret: bytes) -> bytes:
    return hmac.digest(secret, _CONTEXT + payload, "sha256")


def _encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def _decoded(text: str) -> bytes:
    """The decoded bytes; empty when ``text`` is not their only valid encoding: base64 ignores some
    last bits, so one key would have several spellings.
    """
    try:
        data = base64.urlsafe_b64decode(text.encode("ascii") + b"=" * (-len(text) % 4))
    except (UnicodeEncodeError, binascii.Error):
        return b""
    return data if _encoded(data) == text else b""
