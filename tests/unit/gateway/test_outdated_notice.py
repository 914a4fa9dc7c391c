"""That accountd is too old is logged once, until it was not."""

from structlog.testing import capture_logs

from gateway.outdated_notice import OutdatedNotice


def test_it_is_said_once_until_accountd_has_answered() -> None:
    """With what cannot be done, why, and what to do."""
    notice = OutdatedNotice("apples cannot be peeled", hint="upgrade accountd")
    with capture_logs() as lines:
        notice.outdated("unknown method apples.peel")
        notice.outdated("unknown method apples.peel")
        notice.answered()
        notice.answered()
        notice.outdated("unknown method apples.peel")
    assert lines == 2 * [
        {
            "event": "apples cannot be peeled",
            "reason": "unknown method apples.peel",
            "hint": "upgrade accountd",
            "log_level": "error",
        }
    ]
