"""What else the gateway answers over plain HTTP: paths and methods."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from websockets.http11 import Response

from gateway.answers import Download
from gateway.exchange import HttpRequest
from gateway.refusals import Refusal, unavailable
from gateway.routing import split_target
from shared.errors import UnreachableError

Answer = Callable[[HttpRequest], Awaitable[Response | Download | Refusal]]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """What is behind a path, for one method."""

    method: str
    answer: Answer


class Api:
    """The endpoints of one gateway."""

    def __init__(
        self, by_path: Mapping[str, Endpoint], *, by_ending: Mapping[str, Endpoint]
    ) -> None:
        """``by_ending``: paths that may have any prefix, as the WebSocket routes."""
        self._by_path = by_path
        self._by_ending = by_ending

    def find(self, target: str) -> Endpoint | None:
        """What is behind a request's target."""
        path, _, _ = split_target(target)
        endings = (found for ending, found in self._by_ending.items() if path.endswith(ending))
        return self._by_path.get(path) or next(endings, None)

    async def answer(
        self, endpoint: Endpoint, request: HttpRequest
    ) -> Response | Download | Refusal:
        """Serve one request."""
        try:
            return await endpoint.answer(request)
        except UnreachableError:
            return unavailable("accountd cannot be reached; try again")
