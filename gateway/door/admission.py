"""Whose key a request carries, and what it may do: open sessions, or ask for ephemeral keys.

accountd decides about accounts' keys, by their hashes; ephemeral keys are verified here, and then
count as the key for which they were made. Called by ``gatekeeper``, ``endpoints`` and ``calls``.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from websockets.datastructures import Headers

from gateway.accountd_client.authorizations import Authorization, Denial
from gateway.accountd_client.lease_book import Lease
from gateway.accountd_client.rpc_client import RpcClient
from gateway.callers.key_rates import KeyRates
from gateway.door import ephemeral
from gateway.door.client_key import find_key, has_key_in_query, hash_key
from gateway.door.ephemeral import Claims
from gateway.door.signing import Signing
from gateway.http.refusals import (
    Refusal,
    ephemeral_key,
    invalid_key,
    key_in_url,
    missing_key,
    origin_not_allowed,
    refused_key,
    unavailable,
)
from shared.errors import UnreachableError


@dataclass(frozen=True, slots=True)
class Admitted:
    """The right to open a session.

    ``model`` is the only one that it may use, None for any. ``configuration`` is sent to the
    provider first. ``is_ephemeral``: the key may begin sessions, but not join any.
    """

    authorization: Authorization
    model: str | None = None
    configuration: Mapping[str, Any] | None = None
    is_ephemeral: bool = False


class Admission:
    """Checks keys. Only their hashes go to accountd."""

    def __init__(
        self,
        accountd: RpcClient,
        signing: Signing | None,
        rates: KeyRates,
        *,
        allows_keys_in_urls: bool = True,
    ) -> None:
        """``signing`` is None where no ephemeral keys are configured."""
        self._rates = rates
        self._accountd = accountd
        self._signing = signing
        self._allows_keys_in_urls = allows_keys_in_urls

    async def admit(
        self,
        headers: Headers,
        parameters: Sequence[tuple[str, str]],
        *,
        lease: Lease | None,
        session: str = "",
    ) -> Admitted | Refusal:
        """Whether the key in a request may open a session, which counts by its ``lease``; None: it
        joins one that does. ``session`` is the name of one that continues what was said under that
        name.
        """
        key = find_key(headers, parameters)
        if key is None:
            return missing_key()
        if ephemeral.is_ephemeral(key):
            return await self._admit_ephemeral(key, headers, session, lease)
        authorization = await self._begin(hash_key(key), session, lease)
        return authorization if isinstance(authorization, Refusal) else Admitted(authorization)

    def refusal_of_url(self, parameters: Sequence[tuple[str, str]]) -> Refusal | None:
        """400 where the URL carries a key and must not, whatever the request is for."""
        is_refused = not self._allows_keys_in_urls and has_key_in_query(parameters)
        return key_in_url() if is_refused else None

    def bound_model(self, headers: Headers, parameters: Sequence[tuple[str, str]]) -> str | None:
        """The model to which an ephemeral key is bound; None for any other key, or an invalid one.

        This admits nothing: ``admit`` checks the key.
        """
        key = find_key(headers, parameters)
        if key is None or not ephemeral.is_ephemeral(key):
            return None
        claims = self._claims_of(key, headers)
        return None if isinstance(claims, Refusal) else claims.model

    def knows(self, headers: Headers, parameters: Sequence[tuple[str, str]]) -> bool:
        """Whether the key in a request was let in here lately, or is an ephemeral one of ours. It
        asks nobody, and admits nothing.
        """
        key = find_key(headers, parameters)
        if key is None:
            return False
        if ephemeral.is_ephemeral(key):
            return not isinstance(self._claims_of(key, headers), Refusal)
        return self._accountd.has_authorized(hash_key(key))

    async def authorize(self, key_hash: str, lease: Lease | None = None) -> Authorization | Refusal:
        """Ask accountd whether a key may begin sessions; with a ``lease`` one begins."""
        try:
            verdict = await self._accountd.authorize(key_hash, lease)
        except UnreachableError:
            return unavailable("accountd cannot be reached; try again")
        if isinstance(verdict, Denial):
            return refused_key(verdict.code, verdict.message, verdict.retry_after_s)
        return verdict

    async def identify(self, key_hash: str) -> Authorization | Refusal:
        """Ask accountd whose key it is, even if the account has no credit or is disabled."""
        try:
            found = await self._accountd.identify(key_hash)
        except UnreachableError:
            return unavailable("accountd cannot be reached; try again")
        return refused_key(found.code, found.message) if isinstance(found, Denial) else found

    async def _begin(
        self, key_hash: str, session: str, lease: Lease | None
    ) -> Authorization | Refusal:
        refusal = self._rates.refusal(key_hash, session, time.monotonic())
        return refusal or await self.authorize(key_hash, lease)

    async def _admit_ephemeral(
        self, key: str, headers: Headers, session: str, lease: Lease | None
    ) -> Admitted | Refusal:
        claims = self._claims_of(key, headers)
        if claims == invalid_key():  # asked for all the same: it takes as long as one of a lost key
            authorization = await self._begin(hash_key(key), session, lease)
            return authorization if isinstance(authorization, Refusal) else invalid_key()
        if isinstance(claims, Refusal):
            return claims
        if lease is not None:
            lease.session = ""  # with such a key nothing is stored: it puts nobody out
        authorization = await self._begin(claims.key_hash, session, lease)
        if isinstance(authorization, Refusal):
            return authorization
        if authorization.account_id != claims.account_id:  # after the database was replaced
            return invalid_key()
        return Admitted(authorization, claims.model, claims.configuration, is_ephemeral=True)

    def _claims_of(self, key: str, headers: Headers) -> Claims | Refusal:
        if self._signing is None:
            return invalid_key()
        claims = ephemeral.read(key, self._signing.secrets, now=time.time())
        if isinstance(claims, Refusal) or claims.origin in (None, *headers.get_all("Origin")):
            return claims
        return origin_not_allowed()


def own_key_hash(headers: Headers) -> str | Refusal:
    """The hash of the account's own key in a header; a key in the query is not looked at."""
    key = find_key(headers, ())
    if key is None:
        return missing_key()
    if ephemeral.is_ephemeral(key):
        return ephemeral_key()
    return hash_key(key)
