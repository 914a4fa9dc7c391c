"""Grants: every change of a balance that is not usage. Runs on the daemon's one writing thread.

A grant is a row of ``credit_grants``, written by the transaction that changes the balance, and
idempotent by its id: what was *asked* under an id counts once. Asked again the answer is ``applied:
false``; anything else under that id is a conflict, and nothing changes.
"""

import json
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from accountd.accounts.accounts import BALANCE_MAX, account_json, find_account, find_open_account
from accountd.accounts.plans import TokensByPlan, tokens_of
from accountd.clock import now_iso
from accountd.data import models
from accountd.data.models import Account, CreditGrant
from accountd.ledger.changed_accounts import ChangedAccounts
from accountd.ledger.charging import Balance, crossing
from accountd.ledger.group_commit import write_crossings
from accountd.request_params import AMOUNT_MAX, Json, Params, RequestError
from accountd.rpc_types import DebtPolicy

GRANT_ID_BYTES: Final = 8


@dataclass(frozen=True, slots=True)
class BalanceChange:
    """What a grant changes: deltas of both buckets, and the plan unless that is None."""

    topup: int = 0
    tokens: int = 0
    reason: str = ""
    plan_name: str | None = None


@dataclass(frozen=True, slots=True)
class GrantRequest:
    """A request for a grant. ``arguments`` are compared when its id comes again."""

    kind: str
    account_id: str
    grant_id: str
    arguments: Mapping[str, Any]

    @property
    def stored(self) -> str:
        """The arguments as JSON, as the row keeps them."""
        return json.dumps(self.arguments, separators=(",", ":"), sort_keys=True, ensure_ascii=False)


def renewed_tokens(*, plan_tokens: int, before: int, debt: DebtPolicy) -> int:
    """What a renewal leaves in the subscription bucket, which held ``before``.

    Unspent tokens do not roll over. A debt is carried into the new period, unless it is forgiven.
    """
    return plan_tokens + min(0, before) if debt is DebtPolicy.KEEP else plan_tokens


class Grants:
    """The requests that change balances."""

    def __init__(self, changes: ChangedAccounts, *, plans: TokensByPlan) -> None:
        self._changes = changes
        self._plans = plans

    def topup(self, params: Params) -> Json:
        """Add top-up credits."""
        amount = params.integer("amount", 1, AMOUNT_MAX)
        request = _grant_request("topup", params, {"amount": amount})
        return {
            **self._grant(request, lambda _account: BalanceChange(topup=amount)),
            "amount": amount,
        }

    def renew(self, params: Params) -> Json:
        """Begin a new period: the subscription holds the plan's tokens, less a kept debt."""
        wanted = params.optional_words("plan_name")
        debt = params.optional_choice("debt", DebtPolicy) or DebtPolicy.KEEP

        def change(account: Account) -> BalanceChange:
            plan, before = wanted or account.plan_name, account.token_remaining
            plan_tokens = tokens_of(plan, self._plans, otherwise="add it to ACCOUNTD_PLANS")
            after = renewed_tokens(plan_tokens=plan_tokens, before=before, debt=debt)
            reason = f"plan {plan}, debt {debt}"
            return BalanceChange(tokens=after - before, reason=reason, plan_name=plan)

        return self._grant(
            _grant_request("renewal", params, {"plan": wanted, "debt": debt}), change
        )

    def adjust(self, params: Params) -> Json:
        """Correct either bucket, in either direction; the ``reason`` is kept with the grant."""
        topup = params.optional_integer("topup", -AMOUNT_MAX, AMOUNT_MAX) or 0
        tokens = params.optional_integer("tokens", -AMOUNT_MAX, AMOUNT_MAX) or 0
        reason = params.words("reason")
        if not topup and not tokens:
            raise RequestError("bad_request", "expected topup or tokens other than 0")
        arguments = {"topup": topup, "tokens": tokens, "reason": reason}
        request = _grant_request("adjustment", params, arguments)
        return self._grant(request, lambda _account: BalanceChange(topup, tokens, reason))

    def _grant(self, request: GrantRequest, change: Callable[[Account], BalanceChange]) -> Json:
        """Apply a request, unless it is applied; ``change`` is only called for a new one."""
        with models.database.atomic("IMMEDIATE"):
            account = find_open_account(request.account_id)
            known = CreditGrant.get_or_none(CreditGrant.id == request.grant_id)
            grant = known or _apply(request, change(account), account)
            if (grant.kind, grant.account_id, grant.asked) != (
                request.kind, request.account_id, request.stored,
            ):  # fmt: skip
                raise _conflict(grant)
        if known is None:
            self._changes.note(request.account_id)
        return {
            **account_json(find_account(request.account_id)),
            "grant_id": grant.id,
            "topup_delta": grant.topup_delta,
            "token_delta": grant.token_delta,
            "applied": known is None,
        }


# --- helpers -------------------------------------------------------------------------------------


def _grant_request(kind: str, params: Params, arguments: Mapping[str, Any]) -> GrantRequest:
    grant_id = params.optional_new_id("grant_id") or f"{kind}-{secrets.token_hex(GRANT_ID_BYTES)}"
    return GrantRequest(kind, params.text("account_id"), grant_id, arguments)


def _apply(request: GrantRequest, change: BalanceChange, account: Account) -> CreditGrant:
    """Write the grant, the balance, and the warning when it falls to its mark."""
    before = account.topup_remaining + account.token_remaining
    left = Balance(
        account.topup_remaining + change.topup,
        account.token_remaining + change.tokens,
        account.low_credit_mark,
    )
    _check(account, change, left)
    now = now_iso()
    grant = CreditGrant.create(
        id=request.grant_id, account_id=account.id, kind=request.kind, topup_delta=change.topup,
        token_delta=change.tokens, reason=change.reason, asked=request.stored, created_at=now,
    )  # fmt: skip
    Account.update(
        topup_remaining=left.topup,
        token_remaining=left.tokens,
        plan_name=change.plan_name or account.plan_name,
        updated_at=now,
    ).where(Account.id == account.id).execute()
    crossed = crossing(account.id, before=before, left=left)
    write_crossings(models.database.connection(), [crossed] if crossed else [], now=now)
    return grant


def _check(account: Account, change: BalanceChange, left: Balance) -> None:
    """Refuse what would leave a balance that cannot be."""
    if change.topup < 0 and left.topup < 0:
        message = (
            f"topup: found {change.topup}, expected at least {-max(account.topup_remaining, 0)}:"
            f" the top-up bucket holds {account.topup_remaining} and cannot become negative"
        )
        raise RequestError("bad_request", message)
    for name, balance in (("topup", left.topup), ("tokens", left.tokens)):
        if abs(balance) > BALANCE_MAX:
            message = f"{name}: the balance would be {balance}, expected at most {BALANCE_MAX}"
            raise RequestError("bad_request", f"{message} either way")


def _conflict(grant: CreditGrant) -> RequestError:
    return RequestError(
        "conflict",
        f"grant {grant.id!r} exists: {grant.kind} {grant.asked} for account {grant.account_id!r};"
        " use another --id",
    )
