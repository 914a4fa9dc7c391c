"""The formats of an export, byte by byte: programs of others rely on them."""

from decimal import Decimal
from typing import Any

import pytest

from accountd.ctl.exporting.focus import Terms
from accountd.ctl.exporting.formats import (
    CSV,
    JSON_LINES,
    Format,
    event_batches,
    events,
    focus_csv,
)
from shared.usage import USAGE_FIELDS

COUNTS = {name: number for number, name in enumerate(USAGE_FIELDS)}
ROW: dict[str, Any] = {
    "id": 7, "created_at": "2026-12-31T23:59:59.999Z", "account_id": "acct_1",
    "session_id": '=cmd("x")', "provider": "openai", "model": "gpt-realtime", "kind": "response",
    "responses": 2, "topup_deducted": 5, "token_deducted": 37, "credits": 42, "waived": 0,
    "rate_card": "default", "unpriced": "", "producer": "ab" * 16, "sequence": 9, **COUNTS,
    "response_ids": ["resp_1"], "raw_usage": [],
}  # fmt: skip
ID = f"{'ab' * 16}-9"
TERMS = Terms("Example, Ltd", "EUR", Decimal("0.000020"))
DATA = (
    '{"row": 7, "session_id": "=cmd(\\"x\\")", "provider": "openai", "model": "gpt-realtime",'
    ' "kind": "response", "responses": 2, "input_tokens": 0, "output_tokens": 1,'
    ' "total_tokens": 2, "input_text_tokens": 3, "input_audio_tokens": 4,'
    ' "input_image_tokens": 5, "input_cached_tokens": 6, "output_text_tokens": 7,'
    ' "output_audio_tokens": 8, "output_thought_tokens": 9, "billed_ms": 10,'
    ' "input_cached_text_tokens": 11, "input_cached_audio_tokens": 12,'
    ' "input_cached_image_tokens": 13, "input_cache_write_tokens": 14, "web_searches": 15,'
    ' "grounding_queries": 16, "tool_calls": 17, "credits": 42, "topup_deducted": 5,'
    ' "token_deducted": 37, "waived": 0, "rate_card": "default", "unpriced": ""}'
)
EVENT = (
    f'{{"specversion": "1.0", "id": "{ID}", "source": "s", "type": "realtime-switch.usage",'
    ' "subject": "acct_1", "time": "2026-12-31T23:59:59.999Z",'
    f' "datacontenttype": "application/json", "data": {DATA}}}'
)
GOLDEN = [
    (
        CSV,
        "id,event_id,created_at,account_id,session_id,provider,model,kind,responses,input_tokens,"
        "output_tokens,total_tokens,input_text_tokens,input_audio_tokens,input_image_tokens,"
        "input_cached_tokens,output_text_tokens,output_audio_tokens,output_thought_tokens,"
        "billed_ms,input_cached_text_tokens,input_cached_audio_tokens,input_cached_image_tokens,"
        "input_cache_write_tokens,web_searches,grounding_queries,tool_calls,topup_deducted,"
        "token_deducted,credits,waived,rate_card,unpriced\r\n",
        f'7,{ID},2026-12-31T23:59:59.999Z,acct_1,"\'=cmd(""x"")",openai,gpt-realtime,response,2,'
        "0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,5,37,42,0,default,\r\n",
    ),
    (
        focus_csv(TERMS),
        "AvailabilityZone,BilledCost,BillingAccountId,BillingAccountName,BillingCurrency,"
        "BillingPeriodEnd,BillingPeriodStart,ChargeCategory,ChargeClass,ChargeDescription,"
        "ChargeFrequency,ChargePeriodEnd,ChargePeriodStart,CommitmentDiscountCategory,"
        "CommitmentDiscountId,CommitmentDiscountName,CommitmentDiscountStatus,"
        "CommitmentDiscountType,ConsumedQuantity,ConsumedUnit,ContractedCost,ContractedUnitPrice,"
        "EffectiveCost,InvoiceId,InvoiceIssuerName,ListCost,ListUnitPrice,PricingCategory,"
        "PricingCurrency,PricingCurrencyContractedUnitPrice,PricingCurrencyEffectiveCost,"
        "PricingCurrencyListUnitPrice,PricingQuantity,PricingUnit,ProviderName,PublisherName,"
        "RegionId,RegionName,ResourceId,ResourceName,ResourceType,ServiceCategory,ServiceName,"
        "ServiceSubcategory,SkuId,SkuMeter,SkuPriceId,SubAccountId,SubAccountName,Tags,x_EventId,"
        "x_UsageRow,x_Responses,x_InputTokens,x_OutputTokens,x_TopupDeducted,x_TokenDeducted,"
        "x_WaivedCredits,x_RateCard\r\n",
        ",0.00084,acct_1,,EUR,2027-01-01T00:00:00Z,2026-12-01T00:00:00Z,Usage,,"
        '"response, gpt-realtime (openai)",Usage-Based,2027-01-01T00:00:00Z,2026-12-31T23:00:00Z,'
        ',,,,,2,Tokens,0.00084,0.00002,0.00084,,"Example, Ltd",0.00084,0.00002,Standard,Credits,1,'
        '42,1,42,Credits,"Example, Ltd",openai,,,"\'=cmd(""x"")",,Voice session,'
        "AI and Machine Learning,Realtime voice,Generative AI,openai/gpt-realtime/response,"
        f"response,openai/gpt-realtime/response,,,{{}},{ID},7,2,0,1,5,37,0,default\r\n",
    ),
    (events("s"), "", f"{EVENT}\n"),
    (event_batches("s"), "", f"[{EVENT}]\n"),
]  # fmt: skip


@pytest.mark.parametrize(("form", "head", "text"), GOLDEN)
def test_a_row_is_written_so(form: Format, head: str, text: str) -> None:
    """A column that is renamed, moved or counted otherwise breaks somebody's books."""
    assert form.head == head
    assert form.text([ROW]) == text


def test_a_json_line_has_all_of_a_row() -> None:
    """And its name first."""
    assert JSON_LINES.text([ROW]).startswith(f'{{"event_id": "{ID}", "id": 7, ')


@pytest.mark.parametrize(
    ("count", "sizes"), [(0, []), (1, [1]), (100, [100]), (101, [100, 1]), (250, [100, 100, 50])]
)
def test_batches_hold_a_hundred_events(count: int, sizes: list[int]) -> None:
    """None is empty."""
    lines = event_batches("s").text([ROW] * count).splitlines()
    assert [line.count('"specversion"') for line in lines] == sizes


PRICES = [  # what a credit costs, credits, and what they cost
    ("1", 42, "42"),
    ("0", 42, "0"),
    ("0.1", 30, "3"),
    ("0.000000000001", 2**53, "9007.199254740992"),
    ("999999.999999999999", 2**53, "9007199254740991990992.800745259008"),
    ("12.50", 4, "50"),
    ("100", 1, "100"),
]


@pytest.mark.parametrize(("price", "credit_count", "cost"), PRICES)
def test_money_is_exact(price: str, credit_count: int, cost: str) -> None:
    """No float, no exponent, no rounding."""
    row = {**ROW, "credits": credit_count}
    line = focus_csv(Terms("I", "EUR", Decimal(price))).text([row])
    assert line.split(",")[1] == cost


def test_a_session_that_is_billed_by_its_length_has_seconds() -> None:
    """It has no tokens."""
    row = {**ROW, **dict.fromkeys(USAGE_FIELDS, 0), "billed_ms": 61_250, "kind": "duration"}
    assert ",61.25,Seconds," in focus_csv(TERMS).text([row])
