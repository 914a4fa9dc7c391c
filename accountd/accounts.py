"""Accounts, grants and keys: what requests may change. Runs on the daemon's one writing thread.

Every change of a balance here is a row of ``credit_grants``, written in the same transaction.
"""

import hashlib
import secrets
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from peewee import IntegrityError

from accountd import models
from accountd.models import Account, ApiKey, CreditGrant, Status
from accountd.requests import AMOUNT_MAX, Params, RequestError, is_past, now_iso

KEY_PREFIX: Final = "rslive_v1_"
KEY_RANDOM_BYTES: Final = 24
TOKENS_BY_PLAN: Final[Mapping[str, int]] = {"Free": 1_000, "Pro": 50_000, "Enterprise": 500_000}
BALANCE_MAX: Final = 2**62  # far from the 64-bit edge, so that sums of two balances fit

Json = dict[str, Any]


def account_json(account: Account) -> Json:
    """An account as programs see it."""
    return {
        "id": account.id,
        "email": account.email,
        "plan_name": account.plan_name,
        "token_remaining": account.token_remaining,
        "topup_remaining": account.topup_remaining,
        "status": "active" if account.status == Status.ACTIVE else "disabled",
        "created_at": account.created_at,
        "updated_at": account.updated_at,
    }


def key_json(key: ApiKey) -> Json:
    """A key as programs see it: never the key itself."""
    return {
        "key_indicator": key.key_indicator,
        "key_hash": key.key_hash,
        "account_id": key.account_id,
        "label": key.label,
        "created_at": key.created_at,
        "expires_at": key.expires_at,
        "last_used_at": key.last_used_at,
        "revoked_at": key.revoked_at,
    }


def find_account(account_id: str) -> Account:
    """The account, or ``RequestError`` not_found."""
    account = Account.get_or_none(Account.id == account_id)
    if account is None:
        raise RequestError(
            "not_found", f"no account {account_id!r}; accountctl account list shows all"
        )
    return account


