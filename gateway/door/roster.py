"""Which session is served where: the sessions that have not ended, by provider.

Kept by ``session_opener``; ``provider_reports`` reads it.
"""

from collections import Counter
from collections.abc import Iterator
from typing import Final

from gateway.door.dialer import Place
from gateway.relay.session import Session
from shared.metrics import Metric

_PROVIDER: Final = "provider"


class Roster:
    """Every session with its place."""

    def __init__(self) -> None:
        self._place_by_session: dict[Session, Place] = {}

    def add(self, session: Session, place: Place) -> None:
        """A session was opened."""
        self._place_by_session[session] = place

    def remove(self, session: Session) -> None:
        """A session has ended."""
        self._place_by_session.pop(session, None)

    def at(self, provider: str) -> Iterator[tuple[Session, Place]]:
        """The sessions at a provider now; others may come and go while this is read."""
        for session, place in list(self._place_by_session.items()):
            if place.target.provider == provider and session in self._place_by_session:
                yield session, place

    def count(self) -> Counter[str]:
        """How many sessions there are at each provider."""
        return Counter(place.target.provider for place in list(self._place_by_session.values()))

    def metrics(self) -> list[Metric]:
        """The numbers of this part, for ``/metrics``."""
        return [
            Metric(
                "rts_gateway_provider_sessions", "gauge",
                "Sessions that have not ended, at each provider.",
                lambda: dict(self.count()), label=_PROVIDER,
            ),
        ]  # fmt: skip
