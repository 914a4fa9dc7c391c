"""Which provider takes a call, and under which model: for ``api``, before the provider is asked."""

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from functools import partial
from typing import Any, Final

from gateway.accountd_client.authorizations import Authorization
from gateway.calls.requests import model_in
from gateway.door.admission import Admission
from gateway.door.allowed_models import ModelTable
from gateway.door.gatekeeper import new_session_id
from gateway.door.permissions import permitted
from gateway.door.queries import split_target, with_call, with_model
from gateway.door.routing import MISSING_MODEL, route
from gateway.http.exchange import HttpRequest
from gateway.http.refusals import Refusal, bad_request, not_found
from gateway.providers.base import Provider, ProviderCalls, Target
from gateway.providers.health import Standing

_CALLS_SUFFIX: Final = re.compile(r"/calls(?:/[^/]+/[^/]+)?$")


class CallTargets:
    """``providers`` by name: those that there is a key for. ``standing`` is that of sessions."""

    def __init__(
        self,
        *,
        admission: Admission,
        providers: Mapping[str, Provider],
        table: ModelTable,
        standing: Callable[[str], int],
    ) -> None:
        self._admission = admission
        self._providers = providers
        self._table = table
        self._session_standing = standing

    def of_new(self, request: HttpRequest, session: Mapping[str, Any]) -> Target | Refusal:
        """The target of the sidebands of a call that is to be made, by the model that its
        ``session``, the URL or the key names.
        """
        return self._of_new(request, session, self._providers)

    def permitted(
        self,
        target: Target,
        authorization: Authorization,
        request: HttpRequest,
        session: Mapping[str, Any],
    ) -> Target | Refusal:
        """This ``target`` of a new call at a provider that the key may use."""
        lead = partial(self._of_new, request, session)
        found = permitted(target, authorization, self._providers, lead)
        return found if isinstance(found, Refusal) else replace(found, session_id=target.session_id)

    def of_call(self, request: HttpRequest, call_id: str) -> Target | Refusal:
        """The target of the sidebands of a call that there is."""
        return self._route(request, partial(with_call, call_id=call_id), self._providers)

    def calls_of(self, target: Target) -> tuple[Provider, ProviderCalls] | Refusal:
        """The provider, and its calls; refused where it takes none."""
        provider = self._providers[target.provider]
        if provider.calls is None or provider.calls.path != target.path:
            message = f"{target.provider} takes no calls here"
            return not_found(message, code="provider_not_found")
        return provider, provider.calls

    # --- helpers ----------------------------------------------------------------------------------

    def _of_new(
        self, request: HttpRequest, session: Mapping[str, Any], providers: Collection[str]
    ) -> Target | Refusal:
        model, parameters = model_in(session), split_target(request.target)[1]
        if isinstance(model, Refusal):
            return model
        in_query = next((value for name, value in parameters if name == "model"), "")
        if model and in_query not in ("", model):
            found = f"found the models {model[:80]!r} and {in_query[:80]!r}, expected one"
            return bad_request(found, code="model_conflict")
        model = model or in_query or self._admission.bound_model(request.headers, parameters) or ""
        if not model:
            expected = "found no model; expected one in session, in ?model= or in the ephemeral key"
            return bad_request(expected, code=MISSING_MODEL)
        target = self._route(request, partial(with_model, model=model), providers)
        if isinstance(target, Target) and not target.model:
            return bad_request("found call_id in the query, expected a model alone")
        return target

    def _route(
        self, request: HttpRequest, named: Callable[[str], str], providers: Collection[str]
    ) -> Target | Refusal:
        """What a request asks for at one of ``providers``, with the call or the model ``named``;
        refused where that one has no calls.
        """
        found = route(
            named(_sessions_target(request.target)),
            request.headers,
            table=self._table,
            providers=providers,
            new_session_id=new_session_id,
            standing=self._standing,
        )
        calls = found if isinstance(found, Refusal) else self.calls_of(found)
        return calls if isinstance(calls, Refusal) else found

    def _standing(self, provider: str) -> int:
        """As for sessions, among those that have calls; the others come last."""
        found = self._providers.get(provider)  # the table may name one that is not configured
        has_calls = found is not None and found.calls is not None
        return self._session_standing(provider) if has_calls else len(Standing) + 1


def _sessions_target(target: str) -> str:
    """The target of sessions beside ``…/calls``: ``/v1/realtime/calls/ID/refer?x=1`` gives
    ``/v1/realtime?x=1``.
    """
    path, separator, query = target.partition("?")
    return f"{_CALLS_SUFFIX.sub('', path.rstrip('/'))}{separator}{query}"
