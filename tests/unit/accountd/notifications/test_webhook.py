"""The form of a webhook: its signature, what it may be sent to, and how long it waits."""

import pytest

from accountd.notifications.webhook import (
    RETRY_S_MAX,
    RETRY_S_MIN,
    backoff_s,
    parse_secret,
    parse_url,
    sign,
)


def test_the_signature_is_that_of_standard_webhooks() -> None:
    """The example of its reference libraries."""
    signature = sign(
        parse_secret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"),
        message_id="msg_p5jXN8AQM9LWM0D4loKWxJek",
        timestamp=1614265330,
        body=b'{"test": 2432232314}',
    )
    assert signature == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


@pytest.mark.parametrize("text", ["whsec_", "whsec_c2hvcnQ=", "not base64!", "whsec_" + "A" * 92])
def test_a_secret_that_is_none_is_refused(text: str) -> None:
    """Too short, too long, not base64; the secret itself is not in the message."""
    with pytest.raises(ValueError, match="expected whsec_ and 24 to 64 bytes in base64"):
        parse_secret(text)


@pytest.mark.parametrize("text", ["https://example.org/hook?x=1", "http://127.0.0.1:8000"])
def test_urls_that_can_be_sent_to(text: str) -> None:
    """http and https."""
    assert parse_url(text).geturl() == text


BAD_URLS = [
    "ftp://example.org", "example.org/hook", "https://", "https://user:pw@example.org",
    "https://example.org/#x", "https://example.org/a b", "http://example.org:99999",
    "https://exämple.org/", "http://example.org/\r\nX: y",
]  # fmt: skip


@pytest.mark.parametrize("text", BAD_URLS)
def test_urls_that_cannot_be_sent_to(text: str) -> None:
    """Another scheme, no host, a password that would be logged, what breaks a request line."""
    with pytest.raises(ValueError, match="expected"):
        parse_url(text)


def test_waits_double_up_to_a_bound_and_are_spread() -> None:
    """Between half and all of the interval."""
    longest = [backoff_s(failures, jitter=1.0) for failures in range(1, 40)]
    assert longest[:4] == [RETRY_S_MIN, 2 * RETRY_S_MIN, 4 * RETRY_S_MIN, 8 * RETRY_S_MIN]
    assert longest[-1] == RETRY_S_MAX
    assert backoff_s(40, jitter=0.0) == RETRY_S_MAX / 2
    assert backoff_s(10**9, jitter=0.5) == RETRY_S_MAX * 0.75
