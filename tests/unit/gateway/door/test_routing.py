"""What a request asks for, and where its key may stand."""

import itertools

import pytest
from websockets.datastructures import Headers

from gateway.door.routing import route, with_provider_model
from gateway.http.refusals import Refusal
from gateway.providers.base import Target
from tests.support.models import TABLE

KEY = "rslive_v1_" + "0123456789abcdef" * 3


EVERYTHING = ("openai", "azure", "xai", "gemini")
GEMINI = "/ws/google.ai.generativelanguage.{}.GenerativeService.BidiGenerateContent"

NUMBERS = itertools.count(1)


def understood(target: str, *providers: str, headers: Headers | None = None) -> Target | Refusal:
    """What a request asks for."""
    return route(
        target,
        headers or Headers(),
        table=TABLE,
        providers=providers or EVERYTHING,
        new_session_id=lambda: f"sess_{next(NUMBERS)}",
    )


ROUTES = [
    # target -> (provider, its path, model, query that goes on)
    (
        "/v1/realtime?model=gpt-realtime",
        ("openai", "/realtime", "gpt-realtime", "model=gpt-realtime"),
    ),
    ("/realtime?model=m", ("openai", "/realtime", "m", "model=m")),
    ("//v1///realtime/?model=m", ("openai", "/realtime", "m", "model=m")),
    ("/t/acme/v1/realtime?model=m", ("openai", "/realtime", "m", "model=m")),
    ("/v1/realtime?model=m&x=%20y&z", ("openai", "/realtime", "m", "model=m&x=%20y&z")),
    (
        "/v1/realtime?rs_key=k&model=m&key=k&access_token=k&rs_sessid=s",
        ("openai", "/realtime", "m", "model=m"),
    ),
    ("/v1/realtime?%72s_key=k&model=m", ("openai", "/realtime", "m", "model=m")),
    ("/v1/realtime?model=m&provider=openai", ("openai", "/realtime", "m", "model=m")),
    ("/v1/realtime?call_id=rtc_1", ("openai", "/realtime", "", "call_id=rtc_1")),
    ("/v1/realtime?intent=transcription", ("openai", "/realtime", "", "intent=transcription")),
    (
        "/?rs_key=k&rs_sessid=s&rs_api=OPENAI",
        ("openai", "/realtime", "gpt-realtime", "model=gpt-realtime"),
    ),
    ("/?rs_key=k&model", ("openai", "/realtime", "gpt-realtime", "model=gpt-realtime")),
    ("/?rs_key=k&rs_sessid=s&model=m", ("openai", "/realtime", "m", "model=m")),
    ("/v1/realtime?model=m#part", ("openai", "/realtime", "m", "model=m")),
    # GPT-Live's first message names the model, whatever the URL says.
    ("/v1/live/sessions", ("openai", "/live/sessions", None, "")),
    (
        "/v1/live/sessions?model=gpt-realtime",
        ("openai", "/live/sessions", None, "model=gpt-realtime"),
    ),
    # Another socket to one that there is already, and one whose URL names the model.
    ("/v1/live/sessions/sess_1/attach", ("openai", "/live/sessions/sess_1/attach", "", "")),
    ("/v1/live/sessions/a%20b/fork", ("openai", "/live/sessions/a%20b/fork", "", "")),
    ("/v1/live?model=gpt-live-1", ("openai", "/live", "gpt-live-1", "model=gpt-live-1")),
    ("/openai/v1/realtime?model=d", ("azure", "/openai/v1/realtime", "d", "model=d")),
    (
        "/t/x/openai/realtime?api-version=v&deployment=d",
        ("azure", "/openai/realtime", "d", "api-version=v&deployment=d"),
    ),
    (
        "/voice-live/realtime?api-version=v&model=gpt-4o",
        ("azure", "/voice-live/realtime", "gpt-4o", "api-version=v&model=gpt-4o"),
    ),
    # On the path of another provider of the family its own names are used.
    (
        "/openai/realtime?api-version=v&deployment=acme&x=1",
        ("xai", "/realtime", "acme", "model=acme&x=1"),
    ),
    (
        "/openai/realtime?api-version=v&deployment=d&provider=openai",
        ("openai", "/realtime", "d", "model=d"),
    ),
    ("/openai/v1/realtime?model=acme", ("xai", "/realtime", "acme", "model=acme")),
    ("/voice-live/realtime?api-version=v&model=acme", ("xai", "/realtime", "acme", "model=acme")),
    (
        "/openai/realtime?api-version=v&deployment=ours",
        ("azure", "/openai/realtime", "ours", "api-version=v&deployment=ours"),
    ),
    ("/v1/realtime/translations?model=m", ("openai", "/realtime/translations", "m", "model=m")),
    (
        "/t/acme/v1/realtime/translations?model=m",
        ("openai", "/realtime/translations", "m", "model=m"),
    ),
    # xAI has a model of its own for who names none.
    ("/xai/v1/realtime", ("xai", "/realtime", "", "")),
    ("/t/acme/xai/v1/realtime?model=m", ("xai", "/realtime", "m", "model=m")),
    ("/v1/realtime?provider=xai", ("xai", "/realtime", "", "")),
    ("/xai/v1/realtime?model=m&provider=openai", ("openai", "/realtime", "m", "model=m")),
    # An agent brings its model.
    (
        "/voice-live/realtime?api-version=v&agent-name=helper&project-name=shop",
        ("azure", "/voice-live/realtime", "", "api-version=v&agent-name=helper&project-name=shop"),
    ),
    (
        "/voice-live/realtime?api-version=v&agent-id=a&agent-project-name=shop",
        ("azure", "/voice-live/realtime", "", "api-version=v&agent-id=a&agent-project-name=shop"),
    ),
    ("/voice-agent/realtime?model=x", ("azure", "/voice-agent/realtime", "x", "model=x")),
    (
        "/agents/helper/endpoint/protocols/voice/live/sessions?api-version=v",
        ("azure", "/agents/helper/endpoint/protocols/voice/live/sessions", "", "api-version=v"),
    ),
    # A session may be called as it likes.
    ("/s/openai/v1/realtime?model=m", ("openai", "/realtime", "m", "model=m")),
    ("/s/call-17/v1/realtime?model=m", ("openai", "/realtime", "m", "model=m")),
    ("/v1/realtime?model=d&provider=azure", ("azure", "/openai/v1/realtime", "d", "model=d")),
    ("/v1/realtime?model=ours", ("azure", "/openai/v1/realtime", "ours", "model=ours")),
    ("/v1/realtime?model=grok-voice", ("xai", "/realtime", "grok-voice", "model=grok-voice")),
    ("/v1/realtime?model=m&provider=XAI", ("xai", "/realtime", "m", "model=m")),
    ("/v1/realtime?model=acme", ("xai", "/realtime", "acme", "model=acme")),
    (
        "/v1/realtime?model=grok-voice&conversation_id=c",
        ("xai", "/realtime", "grok-voice", "model=grok-voice&conversation_id=c"),
    ),
    *(
        (prefix + GEMINI.format(version) + "?key=k", ("gemini", GEMINI.format(version), None, ""))
        for prefix in ("", "/", "/t/acme")
        for version in ("v1", "v1beta", "v1alpha")
    ),
    (
        GEMINI.format("v1alpha") + "Constrained?access_token=t",
        ("gemini", GEMINI.format("v1alpha"), None, ""),
    ),
    ("/?rs_key=k&rs_api=GEMINI", ("gemini", GEMINI.format("v1beta"), None, "")),
]


