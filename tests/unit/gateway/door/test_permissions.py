"""What a key may use by its limits: providers by their names, models by those of clients."""

from collections.abc import Collection

import pytest
from websockets.datastructures import Headers

from gateway.accountd_client.authorizations import Authorization
from gateway.door.allowed_models import ModelTable, read_table
from gateway.door.permissions import may_use_model, permitted
from gateway.door.routing import route
from gateway.http.refusals import Refusal
from gateway.providers.base import Target
from gateway.providers.catalog import PROVIDER_NAMES
from shared.limits import SessionLimits

GEMINI = "/ws/google.ai.generativelanguage.v1beta.GenerativeService.BidiGenerateContent"
CONFIGURED = ("openai", "azure", "azure-eu", "xai", "gemini")
TABLE = read_table(
    """
    models.safe = [
      {provider = "openai", model = "gpt-realtime"}, {provider = "azure-eu", model = "deployed"},
      {provider = "gemini", model = "gemini-live"},
    ]
    [accounts.acct]
    models = ["gpt-*", "safe"]
    [providers.azure-eu]
    base_url = "https://eu.example"
    api_key_env = "EU"
    """,
    providers=PROVIDER_NAMES,
)
REFUSED = None

LED = [
    # path, the providers that the key may use, and where it is led
    ("/v1/realtime?model=safe", None, "openai"),
    ("/v1/realtime?model=safe", ("openai",), "openai"),
    ("/v1/realtime?model=safe", ("azure",), "azure-eu"),
    ("/v1/realtime?model=safe", ("azure-eu",), "azure-eu"),
    ("/v1/realtime?model=safe", ("gemini", "xai"), "gemini"),
    ("/v1/realtime?model=safe", ("xai",), REFUSED),
    ("/v1/realtime?model=safe", (), REFUSED),
    ("/v1/realtime?model=safe&provider=openai", ("gemini",), REFUSED),
    ("/v1/realtime?model=safe&provider=azure", ("azure-eu",), "azure-eu"),
    ("/v1/realtime?model=gpt-realtime", ("azure",), REFUSED),
    ("/openai/v1/realtime?model=gpt-realtime", ("azure",), "azure"),
    ("/openai/v1/realtime?model=gpt-realtime", ("azure-eu",), "azure-eu"),
    ("/openai/v1/realtime?model=gpt-realtime&provider=azure-eu", ("azure",), "azure-eu"),
    ("/v1/realtime?call_id=rtc_1", ("azure",), REFUSED),
    ("/v1/realtime?model=grok-voice", ("openai",), REFUSED),
    (GEMINI, ("openai",), "gemini"),  # it is known with the first message alone
]


@pytest.mark.parametrize(("path", "allowed", "expected"), LED)
def test_a_key_is_led_to_what_it_may_use(
    path: str, allowed: tuple[str, ...] | None, expected: str | None
) -> None:
    """Else it is refused: the name of a kind allows all of it, a full name that one alone."""

    def lead(providers: Collection[str]) -> Target | Refusal:
        return route(
            path, Headers(), table=TABLE, providers=providers, new_session_id=lambda: "sess_1"
        )

    target = lead(CONFIGURED)
    assert isinstance(target, Target)
    authorization = Authorization("acct", "", 1, 1, limits=SessionLimits(providers=allowed))
    found = permitted(target, authorization, CONFIGURED, lead)
    if expected is None:
        assert isinstance(found, Refusal)
        assert (found.status, found.code) == (403, "provider_not_allowed")
        assert all(name in found.message for name in allowed or ())
    else:
        assert isinstance(found, Target)
        assert found.provider == expected


MODELS = [
    # the models of the limits, the model, and whether the account of the table may use it
    (None, "safe", True),
    (None, "grok", False),
    (("safe",), "safe", True),
    (("safe",), "gpt-realtime", False),
    (("grok",), "grok", False),
    ((), "safe", False),
    (("safe",), "", False),
]


@pytest.mark.parametrize(("models", "model", "expected"), MODELS)
def test_a_model_has_to_be_allowed_twice(
    models: tuple[str, ...] | None, model: str, expected: bool
) -> None:
    """By the models file, and by the limits."""
    authorization = Authorization("acct", "", 1, 1, limits=SessionLimits(models=models))
    assert may_use_model(TABLE, authorization, model) is expected


def test_a_key_without_limits_may_use_any_model() -> None:
    """No message of its clients has to be read."""
    assert may_use_model(ModelTable(), Authorization("acct", "", 1, 1), "")
