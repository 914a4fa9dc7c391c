"""Log lines, as far as they are not structlog's own."""

from datetime import UTC, datetime

import pytest
from structlog.processors import TimeStamper

from shared.logs import add_timestamp, to_logfmt


def test_a_timestamp_is_that_of_structlog() -> None:
    """In the same form, and of the same time."""
    before, ours, after = (
        stamp(None, "info", {})["timestamp"]
        for stamp in (TimeStamper(fmt="iso", utc=True), add_timestamp, TimeStamper(fmt="iso"))
    )
    assert datetime.fromisoformat(before) <= datetime.fromisoformat(ours)
    assert datetime.fromisoformat(ours) <= datetime.fromisoformat(after)
    assert len(ours) == len("2026-11-29T22:51:22.574882Z")
    assert datetime.fromisoformat(ours).tzinfo == UTC


WORDS = {
    "bye\r2026 level=error": '"bye\\r2026 level=error"',
    "a\nlevel=error": '"a\\nlevel=error"',
    "\x1b[2J\x1b]0;title\x07": "\\x1b[2J\\x1b]0;title\\x07",
    "\x9b2Jx": "\\x9b2Jx",
    "abc\u202edef\u2028": "abc\\u202edef\\u2028",
    "größer 你好": '"größer 你好"',
}


@pytest.mark.parametrize(("said", "written"), WORDS.items(), ids=map(ascii, WORDS))
def test_what_a_peer_says_neither_ends_a_line_nor_moves_a_cursor(said: str, written: str) -> None:
    """The reason of a client's close is any text, and somebody reads the log on a terminal."""
    line = to_logfmt(None, "info", {"event": "client left", "reason": said})
    assert line.endswith(f' event="client left" reason={written}')
