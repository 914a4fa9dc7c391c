"""The endpoints that make ephemeral keys: for an account's own key, and for the demo's page.

``client_secrets`` reads the body and words the answer, ``door.ephemeral`` packs and signs the key.
"""

import asyncio
import math
import re
import secrets
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

import structlog
from websockets.http11 import Response

from gateway.door import ephemeral
from gateway.door.admission import Admission, own_key_hash
from gateway.door.allowed_models import ModelTable
from gateway.door.client_key import hash_key, is_own_host, is_same_origin
from gateway.door.ephemeral import LIFETIME_S_DEFAULT, TOKEN_CHARS_MAX, Claims
from gateway.door.permissions import may_use_model
from gateway.door.signing import Signing
from gateway.endpoints import client_secrets
from gateway.endpoints.api import Endpoint
from gateway.endpoints.client_secrets import KeyRequest
from gateway.endpoints.fair_queue import FairQueue
from gateway.http.answers import PRIVATE, json_response
from gateway.http.exchange import HttpRequest
from gateway.http.refusals import (
    Refusal,
    bad_request,
    cross_origin,
    model_not_allowed,
    no_ephemeral_keys,
    too_many_requests,
    unavailable,
    unknown_host,
)
from gateway.limits import DEMO_KEY_S, DEMO_KEYS_BURST, MINTS, MINTS_EACH
from gateway.providers.base import AZURE_GA, REALTIME, TRANSLATIONS
from shared import secret_files
from shared.errors import ConfigError
from shared.metrics import Metric
from shared.token_bucket import TokenBucket

log = structlog.get_logger()

# OpenAI's own path, Azure's and xAI's: a key opens sessions with every provider.
CLIENT_SECRETS: Final = re.compile(f"(?:{AZURE_GA}|(?:/xai(?:/v1)?)?{REALTIME})/client_secrets$")
# Only OpenAI has sessions that translate.
TRANSLATION_SECRETS: Final = re.compile(f"{TRANSLATIONS}/client_secrets$")
DEMO: Final = "/demo/client_secrets"
DEMO_KEY_SETTING: Final = "GATEWAY_DEMO_KEY_FILE"
DEMO_LIFETIME_S_MAX: Final = LIFETIME_S_DEFAULT


class Minting:
    """The endpoints that make ephemeral keys."""

    def __init__(
        self,
        admission: Admission,
        table: ModelTable,
        *,
        signing: Signing | None,
        demo_key: Path | None,
        demo_hosts: frozenset[str],
    ) -> None:
        """``demo_key`` is the file with the account's key for which the demo's ephemeral keys are
        made, ``demo_hosts`` the host names of the gateway besides localhost and IP addresses.
        """
        self._admission = admission
        self._table = table
        self._queue = FairQueue(at_once=MINTS, each=MINTS_EACH)
        self._signing = signing
        self._demo_key = demo_key
        self._demo_hosts = demo_hosts
        self._demo_bucket = TokenBucket(burst=DEMO_KEYS_BURST, seconds=DEMO_KEY_S)
        self._made = 0

    def by_path(self) -> dict[str, Endpoint]:
        """The demo's endpoint, where there is a demo."""
        return {} if self._demo_key is None else {DEMO: Endpoint("POST", self._for_demo)}

    def by_pattern(self) -> dict[re.Pattern[str], Endpoint]:
        """The providers' own paths."""
        return {
            CLIENT_SECRETS: Endpoint("POST", self._for_conversation),
            TRANSLATION_SECRETS: Endpoint("POST", self._for_translation),
        }

    def metrics(self) -> list[Metric]:
        """The numbers of this part, for ``/metrics``."""
        return [
            Metric(
                "rts_gateway_ephemeral_keys", "counter", "Ephemeral keys made.",
                lambda: self._made,
            ),
            Metric(
                "rts_gateway_mints_waiting", "gauge",
                "Requests for ephemeral keys that were not answered yet.",
                lambda: self._queue.length,
            ),
        ]  # fmt: skip

    async def _for_conversation(self, request: HttpRequest) -> Response | Refusal:
        return await self._for_owner(request, client_secrets.CONVERSATIONS)

    async def _for_translation(self, request: HttpRequest) -> Response | Refusal:
        return await self._for_owner(request, client_secrets.TRANSLATIONS)

    async def _for_owner(self, request: HttpRequest, types: Sequence[str]) -> Response | Refusal:
        """The request has to carry an account's own key."""
        key_hash = own_key_hash(request.headers)
        if isinstance(key_hash, Refusal):
            return key_hash
        return await self._make(
            key_hash, client_secrets.read_key_request(request.body, types=types)
        )

    async def _for_demo(self, request: HttpRequest) -> Response | Refusal:
        """The gateway's own page has no key and needs none; pages of other origins are refused."""
        if not is_same_origin(request.headers):
            return cross_origin()
        if not is_own_host(host := request.headers["Host"], self._demo_hosts):
            return unknown_host(host)
        if wait_s := self._demo_bucket.take(time.monotonic()):
            return too_many_requests(
                "the demo gave out too many keys; try again", retry_after_s=math.ceil(wait_s)
            )
        assert self._demo_key is not None
        try:  # read each time: the demo's account may be created after the gateways are started
            key = await asyncio.to_thread(secret_files.read, DEMO_KEY_SETTING, self._demo_key)
        except ConfigError as exc:
            log.info("the demo has no key", reason=str(exc))
            return unavailable("the demo has no key yet; try again")
        key_hash = hash_key(key.strip())
        wanted = client_secrets.read_key_request(request.body, lifetime_s_max=DEMO_LIFETIME_S_MAX)
        if isinstance(wanted, KeyRequest):  # other pages that get the key cannot use it
            wanted = replace(wanted, origin=request.headers["Origin"])
        return await self._make(key_hash, wanted)

    async def _make(self, key_hash: str, wanted: KeyRequest | Refusal) -> Response | Refusal:
        if self._signing is None:
            return no_ephemeral_keys()
        if isinstance(wanted, Refusal):
            return wanted
        authorization = await self._queue.run(key_hash, lambda: self._admission.authorize(key_hash))
        if isinstance(authorization, Refusal):
            return authorization
        if wanted.model is not None and not may_use_model(self._table, authorization, wanted.model):
            return model_not_allowed(wanted.model)
        expires_at = int(time.time()) + wanted.lifetime_s
        claims = Claims(
            authorization.account_id,
            key_hash,
            expires_at,
            wanted.model,
            wanted.origin,
            wanted.configuration,
        )
        key = ephemeral.mint(claims, self._signing.secrets[0])
        if len(key) > TOKEN_CHARS_MAX:
            return _too_long(len(key))
        self._made += 1
        log.info(
            "ephemeral key made", account=authorization.account_id, lifetime_s=wanted.lifetime_s
        )
        shown = client_secrets.answer(
            wanted,
            value=key,
            expires_at=expires_at,
            session_id=f"sess_{secrets.token_hex(12)}",
        )
        return json_response(200, shown, PRIVATE)


def _too_long(chars: int) -> Refusal:
    """400: a key travels in a header of the handshake, which bounds its length."""
    return bad_request(
        f"session: found so much that the key has {chars} characters, expected at most"
        f" {TOKEN_CHARS_MAX}; leave the longest part to a session.update",
        code="session_too_large",
    )
