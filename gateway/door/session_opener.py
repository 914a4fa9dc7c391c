"""Opens the session of an admitted client: provider, meter, credit, gate, and the dialling.

Called by ``gatekeeper`` and ``calls.api`` for what an account may use, and by ``server`` to open.
"""

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
from gateway.delivery.usage_sender import UsageSender
from gateway.door.admission import Admitted
from gateway.door.allowed_models import ModelTable
from gateway.door.queries import wants_events
from gateway.door.routing import with_provider_model
from gateway.frames import Frame
from gateway.handles.handle import HandleKind
from gateway.handles.ownership import HandleRegistry
from gateway.handles.resumable import Resumables, SessionHandles
from gateway.http.refusals import Refusal, model_not_allowed, not_configurable, own_key_needed
from gateway.metering.base import Meter
from gateway.metering.batching import BillingContext
from gateway.metering.usage_recorder import Recorder
from gateway.providers.base import Provider, Target
from gateway.providers.first_message import TRANSCRIPTION, framed
from gateway.providers.first_message_gate import Gate
from gateway.providers.lifetimes import Lifetimes
from gateway.relay.session import Session
from gateway.relay.session_age import Age
from gateway.relay.session_state import Opening, SessionInfo
from gateway.relay.sinks import DownstreamForwarder

# Handles of what may be in use by another user of the account already.
_JOINED: Final = (HandleKind.CALL, HandleKind.LIVE)


class Opener:
    """Opens sessions. ``providers`` are the configured ones by name."""

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
        """Why an admitted client may not have ``target``; None when it may."""
        if not self._is_checked_later(target) and not self.may_use(admitted, target.model or ""):
            return model_not_allowed(target.model or "")
        if admitted.is_ephemeral and any(handle.kind in _JOINED for handle in target.handles):
            return own_key_needed()
        configuration = admitted.configuration
        if configuration is not None and self._configuring(target, configuration) is None:
            return not_configurable(configuration["type"])
        return None

    def _is_checked_later(self, target: Target) -> bool:
        """Whether the model is not known yet: the first message names it, or what the session joins
        has it (a call, a GPT-Live session), or there is none (a transcription).
        """
        calls = self._providers[target.provider].calls
        is_call = calls is not None and calls.has(target)
        is_joining = is_call or target.live_session is not None
        return target.model is None or (
            not target.model and (target.is_transcription or is_joining)
        )

    def may_hear(self, admitted: Admitted, served: str, *, provider: str) -> bool:
        """Whether a client may use the model that a provider calls ``served``, by any of the names
        that clients have for it.
        """
        names = (served, *self._table.client_models(served, provider=provider))
        return any(self.may_use(admitted, name) for name in names)

    def may_use(self, admitted: Admitted, model: str) -> bool:
        """Whether a client may use ``model``; with an empty one: whether it may use any."""
        allowed = self._table.allows(admitted.authorization.account_id, model)
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
        """Upgrade ``connection`` and make its session. The provider is not connected yet; see
        ``connect``.
        """
        account_id = admitted.authorization.account_id
        provider = self._providers[target.provider]
        meter = provider.meter(with_provider_model(target, self._table))
        connection.upgrade(upgrade)
        credit = self._balances.open(
            admitted.authorization, wants_balances=wants_events(path) is True
        )
        gate = self._gate(target, admitted, meter)
        handles = SessionHandles(
            self._handles, self._resumables, provider=target.provider, account_id=account_id
        )
        billing = BillingContext(account_id, target.session_id, target.provider)

        def ended(session: Session) -> None:
            self._resumables.ended(session)
            on_ended(session)

        session = Session(
            SessionInfo(target.session_id, account_id, target.provider),
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
        """Dial the session's provider; a failure ends the session."""
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

    def _gate(self, target: Target, admitted: Admitted, meter: Meter) -> Gate | None:
        """What holds messages until the models that they name are checked; None where the URL named
        the model and the account may use any.
        """
        is_limited = not self.may_use(admitted, "")
        if target.model is not None and not is_limited:
            return None

        def provider_model(model: str) -> str | None:
            if model and model == meter.model:  # the provider's name for what is in use
                return model
            if not self.may_use(admitted, model):
                return None
            return self._table.provider_model(model, provider=target.provider)

        provider = self._providers[target.provider]
        return Gate(
            TRANSCRIPTION if target.is_transcription else provider.first_message,
            call=provider_model,
            is_limited=is_limited,
            has_opened=target.model is not None,
        )

    def _preface(self, target: Target, admitted: Admitted) -> Sequence[Frame]:
        """The first message of a session whose ephemeral key has a configuration."""
        if admitted.configuration is None:
            return ()
        message = self._configuring(target, admitted.configuration)
        assert message is not None, "refusal() has checked it"
        return framed(message) if message else ()

    def _configuring(self, target: Target, configuration: Mapping[str, Any]) -> bytes | None:
        return self._providers[target.provider].configuring(target, configuration)
