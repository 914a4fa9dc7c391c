"""Makes a session of a client that was let in: with its provider, its meter and its credit."""

import asyncio
import ssl
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from websockets.datastructures import Headers
from websockets.http11 import Response

from gateway.connections.downstream import Downstream
from gateway.connections.provider_errors import ProviderUnavailableError
from gateway.connections.upstream import dial
from gateway.credit.balances import Balances
from gateway.delivery.sender import UsageSender
from gateway.door.admission import Admitted
from gateway.door.models import ModelTable
from gateway.door.queries import wants_events
from gateway.door.routing import with_provider_model
from gateway.frames import Frame
from gateway.handles.handle import HandleKind
from gateway.handles.ownership import HandleRegistry
from gateway.handles.resumable import Resumables, SessionHandles
from gateway.http.refusals import Refusal, model_not_allowed, not_configurable, own_key_needed
from gateway.metering.batching import BillingContext
from gateway.metering.recorder import Recorder
from gateway.providers.base import Provider, Target
from gateway.providers.lifetimes import Lifetimes
from gateway.providers.opening import TRANSCRIPTION, Gate, framed
from gateway.relay.lifetime import Age
from gateway.relay.session import Session
from gateway.relay.session_state import Opening, SessionInfo
from gateway.relay.sinks import DownstreamForwarder

# What somebody else of the account may be in already.
_JOINED: Final = (HandleKind.CALL, HandleKind.LIVE)


class Opener:
    """Opens sessions. ``providers`` by name: those that there is a key for."""

    def __init__(
        self,
        *,
        balances: Balances,
        usage: UsageSender,
        handles: HandleRegistry,
        providers: Mapping[str, Provider],
        table: ModelTable,
        lifetimes: Lifetimes,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._balances = balances
        self._usage = usage
        self._handles = handles
        self._resumables = Resumables()
        self._providers = providers
        self._table = table
        self._lifetimes = lifetimes
        self._tls = ssl.create_default_context()

    def refusal(self, admitted: Admitted, target: Target) -> Refusal | None:
        """Why a client that was let in may not have what it asks for."""
        calls = self._providers[target.provider].calls
        is_call = calls is not None and calls.has(target)
        is_given = target.live_session is not None
        is_unnamed = not target.model and (target.is_transcription or is_call or is_given)
        is_checked_later = target.model is None or is_unnamed
        if not is_checked_later and not self.may_use(admitted, target.model or ""):
            return model_not_allowed(target.model or "")
        if admitted.is_ephemeral and any(handle.kind in _JOINED for handle in target.handles):
            return own_key_needed()
        configuration = admitted.configuration
        if configuration is not None and self._configuring(target, configuration) is None:
            return not_configurable(configuration["type"])
        return None

    def may_hear(self, admitted: Admitted, served: str, *, provider: str) -> bool:
        """Whether a client may use the model that a provider calls ``served``, by any name."""
        names = (served, *self._table.client_models(served, provider=provider))
        return any(self.may_use(admitted, name) for name in names)

    def may_use(self, admitted: Admitted, model: str) -> bool:
        """Whether a client may use ``model``; empty: any, whatever it is called."""
        allowed = self._table.allows(admitted.grant.account_id, model)
        return allowed and admitted.model in (None, model)

    def open(
        self,
        connection: Downstream,
        path: str,
        target: Target,
        admitted: Admitted,
        upgrade: Response,
        *,
        on_ended: Callable[[Session], None],
    ) -> Session:
        """Upgrade ``connection`` and join it to a session, whose provider is not connected yet."""
        grant = admitted.grant
        provider = self._providers[target.provider]
        meter = provider.meter(with_provider_model(target, self._table))
        connection.upgrade(upgrade)
        credit = self._balances.open(grant, wants_balances=wants_events(path) is True)

        def call(model: str) -> str | None:
            if model and model == meter.model:  # the server's own name for what it runs already
                return model
            if not self.may_use(admitted, model):
                return None
            return self._table.provider_model(model, provider=target.provider)

        gate, is_held = None, not self.may_use(admitted, "")
        if target.model is None or is_held:
            has_opened = target.model is not None
            opening = TRANSCRIPTION if target.is_transcription else provider.opening
            gate = Gate(opening, call=call, is_held=is_held, has_opened=has_opened)
        billing = BillingContext(grant.account_id, target.session_id, target.provider)

        handles = SessionHandles(
            self._handles,
            self._resumables,
            provider=target.provider,
            account_id=grant.account_id,
        )

        def ended(session: Session) -> None:
            self._resumables.ended(session)
            on_ended(session)

        session = Session(
            SessionInfo(target.session_id, grant.account_id, target.provider),
            client=connection,
            provider=provider,
            recorder=Recorder(billing, meter, self._usage, credit, on_handle_issued=handles.issued),
            credit=credit,
            opening=Opening(handles.ask, gate, self._preface(target, admitted)),
            age=Age(self._lifetimes, target.provider, opened_at=self._loop.time()),
            on_ended=ended,
        )
        handles.session = session
        return session

    async def connect(
        self, session: Session, client_headers: Headers, target: Target, sink: DownstreamForwarder
    ) -> None:
        """Connect the provider, or tell the session that it cannot be reached."""
        provider = self._providers[target.provider]
        try:
            await dial(
                provider.url(with_provider_model(target, self._table)),
                provider.headers(client_headers),
                sink=sink,
                on_open=session.provider_connected,
                tls=self._tls,
            )
        except ProviderUnavailableError as exc:
            session.provider_unavailable(exc)

    def _preface(self, target: Target, admitted: Admitted) -> Sequence[Frame]:
        """What a session begins with for who opened it with a key that says so."""
        if admitted.configuration is None:
            return ()
        message = self._configuring(target, admitted.configuration)
        assert message is not None, "it was no reason for a refusal"
        return framed(message) if message else ()

    def _configuring(self, target: Target, configuration: Mapping[str, Any]) -> bytes | None:
        return self._providers[target.provider].configuring(target, configuration)
