"""Calls over plain HTTP, as OpenAI has them: made (WebRTC), taken and turned away (SIP), ended.

========================================  =========================================================
``POST …/realtime/calls``                 a caller's offer; ephemeral keys may make calls, too
``POST …/realtime/calls/{id}/accept``     a call that came in is answered by a session
``POST …/realtime/calls/{id}/refer``      it is passed on to somebody else
``POST …/realtime/calls/{id}/reject``     it is turned away
``POST …/realtime/calls/{id}/hangup``     it is ended; what it said last is heard first
========================================  =========================================================

The provider sees our key in place of the client's. A call that was made or taken is heard by the
gateway (``calls.calls``) before its client is told of it; one that cannot be heard is hung up.
"""

import asyncio
import json
import re
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from http import HTTPStatus
from typing import Any, Final, TypeVar

import structlog
from websockets.datastructures import Headers

from gateway.calls.calls import Calls, ProviderCall
from gateway.calls.requests import JSON, SDP, Offer, model_in, read_offer, read_session
from gateway.calls.retrying import is_over
from gateway.connections.upstream import ProviderUnavailableError
from gateway.connections.upstream_http import Answered
from gateway.control.grants import Grant
from gateway.door.admission import Admission, Admitted, own_key_hash
from gateway.door.models import ModelTable
from gateway.door.opener import Opener
from gateway.door.queries import (
    CALL_ID,
    rest_of_query,
    sideband_of,
    split_target,
    with_call,
    with_model,
)
from gateway.door.routing import MISSING_MODEL, route
from gateway.endpoints.api import Endpoint
from gateway.handles.handle import Handle, HandleKind
from gateway.handles.ownership import HandleRegistry
from gateway.http.answers import PRIVATE, Reversible, response
from gateway.http.exchange import HttpRequest
from gateway.http.refusals import (
    Refusal,
    bad_request,
    model_not_allowed,
    not_configurable,
    not_found,
    provider_unavailable,
)
from gateway.limits import CALL_UNHEARD_S, CLOSE_S
from gateway.metering.account_errors import (
    ACCOUNT_STATUSES,
    NEUTRAL_MESSAGE,
    names_us,
    withheld,
)
from gateway.providers.base import Provider, ProviderCalls, Target

log = structlog.get_logger()

_CALLS: Final = "/realtime/calls"
_NEW: Final = re.compile(rf"(?:/openai/v1)?{_CALLS}$")
_ACCEPT: Final = re.compile(rf"(?:/openai/v1)?{_CALLS}/(?P<call_id>[^/]+)/(?P<verb>accept)$")
_VERB: Final = re.compile(
    rf"(?:/openai/v1)?{_CALLS}/(?P<call_id>[^/]+)/(?P<verb>refer|reject|hangup)$"
)
_BEHIND_SESSIONS: Final = re.compile(r"/calls(?:/[^/]+/[^/]+)?$")
# What a provider answers to what the client asked for; everything else is between it and us.
_CLIENTS: Final = (
    HTTPStatus.BAD_REQUEST,
    HTTPStatus.NOT_FOUND,
    HTTPStatus.CONFLICT,
    HTTPStatus.UNPROCESSABLE_ENTITY,
)
# A cancel, the provider's own hang-up, its close.
_HANG_UP_S: Final = CLOSE_S + CALL_UNHEARD_S + CLOSE_S
_MESSAGE_CHARS_MAX: Final = 1_000


