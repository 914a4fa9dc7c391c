"""Dials a session's provider: the first that serves of those that may, and what that tells of it.

Made once, by ``session_opener``, which calls ``connect`` and ``redial``. What dials and connections
are like is noted in ``providers.health``; ``gatekeeper`` asks it where new sessions go.
"""

import asyncio
import math
import random
import ssl
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import structlog

from gateway.connections.close import (
    ABNORMAL_CLOSURE,
    INTERNAL_ERROR,
    TRY_AGAIN_LATER,
    CloseEvent,
)
from gateway.connections.provider_errors import ProviderUnavailableError
from gateway.connections.upstream import dial
from gateway.door.allowed_models import ModelTable
from gateway.door.queries import resuming
from gateway.door.routing import with_provider_model
from gateway.limits import DIAL_S
from gateway.providers.base import Provider, Target
from gateway.providers.health import Failure, HealthChange, ProviderHealth, Standing
from gateway.relay.lasting_session import LastingSession
from gateway.relay.replacement import is_final
from gateway.relay.session import Session
from shared.metrics import Metric

log = structlog.get_logger()

# Closes that say that a provider fails. 1001 is how some end a session that is old enough.
_FAILED: Final = (ABNORMAL_CLOSURE, INTERNAL_ERROR, TRY_AGAIN_LATER)
# Each empty set of one's own takes 216 bytes, for as long as its session stands.
_NOWHERE: Final[frozenset[str]] = frozenset()


class Follower(Protocol):
    """What goes with a session from one provider to another."""

    def moved(self, there: Target) -> None:
        """The session is served ``there`` from now on, and ``there`` is dialled next."""


@dataclass(slots=True)
class Place:
    """Where one session is served: at ``target``, and where it could be, in order of choice.

    ``headers`` are those of the client that its provider may see. ``follower`` is told of each
    move: what is metered from then on is charged under the new provider.
    """

    target: Target
    choices: Sequence[Target]
    headers: Mapping[str, str]
    follower: Follower | None = None
    refused_model: str | None = None  # what the first message names, which was waited for
    is_leaving: bool = False  # another connection was asked for, at another provider
    was_served: bool = False
    refused_at: frozenset[str] = _NOWHERE  # providers that do not take it, for good
    silent_at: frozenset[str] = _NOWHERE  # it was cut, as nothing came of it
    lost_by: str = ""  # why the connection to ``target`` failed; empty: it did not

    def move(self, target: Target) -> None:
        """The session is served at ``target`` from now on."""
        self.is_leaving = False
        if target is not self.target:
            self.target = target
            if self.follower is not None:
                self.follower.moved(target)


