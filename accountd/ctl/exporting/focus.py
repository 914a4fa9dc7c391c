"""Usage as rows of FOCUS 1.2, the FinOps Open Cost and Usage Specification. Pure.

Credits are a virtual currency, the pricing currency of every row: the prices and the effective
cost in it are the ledger's own numbers. What they are in money only the operator knows, who says
what a credit costs. Products are exact decimals, never floats.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Context, Decimal, Inexact
from typing import Any, Final

from accountd.ctl.exporting.rows import Row, event_id

# Columns that are always null are those of what there is not, which readers of FOCUS 1.0 expect.
NULL_COLUMNS: Final = (
    "AvailabilityZone", "BillingAccountName", "ChargeClass", "CommitmentDiscountCategory",
    "CommitmentDiscountId", "CommitmentDiscountName", "CommitmentDiscountStatus",
    "CommitmentDiscountType", "InvoiceId", "RegionId", "RegionName", "ResourceName", "SubAccountId",
    "SubAccountName",
)  # fmt: skip
_MS_PER_S: Final = 1_000
# All digits of a price (``choosing``) times those of any balance.
_EXACT: Final = Context(prec=18 + 19, traps=[Inexact])


@dataclass(frozen=True, slots=True)
class Terms:
    """Who sells the credits, for how much of which currency (ISO 4217).

    ``is_prepaid``: they were invoiced when they were bought, so a charge of usage bills nothing.
    """

    issuer: str
    currency: str
    credit_price: Decimal
    is_prepaid: bool = False


def columns_of(terms: Terms) -> dict[str, Callable[[Row], Any]]:
    """What each column of a row has; FOCUS's own in the order of the specification, then ours."""
    price = terms.credit_price

    def money(credit_count: int) -> str:
        return _plain(_EXACT.multiply(price, Decimal(credit_count)))

    found: dict[str, Callable[[Row], Any]] = {
        "BilledCost": lambda row: money(0 if terms.is_prepaid else row["credits"]),
        "BillingAccountId": lambda row: row["account_id"],
        "BillingCurrency": lambda _: terms.currency,
        "BillingPeriodEnd": lambda row: _next_month(row["created_at"]),
        "BillingPeriodStart": lambda row: f"{row['created_at'][:7]}-01T00:00:00Z",
        "ChargeCategory": lambda _: "Usage",
        "ChargeDescription": lambda row: f"{row['kind']}, {row['model']} ({row['provider']})",
        "ChargeFrequency": lambda _: "Usage-Based",
        "ChargePeriodEnd": lambda row: _next_hour(row["created_at"]),
        "ChargePeriodStart": lambda row: f"{row['created_at'][:13]}:00:00Z",
        "ConsumedQuantity": lambda row: _consumed(row)[0],
        "ConsumedUnit": lambda row: _consumed(row)[1],
        "ContractedCost": lambda row: money(_priced(row)),
        "ContractedUnitPrice": lambda _: _plain(price),
        "EffectiveCost": lambda row: money(row["credits"]),
        "InvoiceIssuerName": lambda _: terms.issuer,
        "ListCost": lambda row: money(_priced(row)),
        "ListUnitPrice": lambda _: _plain(price),
        "PricingCategory": lambda _: "Standard",
        "PricingCurrency": lambda _: "Credits",
        "PricingCurrencyContractedUnitPrice": lambda _: 1,
        "PricingCurrencyEffectiveCost": lambda row: row["credits"],
        "PricingCurrencyListUnitPrice": lambda _: 1,
        "PricingQuantity": _priced,
        "PricingUnit": lambda _: "Credits",
        "ProviderName": lambda _: terms.issuer,
        "PublisherName": lambda row: row["provider"],
        "ResourceId": lambda row: row["session_id"],
        "ResourceType": lambda _: "Voice session",
        "ServiceCategory": lambda _: "AI and Machine Learning",
        "ServiceName": lambda _: "Realtime voice",
        "ServiceSubcategory": lambda _: "Generative AI",
        "SkuId": _sku,
        "SkuMeter": lambda row: row["kind"],
        "SkuPriceId": _sku,
        "Tags": lambda _: "{}",
        **dict.fromkeys(NULL_COLUMNS, lambda _: None),
    }
    return {name: found[name] for name in sorted(found)} | {
        "x_EventId": event_id,
        "x_UsageRow": lambda row: row["id"],
        "x_Responses": lambda row: row["responses"],
        "x_InputTokens": lambda row: row["input_tokens"],
        "x_OutputTokens": lambda row: row["output_tokens"],
        "x_TopupDeducted": lambda row: row["topup_deducted"],
        "x_TokenDeducted": lambda row: row["token_deducted"],
        "x_WaivedCredits": lambda row: row["waived"],
        "x_RateCard": lambda row: row["rate_card"],
    }


# --- helpers -------------------------------------------------------------------------------------


def _priced(row: Row) -> int:
    """The credits of its price, those of an estimate that were waived included."""
    credit_count: int = row["credits"] + row["waived"]
    return credit_count


def _consumed(row: Row) -> tuple[Any, str]:
    """What was used, and its unit: a session that is billed by its length has no tokens."""
    if row["total_tokens"] == 0 and row["billed_ms"]:
        return _plain(Decimal(row["billed_ms"]) / _MS_PER_S), "Seconds"
    return row["total_tokens"], "Tokens"


def _sku(row: Row) -> str:
    return f"{row['provider']}/{row['model']}/{row['kind']}"


def _next_hour(stored: str) -> str:
    hour = datetime.fromisoformat(f"{stored[:13]}:00:00+00:00") + timedelta(hours=1)
    return f"{hour:%Y-%m-%dT%H}:00:00Z"


def _next_month(stored: str) -> str:
    year, month = int(stored[:4]), int(stored[5:7])
    year, month = (year + 1, 1) if month == 12 else (year, month + 1)
    return f"{year:04}-{month:02}-01T00:00:00Z"


def _plain(number: Decimal) -> str:
    """Without an exponent, and without zeros at its end."""
    text = f"{number:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