@pytest.mark.parametrize(("target", "expected"), ROUTES)
def test_routes_and_passes_the_query_on(
    target: str, expected: tuple[str, str, str | None, str]
) -> None:
    """Unknown parameters go on as they were spelled; the gateway's own do not."""
    found = understood(target)
    assert isinstance(found, Target)
    assert (found.provider, found.path, found.model, found.query) == expected


ONE_MODEL = [
    # Whichever the provider would take, only the model that was checked goes on.
    ("/v1/realtime?model=a&model=b", "a", "model=a"),
    ("/v1/realtime?%6dodel=a&model=b", "a", "model=a"),
    ("/v1/realtime?deployment=b&model=a", "a", "model=a"),
    ("/openai/v1/realtime?model=a&deployment=b", "a", "model=a"),
    ("/openai/realtime?model=b&deployment=a&x=1", "a", "deployment=a&x=1"),
    # To some servers (Azure) names in either case are the same.
    ("/openai/realtime?Deployment=b&deployment=a&MODEL=c&X=1", "a", "deployment=a&X=1"),
    ("/v1/realtime?mod%45l=b&model=a&Call_ID=rtc_1&Key=k&API-Key=k&RS_x=1", "a", "model=a"),
    ("/v1/realtime?call_id=c&model=a", "", "call_id=c&model=a"),
    ("/v1/realtime?call_id=&call_id=c&model=a", "a", "call_id=&model=a"),
    ("/v1/realtime?intent=a&%69ntent=b", "", "intent=a"),
]


