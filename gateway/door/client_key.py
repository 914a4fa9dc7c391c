"""Where a request may carry a key, and the key's hash; whether a page is the gateway's own. Pure.

Keys are looked for where the providers' own SDKs put them. Only the hash leaves the gateway, to
accountd; neither key nor hash is logged or sent to a provider.
"""

import hashlib
import ipaddress
import re
from collections.abc import Collection, Iterator, Sequence
from typing import Final

from websockets.datastructures import Headers

# rslive_v1_ and 24 random bytes in hex, as the original system made them.
_KEY: Final = re.compile(r"rslive_v1_[0-9a-f]{48}")
# RFC 9110 section 7.2: a name, or an IPv6 address in brackets, and perhaps a port.
_HOST: Final = re.compile(r"([a-z0-9.-]+|\[[0-9a-f:.]+\])(?::\d*)?")
# OpenAI's prefix of the subprotocol that carries a key, and xAI's.
KEY_SUBPROTOCOLS: Final = ("openai-insecure-api-key.", "xai-client-secret.")
# In this order: the providers' own names, then the original system's.
KEY_PARAMETERS: Final = ("key", "access_token", "api-key", "rs_key")
KEY_HEADERS: Final = ("api-key", "x-goog-api-key")
# Google's SDKs treat a key with this prefix as ephemeral, and use the path ``…Constrained``.
_EPHEMERAL: Final = "auth_tokens/"
# Before what is no key, where it is hashed: no key begins like this.
_MALFORMED: Final = b"malformed\0"


def offered_subprotocols(headers: Headers) -> list[str]:
    """The subprotocols that the client offers, in its order."""
    values = headers.get_all("Sec-WebSocket-Protocol")
    return [name.strip() for value in values for name in value.split(",") if name.strip()]


def find_key(headers: Headers, query: Sequence[tuple[str, str]]) -> str | None:
    """The client's key from the first place that has one, or None."""
    found = next((key for key in _candidates(headers, query) if key), None)
    return None if found is None else found.removeprefix(_EPHEMERAL)


def has_key_in_query(query: Sequence[tuple[str, str]]) -> bool:
    """Whether the URL carries a key, which proxies and browsers may write down."""
    return any(name in KEY_PARAMETERS and value for name, value in query)


def _candidates(headers: Headers, query: Sequence[tuple[str, str]]) -> Iterator[str]:
    for value in headers.get_all("Authorization"):
        scheme, _, token = value.strip().partition(" ")
        if scheme.lower() in ("bearer", "token"):
            yield token.strip()
    for name in KEY_HEADERS:
        yield from (value.strip() for value in headers.get_all(name))
    for protocol in offered_subprotocols(headers):
        for beginning in KEY_SUBPROTOCOLS:
            if protocol.startswith(beginning):
                yield protocol.removeprefix(beginning)
    for name in KEY_PARAMETERS:
        yield from (value for parameter, value in query if parameter == name)


def is_same_origin(headers: Headers) -> bool:
    """Whether a page of this gateway asks, by ``Origin`` and, where the browser sends it,
    ``Sec-Fetch-Site`` (Fetch standard). Programs can forge both; pages of other origins cannot.
    """
    site, host = headers.get_all("Sec-Fetch-Site"), headers.get_all("Host")
    origins = [origin.partition("://")[2] for origin in headers.get_all("Origin")]
    return len(host) == 1 and origins == host and site in ([], ["same-origin"])


def is_own_host(host: str, names: Collection[str]) -> bool:
    """Whether ``host``, a request's ``Host``, is localhost, an IP address or one of ``names``.

    The owner of any other name could point it at this gateway (DNS rebinding); a page of that owner
    would then have the same origin as the gateway's page.
    """
    found = _HOST.fullmatch(host.lower())
    if found is None:
        return False
    name = found[1].strip("[]").removesuffix(".")
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return name == "localhost" or name.endswith(".localhost") or name in names
    return True


def hash_key(key: str) -> str:
    """The SHA-256 of a key in hex, by which accountd finds it.

    A text that has not the form of a key gets a hash that no key has, and is asked for like any
    other: its refusal takes as long as that of a key that is unknown.
    """
    prefix = b"" if _KEY.fullmatch(key) else _MALFORMED
    return hashlib.sha256(prefix + key.encode(errors="surrogatepass")).hexdigest()
