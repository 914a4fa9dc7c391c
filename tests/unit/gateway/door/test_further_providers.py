"""Several providers of one kind: what the models file says of them, and who is led to which."""

import re
from typing import Any

import pytest
from websockets.datastructures import Headers

from gateway.door.allowed_models import read_table
from gateway.door.crossing import decided
from gateway.door.further_providers import FURTHER_MAX, FurtherProvider
from gateway.door.routing import choices, route, with_provider_model
from gateway.http.refusals import Refusal
from gateway.providers.base import Dialect, Target
from gateway.providers.catalog import (
    PROVIDER_NAMES,
    ProviderConfig,
    default_model,
    open_providers,
)
from gateway.providers.lifetimes import GRACE_S, Lifetimes
from gateway.translate.voices import voice_for
from shared.provider_kinds import KINDS

GEMINI = "/ws/google.ai.generativelanguage.v1beta.GenerativeService.BidiGenerateContent"
PREVIEW = "/openai/realtime?api-version=2025-04-01-preview&deployment"
FILE = """
    [providers.azure-eu]
    kind = "azure"
    base_url = "https://eu.example"
    api_key_env = "AZURE_EU_API_KEY"
    [providers.azure-us]
    base_url = "https://us.example"
    api_key_env = "AZURE_US_API_KEY"
    [providers.openai-2]
    api_key_env = "OPENAI_2_API_KEY"
    [providers.gemini-eu]
    api_key_env = "GEMINI_EU_API_KEY"
    [providers.gemini-us]
    api_key_env = "GEMINI_US_API_KEY"
    [providers.xai-2]
    api_key_env = "XAI_2_API_KEY"

    [models."safe"]
    providers = [
      {provider = "openai", model = "gpt-realtime"}, {provider = "azure-eu", model = "deployed"},
      {provider = "openai-2", model = "gpt-realtime"}, {provider = "gemini-eu", model = "live"},
      {provider = "gemini", model = "live"}, {provider = "gemini-us", model = "live-us"},
    ]
    [models."regional"]
    providers = [{provider = "azure-us"}, {provider = "azure-eu"}]
    [models."gemini-safe"]
    providers = [{provider = "gemini-eu", model = "live"}, {provider = "gemini", model = "live"}]

    [defaults]
    azure = "deployed"
    azure-us = "deployed-us"
    [voices.gemini]
    marin = "Kore"
    Sage = "Puck"
    [voices.gemini-eu]
    MARIN = "Leda"
    [[lifetimes]]
    provider = "azure"
    minutes = 50
    [[lifetimes]]
    provider = "azure-us"
    model = "short*"
    minutes = 5
"""
TABLE = read_table(FILE, providers=PROVIDER_NAMES)
EVERYTHING = [*KINDS, *(further.name for further in TABLE.further)]


def asked(path: str, *providers: str, **headers: str) -> Target | Refusal:
    """What a request asks for where these providers are configured."""
    return route(
        path,
        Headers({name.replace("_", "-"): value for name, value in headers.items()}),
        table=TABLE,
        providers=providers or EVERYTHING,
        new_session_id=lambda: "sess_1",
    )


def led(path: str, *providers: str, **headers: str) -> Target:
    """Likewise, of one that can be served."""
    found = asked(path, *providers, **headers)
    assert isinstance(found, Target), found
    return found


def test_further_providers_are_read() -> None:
    """Their names are good in the whole file, wherever they stand."""
    assert TABLE.further[:3] == (
        FurtherProvider("azure-eu", "https://eu.example", "AZURE_EU_API_KEY"),
        FurtherProvider("azure-us", "https://us.example", "AZURE_US_API_KEY"),
        FurtherProvider("openai-2", "", "OPENAI_2_API_KEY"),
    )
    assert [there.provider for there in TABLE.routes("regional")] == ["azure-us", "azure-eu"]