@pytest.mark.parametrize(("target", "model", "query"), ONE_MODEL)
def test_only_the_model_that_was_looked_at_goes_on(target: str, model: str, query: str) -> None:
    """A second name for the model would get round what an account may use."""
    found = understood(target)
    assert isinstance(found, Target)
    assert (found.model, found.query) == (model, query)


MAPPED = [
    ("/v1/realtime?x=1&model=acme&y", "grok voice/1", "x=1&model=grok%20voice%2F1&y"),
    ("/v1/realtime?model=ours", "ours", "model=ours"),
    ("/v1/realtime?model=other", "other", "model=other"),
    ("/openai/realtime?deployment=acme&api-version=v", "grok voice/1", "model=grok%20voice%2F1"),
    (
        "/openai/realtime?deployment=renamed&api-version=v",
        "dep-1",
        "deployment=dep-1&api-version=v",
    ),
    ("/v1/realtime?model=renamed&deployment=x", "dep-1", "model=dep-1"),
]


@pytest.mark.parametrize(("target", "model", "query"), MAPPED)
def test_a_mapped_model_is_called_what_its_provider_calls_it(
    target: str, model: str, query: str
) -> None:
    """Only the model's parameter changes."""
    found = understood(target)
    assert isinstance(found, Target)
    sent = with_provider_model(found, TABLE)
    assert (sent.model, sent.query) == (model, query)


REFUSED = [
    ("/", 404, "not_found"),
    ("/v1/chat", 404, "not_found"),
    # What only ends like a path of ours is another one.
    ("/speech/openai/v2/realtime?model=m", 404, "not_found"),
    ("/openai/deployments/d/realtime?model=m", 404, "not_found"),
    ("/voice-live/v1/realtime?model=m", 404, "not_found"),
    ("/voice-agent/v1/realtime?model=m", 404, "not_found"),
    ("/agents/helper/realtime?model=m", 404, "not_found"),
    ("/agents/helper/live/sessions", 404, "not_found"),
    ("/VOICE-AGENT/realtime?model=x", 404, "not_found"),
    ("/voice%2Dagent/realtime?model=x", 404, "not_found"),
    ("/Voice-Live/v1/realtime?model=x", 404, "not_found"),
    ("/xai/t/v1/realtime?model=m", 404, "not_found"),
    ("/xai/v1/live/sessions", 404, "not_found"),
    ("/xai/v1/realtime/translations?model=m", 404, "not_found"),
    ("/xai/openai/v1/realtime?model=m", 404, "not_found"),
    ("/voice/live/sessions", 404, "not_found"),
    ("/v1/realtime/realtime?model=m", 404, "not_found"),
    ("/ws/v1/realtime?model=m", 404, "not_found"),
    ("/v1/translations?model=m", 404, "not_found"),
    ("/v1/realtime/calls?model=m", 404, "not_found"),
    ("/v1/live/sessions/sess_L1/detach", 404, "not_found"),
    ("/v1/live/sessions//fork", 404, "not_found"),
    ("/v1/live/sessions/a/b/fork", 404, "not_found"),
    ("/v1/live", 400, "missing_model"),
    ("/v1/live?model=gpt-live-1&provider=xai", 404, "provider_not_found"),
    ("/openai/v1/live?model=gpt-live-1", 404, "not_found"),
    ("/v1/live/rtc_L1", 404, "not_offered"),
    ("/v1/realtime/translations", 400, "missing_model"),
    ("/v1/realtime/translations?model=m&provider=xai", 404, "provider_not_found"),
    ("/v1/realtime?model=m&intent=transcription", 400, "model_and_intent"),
    ("/openai/v1/realtime?model=m&intent=transcription", 400, "model_and_intent"),
    ("/realtimes?model=m", 404, "not_found"),
    ("/v1/realtime?model=m&provider=acme", 404, "provider_not_found"),
    ("/?rs_key=k&rs_api=ACME", 404, "provider_not_found"),
    (GEMINI.format("v2"), 404, "not_found"),
    ("/v1/realtime", 400, "missing_model"),
    ("/v1/realtime?model=", 400, "missing_model"),
    ("/v1/realtime?model=acme&provider=openai", 400, "provider_conflict"),
    ("/v1/live/sessions?provider=azure", 404, "provider_not_found"),
    ("/v1/realtime?deployment=d", 400, "missing_model"),
    ("/openai/realtime?model=d", 400, "missing_model"),
    (f"/v1/realtime?model={'m' * 257}", 400, "bad_request"),
    (f"/v1/realtime?model=m&rs_sessid={'s' * 129}", 400, "bad_request"),
    ("/v1/realtime?model=m&rs_sessid=a%0ab", 400, "bad_request"),
    (f"/s/{'s' * 129}/v1/realtime?model=m", 400, "bad_request"),
    ("/s/a%0ab/v1/realtime?model=m", 400, "bad_request"),
    ("/s/a/v1/realtime?model=m&rs_sessid=b", 400, "session_conflict"),
    ("/s/a/s/b/v1/realtime?model=m", 400, "session_conflict"),
    ("/v1/realtime?model=m&rs_sessid=a&rs_sessid=b", 400, "session_conflict"),
    ("/voice-live/realtime?api-version=v", 400, "missing_model"),
    # Some servers take the first for two parameters, and would see another model.
    ("/v1/realtime?model=gpt-realtime;model=grok", 400, "bad_request"),
    ("/v1/realtime?x=1;y=2&model=m", 400, "bad_request"),
]


