"""What lets a page of another origin ask (Fetch, CORS protocol). Pure.

Browsers make calls with an ephemeral key in a header. No cookie or other credential that a browser
adds by itself means anything here, so any origin may ask and read the answer; a key that is bound
to an origin is refused elsewhere all the same (``gateway.door.admission``).
"""

from types import MappingProxyType
from typing import Final

from websockets.http11 import Response

from gateway.http.answers import response

_AGE_S: Final = 7_200  # as long as browsers keep such an answer at most
# Of every answer to a request that was read, refusals included.
ANYBODY: Final = MappingProxyType(
    {
        "Access-Control-Allow-Origin": "*",
        "Access-Control-Expose-Headers": "Location, Retry-After",
    }
)


def preflight(method: str) -> Response:
    """What a browser asks before it asks: which method and which headers it may send."""
    headers = {
        "Access-Control-Allow-Methods": method,
        "Access-Control-Allow-Headers": "*, Authorization",  # which * leaves out
        "Access-Control-Max-Age": str(_AGE_S),
    }
    return response(200, b"", "text/plain", headers)
