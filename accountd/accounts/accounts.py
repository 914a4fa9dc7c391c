"""Accounts and keys: what requests may change. Runs on the daemon's one writing thread.

Balances are changed by ``grants``; an account begins with its opening grant, written here.
"""

import hashlib
import secrets
from datetime import UTC, datetime
from typing import Any, Final

from peewee import IntegrityError, fn

from accountd.accounts.plans import TokensByPlan, tokens_of
from accountd.accounts.recalls import Recalls
from accountd.clock import now_iso
from accountd.data import models
from accountd.data.models import Account, ApiKey, CreditGrant, Status
from accountd.ledger.changed_accounts import ChangedAccounts
from accountd.request_params import AMOUNT_MAX, Json, Params, RequestError
from shared.announcements import RecallCause

KEY_PREFIX: Final = "rslive_v1_"
KEY_RANDOM_BYTES: Final = 24
BALANCE_MAX: Final = 2**62  # far from the 64-bit edge, so that sums of two balances fit


def account_json(account: Account) -> Json:
    """An account as programs see it."""
    return {
        "id": account.id,
        "email": account.email if account.deleted_at is None else account.deleted_email,
        "plan_name": account.plan_name,
        "token_remaining": account.token_remaining,
        "topup_remaining": account.topup_remaining,
        "low_credit_mark": account.low_credit_mark,
        "estimates_charged_since": account.estimates_charged_since,
        "status": _status(account),
        "created_at": account.created_at,
        "updated_at": account.updated_at,
        "deleted_at": account.deleted_at,
    }


def _status(account: Account) -> str:
    if account.deleted_at is not None:
        return "deleted"
    return "active" if account.status == Status.ACTIVE else "disabled"


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
        "keeps_sessions": bool(key.keeps_sessions),
    }


def find_account(account_id: str) -> Account:
    """The account, or ``RequestError`` not_found."""
    account = Account.get_or_none(Account.id == account_id)
    if account is None:
        # Two that look the same may be written in other letters.
        letters = "" if account_id.isascii() else f" ({account_id!a})"
        raise RequestError(
            "not_found", f"no account {account_id!r}{letters}; accountctl account list shows all"
        )
    return account


def find_open_account(account_id: str) -> Account:
    """The account, unless it was deleted: its books are closed."""
    account = find_account(account_id)
    if account.deleted_at is not None:
        raise RequestError("deleted", f"{_deleted(account)}; nothing of it can be changed")
    return account


def find_key(params: Params) -> ApiKey:
    """The key that ``key`` names by its hash, as it is, or, where that is unambiguous, by its
    indicator. No answer repeats a key.
    """
    name = params.text("key")
    if name.startswith(KEY_PREFIX):
        name = hashlib.sha256(name.encode()).hexdigest()
    matches = ApiKey.select().where(
        (ApiKey.key_hash == name)
        | (ApiKey.key_indicator == name)
        | (ApiKey.key_indicator == name.replace("...", "…"))
    )
    account_id = params.optional_text("account_id")
    if account_id is not None:
        matches = matches.where(ApiKey.account_id == find_account(account_id).id)
    keys = list(matches)
    if not keys:
        raise RequestError("not_found", f"no key {name!r}; accountctl key list shows all")
    if len(keys) > 1:
        raise RequestError("conflict", f"{len(keys)} keys match {name!r}; use the key_hash")
    found: ApiKey = keys[0]
    return found