@pytest.mark.parametrize(("target", "status", "code"), REFUSED)
def test_refuses_what_it_cannot_serve(target: str, status: int, code: str) -> None:
    """The refusal says what was found and what was expected."""
    found = understood(target)
    assert isinstance(found, Refusal)
    assert (found.status, found.code) == (status, code)


def test_a_provider_without_a_key_is_not_there() -> None:
    """The refusal names those that are."""
    found = understood("/openai/v1/realtime?model=d", "openai", "xai")
    assert isinstance(found, Refusal)
    assert (found.status, found.code) == (404, "provider_not_found")
    assert "openai, xai" in found.message


SESSIONS = [
    ("/realtime?model=m&rs_sessid=a", {}, "a"),
    ("/realtime?model=m", {"x-rs-session": "a"}, "a"),
    ("/realtime?model=m&rs_sessid=", {"x-rs-session": "a"}, "a"),
    ("/s/a/v1/realtime?model=m&rs_sessid=a", {"x-rs-session": "a"}, "a"),
    ("/s/a/realtime?model=m", {}, "a"),
    ("/t/acme//s/a//v1/realtime?model=m", {}, "a"),
    ("/s/a%2Fb%20/v1/realtime?model=m", {}, None),
    ("/s/a%2Fb/v1/realtime?model=m", {}, "a/b"),
    ("/s/v1/v1/realtime?model=m", {}, "v1"),
    ("/s/a/openai/v1/realtime?model=m", {}, "a"),
    ("/s/a/openai/realtime?deployment=m", {}, "a"),
    ("/s/a/voice-live/realtime?model=m", {}, "a"),
    ("/s/a/v1/live/sessions", {}, "a"),
    (f"/s/a{GEMINI.format('v1beta')}", {}, "a"),
]


@pytest.mark.parametrize(("target", "headers", "expected"), SESSIONS)
def test_the_client_may_name_its_session(
    target: str, headers: dict[str, str], expected: str | None
) -> None:
    """In the query, in a header or in the path before the provider's own; in all of them alike."""
    found = understood(target, headers=Headers(headers))
    assert (found.session_id if isinstance(found, Target) else None) == expected


@pytest.mark.parametrize("prefix", ["", "/t/acme/v1", "/s/v1", "/t/s/v1", "/s"])
def test_a_session_without_a_name_gets_one(prefix: str) -> None:
    """Another one each time; the version of the API is no name."""
    found = [understood(f"{prefix}/realtime?model=m") for _ in range(2)]
    names = {one.session_id for one in found if isinstance(one, Target)}
    assert len(names) == 2
    assert all(name.startswith("sess_") for name in names)


def test_header_and_query_must_not_name_two_sessions() -> None:
    """The charge would stand under a name that the client does not expect."""
    headers = Headers({"x-rs-session": "from-header"})
    found = understood("/realtime?model=m&rs_sessid=from-query", headers=headers)
    assert isinstance(found, Refusal)
    assert (found.status, found.code) == (400, "session_conflict")
