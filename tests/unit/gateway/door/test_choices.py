"""Where a session whose model is at several providers is led, and where else it can be served."""

from typing import Any

import pytest
from websockets.datastructures import Headers

from gateway.door.allowed_models import read_table
from gateway.door.crossing import decided
from gateway.door.routing import choices, route, with_provider_model
from gateway.http.refusals import Refusal
from gateway.providers.base import Target
from gateway.providers.catalog import PROVIDER_NAMES

EVERYTHING = ("openai", "azure", "xai", "gemini")
GEMINI = "/ws/google.ai.generativelanguage.v1beta.GenerativeService.BidiGenerateContent"
TABLE = read_table(
    """
    [models."safe"]
    providers = [
      {provider = "openai", model = "gpt-realtime"},
      {provider = "gemini", model = "gemini-live"},
      {provider = "azure", model = "deployed"},
    ]
    """,
    providers=PROVIDER_NAMES,
)


def led(path: str, *available: str, headers: Headers | None = None) -> Target:
    """What a request asks for while these providers are healthy."""
    found: Any = route(
        path,
        headers or Headers(),
        table=TABLE,
        providers=EVERYTHING,
        new_session_id=lambda: "sess_1",
        standing=lambda name: name not in available,
    )
    assert isinstance(found, Target), found
    return found


@pytest.mark.parametrize(
    ("available", "provider", "model"),
    [
        (("openai", "gemini", "azure"), "openai", "gpt-realtime"),
        (("gemini", "azure"), "gemini", "gemini-live"),
        (("azure",), "azure", "deployed"),
        ((), "openai", "gpt-realtime"),
    ],
)
def test_a_new_session_goes_to_the_first_healthy_provider(
    available: tuple[str, ...], provider: str, model: str
) -> None:
    """Whether it speaks the client's protocol or another one; each has its own name for the model.
    What an account may use is decided by the client's name.
    """
    target = led("/v1/realtime?model=safe", *available)
    assert (target.provider, target.model) == (provider, "safe")
    assert with_provider_model(target, TABLE).model == model


@pytest.mark.parametrize(
    ("available", "provider"), [(EVERYTHING, "openai"), (("gemini",), "gemini"), ((), "openai")]
)
def test_a_gemini_client_is_led_there_by_its_first_message(
    available: tuple[str, ...], provider: str
) -> None:
    """Its model is not known before."""
    undecided = led(GEMINI, *available)
    assert undecided.is_undecided
    target = decided(undecided, "safe", TABLE, EVERYTHING, lambda name: name not in available)
    assert isinstance(target, Target)
    assert (target.provider, target.is_undecided) == (provider, False)


def test_a_session_of_openai_s_client_can_be_served_everywhere() -> None:
    """In the table's order, each with its own path, model and protocol."""
    targets = choices(led("/v1/realtime?model=safe&voice=x", "azure"), TABLE, EVERYTHING)
    assert [(t.provider, t.path, t.query) for t in targets] == [
        ("openai", "/realtime", "model=safe&voice=x"),
        ("gemini", GEMINI, ""),
        ("azure", "/openai/v1/realtime", "model=safe&voice=x"),
    ]
    assert [t.is_translated for t in targets] == [False, True, False]
    assert with_provider_model(targets[1], TABLE).model == "gemini-live"
    assert with_provider_model(targets[2], TABLE).query == "model=deployed&voice=x"


@pytest.mark.parametrize("version", ["v1", "v1beta", "v1alpha"])
@pytest.mark.parametrize("available", [EVERYTHING, ("gemini",), ("azure",)])
def test_a_session_of_gemini_s_client_can_be_served_everywhere(
    version: str, available: tuple[str, ...]
) -> None:
    """Wherever it begins; Gemini under the path that the client asked for, the others by a model
    in their address.
    """
    path = GEMINI.replace("v1beta", version)
    target = decided(led(path), "safe", TABLE, EVERYTHING, lambda name: name not in available)
    assert isinstance(target, Target)
    targets = choices(target, TABLE, EVERYTHING)
    assert target in targets
    served = [with_provider_model(target, TABLE) for target in targets]
    assert [(t.provider, t.path, t.query, t.model) for t in served] == [
        ("openai", "/realtime", "model=gpt-realtime", "gpt-realtime"),
        ("gemini", path, "", "gemini-live"),
        ("azure", "/openai/v1/realtime", "model=deployed", "deployed"),
    ]
    assert [t.is_translated for t in targets] == [True, False, True]


def test_a_session_that_resumes_one_is_gemini_s() -> None:
    """Nobody else has what it resumes, healthy or not."""
    undecided = led(GEMINI, "openai")
    target = decided(
        undecided, "safe", TABLE, EVERYTHING, lambda name: name == "gemini", is_resuming=True
    )
    assert isinstance(target, Target)
    assert [t.provider for t in choices(target, TABLE, EVERYTHING)] == ["gemini"]


def test_a_gemini_client_that_names_its_provider_stays_there() -> None:
    """As any other."""
    undecided = led(f"/provider/azure{GEMINI}")
    target = decided(undecided, "safe", TABLE, EVERYTHING)
    assert isinstance(target, Target)
    assert choices(target, TABLE, EVERYTHING) == [target]


@pytest.mark.parametrize("beta", [False, True], ids=["ga", "beta"])
def test_a_session_that_began_at_gemini_can_come_back(beta: bool) -> None:
    """To OpenAI and Azure, whose address names the model."""
    headers = Headers([("OpenAI-Beta", "realtime=v1")] if beta else [])
    crossed = led("/v1/realtime?model=safe", "gemini", headers=headers)
    assert crossed.provider == "gemini"
    targets = choices(crossed, TABLE, EVERYTHING)
    assert targets[1] == crossed
    served = [with_provider_model(target, TABLE) for target in targets]
    assert [(t.provider, t.path, t.query) for t in served if t.provider != "gemini"] == [
        ("openai", "/realtime", "model=gpt-realtime"),
        ("azure", "/openai/v1/realtime", "model=deployed"),
    ]
    assert [t.is_translated for t in targets] == [beta, True, beta]


@pytest.mark.parametrize(
    "path",
    [
        "/v1/realtime?model=safe&provider=azure",
        "/v1/realtime?model=other",
        "/v1/realtime?call_id=rtc_1",
        "/v1/live?model=safe",
        "/v1/realtime?intent=transcription",
    ],
)
def test_no_other_provider_serves_what_only_one_can(path: str) -> None:
    """The client names it, the table does not know the model, or it began there."""
    target = led(path, *EVERYTHING)
    assert choices(target, TABLE, EVERYTHING) == [target]


def test_a_client_may_name_any_provider_of_the_list() -> None:
    """Healthy or not; of another one it is told where the model is."""
    assert led("/v1/realtime?model=safe&provider=azure", "openai").provider == "azure"
    found = route(
        "/v1/realtime?model=safe&provider=xai",
        Headers(),
        table=TABLE,
        providers=EVERYTHING,
        new_session_id=lambda: "sess_1",
    )
    assert isinstance(found, Refusal)
    assert "openai's and gemini's and azure's" in found.message
