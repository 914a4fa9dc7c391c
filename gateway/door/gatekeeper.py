"""Whether a session may be opened: what a request asks for, and whether its key may have that.

Called by ``server`` for a handshake, and for a plain request that asks why one would be refused. It
holds no connection; it returns a target, an admitted key, or a refusal.
"""

import secrets
from collections.abc import Mapping

from websockets.datastructures import Headers

from gateway.door.admission import Admission, Admitted
from gateway.door.allowed_models import ModelTable
from gateway.door.queries import split_target, with_model
from gateway.door.routing import MISSING_MODEL, route
from gateway.door.session_opener import Opener
from gateway.handles.handle import HandleKind
from gateway.handles.ownership import HandleRegistry
from gateway.http.refusals import Refusal, unavailable
from gateway.providers.base import Provider, Target
from gateway.readiness import Readiness


def new_session_id() -> str:
    """A name for a session whose client gave none: 96 random bits."""
    return f"sess_{secrets.token_hex(12)}"


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
        """``providers`` are the configured ones by name."""
        self._admission = admission
        self._opener = opener
        self._handles = handles
        self._providers = providers
        self._table = table
        self._readiness = readiness

    def target(self, path: str, headers: Headers) -> Target | Refusal:
        """What is asked for. Where the URL names no model, the one to which an ephemeral key is
        bound counts.
        """
        found = route(
            path,
            headers,
            table=self._table,
            providers=self._providers,
            new_session_id=new_session_id,
        )
        if not isinstance(found, Refusal) or found.code != MISSING_MODEL:
            return found
        model = self._admission.bound_model(headers, split_target(path)[1])
        if model is None:
            return found
        target = with_model(path, model)
        return route(
            target,
            headers,
            table=self._table,
            providers=self._providers,
            new_session_id=new_session_id,
        )

    async def admit(
        self, path: str, headers: Headers, target: Target, *, claims_handles: bool = True
    ) -> Admitted | Refusal:
        """Whether a session may be opened now.

        With ``claims_handles`` the handles in the URL are checked, and one without an owner becomes
        the account's.
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
                verdict.authorization.account_id,
                # Attaching to a GPT-Live session costs nothing and checks no model, because the
                # session's first connection did both: so a gateway must have seen that one.
                must_be_issued=handle.kind is HandleKind.LIVE,
            )
            if refusal is not None:
                return refusal
        # This may have changed while accountd was asked.
        return unavailable(reason) if (reason := self._readiness.why_closed()) else verdict
