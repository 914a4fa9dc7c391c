"""Which provider a client of another protocol is led to, and with which model."""

from typing import Any

import pytest
from websockets.datastructures import Headers

from gateway.door.allowed_models import ModelRoute, ModelTable
from gateway.door.crossing import decided
from gateway.door.routing import route, with_provider_model
from gateway.http.refusals import Refusal
from gateway.providers.base import Dialect, Target

EVERYTHING = ("openai", "azure", "xai", "gemini")
GEMINI = "/ws/google.ai.generativelanguage.v1beta.GenerativeService.BidiGenerateContent"
TABLE = ModelTable(
    route_by_model={
        "acme-voice": ModelRoute("gemini", "gemini-2.5-flash-live"),
        "gemini-other": ModelRoute("openai", "gpt-realtime-mini"),
    },
    default_models={"azure": "deployed"},
)


def asked(path: str, *, table: ModelTable = TABLE, **headers: str) -> Any:
    """What a request asks for."""
    named = Headers({name.replace("_", "-"): value for name, value in headers.items()})
    return route(path, named, table=table, providers=EVERYTHING, new_session_id=lambda: "sess_1")


@pytest.mark.parametrize(
    "path",
    [
        "/v1/realtime?model=gemini-x&rs_core=GEMINI",
        "/v1/realtime?model=gemini-x&provider=gemini",
        "/provider/gemini/v1/realtime?model=gemini-x",
        "/t/acme/provider/Gemini/v1/realtime?model=gemini-x",
        "/v1/realtime?model=gemini-x",
        "/openai/v1/realtime?model=gemini-x&rs_core=gemini",
        "/?rs_key=k&rs_api=OPENAI&rs_core=GEMINI&model=gemini-x",
    ],
)
def test_an_openai_client_is_led_to_gemini(path: str) -> None:
    """By a parameter, by the path, or by the model's name; the key of ours needs no query."""
    target = asked(path)
    assert isinstance(target, Target), target
    assert (target.provider, target.path, target.query) == ("gemini", GEMINI, "")
    assert (target.dialect, target.provider_dialect) == (Dialect.OPENAI, Dialect.GEMINI)
    assert (target.model, target.is_translated, target.is_undecided) == ("gemini-x", True, False)


def test_a_header_names_the_provider() -> None:
    """For SDKs whose URLs cannot be changed."""
    assert asked("/v1/realtime?model=m", x_rs_provider="gemini").provider == "gemini"


@pytest.mark.parametrize("name", ["gpt-realtime", ""])
def test_a_model_of_another_provider_gives_way_to_the_default(name: str) -> None:
    """The client asks for what its own protocol has; the provider named by it has another."""
    target = asked(f"/v1/realtime?model={name}&rs_core=GEMINI")
    assert target.model == "gemini-3.1-flash-live-preview"
    own = ModelTable(default_models={"gemini": "gemini-mine"})
    assert asked(f"/v1/realtime?model={name}&rs_core=GEMINI", table=own).model == "gemini-mine"


def test_the_table_leads_to_another_family() -> None:
    """The client knows one name, and the operator decides who serves it."""
    target = asked("/v1/realtime?model=acme-voice")
    assert (target.provider, target.model) == ("gemini", "acme-voice")
    assert with_provider_model(target, TABLE).model == "gemini-2.5-flash-live"


@pytest.mark.parametrize(
    "parameter", ["call_id=rtc_1", "intent=transcription", "conversation_id=c"]
)
def test_what_no_other_protocol_has_is_refused(parameter: str) -> None:
    """Nothing of it could be kept."""
    found = asked(f"/v1/realtime?rs_core=GEMINI&{parameter}")
    assert isinstance(found, Refusal)
    assert (found.status, found.code) == (400, "not_translatable")


@pytest.mark.parametrize("path", ["/v1/live/sessions", "/v1/realtime/translations?model=m"])
def test_other_protocols_are_not_translated(path: str) -> None:
    """GPT-Live and translations have no counterpart."""
    found = asked(path, x_rs_provider="gemini")
    assert isinstance(found, Refusal)
    assert found.code == "provider_not_found"


def test_two_providers_cannot_be_meant() -> None:
    """Whoever names both is told so."""
    found = asked("/v1/realtime?model=m&provider=xai", x_rs_provider="gemini")
    assert isinstance(found, Refusal)
    assert found.code == "provider_conflict"


@pytest.mark.parametrize(
    ("provider", "named", "model", "path", "query"),
    [
        ("openai", "gpt-realtime", "gpt-realtime", "/realtime", "model=gpt-realtime"),
        ("openai", "gemini-x", "gpt-realtime", "/realtime", "model=gpt-realtime"),
        ("xai", "gemini-x", "grok-voice-latest", "/realtime", "model=grok-voice-latest"),
        ("azure", "gemini-x", "deployed", "/openai/v1/realtime", "model=deployed"),
        ("azure", "mine", "mine", "/openai/v1/realtime", "model=mine"),
    ],
)
def test_a_gemini_client_is_led_to_the_openai_family(
    provider: str, named: str, model: str, path: str, query: str
) -> None:
    """Its first message names the model: until then nobody is dialled."""
    before = asked(f"/provider/{provider}{GEMINI}")
    assert (before.is_undecided, before.model) == (True, None)
    target = decided(before, named, TABLE, EVERYTHING)
    assert isinstance(target, Target), target
    assert (target.provider, target.model, target.path) == (provider, model, path)
    assert (target.query, target.is_undecided, target.is_translated) == (query, False, True)


def test_the_table_decides_by_the_first_message() -> None:
    """Where it leads a model elsewhere, any Gemini client's first message is waited for."""
    before = asked(GEMINI)
    assert before.is_undecided
    there = decided(before, "gemini-other", TABLE, EVERYTHING)
    assert isinstance(there, Target)
    assert (there.provider, with_provider_model(there, TABLE).model) == (
        "openai", "gpt-realtime-mini",
    )  # fmt: skip
    here = decided(before, "gemini-x", TABLE, EVERYTHING)
    assert isinstance(here, Target)
    assert (here.provider, here.is_translated, here.is_undecided) == ("gemini", False, False)


def test_without_such_a_table_nobody_waits() -> None:
    """The provider is dialled while the client's setup is on its way."""
    assert not asked(GEMINI, table=ModelTable()).is_undecided
    others = ModelTable({"acme-voice": ModelRoute("xai", "grok-voice-latest")})
    assert not asked(GEMINI, table=others).is_undecided


def test_a_conflict_with_the_table_is_refused() -> None:
    """The table says whose model it is."""
    found = decided(asked(f"/provider/xai{GEMINI}"), "gemini-other", TABLE, EVERYTHING)
    assert isinstance(found, Refusal)
    assert found.code == "provider_conflict"


def test_a_provider_without_a_key_is_refused() -> None:
    """The table may name one that this gateway cannot reach."""
    found = decided(asked(GEMINI), "gemini-other", TABLE, ("gemini",))
    assert isinstance(found, Refusal)
    assert found.code == "provider_not_found"