KEY = 'api_key_env = "THE_KEY"'
MANY = "\n".join(f"[providers.azure-{number}]\n{KEY}" for number in range(FURTHER_MAX + 1))
BAD = [
    ("providers = 5", "providers: expected tables, [providers.azure-eu] and the like"),
    ("[providers]\nazure-eu = 5", "providers: expected tables"),
    (f'[providers.azure-eu]\nkind = "azur"\n{KEY}', "providers.azure-eu: kind: found 'azur'"),
    (f'[providers.azure-eu]\nkind = ["x"]\n{KEY}', "providers.azure-eu: kind: found ['x']"),
    (
        f'[providers.sweden]\nkind = "azure"\n{KEY}',
        "expected a name that begins with its kind",
    ),
    (f'[providers.azure-eu]\nkind = "xai"\n{KEY}', "begins with its kind, like xai-eu"),
    (f"[providers.sweden]\n{KEY}", "providers.sweden: expected a name of at most 32 small"),
    (f"[providers.azure-EU]\n{KEY}", "providers.azure-EU: expected a name of at most 32 small"),
    (f"[providers.azure]\n{KEY}", "providers.azure: azure has its own settings; expected another"),
    ("[providers.azure-eu]", "api_key_env: expected the name of an environment variable"),
    ("[providers.azure-eu]\napi_key_env = 5", "api_key_env: expected the name of an environment"),
    (f"[providers.azure-eu]\nurl = 5\n{KEY}", "unknown key 'url', expected kind, base_url, api"),
    (f"[providers.azure-eu]\nbase_url = 5\n{KEY}", "base_url: found 5, expected text"),
    ('[models]\na = ["acme"]', "models.a: provider 'acme', expected one of azure"),
    ("[models]\na = []", "models.a: providers: expected a list"),
    ('[models]\na = ["xai", "xai"]', "models.a: found xai twice"),
    (MANY, f"providers: found {FURTHER_MAX + 1}, expected at most {FURTHER_MAX}"),
    (
        f'[providers.azure-eu]\n{KEY}\n[models.m]\nprovider = "azure-us"',
        "expected one of azure, a",
    ),
]


@pytest.mark.parametrize(("text", "message"), BAD)
def test_a_wrong_entry_says_what_is_wrong(text: str, message: str) -> None:
    """What was found, what was expected, in one line."""
    with pytest.raises(ValueError, match=re.escape(message)) as caught:
        read_table(text, providers=PROVIDER_NAMES)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("entry", ["api_key", "api_key_env"])
def test_a_key_that_was_put_into_the_file_is_not_repeated(entry: str) -> None:
    """The line goes to a log."""
    text = f'[providers.azure-eu]\n{entry} = "0123abcdef"'
    with pytest.raises(ValueError, match="environment variable") as caught:
        read_table(text, providers=PROVIDER_NAMES)
    assert "0123abcdef" not in str(caught.value)


def test_a_provider_is_called_by_its_name() -> None:
    """Its adapter is that of its kind."""
    configs = [ProviderConfig(name, "wss://there.example", "key") for name in EVERYTHING]
    opened = open_providers(configs)
    assert [provider.name for provider in opened.values()] == EVERYTHING
    assert opened["azure-eu"].headers(Headers()) == {"api-key": "key"}
    assert type(opened["gemini-eu"]) is type(opened["gemini"])


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        ("/v1/realtime?model=m&provider=azure-eu", {}),
        ("/v1/realtime?model=m&rs_core=AZURE-EU", {}),
        ("/provider/azure-eu/v1/realtime?model=m", {}),
        ("/v1/realtime?model=m", {"x_rs_provider": "Azure-EU"}),
    ],
)
def test_a_client_names_a_provider(path: str, headers: dict[str, str]) -> None:
    """In every way that there is, in any case; it speaks as its kind does."""
    target = led(path, **headers)
    assert (target.provider, target.path) == ("azure-eu", "/openai/v1/realtime")
    assert target.is_chosen