class Accounts:
    """The requests that change accounts and keys, and ``authorize``."""

    def __init__(self) -> None:
        self._last_used: dict[str, str] = {}

    def authorize(self, params: Params) -> Json:
        """May the owner of this key open a session?"""
        key_hash = params.text("key_hash")
        key = ApiKey.get_or_none(ApiKey.key_hash == key_hash)
        if key is None or key.revoked_at is not None:
            raise RequestError("invalid_api_key", "the API key is unknown or was revoked")
        if is_past(key.expires_at, datetime.now(UTC)):
            raise RequestError("expired_api_key", f"the API key expired at {key.expires_at}")
        account = find_account(key.account_id)
        if account.status != Status.ACTIVE:
            raise RequestError("account_disabled", "the account is disabled")
        if account.token_remaining + account.topup_remaining <= 0:
            raise RequestError("insufficient_credits", "no credits left; top up the account")
        self._last_used[key_hash] = now_iso()
        return {
            "account_id": account.id,
            "key_indicator": key.key_indicator,
            "plan_name": account.plan_name,
            "token_remaining": account.token_remaining,
            "topup_remaining": account.topup_remaining,
        }

    def write_last_used(self) -> None:
        """Store when keys were last used; called now and then, not for every session."""
        if not self._last_used:
            return
        with models.database.atomic("IMMEDIATE"):
            for key_hash, moment in self._last_used.items():
                ApiKey.update(last_used_at=moment).where(ApiKey.key_hash == key_hash).execute()
        self._last_used.clear()  # not before: a full disk keeps them for the next time

    def create(self, params: Params) -> Json:
        """A new account, whose balances arise from its opening grant."""
        email = params.text("email")
        plan = params.optional_text("plan_name") or "Free"
        tokens = params.optional_integer("tokens", -AMOUNT_MAX, AMOUNT_MAX)
        topup = params.optional_integer("topup", 0, AMOUNT_MAX) or 0
        if tokens is None:
            tokens = TOKENS_BY_PLAN.get(plan)
        if tokens is None:
            known = ", ".join(TOKENS_BY_PLAN)
            message = f"plan_name: found {plan!r}, expected {known}, or give the tokens yourself"
            raise RequestError("bad_request", message)
        account_id = params.optional_text("id") or f"acct_{secrets.token_hex(8)}"
        if account_id.startswith("-"):  # accountctl could never name it
            raise RequestError("bad_request", f"id: found {account_id!r}, expected no leading -")
        now = now_iso()
        try:
            with models.database.atomic("IMMEDIATE"):
                account = Account.create(
                    id=account_id, email=email, plan_name=plan, token_remaining=tokens,
                    topup_remaining=topup, created_at=now, updated_at=now,
                )  # fmt: skip
                CreditGrant.create(
                    id=f"opening-{account_id}", account_id=account_id, kind="opening",
                    topup_delta=topup, token_delta=tokens, created_at=now,
                )  # fmt: skip
        except IntegrityError:
            message = f"an account with the id {account_id!r} or the email {email!r} exists"
            raise RequestError("already_exists", message) from None
        return account_json(account)

    def topup(self, params: Params) -> Json:
        """Add top-up credits, once per grant id."""
        account = find_account(params.text("account_id"))
        amount = params.integer("amount", 1, AMOUNT_MAX)
        grant_id = params.optional_text("grant_id") or f"topup-{secrets.token_hex(8)}"
        with models.database.atomic("IMMEDIATE"):
            known = CreditGrant.get_or_none(CreditGrant.id == grant_id)
            if known is None:
                self._grant_topup(account, amount, grant_id)
            elif (known.kind, known.account_id, known.topup_delta) != ("topup", account.id, amount):
                message = (
                    f"grant {grant_id!r} exists: {known.kind} of {known.topup_delta} for account"
                    f" {known.account_id!r}; use another --id"
                )
                raise RequestError("conflict", message)
        shown = account_json(find_account(account.id))
        return {**shown, "grant_id": grant_id, "amount": amount, "applied": known is None}

    def _grant_topup(self, account: Account, amount: int, grant_id: str) -> None:
        now = now_iso()
        if account.topup_remaining + amount > BALANCE_MAX:
            raise RequestError("bad_request", f"amount: the balance would pass {BALANCE_MAX}")
        CreditGrant.create(
            id=grant_id, account_id=account.id, kind="topup", topup_delta=amount, token_delta=0,
            created_at=now,
        )  # fmt: skip
        Account.update(topup_remaining=Account.topup_remaining + amount, updated_at=now).where(
            Account.id == account.id
        ).execute()

    def enable(self, params: Params) -> Json:
        """Let the account open sessions again."""
        return self._set_status(params, Status.ACTIVE)

    def disable(self, params: Params) -> Json:
        """Refuse new sessions of the account."""
        return self._set_status(params, Status.DISABLED)

    def _set_status(self, params: Params, status: Status) -> Json:
        account = find_account(params.text("account_id"))
        Account.update(status=int(status), updated_at=now_iso()).where(
            Account.id == account.id
        ).execute()
        return account_json(find_account(account.id))

    def create_key(self, params: Params) -> Json:
        """A new key; the answer is the only place where it is ever shown."""
        account = find_account(params.text("account_id"))
        key = KEY_PREFIX + secrets.token_hex(KEY_RANDOM_BYTES)
        row = ApiKey.create(
            key_hash=hashlib.sha256(key.encode()).hexdigest(),
            account_id=account.id,
            key_indicator=f"{key[:5]}…{key[-5:]}",
            label=params.text("label"),
            created_at=now_iso(),
            expires_at=params.optional_time("expires_at"),
        )
        return {"key": key, **key_json(row)}

    def revoke_key(self, params: Params) -> Json:
        """Make a key useless for new sessions. Naming it by its indicator must be unambiguous."""
        name = params.text("key")
        matches = ApiKey.select().where(
            (ApiKey.key_hash == name)
            | (ApiKey.key_indicator == name)
            | (ApiKey.key_indicator == name.replace("...", "…"))
        )
        account_id = params.optional_text("account_id")
        if account_id is not None:
            matches = matches.where(ApiKey.account_id == account_id)
        keys = list(matches)
        if not keys:
            raise RequestError("not_found", f"no key {name!r}; accountctl key list shows all")
        if len(keys) > 1:
            raise RequestError("conflict", f"{len(keys)} keys match {name!r}; use the key_hash")
        if keys[0].revoked_at is None:
            keys[0].revoked_at = now_iso()
            keys[0].save()
        return key_json(keys[0])
