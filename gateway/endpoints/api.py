"""The endpoints that the gateway has over plain HTTP, by path and method.

``app`` makes the table of what ``console``, ``minting`` and ``calls.api`` offer; ``server`` looks a
request up in it and has it answered.
"""

import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace

from websockets.http11 import Response

from gateway.door.paths import own_path
from gateway.door.queries import path_of
from gateway.http import cors
from gateway.http.answers import Download, Reversible
from gateway.http.exchange import HttpRequest
from gateway.http.refusals import Refusal, unavailable
from shared.errors import UnreachableError

Answer = Response | Download | Reversible | Refusal
Handler = Callable[[HttpRequest], Awaitable[Answer]]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """What answers requests for a path with one method.

    ``starts_call``: it is refused while no session could be opened either. ``allows_cross_origin``:
    pages of any origin may call it (``http.cors``). ``outlasts_stop``: a gateway that stops
    waits for the answer.
    """

    method: str
    handler: Handler
    starts_call: bool = False
    allows_cross_origin: bool = False
    outlasts_stop: bool = False


@dataclass(frozen=True, slots=True)
class RouteMatch:
    """The endpoint of a path. ``path_parameters`` are the named groups of its pattern, still
    percent-encoded.
    """

    endpoint: Endpoint
    path_parameters: Mapping[str, str] = field(default_factory=dict)

    @property
    def headers(self) -> Mapping[str, str]:
        """What every answer has beside its own, refusals included."""
        return cors.ANYBODY if self.endpoint.allows_cross_origin else {}


class Api:
    """The endpoints of one gateway."""

    def __init__(
        self,
        by_path: Mapping[str, Endpoint],
        *,
        by_pattern: Mapping[re.Pattern[str], Endpoint],
    ) -> None:
        """``by_pattern`` are paths after any prefix (``door.paths``); each pattern begins with a
        slash, ends with ``$`` and names its groups.
        """
        self._by_path = by_path
        self._by_pattern = by_pattern

    def find(self, target: str) -> RouteMatch | None:
        """The endpoint of a request's target, or None."""
        path = path_of(target)
        if (endpoint := self._by_path.get(path)) is not None:
            return RouteMatch(endpoint)
        for pattern, endpoint in self._by_pattern.items():
            if (found := own_path(pattern, path)) is not None:
                return RouteMatch(endpoint, found.groupdict(default=""))
        return None

    def headers(self, target: str) -> Mapping[str, str]:
        """What every answer to requests for a target has beside its own."""
        found = self.find(target)
        return {} if found is None else found.headers

    async def answer(self, found: RouteMatch, request: HttpRequest) -> Answer:
        """Serve one request."""
        try:
            return await found.endpoint.handler(
                replace(request, path_parameters=found.path_parameters)
            )
        except UnreachableError:
            return unavailable("accountd cannot be reached; try again")
