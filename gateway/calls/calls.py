"""All calls that this gateway listens to: begun when a client makes, accepts or joins a call.

Called by ``api`` for calls that are made or accepted, by ``server`` for clients' sidebands, and by
``session_registry``, which looks at deadlines and sends them away.
"""

import asyncio
import ssl
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Final

import structlog

from gateway.accountd_client.authorizations import Authorization
from gateway.accountd_client.lease_book import Lease
from gateway.accountd_client.recalls import Recalls
from gateway.calls.call import Call, CallInfo
from gateway.calls.retrying import is_call_gone, retry
from gateway.connections.close import POLICY_VIOLATION
from gateway.connections.provider_errors import ProviderUnavailableError
from gateway.connections.sink import Sink
from gateway.connections.upstream import Upstream, dial
from gateway.connections.upstream_http import ProviderHttp
from gateway.credit.balances import Balances
from gateway.credit.limited_credit import open_credit
from gateway.delivery.usage_sender import UsageSender
from gateway.door.queries import rest_of_query
from gateway.http.refusals import Refusal, bad_request, not_found, provider_unavailable
from gateway.limits import CALL_UNHEARD_S, CLOSE_S
from gateway.metering.batching import BillingContext
from gateway.metering.totals import Totals
from gateway.metering.usage_recorder import Recorder
from gateway.providers.base import Provider, ProviderCalls, Target
from gateway.providers.lifetimes import Lifetimes
from gateway.relay import endings
from shared.announcements import purse_of_key
from shared.metrics import Metric

log = structlog.get_logger()

_UNHEARD: Final = "it may go on at the provider, and is unmetered: hang it up there"


@dataclass(frozen=True, slots=True)
class ProviderCall:
    """See ``CallControl``. ``target`` is that of the call's sidebands."""

    call_id: str
    target: Target
    provider: Provider
    calls: ProviderCalls
    http: ProviderHttp
    tls: ssl.SSLContext

    @property
    def session_id(self) -> str:
        """The session's name in the call's usage: the one that the client gave, else the call's id,
        which is the same on every gateway.
        """
        return self.call_id if self.target.is_anonymous else self.target.session_id

    async def dial(self, sink: Sink, on_open: Callable[[Upstream], None]) -> Upstream:
        """See ``CallControl``."""
        headers = self.provider.headers({})
        url = self.provider.url(self.target)
        return await dial(url, headers, sink=sink, on_open=on_open, tls=self.tls)

    async def hang_up(self) -> None:
        """See ``CallControl``. Retried for ``CALL_UNHEARD_S``."""
        await retry(self.hang_up_once, retry_for_s=CALL_UNHEARD_S)

    async def hang_up_once(self) -> None:
        """The same without retries."""
        url = self.calls.url(self.call_id, "hangup", query=rest_of_query(self.target))
        answered = await self.http.post(url, self.provider.headers({}))
        if not answered.is_done:
            refused = ProviderUnavailableError(
                f"refused to hang up: {answered.status}", status=answered.status
            )
            if not is_call_gone(refused):
                raise refused