LED = [
    # path; provider, its path and query
    (f"{PREVIEW}=m&provider=azure-eu", ("azure-eu", "/openai/realtime",
     "api-version=2025-04-01-preview&deployment=m")),
    ("/voice-live/realtime?model=m&provider=azure-eu", ("azure-eu", "/voice-live/realtime",
     "model=m")),
    ("/openai/v1/realtime?model=m&provider=openai-2", ("openai-2", "/realtime", "model=m")),
    ("/v1/live?model=m&provider=openai-2", ("openai-2", "/live", "model=m")),
    ("/v1/realtime/translations?model=m&provider=openai-2",
     ("openai-2", "/realtime/translations", "model=m")),
    ("/xai/v1/realtime?provider=xai-2", ("xai-2", "/realtime", "")),
    ("/v1/realtime?provider=xai-2", ("xai-2", "/realtime", "")),
    ("/v1/realtime?model=gemini-x&provider=gemini-eu", ("gemini-eu", GEMINI, "")),
    (f"{GEMINI}?provider=gemini-eu", ("gemini-eu", GEMINI, "")),
    ("/v1/realtime?model=regional", ("azure-us", "/openai/v1/realtime", "model=regional")),
    (f"{PREVIEW}=regional", ("azure-us", "/openai/realtime",
     "api-version=2025-04-01-preview&deployment=regional")),
    # the name of a kind is that of its first
    ("/v1/realtime?model=m&rs_core=AZURE", ("azure", "/openai/v1/realtime", "model=m")),
    ("/v1/realtime?model=safe&rs_core=AZURE", ("azure-eu", "/openai/v1/realtime", "model=safe")),
    ("/v1/realtime?model=safe&provider=gemini", ("gemini", GEMINI, "")),
    ("/v1/realtime?model=regional&provider=azure",
     ("azure-us", "/openai/v1/realtime", "model=regional")),
]  # fmt: skip


@pytest.mark.parametrize(("path", "expected"), LED)
def test_a_session_is_led_by_the_kind_of_its_provider(
    path: str, expected: tuple[str, str, str]
) -> None:
    """The path, the query and the protocol are those of the kind; the place is the provider's."""
    target = led(path)
    assert (target.provider, target.path, target.query) == expected
    assert (target.provider_dialect is Dialect.GEMINI) is target.provider.startswith("gemini")


@pytest.mark.parametrize(
    ("path", "provider"),
    [
        ("/v1/realtime?model=gpt-x", "openai-2"),
        ("/v1/realtime?model=grok-x", "xai-2"),
        ("/v1/realtime?model=gemini-x", "gemini-eu"),
        (f"{PREVIEW}=m", "azure-eu"),
        ("/v1/realtime?model=m&rs_core=AZURE", "azure-eu"),
        (f"{GEMINI}?x=1", "gemini-eu"),
        ("/v1/live?model=m", "openai-2"),
        ("/xai/v1/realtime", "xai-2"),
    ],
)
def test_where_a_kind_has_no_provider_of_its_name_the_first_of_it_serves(
    path: str, provider: str
) -> None:
    """By the path, the model's name or the client's word: none of these says which one."""
    others = [name for name in EVERYTHING if name not in KINDS]
    assert led(path, *others).provider == provider


REFUSED = [
    ("/v1/realtime?model=m&provider=azure-fr", "provider_not_found"),
    ("/v1/realtime?model=regional&provider=openai", "provider_conflict"),
    ("/v1/realtime?model=safe&provider=azure-us", "provider_conflict"),
    ("/v1/realtime?model=m&provider=azure-eu&rs_core=azure-us", "provider_conflict"),
    ("/v1/live?model=m&provider=azure-eu", "provider_not_found"),
]


@pytest.mark.parametrize(("path", "code"), REFUSED)
def test_a_client_is_told_that_it_names_the_wrong_one(path: str, code: str) -> None:
    """One that is not there, one where the model is not, two at once, or one without the like."""
    found = asked(path)
    assert isinstance(found, Refusal)
    assert found.code == code


def test_a_session_can_be_served_by_every_provider_of_its_model() -> None:
    """In the list's order, by those of one kind and of others; each has its own name for it."""
    targets = choices(led("/v1/realtime?model=safe"), TABLE, EVERYTHING)
    served = [with_provider_model(target, TABLE) for target in targets]
    assert [(t.provider, t.path, t.model, t.query) for t in served] == [
        ("openai", "/realtime", "gpt-realtime", "model=gpt-realtime"),
        ("azure-eu", "/openai/v1/realtime", "deployed", "model=deployed"),
        ("openai-2", "/realtime", "gpt-realtime", "model=gpt-realtime"),
        ("gemini-eu", GEMINI, "live", ""),
        ("gemini", GEMINI, "live", ""),
        ("gemini-us", GEMINI, "live-us", ""),
    ]
    assert [target.is_translated for target in targets] == [False] * 3 + [True] * 3