class Dialer:
    """Dials, and knows which providers are healthy. ``providers`` are the configured ones."""

    def __init__(self, providers: Mapping[str, Provider], table: ModelTable) -> None:
        self._loop = asyncio.get_running_loop()
        self._providers = providers
        self._table = table
        self._tls = ssl.create_default_context()
        self._health = ProviderHealth.of(
            providers, _log_change, table.health, judged=table.alternatives()
        )
        self._failovers = 0

    @property
    def health(self) -> ProviderHealth:
        """What is known of the configured providers."""
        return self._health

    def standing(self, provider: str) -> Standing:
        """How ``provider`` stands for a new session among those of its model."""
        return self._health.standing(provider, self._loop.time())

    async def connect(self, session: Session, place: Place) -> None:
        """Dial a new session's provider; if all fail that may serve it, the session ends.

        The client of a translated session waits for nothing yet, so its dial is tried again within
        the time that one dial may take.
        """
        if isinstance(session, LastingSession) and session.retries_first_dial:
            await self.redial(session, place, until=self._loop.time() + DIAL_S)
            return
        try:
            await self._dial(session, place)
        except ProviderUnavailableError as exc:
            session.provider_unavailable(exc)

    async def redial(
        self,
        session: LastingSession,
        place: Place,
        *,
        until: float = math.inf,
    ) -> None:
        """Dial again for a session that has lost its provider; the session ends with the
        last failure, one after ``until``, or one that no other try would mend.

        The task is cancelled when the client leaves: nobody is dialled for a client that is gone.
        """
        while True:
            await asyncio.sleep(session.replacement.pause_s(random.random()))  # noqa: S311
            try:
                await self._dial(session, place)
            except ProviderUnavailableError as exc:
                is_passing = exc.is_about_health and not exc.is_about_account
                is_late = self._loop.time() >= until
                if is_late or not is_passing or not session.replacement.may_try_again():
                    session.provider_unavailable(exc)
                    return
            else:
                return

    def answered(self, place: Place, wait_s: float) -> None:
        """A user has waited so long for an answer of the session's provider."""
        self._health.answered(place.target.provider, wait_s, self._loop.time())

    def answer_ended(self, place: Place, *, is_failed: bool) -> None:
        """An answer of the session's provider is over."""
        name = place.target.provider
        if is_failed:
            self._health.failed(name, self._loop.time(), "a response failed", Failure.RESPONSE)
        else:
            self._health.served(name, Failure.RESPONSE)

    def refused(self, place: Place, reason: str, *, is_certain: bool) -> bool:
        """The session's provider refuses our account on a connection that it had taken: whether
        another one would serve the session now, drained or not. A close whose words say so may
        quote a client: that is not certain, and says nothing about the provider's health.
        """
        name, now = place.target.provider, self._loop.time()
        if name not in place.refused_at:
            place.refused_at |= {name}
            place.lost_by = reason
            if is_certain:
                self._health.failed(name, now, reason, Failure.CONNECTION)
        others = {there.provider for there in place.choices} - place.refused_at
        return any(self._health.is_available(other, now) for other in others)

    def left(self, place: Place, close: CloseEvent) -> None:
        """The connection of a session that has a client has ended."""
        name = place.target.provider
        if is_final(close):
            place.refused_at |= {name}
        if close.is_silence:
            place.silent_at |= {name}
        if close.is_violation or close.code in _FAILED:
            place.lost_by = close.reason or f"close {close.code}"
            self._health.failed(name, self._loop.time(), place.lost_by, Failure.CONNECTION)
        else:
            self._health.served(name, Failure.CONNECTION)

    def metrics(self) -> list[Metric]:
        """The numbers of this part, for ``/metrics``."""
        return [
            Metric(
                "rts_gateway_provider_healthy", "gauge",
                "Whether new sessions go to a provider, where the models file has a choice.",
                self._health.healthy, label="provider",
            ),
            Metric(
                "rts_gateway_provider_failures", "counter",
                "Dials and responses that failed, and connections that a provider broke.",
                lambda: self._health.failures, label="provider",
            ),
            Metric(
                "rts_gateway_provider_drained", "gauge",
                "1 for a provider that an operator took out of service.",
                lambda: {name: float(name in self._health.drained) for name in self._providers},
                label="provider",
            ),
            Metric(
                "rts_gateway_provider_failovers", "counter",
                "Sessions that were dialled at another provider, as the one before failed.",
                lambda: self._failovers,
            ),
        ]  # fmt: skip

    # --- helpers ----------------------------------------------------------------------------------

    async def _dial(self, session: Session, place: Place) -> None:
        """Dial one after the other until one answers."""
        failure: ProviderUnavailableError | None = None
        try:
            for target in self._to_dial(place):
                self._note_failover(session, place, failure, target)
                try:
                    await self._dial_one(session, place, target)
                except ProviderUnavailableError as exc:
                    failure = exc
                    if exc.is_about_request and not place.was_served:  # others would refuse it, too
                        break
                else:
                    return
            assert failure is not None, "there is always one to dial"
            raise failure
        finally:
            failure = None  # its traceback refers to this frame: a circle that holds the session

    def _to_dial(self, place: Place) -> Iterator[Target]:
        """What is healthy, in order; where nothing is, everything: it may serve all the same, and
        the client has no other. What is drained comes last.
        """
        choices, is_any_healthy = self._in_order(place), False
        for target in choices:
            if self._health.admits(target.provider, self._loop.time()):
                is_any_healthy = True
                yield target
        if not is_any_healthy:
            yield from choices

    def _in_order(self, place: Place) -> list[Target]:
        """A session that was moved, and is refused there, goes back to where it was served. To dial
        one that hangs would take as long as a dial may: it comes after those that are drained.
        """
        later = (place.refused_at, place.silent_at, self._health.drained)
        return sorted(place.choices, key=lambda there: [there.provider in x for x in later])

    async def _dial_one(self, session: Session, place: Place, target: Target) -> None:
        name, health, began = target.provider, self._health, self._loop.time()
        place.move(target)
        try:
            await self._connect(session, place, target)
        except ProviderUnavailableError as exc:
            if exc.is_about_health:
                health.failed(name, self._loop.time(), str(exc))
            else:
                health.given_up(name)
                place.refused_at |= {name}
            raise
        except asyncio.CancelledError:
            health.given_up(name)
            raise
        place.was_served, place.silent_at = True, _NOWHERE
        now = self._loop.time()
        health.succeeded(name, now - began, now)

    async def _connect(self, session: Session, place: Place, target: Target) -> None:
        """Dial ``target``: where the session was served before with the name of its conversation,
        if the provider can go on with it (xAI), and without where it refuses that.
        """
        if not (place.was_served and isinstance(session, LastingSession)):
            await self._connect_to(target, session, place)
            return
        conversation_id = session.resumption
        try:
            await self._connect_to(resuming(target, conversation_id), session, place)
        except ProviderUnavailableError as exc:
            is_refused = not (exc.is_about_health or exc.is_about_account)
            if not (conversation_id and is_refused):
                raise
            log.info("conversation not resumed", session=target.session_id, reason=str(exc))
            session.resumption_refused()
            await self._connect_to(resuming(target, ""), session, place)

    async def _connect_to(self, target: Target, session: Session, place: Place) -> None:
        provider = self._providers[target.provider]
        await dial(
            provider.url(with_provider_model(target, self._table)),
            provider.headers(place.headers),
            sink=session.provider_sink(),
            on_open=session.provider_connected,
            tls=self._tls,
        )

    def _note_failover(
        self,
        session: Session,
        place: Place,
        failure: ProviderUnavailableError | None,
        target: Target,
    ) -> None:
        """``target`` is dialled after a dial with ``failure``, or as the first one since the
        session lost its connection.
        """
        before, reason, hint = place.target.provider, place.lost_by, ""
        if failure is not None:
            reason, hint = str(failure), failure.hint
            if failure.is_about_account:
                session.recorder.account_refused(str(failure.status))
        if reason and target.provider != before:
            self._failovers += 1
            log.warning(
                "provider failed over", session=target.session_id, provider=before,
                to=target.provider, reason=reason, hint=hint,
            )  # fmt: skip
        place.lost_by = ""


def _log_change(change: HealthChange) -> None:
    if change.is_healthy:
        log.info("provider healthy", provider=change.provider)
    else:
        log.warning("provider unhealthy", provider=change.provider, reason=change.reason)
