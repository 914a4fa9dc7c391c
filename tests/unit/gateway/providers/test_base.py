"""What a request is for, read from its path and its query."""

from typing import Any

import pytest

from gateway.handles.handle import Handle, HandleKind
from gateway.providers.base import Target, joined


def target(path: str = "/realtime", query: str = "", **fields: Any) -> Target:
    """A request for a provider of OpenAI's family."""
    return Target("openai", fields.pop("model", "m"), "sess_1", path, query, **fields)


FORMS = [
    # path, query; whether it is GPT-Live, the session of it that there is already
    ("/realtime", "", False, None),
    ("/live", "", True, None),
    ("/live/sessions", "", True, None),
    ("/live/sessions/live_1/attach", "", True, ("live_1", "attach")),
    ("/live/sessions/live_1/fork", "", True, ("live_1", "fork")),
    ("/live/sessions/a%2Fb/fork", "", True, ("a/b", "fork")),
    ("/live/sessions/live_1/hang", "", True, None),
    ("/live/sessions/a/b/fork", "", True, None),
    ("/livestock", "", False, None),
    ("/v/live/sessions/live_1/fork", "", False, None),
]


@pytest.mark.parametrize(("path", "query", "is_live", "session"), FORMS)
def test_a_path_says_whether_it_is_gpt_live(
    path: str, query: str, is_live: bool, session: tuple[str, str] | None
) -> None:
    """An id in a path may be percent-encoded, and is one segment."""
    found = target(path, query)
    assert (found.is_live, found.live_session) == (is_live, session)


QUERIES = [
    # query; whether the session only transcribes, the call that it is a sideband of
    ("", False, ""),
    ("model=m", False, ""),
    ("intent=transcription", True, ""),
    ("intent=transcriptions", False, ""),
    ("call_id=rtc_1", False, "rtc_1"),
    ("call_id=rtc%5F1&intent=transcription", True, "rtc_1"),
    ("call_id=", False, ""),
]


@pytest.mark.parametrize(("query", "is_transcription", "call_id"), QUERIES)
def test_a_query_says_what_the_session_is_for(
    query: str, is_transcription: bool, call_id: str
) -> None:
    """Decoded, as the provider reads it."""
    found = target(query=query)
    assert (found.is_transcription, found.call_id) == (is_transcription, call_id)


HANDLES = [
    ("/realtime", "model=m", []),
    ("/realtime", "call_id=rtc_1", [(HandleKind.CALL, "rtc_1")]),
    ("/realtime", "conversation_id=conv%201", [(HandleKind.CONVERSATION, "conv 1")]),
    (
        "/realtime",
        "conversation_id=b&call_id=a",
        [(HandleKind.CALL, "a"), (HandleKind.CONVERSATION, "b")],
    ),
    ("/live/sessions/live_1/attach", "", [(HandleKind.LIVE, "live_1")]),
    (
        "/live/sessions/live_1/fork",
        "call_id=a",
        [(HandleKind.CALL, "a"), (HandleKind.LIVE, "live_1")],
    ),
    ("/live/sessions", "", []),
]


@pytest.mark.parametrize(("path", "query", "handles"), HANDLES)
def test_all_that_a_session_goes_on_with_is_named(
    path: str, query: str, handles: list[tuple[HandleKind, str]]
) -> None:
    """Each may be another account's, so none may be overlooked."""
    expected = [Handle("openai", kind, value) for kind, value in handles]
    assert target(path, query).handles == expected


def test_a_url_has_a_question_mark_only_before_a_query() -> None:
    """What has no query ends with its path."""
    assert joined("wss://h/v1", "/realtime", "") == "wss://h/v1/realtime"
    assert joined("wss://h/v1", "/realtime", "model=m") == "wss://h/v1/realtime?model=m"