class Accounts:
    """The requests that change accounts and keys."""

    def __init__(
        self, changes: ChangedAccounts, *, plans: TokensByPlan, recalls: Recalls | None = None
    ) -> None:
        self._changes = changes
        self._recalls = recalls or Recalls()
        self._plans = plans

    def take_changed(self) -> list[str]:
        """Ids of the accounts whose balance, plan or status requests have changed since the last
        call, each once; everything is committed.
        """
        return self._changes.take()

    def create(self, params: Params) -> Json:
        """A new account, whose balances arise from its opening grant."""
        email = params.email("email")
        plan = params.optional_words("plan_name") or "Free"
        tokens = params.optional_integer("tokens", -AMOUNT_MAX, AMOUNT_MAX)
        topup = params.optional_integer("topup", 0, AMOUNT_MAX) or 0
        if tokens is None:
            tokens = tokens_of(plan, self._plans, otherwise="give the tokens yourself")
        account_id = params.optional_new_id("id") or f"acct_{secrets.token_hex(8)}"
        _check_email(email)
        now = now_iso()
        try:
            with models.database.atomic("IMMEDIATE"):
                account = Account.create(
                    id=account_id, email=email, plan_name=plan, token_remaining=tokens,
                    topup_remaining=topup, created_at=now, updated_at=now,
                )  # fmt: skip
                CreditGrant.create(
                    id=opening_id(account_id), account_id=account_id, kind="opening",
                    topup_delta=topup, token_delta=tokens, created_at=now,
                )  # fmt: skip
        except IntegrityError:
            raise _taken(account_id) from None
        self._changes.note(account_id)
        return account_json(account)

    def set_mark(self, params: Params) -> Json:
        """Set the low-credit mark, in credits of both buckets together; none when it is absent.

        Setting it is no crossing: an account that is below it already is warned of the next one.
        """
        account = find_open_account(params.text("account_id"))
        mark = params.optional_integer("mark", 0, AMOUNT_MAX)
        return self._update(account.id, low_credit_mark=mark)

    def set_email(self, params: Params) -> Json:
        """Give the account another address."""
        account, email = find_open_account(params.text("account_id")), params.email("email")
        _check_email(email, but=account.id)
        return self._update(account.id, email=email)

    def delete(self, params: Params) -> Json:
        """Close the account for ever. Its keys are revoked, its sessions end, its address is free.

        Its row, its grants and its usage stay, so the books are complete and still add up, and its
        id belongs to nobody else. Usage that arrives afterwards is charged all the same. One that
        was deleted before stays as it is.
        """
        account = find_account(params.text("account_id"))
        if account.deleted_at is not None:
            return account_json(account)
        now = now_iso()

        def close() -> None:
            ApiKey.update(revoked_at=now).where(
                (ApiKey.account_id == account.id) & ApiKey.revoked_at.is_null()
            ).execute()
            self._update(
                account.id, status=int(Status.DISABLED), deleted_at=now, low_credit_mark=None,
                deleted_email=account.email, email=f"deleted {account.id}",
            )  # fmt: skip

        cause = RecallCause.ACCOUNT_DISABLED
        recall = self._recalls.write(cause, account_id=account.id, change=close)
        self._changes.note(account.id)
        return account_json(find_account(account.id)) | {"recall": recall.number}

    def reset_estimates(self, params: Params) -> Json:
        """Forgive an account its estimates: they are not charged, and counted from now on."""
        account = find_open_account(params.text("account_id"))
        return self._update(
            account.id, estimates_charged_since=None, estimates_forgiven_at=now_iso()
        )

    def enable(self, params: Params) -> Json:
        """Let the account open sessions again."""
        account = find_open_account(params.text("account_id"))
        shown = self._update(account.id, status=int(Status.ACTIVE))
        self._changes.note(account.id)
        return shown

    def disable(self, params: Params) -> Json:
        """Refuse new sessions of the account, and end those that there are, unless they are kept.

        An account that is disabled already is so again: its sessions may have been kept.
        """
        account = find_open_account(params.text("account_id"))
        recall = self._recalls.write(
            RecallCause.ACCOUNT_DISABLED,
            account_id=account.id,
            keeps_sessions=params.flag("keeps_sessions"),
            change=lambda: self._update(account.id, status=int(Status.DISABLED)),
        )
        self._changes.note(account.id)
        return account_json(find_account(account.id)) | {"recall": recall.number}

    def _update(self, account_id: str, **columns: Any) -> Json:
        Account.update(updated_at=now_iso(), **columns).where(Account.id == account_id).execute()
        return account_json(find_account(account_id))

    def create_key(self, params: Params) -> Json:
        """A new key; the answer is the only place where it is ever shown."""
        account = find_open_account(params.text("account_id"))
        key = KEY_PREFIX + secrets.token_hex(KEY_RANDOM_BYTES)
        row = ApiKey.create(
            key_hash=hashlib.sha256(key.encode()).hexdigest(),
            account_id=account.id,
            key_indicator=f"{key[:5]}…{key[-5:]}",
            label=params.words("label"),
            created_at=now_iso(),
            expires_at=params.optional_future("expires_at", datetime.now(UTC)),
            keeps_sessions=params.flag("keeps_sessions"),
        )
        return {"key": key, **key_json(row)}

    def revoke_key(self, params: Params) -> Json:
        """Make a key useless, and end its sessions, unless they are kept.

        One that is revoked already keeps its time, and is recalled again: its sessions may have
        been kept.
        """
        key = find_key(params)
        revoked_at = key.revoked_at or now_iso()
        statement = ApiKey.update(revoked_at=revoked_at).where(ApiKey.key_hash == key.key_hash)
        recall = self._recalls.write(
            RecallCause.KEY_REVOKED,
            account_id=key.account_id,
            key_hash=key.key_hash,
            keeps_sessions=params.flag("keeps_sessions"),
            change=statement.execute,
        )
        return key_json(find_key(params)) | {"recall": recall.number}

    def end_sessions(self, params: Params) -> Json:
        """End the sessions of an account, of a key, of a name, or of these together."""
        account_id = params.optional_text("account_id") or ""
        session_id = params.optional_text("session_id") or ""
        if account_id:
            find_account(account_id)
        key = None if params.optional_text("key") is None else find_key(params)
        if key is not None:
            account_id = key.account_id
        if not (account_id or session_id):
            raise RequestError(
                "bad_request", "found no session_id, no key and no account_id; expected one"
            )
        recall = self._recalls.write(
            RecallCause.SESSION_ENDED,
            account_id=account_id,
            key_hash="" if key is None else key.key_hash,
            session_id=session_id,
        )
        return {
            "account_id": account_id or None,
            "key_indicator": None if key is None else key.key_indicator,
            "session_id": session_id or None,
            "recall": recall.number,
        }


# --- helpers -------------------------------------------------------------------------------------


def _check_email(email: str, *, but: str | None = None) -> None:
    """Refuse an address that another account has, in any case of its letters."""
    owners = Account.select(Account.id).where(fn.LOWER(Account.email) == fn.LOWER(email))
    others = [owner.id for owner in owners if owner.id != but]
    if others:
        message = f"the account {others[0]!r} has the email {email!r}; choose another one"
        raise RequestError("already_exists", message)


def _taken(account_id: str) -> RequestError:
    """Why there can be no new account of this id."""
    found = Account.get_or_none(Account.id == account_id)
    if found is None:
        what = f"a grant with the id {opening_id(account_id)!r} exists"
    elif found.deleted_at is not None:
        what = _deleted(found)
    else:
        what = f"an account with the id {account_id!r} exists"
    return RequestError("already_exists", f"{what}; choose another --id")


def _deleted(account: Account) -> str:
    return f"the account {account.id!r} was deleted at {account.deleted_at}, its books are kept"


def opening_id(account_id: str) -> str:
    """The id of the grant that an account begins with."""
    return f"opening-{account_id}"