class _RefusedError(Exception):
    """What was asked for is refused."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.message)
        self.refusal = refusal


T = TypeVar("T")


def _granted(found: T | Refusal) -> T:
    """What was found; raises the refusal that stands in its place."""
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
        handles: HandleRegistry,
        providers: Mapping[str, Provider],
        table: ModelTable,
    ) -> None:
        self._admission = admission
        self._opener = opener
        self._calls = calls
        self._handles = handles
        self._providers = providers
        self._table = table

    def by_pattern(self) -> dict[re.Pattern[str], Endpoint]:
        """OpenAI's own paths."""
        create, serve = partial(self._answer, self._create), partial(self._answer, self._serve)
        return {
            _NEW: Endpoint(
                "POST", create, starts_call=True, allows_cross_origin=True, outlasts_drain=True
            ),
            _ACCEPT: Endpoint("POST", serve, starts_call=True, outlasts_drain=True),
            _VERB: Endpoint("POST", serve, outlasts_drain=True),
        }

    async def _answer(
        self, serve: Callable[[HttpRequest], Awaitable[Reversible]], request: HttpRequest
    ) -> Reversible | Refusal:
        try:
            return await serve(request)
        except _RefusedError as exc:
            return exc.refusal

    # --- made -------------------------------------------------------------------------------------

    async def _create(self, request: HttpRequest) -> Reversible:
        kinds = request.headers.get_all("Content-Type")
        if len(kinds) > 1:
            raise _RefusedError(bad_request("found several Content-Type headers, expected one"))
        offer = _granted(read_offer("".join(kinds), request.body))
        target = self._target_of_new(request, offer.session)
        parameters = split_target(request.target)[1]
        admitted = _granted(await self._admission.admit(request.headers, parameters))
        session = self._session(target, admitted, offer.session)
        return await self._place(request, target, admitted.grant, Offer(offer.sdp, session))

    def _target_of_new(self, request: HttpRequest, session: Mapping[str, Any]) -> Target:
        """What kind of session is to answer, by the model that the session, the URL or the key
        names.
        """
        model = _granted(model_in(session))
        path, parameters = _sessions_of(request.target), split_target(request.target)[1]
        in_query = next((value for name, value in parameters if name == "model"), "")
        if model and in_query not in ("", model):
            found = f"found the models {model[:80]!r} and {in_query[:80]!r}, expected one"
            raise _RefusedError(bad_request(found, code="model_conflict"))
        model = model or in_query or self._admission.bound_model(request.headers, parameters) or ""
        if not model:
            expected = "found no model; expected one in session, in ?model= or in the ephemeral key"
            raise _RefusedError(bad_request(expected, code=MISSING_MODEL))
        target = self._routed(with_model(path, model), request.headers)
        if not target.model:
            raise _RefusedError(bad_request("found call_id in the query, expected a model alone"))
        return target

    def _session(
        self, target: Target, admitted: Admitted, asked: Mapping[str, Any]
    ) -> Mapping[str, Any]:
        """The session as the provider is to begin it: what the key brings, then what is asked."""
        brought = admitted.configuration or {"type": "realtime"}
        if brought["type"] != "realtime":
            raise _RefusedError(not_configurable(brought["type"]))
        session = {**brought, **asked}
        if session.get("type", "realtime") != "realtime":
            raise _RefusedError(bad_request("session.type: expected realtime"))
        return self._allowed({**session, "model": target.model}, target, admitted)

    def _allowed(
        self, session: Mapping[str, Any], target: Target, admitted: Admitted
    ) -> Mapping[str, Any]:
        """``session`` with its model in the provider's words, if all that it names may be used."""
        # To a server that ignores case another spelling might count.
        session = {
            name: value
            for name, value in session.items()
            if name == "model" or name.lower() != "model"
        }
        model = str(session.get("model") or "")
        opening = self._providers[target.provider].opening
        message = json.dumps({opening.holder: session}).encode()
        for name in (model, *opening.read(message).delegates):
            if not self._opener.may_use(admitted, name):
                raise _RefusedError(model_not_allowed(name))
        if not model:
            return session
        return {**session, "model": self._table.provider_model(model, provider=target.provider)}

    async def _place(
        self, request: HttpRequest, target: Target, grant: Grant, offer: Offer
    ) -> Reversible:
        provider, calls = self._calls_of(target)
        url = calls.url(query=rest_of_query(target))
        answered = await self._ask(provider, request.headers, url, offer=offer)
        call_id = answered.headers.get("Location", "").partition("?")[0].rpartition("/")[2]
        if CALL_ID.fullmatch(call_id) is None:
            hint = "nobody can hear it or hang it up; its caller was not connected"
            log.error("call without a name", provider=provider.name, hint=hint)
            raise _RefusedError(provider_unavailable())
        handle = _handle(provider, call_id)
        self._handles.learn(handle, grant.account_id)
        await self._handles.use(handle, grant.account_id)  # so that other gateways know it already
        control = self._calls.control(provider, sideband_of(target, call_id), call_id)
        await self._hear(control, grant, model=str(offer.session["model"]))
        path = request.target.partition("?")[0].rstrip("/")
        headers = {**PRIVATE, "Location": f"{path}/{call_id}"}
        told = response(HTTPStatus.CREATED, answered.body, SDP, headers)
        return Reversible(told, undo=lambda: self._withdraw(provider, call_id))

    def _withdraw(self, provider: Provider, call_id: str) -> None:
        call = self._calls.find(provider.name, call_id)
        if call is not None:
            call.hang_up("its caller left before it was answered")

    # --- there already ----------------------------------------------------------------------------

    async def _serve(self, request: HttpRequest) -> Reversible:
        """A verb about a call, for the account that it belongs to."""
        call_id, verb = request.path_parameters["call_id"], request.path_parameters["verb"]
        if CALL_ID.fullmatch(call_id) is None:
            raise _RefusedError(not_found("expected a call's id before the verb"))
        target = self._routed(with_call(_sessions_of(request.target), call_id), request.headers)
        body = _granted(read_session(request.body))
        grant = _granted(await self._owner(_granted(own_key_hash(request.headers)), verb))
        provider, _ = self._calls_of(target)
        refusal = await self._handles.use(_handle(provider, call_id), grant.account_id)
        if refusal is not None:
            raise _RefusedError(refusal)
        control = self._calls.control(provider, sideband_of(target, call_id), call_id)
        if verb == "accept":
            return await self._accept(request, control, grant, body)
        if verb == "hangup" and await self._hang_up(control, grant):
            return Reversible(response(HTTPStatus.OK, b"", JSON, PRIVATE))
        return await self._pass_on(request, control, verb, body)

    async def _hang_up(self, control: ProviderCall, grant: Grant) -> bool:
        """End a call once what it said last is heard; false: nobody can hear it, perhaps because
        there is no such call.
        """
        try:
            call = await self._calls.hear(control, grant, model="", patience_s=0.0)
        except ProviderUnavailableError:
            return False
        call.hang_up("it was asked for")
        try:
            async with asyncio.timeout(_HANG_UP_S):
                await call.over.wait()
        except TimeoutError:
            raise _RefusedError(provider_unavailable()) from None
        return True

    async def _owner(self, key_hash: str, verb: str) -> Grant | Refusal:
        """Whose key it is. Who takes a call needs credit; nobody needs any to end one."""
        if verb == "accept":
            return await self._admission.authorize(key_hash)
        return await self._admission.identify(key_hash)

    async def _accept(
        self, request: HttpRequest, control: ProviderCall, grant: Grant, body: Mapping[str, Any]
    ) -> Reversible:
        model = _granted(model_in(body))
        session = self._allowed(body, control.target, Admitted(grant))
        try:
            done = await self._pass_on(request, control, "accept", session)
        except _RefusedError as exc:
            if exc.refusal.status < 500 or not await self._was_taken(control, grant, model):
                raise
            return Reversible(response(HTTPStatus.OK, b"", JSON, PRIVATE))
        await self._hear(control, grant, model=str(session.get("model", model)))
        return done

    async def _was_taken(self, control: ProviderCall, grant: Grant, model: str) -> bool:
        """Whether a call goes on although the provider did not say that it was taken."""
        try:
            await self._calls.hear(control, grant, model=model, patience_s=0.0)
        except ProviderUnavailableError as exc:
            if not is_over(exc):
                await self._calls.hang_up(control)
            return False
        return True

    async def _pass_on(
        self, request: HttpRequest, control: ProviderCall, verb: str, body: Mapping[str, Any]
    ) -> Reversible:
        url = control.calls.url(control.call_id, verb, query=rest_of_query(control.target))
        answered = await self._ask(control.provider, request.headers, url, body=body)
        return Reversible(response(HTTPStatus.OK, answered.body, JSON, PRIVATE))

    # --- both -------------------------------------------------------------------------------------

    def _routed(self, target: str, headers: Headers) -> Target:
        """Which provider is meant, if it takes calls."""
        found = _granted(route(target, headers, table=self._table, providers=self._providers))
        self._calls_of(found)
        return found

    def _calls_of(self, target: Target) -> tuple[Provider, ProviderCalls]:
        provider = self._providers[target.provider]
        if provider.calls is None or provider.calls.path != target.path:
            message = f"{target.provider} takes no calls here"
            raise _RefusedError(not_found(message, code="provider_not_found"))
        return provider, provider.calls

    async def _hear(self, control: ProviderCall, grant: Grant, *, model: str) -> None:
        """Hear the call, or have it hung up."""
        try:
            await self._calls.hear(control, grant, model=model, patience_s=CALL_UNHEARD_S)
            return
        except ProviderUnavailableError as exc:
            log.error("call cannot be heard", call=control.call_id, reason=str(exc), hint=exc.hint)
        await self._calls.hang_up(control)
        raise _RefusedError(provider_unavailable())

    async def _ask(
        self,
        provider: Provider,
        headers: Headers,
        url: str,
        *,
        offer: Offer | None = None,
        body: Mapping[str, Any] | None = None,
    ) -> Answered:
        """What the provider did."""
        try:
            answered = await self._calls.http.post(
                url,
                {**provider.headers(headers), "Accept": SDP if offer else JSON},
                parts=offer.parts() if offer else None,
                body=body or None,
            )
        except ProviderUnavailableError as exc:
            log.error("provider unavailable", provider=provider.name, url=url, reason=str(exc))
            raise _RefusedError(provider_unavailable()) from exc
        if not answered.is_done:
            raise _RefusedError(self._refused(provider, answered))
        return answered

    def _refused(self, provider: Provider, answered: Answered) -> Refusal:
        """Why the provider did not do it: in its words what is about the client's request, and
        nothing of what is about our account.
        """
        error = _error_in(answered.body)
        code = str(error.get("code") or error.get("type") or "provider_refused")
        message = str(error.get("message") or "the provider refused this request")
        is_about_us = bool(error) and withheld({"type": "error", "error": error}) is not None
        if is_about_us or names_us(message) or answered.status in ACCOUNT_STATUSES:
            self._calls.totals.account_refused(provider.name)
            log.error(
                "provider refuses our account",
                provider=provider.name,
                code=code[:64],
                hint="look at the provider's key, quota and billing; clients hear that it failed",
            )
        elif answered.status in _CLIENTS:
            return Refusal(answered.status, code, message[:_MESSAGE_CHARS_MAX])
        else:
            log.error("provider cannot serve a call", provider=provider.name, code=answered.status)
        return provider_unavailable(NEUTRAL_MESSAGE)


def _handle(provider: Provider, call_id: str) -> Handle:
    return Handle(provider.name, HandleKind.CALL, call_id)


def _sessions_of(target: str) -> str:
    """The target of the sessions that a call's path stands behind."""
    path, separator, query = target.partition("?")
    return f"{_BEHIND_SESSIONS.sub('', path.rstrip('/'))}{separator}{query}"


def _error_in(body: bytes) -> Mapping[str, Any]:
    """The error object of an answer; empty where there is none."""
    try:
        answer = json.loads(body)
    except ValueError:
        return {}
    error = answer.get("error") if isinstance(answer, dict) else None
    return error if isinstance(error, dict) else {}
