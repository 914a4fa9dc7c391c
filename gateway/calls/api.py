"""The endpoints for calls, as OpenAI's: made (WebRTC), accepted or rejected (SIP), hung up.

========================================  =========================================================
``POST …/realtime/calls``                 make a call from an offer; also with an ephemeral key
``POST …/realtime/calls/{id}/accept``     answer an incoming call with a session
``POST …/realtime/calls/{id}/refer``      transfer it to another destination
``POST …/realtime/calls/{id}/reject``     reject it
``POST …/realtime/calls/{id}/hangup``     end it; its last response is metered first
========================================  =========================================================

Requests go to the provider with the gateway's key in place of the client's
(``provider_requests``). The gateway listens to a call (``calls.calls``) before its client gets the
answer; a call that it cannot listen to would be unmetered, and is hung up. ``app`` adds these
endpoints to ``endpoints.api``.
"""

import asyncio
import json
import re
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from http import HTTPStatus
from typing import Any, Final, TypeVar

import structlog

from gateway.accountd_client.authorizations import Authorization
from gateway.accountd_client.lease_book import Lease
from gateway.accountd_client.leases import Leases
from gateway.calls.calls import Calls, ProviderCall
from gateway.calls.provider_requests import ProviderRequests
from gateway.calls.requests import JSON, SDP, Offer, model_in, read_offer, read_session
from gateway.calls.retrying import is_call_gone
from gateway.calls.targets import CallTargets
from gateway.connections.provider_errors import ProviderUnavailableError
from gateway.door.admission import Admission, Admitted, own_key_hash
from gateway.door.allowed_models import ModelTable
from gateway.door.permissions import refusal_of_provider
from gateway.door.queries import (
    CALL_ID,
    rest_of_query,
    sideband_of,
    split_target,
)
from gateway.door.session_opener import Opener
from gateway.endpoints.api import Endpoint
from gateway.handles.handle import Handle, HandleKind
from gateway.handles.ownership import HandleRegistry
from gateway.http.answers import PRIVATE, Reversible, response
from gateway.http.exchange import HttpRequest
from gateway.http.refusals import (
    Refusal,
    bad_request,
    credit_too_low,
    model_not_allowed,
    not_configurable,
    not_found,
    provider_unavailable,
)
from gateway.limits import CALL_UNHEARD_S, CLOSE_S
from gateway.providers.base import Provider, Target

log = structlog.get_logger()

_CALLS: Final = "/realtime/calls"
_NEW: Final = re.compile(rf"(?:/openai/v1)?{_CALLS}$")
_ACCEPT: Final = re.compile(rf"(?:/openai/v1)?{_CALLS}/(?P<call_id>[^/]+)/(?P<verb>accept)$")
_VERB: Final = re.compile(
    rf"(?:/openai/v1)?{_CALLS}/(?P<call_id>[^/]+)/(?P<verb>refer|reject|hangup)$"
)
# The steps of a hang-up: cancel the response, have the provider hang up, wait for its close.
_HANG_UP_S: Final = CLOSE_S + CALL_UNHEARD_S + CLOSE_S