class Calls:
    """The calls of this process. ``close`` at the end."""

    def __init__(
        self,
        *,
        balances: Balances,
        usage: UsageSender,
        recalls: Recalls,
        totals: Totals,
        lifetimes: Lifetimes,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._balances = balances
        self._usage = usage
        self._recalls = recalls
        self.http = ProviderHttp()
        self.totals = totals
        self._lifetimes = lifetimes
        self._tls = ssl.create_default_context()
        self._calls: dict[tuple[str, str], Call] = {}
        self._openings: dict[Call, asyncio.Task[None]] = {}
        self._cut_off = 0
        self._leave_by: float | None = None
        self._abandoned: list[ProviderCall] = []
        self._control_by_call: dict[Call, ProviderCall] = {}
        self._lease_by_call: dict[Call, Lease] = {}
        self.on_ended: Callable[[], None] = lambda: None

    def __len__(self) -> int:
        return len(self._calls)

    def __iter__(self) -> Iterator[Call]:
        return iter(list(self._calls.values()))

    def by_provider(self) -> Counter[str]:
        """How many calls there are at each provider."""
        return Counter(provider for provider, _ in self._calls)

    def metrics(self) -> list[Metric]:
        """The numbers of this part, for ``/metrics``."""
        return [
            Metric(
                "rts_gateway_calls", "gauge", "Calls (WebRTC, SIP) that have not ended.",
                lambda: len(self._calls),
            ),
            Metric(
                "rts_gateway_calls_cut_off", "counter",
                "Calls that were hung up because their account's credits were used up.",
                lambda: self._cut_off,
            ),
        ]  # fmt: skip

    def leave(self, leave_by: float) -> None:
        """The gateway stops: a call that begins from now on leaves by then, too."""
        self._leave_by = leave_by

    def abandon(self) -> None:
        """End all calls now; ``close`` has their providers hang up."""
        for call, control in list(self._control_by_call.items()):
            self._abandoned.append(control)
            call.abandon()

    async def close(self) -> None:
        """Have providers hang up what was abandoned, for ``CLOSE_S`` at most."""
        for opening in self._openings.values():
            opening.cancel()
        tries = [asyncio.create_task(control.hang_up_once()) for control in self._abandoned]
        if tries:
            await asyncio.wait(tries, timeout=CLOSE_S)
        for each in tries:
            each.cancel()
        await asyncio.gather(*tries, return_exceptions=True)
        await self.http.close()

    def has_room(self, authorization: Authorization) -> bool:
        """Whether credit and spending cap pay a response for one more: see ``Balances``."""
        names = (authorization.account_id, purse_of_key(authorization.key_hash))
        return all(self._balances.has_room(name) for name in names)

    def control(self, provider: Provider, target: Target, call_id: str) -> ProviderCall:
        """The control of a call; ``target`` is that of its sidebands."""
        assert provider.calls is not None
        return ProviderCall(call_id, target, provider, provider.calls, self.http, self._tls)

    def find(self, provider: str, call_id: str) -> Call | None:
        """A call to which this gateway listens."""
        return self._calls.get((provider, call_id))

    async def listen(
        self,
        control: ProviderCall,
        authorization: Authorization,
        *,
        model: str,
        retry_for_s: float,
        lease: Lease | None = None,
        is_joined: bool = False,
    ) -> Call:
        """Listen to a call, and return it once its sideband is open. ``model`` is what was asked
        for, empty if unknown. A call that is new here takes the ``lease``.
        ``is_joined``: perhaps it is another key's; the end of this one closes the sideband alone.

        Raises ``ProviderUnavailableError`` when no sideband can be opened within ``retry_for_s``.
        """
        key = (control.target.provider, control.call_id)
        while True:
            call = self._calls.get(key)
            is_ours = call is None
            if call is None:
                call = self._calls[key] = self._make(
                    control, authorization, model, lease, is_joined=is_joined
                )
                self._openings[call] = self._loop.create_task(call.open(retry_for_s=retry_for_s))
            opening = self._openings.get(call)
            if opening is None:
                return call
            try:
                await asyncio.shield(opening)
            except ProviderUnavailableError:
                if is_ours:
                    raise
                continue  # the caller that dialled perhaps did not retry for as long
            self._openings.pop(call, None)
            if self._leave_by is not None:
                call.leave(self._leave_by)
            return call

    async def hang_up(self, control: ProviderCall) -> None:
        """Hang up a call to which the gateway cannot listen."""
        try:
            await control.hang_up()
        except ProviderUnavailableError as exc:
            log.error("call not hung up", call=control.call_id, reason=str(exc), hint=_UNHEARD)
        except asyncio.CancelledError:
            log.error("call not hung up", call=control.call_id, reason="stopping", hint=_UNHEARD)
            raise

    async def join(
        self, provider: Provider, target: Target, authorization: Authorization
    ) -> Call | Refusal:
        """Listen to the call for which a client opens a sideband, so that it is metered here."""
        control = self.control(provider, target, target.call_id)
        try:
            call = await self.listen(
                control, authorization, model="", retry_for_s=0.0, is_joined=True
            )
        except ProviderUnavailableError as exc:
            if is_call_gone(exc):
                return not_found("found no call of this name; it may be over")
            log.error("call cannot be heard", call=control.call_id, reason=str(exc), hint=exc.hint)
            if exc.close_code == POLICY_VIOLATION:
                return bad_request(exc.client_message, code=exc.code)
            return provider_unavailable()
        if call.info.account_id != authorization.account_id:
            return not_found("found no call of this name that belongs to this account")
        return call

    def _make(
        self,
        control: ProviderCall,
        authorization: Authorization,
        model: str,
        lease: Lease | None,
        *,
        is_joined: bool,
    ) -> Call:
        provider = control.target.provider
        meter = control.calls.meter(model)
        credit = open_credit(self._balances, authorization, wants_balances=False)
        billing = BillingContext(
            authorization.account_id, control.session_id, provider, authorization.counted_key
        )
        recorder = Recorder(billing, meter, self._usage, credit)
        self.totals.add(recorder)
        call = Call(
            CallInfo(control.call_id, control.session_id, authorization.account_id, provider),
            control=control,
            meter=meter,
            recorder=recorder,
            credit=credit,
            lifetimes=self._lifetimes,
            on_ended=self._ended,
        )
        self._control_by_call[call] = control
        if lease is not None and (held := lease.take()) is not None:
            self._lease_by_call[call] = held
        lives_by = (
            replace(authorization, key_hash="", expires_at=None) if is_joined else authorization
        )
        self._recalls.watch(
            call, lives_by, control.session_id,
            lambda cause: call.hang_up(endings.recalled(cause).reason),
        )  # fmt: skip
        return call

    def _ended(self, call: Call) -> None:
        self._calls.pop((call.info.provider, call.info.call_id), None)
        self._openings.pop(call, None)
        self._control_by_call.pop(call, None)
        if (lease := self._lease_by_call.pop(call, None)) is not None:
            lease.give_back()
        self._recalls.forget(call)
        self.totals.remove(call.recorder)
        self._cut_off += call.was_cut_off
        self.on_ended()
