"""Accounts and keys: what requests may change. Runs on the daemon's one writing thread.

Balances are changed by ``grants``; an account begins with its opening grant, written here.
"""

import hashlib
import secrets
from typing import Any, Final

from peewee import IntegrityError

from accountd.accounts.plans import TokensByPlan, tokens_of
from accountd.clock import now_iso
from accountd.data import models
from accountd.data.models import Account, ApiKey, CreditGrant, Status
from accountd.ledger.changed_accounts import ChangedAccounts
from accountd.request_params import AMOUNT_MAX, Json, Params, RequestError

KEY_PREFIX: Final = "rslive_v1_"
KEY_RANDOM_BYTES: Final = 24
BALANCE_MAX: Final = 2**62  # far from the 64-bit edge, so that sums of two balances fit


def account_json(account: Account) -> Json:
    """An account as programs see it."""
    return {
        "id": account.id,
        "email": account.email,
        "plan_name": account.plan_name,
        "token_remaining": account.token_remaining,
        "topup_remaining": account.topup_remaining,
        "low_credit_mark": account.low_credit_mark,
        "estimates_charged_since": account.estimates_charged_since,
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
    """The requests that change accounts and keys."""

    def __init__(self, changes: ChangedAccounts, *, plans: TokensByPlan) -> None:
        self._changes = changes
        self._plans = plans

    def take_changed(self) -> list[str]:
        """Ids of the accounts whose balance, plan or status requests have changed since the last
        call, each once; everything is committed.
        """
        return self._changes.take()

    def create(self, params: Params) -> Json:
        """A new account, whose balances arise from its opening grant."""
        email = params.text("email")
        plan = params.optional_text("plan_name") or "Free"
        tokens = params.optional_integer("tokens", -AMOUNT_MAX, AMOUNT_MAX)
        topup = params.optional_integer("topup", 0, AMOUNT_MAX) or 0
        if tokens is None:
            tokens = tokens_of(plan, self._plans, otherwise="give the tokens yourself")
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
        self._changes.note(account_id)
        return account_json(account)

    def set_mark(self, params: Params) -> Json:
        """Set the low-credit mark, in credits of both buckets together; none when it is absent.

        Setting it is no crossing: an account that is below it already is warned of the next one.
        """
        account = find_account(params.text("account_id"))
        mark = params.optional_integer("mark", 0, AMOUNT_MAX)
        return self._update(account.id, low_credit_mark=mark)

    def reset_estimates(self, params: Params) -> Json:
        """Forgive an account its estimates: they are not charged, and counted from now on."""
        account = find_account(params.text("account_id"))
        return self._update(
            account.id, estimates_charged_since=None, estimates_forgiven_at=now_iso()
        )

    def enable(self, params: Params) -> Json:
        """Let the account open sessions again."""
        return self._set_status(params, Status.ACTIVE)

    def disable(self, params: Params) -> Json:
        """Refuse new sessions of the account."""
        return self._set_status(params, Status.DISABLED)

    def _set_status(self, params: Params, status: Status) -> Json:
        account = find_account(params.text("account_id"))
        shown = self._update(account.id, status=int(status))
        self._changes.note(account.id)
        return shown

    def _update(self, account_id: str, **columns: Any) -> Json:
        Account.update(updated_at=now_iso(), **columns).where(Account.id == account_id).execute()
        return account_json(find_account(account_id))

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