class _RefusedError(Exception):
    """Ends the handling of a request with a refusal."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.message)
        self.refusal = refusal


T = TypeVar("T")


def _require(found: T | Refusal) -> T:
    """``found``, unless it is a refusal; that is raised."""
    if isinstance(found, Refusal):
        raise _RefusedError(found)
    return found


class CallApi:
    """The endpoints. ``providers`` by name: those that there is a key for."""

    def __init__(
        self,
        *,
        admission: Admission,
        opener: Opener,
        calls: Calls,
        leases: Leases,
        handles: HandleRegistry,
        providers: Mapping[str, Provider],
        table: ModelTable,
    ) -> None:
        self._admission = admission
        self._opener = opener
        self._calls = calls
        self._leases = leases
        self._requests = ProviderRequests(calls.http, calls.totals)
        self._handles = handles
        self._providers = providers
        self._table = table
        self._targets = CallTargets(
            admission=admission, providers=providers, table=table, standing=opener.dialer.standing
        )

    def by_pattern(self) -> dict[re.Pattern[str], Endpoint]:
        """OpenAI's own paths."""
        create, serve = partial(self._answer, self._create), partial(self._answer, self._run_verb)
        return {
            _NEW: Endpoint(
                "POST", create, starts_call=True, allows_cross_origin=True, outlasts_stop=True
            ),
            _ACCEPT: Endpoint("POST", serve, starts_call=True, outlasts_stop=True),
            _VERB: Endpoint("POST", serve, outlasts_stop=True),
        }

    async def _answer(
        self, serve: Callable[[HttpRequest], Awaitable[Reversible]], request: HttpRequest
    ) -> Reversible | Refusal:
        try:
            return await serve(request)
        except _RefusedError as exc:
            return exc.refusal

    # --- new calls --------------------------------------------------------------------------------

    async def _create(self, request: HttpRequest) -> Reversible:
        kinds = request.headers.get_all("Content-Type")
        if len(kinds) > 1:
            raise _RefusedError(bad_request("found several Content-Type headers, expected one"))
        offer = _require(read_offer("".join(kinds), request.body))
        target = _require(self._targets.of_new(request, offer.session))
        parameters = split_target(request.target)[1]
        with self._leases.new() as lease:
            admitted = _require(
                await self._admission.admit(request.headers, parameters, lease=lease)
            )
            self._require_room(admitted.authorization)
            target = _require(
                self._targets.permitted(target, admitted.authorization, request, offer.session)
            )
            session = Offer(offer.sdp, self._session_of_new(target, admitted, offer.session))
            return await self._make(request, target, admitted.authorization, session, lease)

    def _session_of_new(
        self, target: Target, admitted: Admitted, asked: Mapping[str, Any]
    ) -> Mapping[str, Any]:
        """The call's session: the configuration of the key, overridden by what is asked for."""
        configuration = admitted.configuration or {"type": "realtime"}
        if configuration["type"] != "realtime":
            raise _RefusedError(not_configurable(configuration["type"]))
        session = {**configuration, **asked}
        if session.get("type", "realtime") != "realtime":
            raise _RefusedError(bad_request("session.type: expected realtime"))
        return self._checked_session({**session, "model": target.model}, target, admitted)

    def _checked_session(
        self, session: Mapping[str, Any], target: Target, admitted: Admitted
    ) -> Mapping[str, Any]:
        """``session`` with the provider's name for its model. Refused if it names a model that is
        not allowed, also one that is to work for the session's own (``first_message.delegates``).
        """
        # A provider that ignores case might use ``Model``, which was not checked.
        session = {
            name: value
            for name, value in session.items()
            if name == "model" or name.lower() != "model"
        }
        model = str(session.get("model") or "")
        first_message = self._providers[target.provider].first_message
        message = json.dumps({first_message.holder: session}).encode()
        for name in (model, *first_message.read(message).delegates):
            if not self._opener.may_use(admitted, name):
                raise _RefusedError(model_not_allowed(name))
        if not model:
            return session
        return {**session, "model": self._table.provider_model(model, provider=target.provider)}

    async def _make(
        self,
        request: HttpRequest,
        target: Target,
        authorization: Authorization,
        offer: Offer,
        lease: Lease,
    ) -> Reversible:
        provider, calls = _require(self._targets.calls_of(target))
        url = calls.url(query=rest_of_query(target))
        answered = _require(await self._requests.post(provider, request.headers, url, offer=offer))
        call_id = answered.headers.get("Location", "").partition("?")[0].rpartition("/")[2]
        if CALL_ID.fullmatch(call_id) is None:
            hint = "nobody can hear it or hang it up; its caller was not connected"
            log.error("call without a name", provider=provider.name, hint=hint)
            raise _RefusedError(provider_unavailable())
        handle = _handle(provider, call_id)
        self._handles.learn(handle, authorization.account_id)
        # At accountd before the client knows the id: it may name it to another gateway at once.
        await self._handles.use(handle, authorization.account_id)
        control = self._calls.control(provider, sideband_of(target, call_id), call_id)
        model = str(offer.session["model"])
        await self._listen(control, authorization, lease, model=model)
        path = request.target.partition("?")[0].rstrip("/")
        headers = {**PRIVATE, "Location": f"{path}/{call_id}"}
        answer = response(HTTPStatus.CREATED, answered.body, SDP, headers)
        return Reversible(answer, undo=lambda: self._hang_up_unanswered(provider, call_id))

    def _hang_up_unanswered(self, provider: Provider, call_id: str) -> None:
        call = self._calls.find(provider.name, call_id)
        if call is not None:
            call.hang_up("its caller left before it was answered")

    # --- calls that exist -------------------------------------------------------------------------

    async def _run_verb(self, request: HttpRequest) -> Reversible:
        """Accept, refer, reject or hang up a call, for the account that owns it."""
        with self._leases.new() as lease:
            return await self._run(request, lease)

    async def _run(self, request: HttpRequest, lease: Lease) -> Reversible:
        call_id, verb = request.path_parameters["call_id"], request.path_parameters["verb"]
        if CALL_ID.fullmatch(call_id) is None:
            raise _RefusedError(not_found("expected a call's id before the verb"))
        target = _require(self._targets.of_call(request, call_id))
        body = _require(read_session(request.body))
        authorization = _require(
            await self._authorize(_require(own_key_hash(request.headers)), verb, lease)
        )
        handle = Handle(target.provider, HandleKind.CALL, call_id)
        target = await self._opener.at_issuer(target, handle, authorization.account_id)
        provider, _ = _require(self._targets.calls_of(target))
        refusal = await self._handles.use(_handle(provider, call_id), authorization.account_id)
        if refusal is not None:
            raise _RefusedError(refusal)
        control = self._calls.control(provider, sideband_of(target, call_id), call_id)
        if verb == "accept":
            return await self._accept(request, control, authorization, body, lease)
        if verb == "hangup" and await self._hang_up(control, authorization):
            return Reversible(response(HTTPStatus.OK, b"", JSON, PRIVATE))
        return await self._forward(request, control, verb, body)

    async def _hang_up(self, control: ProviderCall, authorization: Authorization) -> bool:
        """End a call, its last response metered. False when the gateway cannot listen to it, for
        example because there is no such call.
        """
        try:
            call = await self._calls.listen(control, authorization, model="", retry_for_s=0.0)
        except ProviderUnavailableError:
            return False
        call.hang_up("it was asked for")
        try:
            async with asyncio.timeout(_HANG_UP_S):
                await call.ended.wait()
        except TimeoutError:
            raise _RefusedError(provider_unavailable()) from None
        return True

    async def _authorize(self, key_hash: str, verb: str, lease: Lease) -> Authorization | Refusal:
        """Whose key it is. Accepting a call needs credit, and counts; the other verbs do not."""
        if verb == "accept":
            return await self._admission.authorize(key_hash, lease)
        return await self._admission.identify(key_hash)

    async def _accept(
        self,
        request: HttpRequest,
        control: ProviderCall,
        authorization: Authorization,
        body: Mapping[str, Any],
        lease: Lease,
    ) -> Reversible:
        model = _require(model_in(body))
        if (refusal := refusal_of_provider(authorization, control.target)) is not None:
            raise _RefusedError(refusal)
        session = self._checked_session(body, control.target, Admitted(authorization))
        self._require_room(authorization)
        try:
            answer = await self._forward(request, control, "accept", session)
        except _RefusedError as exc:
            if exc.refusal.status < 500 or not await self._was_accepted(
                control, authorization, model, lease
            ):
                raise
            return Reversible(response(HTTPStatus.OK, b"", JSON, PRIVATE))
        await self._listen(control, authorization, lease, model=str(session.get("model", model)))
        return answer

    async def _was_accepted(
        self, control: ProviderCall, authorization: Authorization, model: str, lease: Lease
    ) -> bool:
        """Whether a call was accepted although the provider's answer was lost or an error."""
        try:
            await self._calls.listen(
                control, authorization, model=model, retry_for_s=0.0, lease=lease
            )
        except ProviderUnavailableError as exc:
            if not is_call_gone(exc):
                await self._calls.hang_up(control)
            return False
        return True

    async def _forward(
        self, request: HttpRequest, control: ProviderCall, verb: str, body: Mapping[str, Any]
    ) -> Reversible:
        url = control.calls.url(control.call_id, verb, query=rest_of_query(control.target))
        answered = _require(
            await self._requests.post(control.provider, request.headers, url, body=body)
        )
        return Reversible(response(HTTPStatus.OK, answered.body, JSON, PRIVATE))

    # --- helpers ----------------------------------------------------------------------------------

    def _require_room(self, authorization: Authorization) -> None:
        """A call cannot be paused: where sessions take turns, no call begins."""
        if not self._calls.has_room(authorization):
            raise _RefusedError(credit_too_low())

    async def _listen(
        self, control: ProviderCall, authorization: Authorization, lease: Lease, *, model: str
    ) -> None:
        """Listen to the call; if that is not possible, hang it up and refuse."""
        try:
            await self._calls.listen(
                control, authorization, model=model, retry_for_s=CALL_UNHEARD_S, lease=lease
            )
            return
        except ProviderUnavailableError as exc:
            log.error("call cannot be heard", call=control.call_id, reason=str(exc), hint=exc.hint)
        await self._calls.hang_up(control)
        raise _RefusedError(provider_unavailable())


def _handle(provider: Provider, call_id: str) -> Handle:
    return Handle(provider.name, HandleKind.CALL, call_id)