def test_a_session_of_azure_s_own_protocol_can_be_served_at_another_azure() -> None:
    """Nobody else speaks it."""
    target = led(f"{PREVIEW}=regional")
    assert [(t.provider, t.path) for t in choices(target, TABLE, EVERYTHING)] == [
        ("azure-us", "/openai/realtime"), ("azure-eu", "/openai/realtime"),
    ]  # fmt: skip


def test_what_a_kind_does_holds_for_its_providers_without_words_of_their_own() -> None:
    """Defaults, voices and lifetimes."""
    assert default_model("azure-eu", TABLE.default_models) == "deployed"
    assert default_model("azure-us", TABLE.default_models) == "deployed-us"
    assert default_model("openai-2", TABLE.default_models) == "gpt-realtime"
    lifetimes = Lifetimes(TABLE.lifetimes)
    ages = [lifetimes.seconds(*at) - GRACE_S for at in LIVED]
    assert ages == [50 * 60, 50 * 60, 5 * 60, 50 * 60, 120 * 60]


LIVED = [
    ("azure", "m"), ("azure-eu", "short"), ("azure-us", "short"), ("azure-us", "m"), ("xai-2", "m"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("provider", "name", "voice"),
    [
        ("gemini", "marin", "Kore"),
        ("gemini-eu", "marin", "Leda"),
        ("gemini-eu", "sage", "Puck"),
        ("gemini-eu", "alloy", "Zephyr"),
        ("gemini-us", "marin", "Kore"),
        ("azure-eu", "Kore", "sage"),
        ("xai-2", "alloy", "sal"),
    ],
)
def test_a_provider_has_the_voices_of_its_kind_and_its_own(
    provider: str, name: str, voice: str
) -> None:
    """Its own come first."""
    assert voice_for(name, provider, TABLE.voices) == voice


@pytest.mark.parametrize(("failing", "provider"), [((), "gemini-eu"), (("gemini-eu",), "gemini")])
def test_a_gemini_client_s_model_may_be_at_several_gemini_providers(
    failing: tuple[str, ...], provider: str
) -> None:
    """Its first message names it, and the first of them that serves is taken."""
    undecided = led(GEMINI)
    assert undecided.is_undecided
    found: Any = decided(undecided, "gemini-safe", TABLE, EVERYTHING, lambda name: name in failing)
    assert (found.provider, found.is_translated, found.is_undecided) == (provider, False, False)


LISTED = """
    [models]
    gpt-realtime = ["openai", "azure-eu", "xai", "gemini", "gemini-eu"]
    acme = ["azure", {provider = "gemini", model = "live"}, "xai"]
    [models.gemini-live]
    providers = ["gemini", "openai", "azure"]
    [providers]
    azure-eu = {api_key_env = "A"}
    gemini-eu = {api_key_env = "G"}
    [defaults]
    gemini-eu = "live-eu"
"""


@pytest.mark.parametrize(
    ("model", "there"),
    [
        (
            "gpt-realtime",
            [
                ("openai", "gpt-realtime"),
                ("azure-eu", "gpt-realtime"),
                ("xai", "grok-voice-latest"),
                ("gemini", "gemini-3.1-flash-live-preview"),
                ("gemini-eu", "live-eu"),
            ],
        ),
        ("acme", [("azure", "acme"), ("gemini", "live"), ("xai", "acme")]),
        (
            "gemini-live",
            [("gemini", "gemini-live"), ("openai", "gpt-realtime"), ("azure", "gemini-live")],
        ),
    ],
)
def test_a_list_may_name_its_providers_alone(model: str, there: list[tuple[str, str]]) -> None:
    """The model is called the same there; what is another kind's by its name has a default."""
    table = read_table(LISTED, providers=PROVIDER_NAMES)
    assert [(route.provider, route.model) for route in table.routes(model)] == there
