"""What else the gateway answers over plain HTTP: paths, methods, and how many at once."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from websockets.http11 import Response

from gateway.exchange import HttpRequest
from gateway.limits import API_REQUESTS_MAX
from gateway.refusals import Refusal, unavailable
from gateway.routing import split_target
from shared.errors import UnreachableError

Answer = Callable[[HttpRequest], Awaitable[Response | Refusal]]


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
        self._under_way = 0

    def find(self, target: str) -> Endpoint | None:
        """What is behind a request's target."""
        path, _, _ = split_target(target)
        endings = (found for ending, found in self._by_ending.items() if path.endswith(ending))
        return self._by_path.get(path) or next(endings, None)

    async def answer(self, endpoint: Endpoint, request: HttpRequest) -> Response | Refusal:
        """Serve one request; more at once than ``API_REQUESTS_MAX`` are told to come back."""
        if self._under_way >= API_REQUESTS_MAX:
            return unavailable("too many requests at once; try again")
        self._under_way += 1
        try:
            return await endpoint.answer(request)
        except UnreachableError:
            return unavailable("accountd cannot be reached; try again")
        finally:
            self._under_way -= 1
