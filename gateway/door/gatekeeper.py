"""Whether a session may be opened: what a request asks for, and who asks.

Called by ``server`` for a handshake, and for a plain request that asks why there would be none. It
holds no connection: it answers with a target and an admitted key, or with a refusal.
"""

from collections.abc import Mapping

from websockets.datastructures import Headers

from gateway.door.admission import Admission, Admitted
from gateway.door.models import ModelTable
from gateway.door.opener import Opener
from gateway.door.queries import split_target, with_model
from gateway.door.routing import MISSING_MODEL, route
from gateway.handles.handle import HandleKind
from gateway.handles.ownership import HandleRegistry
from gateway.http.refusals import Refusal, unavailable
from gateway.providers.base import Provider, Target
from gateway.readiness import Readiness


class Gatekeeper:
    """Decides about sessions."""

    def __init__(
        self,
        *,
        admission: Admission,
        opener: Opener,
        handles: HandleRegistry,
        providers: Mapping[str, Provider],
        table: ModelTable,
        readiness: Readiness,
    ) -> None:
        """``providers`` by name: those that there is a key for."""
        self._admission = admission
        self._opener = opener
        self._handles = handles
        self._providers = providers
        self._table = table
        self._readiness = readiness

    def target(self, path: str, headers: Headers) -> Target | Refusal:
        """What is asked for; a key that is bound to a model names it where the URL does not."""
        found = route(path, headers, table=self._table, providers=self._providers)
        if not isinstance(found, Refusal) or found.code != MISSING_MODEL:
            return found
        model = self._admission.bound_model(headers, split_target(path)[1])
        if model is None:
            return found
        target = with_model(path, model)
        return route(target, headers, table=self._table, providers=self._providers)

    async def admit(
        self, path: str, headers: Headers, target: Target, *, claims_handles: bool = True
    ) -> Admitted | Refusal:
        """Whether a session may be opened now.

        With ``claims_handles`` an unknown handle in the URL becomes the account's own by this.
        """
        _, parameters, _ = split_target(path)
        verdict = await self._admission.admit(headers, parameters)
        if isinstance(verdict, Refusal):
            return verdict
        if (refusal := self._opener.refusal(verdict, target)) is not None:
            return refusal
        for handle in target.handles if claims_handles else ():
            refusal = await self._handles.use(
                handle,
                verdict.grant.account_id,
                # A session of GPT-Live is charged on its own connection, which also was allowed
                # its model: that connection must have existed.
                must_be_issued=handle.kind is HandleKind.LIVE,
            )
            if refusal is not None:
                return refusal
        # Again, because accountd was asked in between.
        return unavailable(reason) if (reason := self._readiness.why_closed()) else verdict
