"""Opens the session of an admitted client: provider, meter, credit, gate, and the dialling.

Called by ``gatekeeper`` and ``calls.api`` for what an account may use, and by ``server`` to open.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from websockets.http11 import Request

from gateway.accountd_client.lease_book import Lease
from gateway.accountd_client.recalls import Recalls
from gateway.connections.downstream import Downstream
from gateway.conversations.claim import Claim
from gateway.conversations.store import ConversationStore
from gateway.credit.balances import Balances, SessionCredit
from gateway.credit.limited_credit import open_credit
from gateway.delivery.usage_sender import UsageSender
from gateway.door.admission import Admitted
from gateway.door.allowed_models import ModelTable
from gateway.door.between import Betweens, Means
from gateway.door.dialer import Dialer, Place
from gateway.door.permissions import may_use_model, may_use_provider, refusal_of_provider
from gateway.door.queries import wants_events
from gateway.door.roster import Roster
from gateway.door.routing import beside, choices, with_provider_model
from gateway.door.translators import may_be_kept
from gateway.frames import Frame
from gateway.handles.handle import Handle, HandleKind
from gateway.handles.ownership import HandleRegistry
from gateway.handles.resumable import Resumables, SessionHandles
from gateway.http.refusals import Refusal, model_not_allowed, not_configurable, own_key_needed
from gateway.metering.base import Meter
from gateway.metering.batching import BillingContext
from gateway.metering.usage_recorder import Recorder
from gateway.providers.base import (
    ATTACH,
    Dialect,
    Provider,
    Target,
    configuration_event,
    forwarded,
)
from gateway.providers.first_message import TRANSCRIPTION, framed
from gateway.providers.first_message_gate import Gate
from gateway.providers.lifetimes import Lifetimes
from gateway.relay import endings
from gateway.relay.lasting_session import LastingSession
from gateway.relay.session import Session
from gateway.relay.session_age import Age
from gateway.relay.session_state import Opening, SessionInfo, SessionState
from shared.metrics import Metric
from shared.provider_kinds import alike

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
        conversations: ConversationStore | None,
        recalls: Recalls,
        keeps_sessions: bool,
    ) -> None:
        """``conversations`` is None where none are stored. ``keeps_sessions``: sessions of one
        protocol outlive their provider's connection, too.
        """
        self._loop = asyncio.get_running_loop()
        self._balances = balances
        self._usage = usage
        self._handles = handles
        self._resumables = Resumables()
        self._providers = providers
        self._table = table
        self._lifetimes = lifetimes
        self.conversations = conversations
        self._recalls = recalls
        self._keeps_sessions = keeps_sessions
        self.dialer = Dialer(providers, table)
        self._means = Means(table, self.dialer, self._meter, self._count_ignored, self._ended)
        self.roster = Roster()
        self.on_ended: Callable[[Session], None] = lambda _session: None  # of each
        self._ignored = 0

    def refusal(self, admitted: Admitted, target: Target) -> Refusal | None:
        """Why an admitted client may not have ``target``; None when it may."""
        if (refusal := refusal_of_provider(admitted.authorization, target)) is not None:
            return refusal
        if not self._is_checked_later(target) and not self.may_use(admitted, target.model or ""):
            return model_not_allowed(target.model or "")
        if admitted.is_ephemeral and any(handle.kind in _JOINED for handle in target.handles):
            return own_key_needed()
        configuration = admitted.configuration
        if configuration is not None and self._configuring(target, configuration) is None:
            return not_configurable(configuration["type"])
        return None

    def joins(self, target: Target) -> bool:
        """Whether ``target`` is another connection to what counts as a session already: the
        sideband of a call, or a socket that hears a GPT-Live session.
        """
        return _is_attached(target) or self._is_sideband(target)

    def _credit(self, target: Target, admitted: Admitted, request: Request) -> SessionCredit:
        watches = wants_events(request.path) is True
        credit = open_credit(self._balances, admitted.authorization, wants_balances=watches)
        if _is_attached(target):
            credit.leave_floor()  # what it hears has a turn of its own, and costs nothing here
        return credit

    def waits_for_model(self, admitted: Admitted, target: Target) -> bool:
        """Whether nobody is dialled before the first message has named the model, because the key
        may not use any.
        """
        is_named_later = target.model is None and target.live_session is None
        return is_named_later and not self.may_use(admitted, "")

    def _is_sideband(self, target: Target) -> bool:
        calls = self._providers[target.provider].calls
        return calls is not None and calls.has(target)

    def _is_checked_later(self, target: Target) -> bool:
        """Whether the model is not known yet: the first message names it, or what the session joins
        has it (a call, a GPT-Live session), or there is none (a transcription).
        """
        is_joining = self._is_sideband(target) or target.live_session is not None
        return target.model is None or (
            not target.model and (target.is_transcription or is_joining)
        )

    async def at_issuer(self, target: Target, handle: Handle, account_id: str) -> Target:
        """``target`` at the provider that issued ``handle`` to the account: there may be several of
        a kind, and a call may be wherever calls are.
        """
        sought = alike(target.provider, self._providers)
        if handle.kind is HandleKind.CALL and not target.is_chosen:
            with_calls = (name for name, each in self._providers.items() if each.calls is not None)
            sought += [name for name in with_calls if name not in sought]
        return beside(await self._handles.issuer(handle, account_id, sought), target)

    def may_hear(self, admitted: Admitted, served: str, *, provider: str) -> bool:
        """Whether a client may use the model that a provider calls ``served``, by any of the names
        that clients have for it.
        """
        names = (served, *self._table.client_models(served, provider=provider))
        return any(self.may_use(admitted, name) for name in names)

    def may_use(self, admitted: Admitted, model: str) -> bool:
        """Whether a client may use ``model``; with an empty one: whether it may use any."""
        is_allowed = may_use_model(self._table, admitted.authorization, model)
        return is_allowed and admitted.model in (None, model)

    def open(
        self,
        connection: Downstream,
        request: Request,
        target: Target,
        admitted: Admitted,
        upgrade: bytes,
        *,
        lease: Lease,
        received: Sequence[Frame] = (),
        claim: Claim | None = None,
    ) -> tuple[Session, Place]:
        """Make the session of ``connection``, which is upgraded first, unless ``upgrade`` is empty:
        then it was, and the frames ``received`` were read. ``Dialer.connect`` dials its provider.
        With a ``claim`` the session continues a stored conversation, and is stored. It takes the
        ``lease``.
        """
        account_id = admitted.authorization.account_id
        if upgrade:
            connection.upgrade(upgrade)
        credit = self._credit(target, admitted, request)
        handles = SessionHandles(
            self._handles, self._resumables, provider=target.provider, account_id=account_id
        )
        key_hash = admitted.authorization.counted_key
        billing = BillingContext(account_id, target.session_id, target.provider, key_hash)
        recorder = Recorder(
            billing, self._meter(target), self._usage, credit, on_handle_issued=handles.issued
        )
        age = Age(self._lifetimes, target.provider, opened_at=self._loop.time())
        place = Place(target, self._choices(target, admitted), forwarded(request.headers))
        gate = self._gate(place, admitted, recorder)
        betweens = Betweens(
            self._means, place, connection, recorder, gate=gate, handles=handles, age=age,
            claim=claim,
        )  # fmt: skip
        place.follower = betweens
        place.refused_model = None if gate is None else gate.model_refused_in(received)
        session = self._session(
            betweens,
            SessionInfo(target.session_id, account_id, target.provider, target.dialect),
            client=connection,
            recorder=recorder,
            credit=credit,
            opening=Opening(handles.ask, gate, self._preface(target, admitted), received),
            age=age,
            listener=betweens,
        )
        betweens.lease = lease.take()
        handles.session = session
        self.roster.add(session, place)
        self._recalls.watch(
            session, admitted.authorization, target.session_id,
            lambda cause: session.dismiss(endings.recalled(cause)),
        )  # fmt: skip
        if claim is not None and self.conversations is not None:
            assert isinstance(session, LastingSession), "no other is kept"
            self.conversations.begin(claim, session)
        return session, place

    def begin(self, session: Session, place: Place) -> None:
        """Before anybody is dialled: end a session that has no credit by now, or whose first
        message, where that was waited for, names a model that its client may not use.
        """
        # Usage that was metered here and not charged yet was unknown to accountd when it admitted.
        session.credit_changed()
        if place.refused_model is not None and session.state is SessionState.CONNECTING:
            session.refuse_model(place.refused_model)

    def _ended(self, betweens: Betweens, session: Session) -> None:
        self.roster.remove(session)
        self._recalls.forget(session)
        self._resumables.ended(session)
        if betweens.claim is not None and self.conversations is not None:
            self.conversations.conclude(betweens.claim)
        self.on_ended(session)

    def stores(self, target: Target) -> bool:
        """Whether the conversation of a session is stored under its name, so that a later one with
        this name takes its place. One that goes on with a conversation of xAI's would be told all
        of it twice.
        """
        is_named = self.conversations is not None and not target.is_anonymous
        return is_named and self._outlives(target) and not target.handles

    async def claim(self, target: Target, admitted: Admitted) -> Claim | None:
        """What a session continues that has a name; None where it is not stored. Its client may
        have left when this returns, and then gives the claim back.

        The holder of an ephemeral key could name the session of another user of the account, and
        have the model tell what was said in it: its sessions are not stored, and continue none.
        """
        if self.conversations is None or admitted.is_ephemeral or not self.stores(target):
            return None
        return await self.conversations.open(admitted.authorization.account_id, target.session_id)

    def give_back(self, claim: Claim | None) -> None:
        """No session was opened for ``claim``."""
        if claim is not None and self.conversations is not None:
            self.conversations.give_back(claim)

    def _choices(self, target: Target, admitted: Admitted) -> Sequence[Target]:
        """Where the session can be served, and its key may have it: a provider that fails or is
        drained is followed by one of these. One whose frames are only forwarded stays with its
        protocol. Its first message is made already: it must be the same everywhere.
        """
        configuration = admitted.configuration
        found = [
            there
            for there in choices(target, self._table, self._providers)
            if may_use_provider(admitted.authorization, there.provider)
        ]
        if not self._outlives(target):
            found = [there for there in found if not there.is_translated]
        if configuration is None:
            return found
        preface = self._configuring(target, configuration)
        return [there for there in found if self._configuring(there, configuration) == preface]

    def _meter(self, target: Target) -> Meter:
        return self._providers[target.provider].meter(with_provider_model(target, self._table))

    def _outlives(self, target: Target) -> bool:
        """Whether a session goes on over another connection: a translated one, or one that is
        kept.
        """
        return target.is_translated or (self._keeps_sessions and may_be_kept(target))

    def _session(self, betweens: Betweens, info: SessionInfo, **others: Any) -> Session:
        """Of the kind that goes on over another connection, if it may."""
        if not self._outlives(betweens.target):
            return Session(info, **others)
        claim = betweens.claim
        between = betweens.make(None if claim is None else claim.conversation)
        session = LastingSession(info, lasting=betweens, between=between, **others)
        betweens.session = session
        return session

    def _count_ignored(self, count: int) -> None:
        self._ignored += count

    def metrics(self) -> list[Metric]:
        """The numbers of this part, for ``/metrics``."""
        return [
            Metric(
                "rts_gateway_translation_ignored", "counter",
                "Fields and events for which the other side's protocol has no word.",
                lambda: self._ignored,
            ),
            *self.dialer.metrics(),
            *self.roster.metrics(),
        ]  # fmt: skip

    def _gate(self, place: Place, admitted: Admitted, recorder: Recorder) -> Gate | None:
        """What holds messages until the models that they name are checked; None where the URL named
        the model and the account may use any.
        """
        is_limited = not self.may_use(admitted, "")
        # The model of a translated session is known, and a translator passes on no other.
        target = next((choice for choice in place.choices if not choice.is_translated), None)
        if target is None:
            return None
        # A client of Gemini's names it in its first message, also where that was read to decide.
        is_named = target.model is not None and target.dialect is not Dialect.GEMINI
        if is_named and not is_limited:
            return None

        def provider_model(model: str) -> str | None:
            if model and model == recorder.model:  # the provider's name for what is in use
                return model
            if not self.may_use(admitted, model):
                return None
            return self._table.provider_model(model, provider=place.target.provider)

        provider = self._providers[target.provider]
        return Gate(
            TRANSCRIPTION if target.is_transcription else provider.first_message,
            call=provider_model,
            is_limited=is_limited,
            has_opened=is_named,
        )

    def _preface(self, target: Target, admitted: Admitted) -> Sequence[Frame]:
        """The first message of a session whose ephemeral key has a configuration."""
        if admitted.configuration is None:
            return ()
        message = self._configuring(target, admitted.configuration)
        assert message is not None, "refusal() has checked it"
        return framed(message) if message else ()

    def _configuring(self, target: Target, configuration: Mapping[str, Any]) -> bytes | None:
        if not target.is_translated:
            return self._providers[target.provider].configuring(target, configuration)
        if target.dialect is not Dialect.OPENAI or configuration["type"] != "realtime":
            return None
        return configuration_event(configuration)  # as if the client had sent it


def _is_attached(target: Target) -> bool:
    """Whether it is a socket that hears a GPT-Live session."""
    return target.live_session is not None and target.live_session[1] == ATTACH
