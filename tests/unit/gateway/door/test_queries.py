"""The query of a request: what is the gateway's, and what goes on to the provider."""

import pytest

from gateway.door.queries import (
    conflict_in,
    forwarded_query,
    query_for_provider,
    rest_of_query,
    resuming,
    sideband_of,
    split_target,
    wants_events,
    with_call,
    with_model,
)
from gateway.http.refusals import Refusal
from gateway.providers.base import Target

TARGETS = [
    # request target; path, decoded parameters, raw query
    ("/v1/realtime", "/v1/realtime", [], ""),
    ("/v1//realtime/?a=b%20c&d", "/v1/realtime", [("a", "b c"), ("d", "")], "a=b%20c&d"),
    ("/v1/realtime?a=b#c?d=e", "/v1/realtime", [("a", "b")], "a=b"),
    ("", "/", [], ""),
    ("/?a=b=c&&=d&e=", "/", [("a", "b=c"), ("", "d"), ("e", "")], "a=b=c&&=d&e="),
    ("/?a=b+c&d=1;e", "/", [("a", "b c"), ("d", "1;e")], "a=b+c&d=1;e"),
]


@pytest.mark.parametrize(("target", "path", "parameters", "query"), TARGETS)
def test_a_target_is_a_path_and_a_query(
    target: str, path: str, parameters: list[tuple[str, str]], query: str
) -> None:
    """Without a fragment, which is nobody's but the browser's."""
    assert split_target(target) == (path, parameters, query)


EVENTS = [
    ("/v1/realtime", False),
    ("/v1/realtime?rs_events=0", False),
    ("/v1/realtime?rs_events=1", True),
    ("/v1/realtime?rs_events=1&rs_events=0", True),  # the first one counts
    ("/v1/realtime?rs_events=true", "rs_events: found 'true', expected 0 or 1"),
    ("/v1/realtime?rs_events=", "rs_events: found '', expected 0 or 1"),
    ("/v1/realtime?rs_events=" + "x" * 99, f"rs_events: found '{'x' * 32}', expected 0 or 1"),
]


@pytest.mark.parametrize(("target", "expected"), EVENTS)
def test_a_client_may_ask_for_events_of_ours(target: str, expected: bool | str) -> None:
    """With 1 or 0; anything else is a mistake that it hears of."""
    found = wants_events(target)
    assert (found.message if isinstance(found, Refusal) else found) == expected


def target(query: str) -> Target:
    """A session."""
    return Target("openai", "m", "sess_1", "/realtime", query)


SUBJECTS = [
    # query; what is left of it without what the connection is for
    ("model=m&x=1", "x=1"),
    ("x=%20&deployment=m&call_id=a&intent=b&conversation_id=c&y", "x=%20&y"),
    ("", ""),
]


@pytest.mark.parametrize(("query", "rest"), SUBJECTS)
def test_a_sideband_asks_for_its_call_alone(query: str, rest: str) -> None:
    """The rest of the query keeps its spelling, and the call's id stays one value."""
    assert rest_of_query(target(query)) == rest
    sideband = sideband_of(target(query), "rtc/1&x=2")
    assert sideband.query == (f"{rest}&" if rest else "") + "call_id=rtc%2F1%26x%3D2"
    assert (sideband.model, sideband.call_id) == ("", "rtc/1&x=2")


def test_what_is_put_in_stands_before_what_is_there() -> None:
    """The first of a name counts, so the client's own is not used."""
    assert with_model("/v1/realtime?model=b&x=1#f", "a/b") == "/v1/realtime?model=a%2Fb&model=b&x=1"
    assert with_model("/v1/realtime", "m") == "/v1/realtime?model=m"
    assert with_call("/v1/realtime?x=1", "rtc_1") == "/v1/realtime?call_id=rtc_1&x=1"


CONFLICTS = [
    # parameters; the code of the refusal, None: they can be meant
    ({}, None),
    ({"model": "m"}, None),
    ({"intent": "transcription"}, None),
    ({"call_id": "rtc_1"}, None),
    ({"call_id": "rtc_1", "model": "m", "intent": "transcription"}, None),
    ({"model": "", "intent": "transcription"}, None),
    ({"model": "m", "intent": "transcription"}, "model_and_intent"),
    ({"deployment": "m", "intent": "transcription"}, "model_and_intent"),
    ({"call_id": ".."}, "bad_request"),
    ({"call_id": "a/b"}, "bad_request"),
    ({"call_id": "x" * 129}, "bad_request"),
]


@pytest.mark.parametrize(("values", "code"), CONFLICTS)
def test_what_cannot_be_meant_is_refused(values: dict[str, str], code: str | None) -> None:
    """An id of a call becomes a segment of a URL; a model and an intent exclude each other."""
    refusal = conflict_in(values)
    assert (None if refusal is None else refusal.code) == code


FORWARDED = [
    # the client's query; what goes on
    ("model=m&x=%41&y", "model=m&x=%41&y"),
    ("rs_events=1&rs_key=k&access_token=k&key=k&api-key=k&provider=xai&model=m", "model=m"),
    ("RS_KEY=k&Provider=xai&%72s_key=k&model=m", "model=m"),
    ("model=a&model=b", "model=a"),
    ("Model=b&model=a", "model=a"),
    ("mod%65l=a", "model=a"),
    ("deployment=b&model=a", "model=a"),
    ("call_id=a&call_id=b&conversation_id=c&intent=d", "call_id=a&conversation_id=c&intent=d"),
]


@pytest.mark.parametrize(("query", "expected"), FORWARDED)
def test_only_what_was_looked_at_goes_on(query: str, expected: str) -> None:
    """Once, in lower case; nothing of what is the gateway's, a key least of all."""
    assert forwarded_query(query, "model") == expected


def test_another_provider_has_another_name_for_the_model() -> None:
    """What only Azure knows stays behind."""
    query = "deployment=m&api-version=2025&x=%20"
    assert query_for_provider(query, "deployment", "model") == "model=m&x=%20"


RESUMED = [
    # query; the conversation; the query of the next connection
    ("model=m", "conv 1&x", "model=m&conversation_id=conv%201%26x"),
    ("conversation_id=a&model=%6D", "b", "model=%6D&conversation_id=b"),
    ("model=m&conversation_id=a&x=1", "", "model=m&x=1"),
    ("model=m", "", "model=m"),
]


@pytest.mark.parametrize(("query", "name", "expected"), RESUMED)
def test_another_connection_names_the_conversation_that_goes_on(
    query: str, name: str, expected: str
) -> None:
    """In place of one that the client named; the rest keeps its spelling."""
    assert resuming(target(query), name).query == expected
