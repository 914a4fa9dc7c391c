"""Headers by which a page of another origin may use an endpoint (Fetch standard, CORS). Pure.

Pages make calls with an ephemeral key in a header. The gateway uses no cookies and no other
credentials that a browser adds by itself, so any origin may be allowed. A key that is bound to an
origin is refused from others by ``gateway.door.admission``, whatever CORS allows.
"""

from types import MappingProxyType
from typing import Final

from websockets.http11 import Response

from gateway.http.answers import response

_AGE_S: Final = 7_200  # longer than that browsers (Chromium) keep no such answer
# In every answer of such an endpoint, refusals included, once its request was read.
ANYBODY: Final = MappingProxyType(
    {
        "Access-Control-Allow-Origin": "*",
        "Access-Control-Expose-Headers": "Location, Retry-After",
    }
)


def preflight(method: str) -> Response:
    """The answer to a browser's preflight request: which method and headers it may send."""
    headers = {
        "Access-Control-Allow-Methods": method,
        "Access-Control-Allow-Headers": "*, Authorization",  # * does not include Authorization
        "Access-Control-Max-Age": str(_AGE_S),
    }
    return response(200, b"", "text/plain", headers)
