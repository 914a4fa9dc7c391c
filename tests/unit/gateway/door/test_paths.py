"""Whose a path is, and what stands before it."""

import re

import pytest

from gateway.door.paths import (
    ModelSource,
    Route,
    model_parameter,
    own_path,
    route_of,
    session_segments,
)
from gateway.http.refusals import Refusal

BIDI = "/ws/google.ai.generativelanguage.v1beta.GenerativeService.BidiGenerateContent"
AGENT = "/agents/helper/endpoint/protocols/voice/live/sessions"
URL, PROVIDER, MESSAGE = ModelSource.URL, ModelSource.PROVIDER, ModelSource.MESSAGE

ROUTES = [
    # path, parameters; provider, the path there, where the model comes from
    ("/v1/realtime", {}, ("openai", "/realtime", URL)),
    ("/any/prefix/v1/realtime", {}, ("openai", "/realtime", URL)),
    ("/v1/realtime", {"provider": "XAI"}, ("openai", "/realtime", PROVIDER)),
    ("/v1/realtime/translations", {}, ("openai", "/realtime/translations", URL)),
    ("/v1/live", {}, ("openai", "/live", URL)),
    ("/v1/live/sessions", {}, ("openai", "/live/sessions", MESSAGE)),
    ("/v1/live/sessions/a/fork", {}, ("openai", "/live/sessions/a/fork", PROVIDER)),
    ("/xai/v1/realtime", {}, ("xai", "/realtime", PROVIDER)),
    ("/xai/realtime", {"provider": "xai"}, ("xai", "/realtime", PROVIDER)),
    ("/xai/v1/realtime", {"provider": "openai"}, ("openai", "/realtime", URL)),
    ("/openai/v1/realtime", {}, ("azure", "/openai/v1/realtime", URL)),
    ("/openai/realtime", {}, ("azure", "/openai/realtime", URL)),
    ("/voice-live/realtime", {}, ("azure", "/voice-live/realtime", URL)),
    ("/voice-live/realtime", {"agent-id": "a"}, ("azure", "/voice-live/realtime", PROVIDER)),
    ("/voice-live/realtime", {"agent-id": ""}, ("azure", "/voice-live/realtime", URL)),
    ("/openai/v1/realtime", {"agent-id": "a"}, ("azure", "/openai/v1/realtime", URL)),
    ("/voice-agent/realtime", {}, ("azure", "/voice-agent/realtime", PROVIDER)),
    (AGENT, {}, ("azure", AGENT, PROVIDER)),
    (BIDI, {}, ("gemini", BIDI, MESSAGE)),
    (f"{BIDI}Constrained", {}, ("gemini", BIDI, MESSAGE)),
    ("/", {"rs_key": "k"}, ("openai", "/realtime", URL)),
    ("/", {"rs_api": "gemini"}, ("gemini", BIDI, MESSAGE)),
]


@pytest.mark.parametrize(("path", "values", "route"), ROUTES)
def test_a_path_is_of_one_provider(
    path: str, values: dict[str, str], route: tuple[str, str, ModelSource]
) -> None:
    """However SDKs build it."""
    assert route_of(path, values) == Route(*route)


NOWHERE = [
    # path, parameters; the refusal's code
    ("/", {}, "not_found"),
    ("/v1/realtimes", {}, "not_found"),
    ("/v1/realtime/sessions", {}, "not_found"),
    ("/voice-agent/v1/realtime", {}, "not_found"),  # begins like Azure's, ends like OpenAI's
    ("/%6Fpenai/v2/realtime", {}, "not_found"),
    ("/live/v1/realtime", {}, "not_found"),
    ("/v1/live/rtc_1", {}, "not_offered"),
    ("/", {"rs_api": "ACME"}, "provider_not_found"),
]


@pytest.mark.parametrize(("path", "values", "code"), NOWHERE)
def test_a_path_of_two_providers_or_none_is_refused(
    path: str, values: dict[str, str], code: str
) -> None:
    """A path that only ends like one of these is another one."""
    refusal = route_of(path, values)
    assert isinstance(refusal, Refusal)
    assert (refusal.status, refusal.code) == (404, code)


SESSIONS = [
    # prefix of a path; the names of the session in it
    ("", []),
    ("/s/mine/v1", ["mine"]),
    ("/a/s/my%20own/b/v1", ["my own"]),
    ("/s/one/s/two", ["one", "two"]),
    ("/s", []),
    ("/s/v1", []),
]


@pytest.mark.parametrize(("prefix", "names"), SESSIONS)
def test_a_session_is_named_behind_an_s(prefix: str, names: list[str]) -> None:
    """Decoded; a last v1 is of the provider's path."""
    assert list(session_segments(prefix)) == names


@pytest.mark.parametrize("name", ["realtime", "openai", "s"])
def test_a_session_may_be_called_anything(name: str) -> None:
    """What follows the s is no part of a provider's path."""
    assert route_of(f"/s/{name}/v1/realtime", {}) == Route("openai", "/realtime")


OWN = [
    ("/v1/thing", True),
    ("/tenant/s/mine/v1/thing", True),
    ("/s/v1/thing", True),
    ("/openai/v1/thing", False),
    ("/v1/things", False),
]


@pytest.mark.parametrize(("path", "is_ours"), OWN)
def test_an_endpoint_of_ours_has_no_segment_of_a_providers_before_it(
    path: str, is_ours: bool
) -> None:
    """The same prefixes are tolerated."""
    assert (own_path(re.compile("/v1/thing$"), path) is not None) is is_ours


def test_only_the_preview_of_azure_calls_the_model_a_deployment() -> None:
    """A client's ``model`` would be ignored there."""
    assert model_parameter("/openai/realtime") == "deployment"
    assert model_parameter("/openai/v1/realtime") == "model"
    assert model_parameter("/realtime") == "model"
