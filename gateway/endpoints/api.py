"""What else the gateway answers over plain HTTP: paths and methods."""

import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace

from websockets.http11 import Response

from gateway.door.paths import own_path
from gateway.door.queries import split_target
from gateway.http.answers import Download, Undoable
from gateway.http.exchange import HttpRequest
from gateway.http.refusals import Refusal, unavailable
from shared.errors import UnreachableError

IssuedHandle = Response | Download | Undoable | Refusal
Answer = Callable[[HttpRequest], Awaitable[IssuedHandle]]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """What is behind a path, for one method. ``opens``: what lasts, as a session does.
    ``is_for_browsers``: pages of any origin may ask, with a key of theirs (``gateway.http.cors``).
    ``is_waited_for``: a gateway that stops does not break it off.
    """

    method: str
    answer: Answer
    opens: bool = False
    is_for_browsers: bool = False
    is_waited_for: bool = False


@dataclass(frozen=True, slots=True)
class RouteMatch:
    """An endpoint, and what the path names: its pattern's named groups, as they are spelled."""

    endpoint: Endpoint
    named: Mapping[str, str] = field(default_factory=dict)


class Api:
    """The endpoints of one gateway."""

    def __init__(
        self,
        by_path: Mapping[str, Endpoint],
        *,
        by_pattern: Mapping[re.Pattern[str], Endpoint],
    ) -> None:
        """``by_pattern``: paths that may have any prefix, as the WebSocket routes; each pattern
        begins with a slash, ends with ``$`` and names its groups.
        """
        self._by_path = by_path
        self._by_pattern = by_pattern

    def find(self, target: str) -> RouteMatch | None:
        """What is behind a request's target."""
        path, _, _ = split_target(target)
        if (endpoint := self._by_path.get(path)) is not None:
            return RouteMatch(endpoint)
        for pattern, endpoint in self._by_pattern.items():
            if (found := own_path(pattern, path)) is not None:
                return RouteMatch(endpoint, found.groupdict(default=""))
        return None

    async def answer(self, found: RouteMatch, request: HttpRequest) -> IssuedHandle:
        """Serve one request."""
        try:
            return await found.endpoint.answer(replace(request, named=found.named))
        except UnreachableError:
            return unavailable("accountd cannot be reached; try again")
