"""The longest report of a gateway fits into a message."""

import msgspec

from shared.fields import REQUEST_BYTES_MAX
from shared.provider_reports import (
    MODELS_MAX,
    NAME_CHARS_MAX,
    PROVIDERS_MAX,
    REASON_CHARS_MAX,
    TIMES_MAX,
    GatewayReport,
    ProviderReport,
    ReportedFailure,
    ReportedHealth,
)
from shared.requests import Request, decode_request, encode_request

WIDE = "\N{MUSICAL SYMBOL G CLEF}"
COUNT = 2**53


def test_the_longest_report_fits_into_a_message() -> None:
    """ZeroMQ would end the connection otherwise. It is read as it was written."""
    name, reason = WIDE * NAME_CHARS_MAX, WIDE * REASON_CHARS_MAX
    provider = ProviderReport(
        name, ReportedHealth.NOT_JUDGED, reason, COUNT, COUNT, COUNT, [COUNT] * TIMES_MAX,
        [COUNT] * TIMES_MAX,
        {"dial": COUNT, "connection": COUNT}, ReportedFailure(name, reason, COUNT),
        [name] * MODELS_MAX, COUNT, True,
    )  # fmt: skip
    report = GatewayReport(name, [provider] * PROVIDERS_MAX)
    encoded = encode_request(Request("providers.report", msgspec.to_builtins(report)))
    assert len(encoded) < REQUEST_BYTES_MAX
    assert msgspec.convert(decode_request(encoded).params, GatewayReport) == report
