"""Whether a session may be opened: what a request asks for, and whether its key may have that.

Called by ``server`` for a handshake, and for a plain request that asks why one would be refused. It
holds no connection; it returns a target, an admitted key, or a refusal.
"""

import secrets
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from functools import partial

from websockets.datastructures import Headers

from gateway.accountd_client.lease_book import Lease
from gateway.door.admission import Admission, Admitted
from gateway.door.allowed_models import ModelTable
from gateway.door.crossing import decided
from gateway.door.permissions import permitted
from gateway.door.queries import parameters_in, with_model
from gateway.door.routing import MISSING_MODEL, route
from gateway.door.session_opener import Opener
from gateway.handles.handle import Handle, HandleKind
from gateway.handles.ownership import HandleRegistry
from gateway.http.refusals import Refusal, bad_request, unavailable
from gateway.providers.base import Provider, Target
from gateway.providers.gemini import Gemini
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
        standing: Callable[[str], int],
    ) -> None:
        """``providers`` are the configured ones by name; ``standing`` says which is chosen where a
        model is at several.
        """
        self._admission = admission
        self._opener = opener
        self._handles = handles
        self._providers = providers
        self._table = table
        self._readiness = readiness
        self._standing = standing

    def target(self, path: str, headers: Headers) -> Target | Refusal:
        """What is asked for. Where the URL names no model, the one to which an ephemeral key is
        bound counts.
        """
        return self._wanted(path, headers, self._providers)

    def _wanted(self, path: str, headers: Headers, providers: Collection[str]) -> Target | Refusal:
        found = self._route(path, headers, providers)
        if not isinstance(found, Refusal) or found.code != MISSING_MODEL:
            return found
        model = self._admission.bound_model(headers, parameters_in(path))
        return found if model is None else self._route(with_model(path, model), headers, providers)

    def refusal_of_url(self, path: str) -> Refusal | None:
        """Why nothing is looked at that this URL asks for."""
        return self._admission.refusal_of_url(parameters_in(path))

    def knows_key(self, path: str, headers: Headers) -> bool:
        """Whether the key of a request was let in here lately."""
        return self._admission.knows(headers, parameters_in(path))

    def _route(self, path: str, headers: Headers, providers: Collection[str]) -> Target | Refusal:
        return route(
            path,
            headers,
            table=self._table,
            providers=providers,
            new_session_id=new_session_id,
            standing=self._standing,
        )

    async def admit(
        self,
        path: str,
        headers: Headers,
        target: Target,
        *,
        lease: Lease,
        claims_handles: bool = True,
    ) -> tuple[Admitted | Refusal, Target]:
        """Whether a session may be opened now, and the ``target`` at the provider that issued what
        it names. It counts by its ``lease``, unless it joins what does.

        With ``claims_handles`` the handles in the URL are checked, and one without an owner becomes
        the account's.
        """
        may_continue = self._opener.conversations is not None and not target.is_anonymous
        if self._opener.stores(target) and not target.is_undecided:
            lease.session = target.session_id
        verdict = await self._admission.admit(
            headers,
            parameters_in(path),
            lease=None if self._opener.joins(target) else lease,
            session=target.session_id if may_continue else "",
        )
        if isinstance(verdict, Admitted) and target.handles and claims_handles:
            account_id = verdict.authorization.account_id
            target = await self._opener.at_issuer(target, target.handles[0], account_id)
        if isinstance(verdict, Admitted):
            lead = partial(self._wanted, path, headers)
            found = permitted(target, verdict.authorization, self._providers, lead)
            if isinstance(found, Refusal):
                return found, target
            if found is not target:
                target = replace(found, session_id=target.session_id)
            verdict = await self._checked(verdict, target, claims_handles=claims_handles)
        if isinstance(verdict, Admitted) and self._opener.waits_for_model(verdict, target):
            target = replace(target, is_held=not target.is_undecided)
        return verdict, target

    async def _checked(
        self, verdict: Admitted, target: Target, *, claims_handles: bool
    ) -> Admitted | Refusal:
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

    async def decided(
        self, target: Target, admitted: Admitted, first_message: bytes | None
    ) -> Target | Refusal:
        """A ``target`` that waits for the client's ``first_message``, once that has come; None:
        none came. Where that names a session of Gemini's, it is at the provider that issued this
        name.
        """
        if first_message is None:
            return bad_request(f"found no {target.opening}, expected it as the first message")
        if target.is_held:  # where it leads is known, and the session's gate reads it
            return replace(target, is_held=False)
        named = Gemini.first_message.read(first_message)
        if not named.model:
            return bad_request("found no model, expected setup.model in the first message")
        model, is_resuming = named.model, named.handle is not None

        def lead(providers: Collection[str]) -> Target | Refusal:
            return decided(
                target, model, self._table, providers, self._standing,
                is_resuming=is_resuming,
            )  # fmt: skip

        found = lead(self._providers)
        if isinstance(found, Target):
            found = permitted(found, admitted.authorization, self._providers, lead)
        if isinstance(found, Refusal):
            return found
        if named.handle and not found.is_translated:
            handle = Handle(found.provider, HandleKind.SESSION, named.handle)
            account_id = admitted.authorization.account_id
            found = await self._opener.at_issuer(found, handle, account_id)
        return self._opener.refusal(admitted, found) or found
