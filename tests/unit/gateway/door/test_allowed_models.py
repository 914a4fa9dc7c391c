"""The table of models: who may use which, and what is wrong with a file."""

import re

import pytest

from gateway.door.allowed_models import ModelRoute, ModelTable, read_table
from gateway.providers.catalog import PROVIDER_NAMES
from gateway.providers.health import HealthRule
from gateway.translate.voices import VoiceTable
from tests.support.models import TABLE

ALLOWED = [
    ("rich", "anything", True),
    ("poor", "gpt-realtime", False),
    ("other", "gpt-realtime", True),
    ("other", "acme", True),
    ("other", "grok-voice", False),
    ("other", "GPT-realtime", False),
]


@pytest.mark.parametrize(("account", "model", "is_allowed"), ALLOWED)
def test_an_account_may_use_what_its_patterns_name(
    account: str, model: str, is_allowed: bool
) -> None:
    """An entry of its own counts before the one for everybody; without any, everything goes."""
    assert TABLE.allows(account, model) is is_allowed
    assert ModelTable().allows(account, model)


def test_a_model_table_is_read() -> None:
    """The example of the documentation."""
    text = """
        [models."acme-voice"]
        provider = "xai"
        model = "grok-voice-latest"
        [models.plain]
        provider = "openai"
        [accounts."acct_1"]
        models = ["gpt-realtime*", "acme-voice"]
        [defaults]
        gemini = "gemini-live"
        [voices.gemini]
        marin = "Kore"
        [voices.xai]
        Kore = "ara"
    """
    assert read_table(text, providers=PROVIDER_NAMES) == ModelTable(
        {
            "acme-voice": ModelRoute("xai", "grok-voice-latest"),
            "plain": ModelRoute("openai", "plain"),
        },
        {"acct_1": ("gpt-realtime*", "acme-voice")},
        default_models={"gemini": "gemini-live"},
        voices=VoiceTable({"gemini": {"marin": "Kore"}, "xai": {"Kore": "ara"}}),
    )


BAD_TABLES = [
    ("a =", "not TOML"),
    ("[other]", "unknown table 'other', expected models, accounts"),
    ("models = 5", "models: found 5, expected tables"),
    ("[models]\na = 1", "models.a: found 1, expected a list of providers"),
    ('[models]\na = "xai"', "models.a: found 'xai', expected a list of providers"),
    ('[models]\ngpt-4.1 = ["xai"]', 'a name with a dot needs quotes: "gpt-4.1"'),
    ('[models.gpt-4.1]\nprovider = "xai"', 'a name with a dot needs quotes: "gpt-4.1"'),
    ('[models.a]\nprovider = "acme"', "provider 'acme', expected one of azure, gemini"),
    ('[models.a]\nprovider = ["xai", "azure"]', "provider ['xai', 'azure'], expected one of azure"),
    ("[models.a]\nproviders = [{provider = {}}]", "provider {}, expected one of azure, gemini"),
    ("[[lifetimes]]\nprovider = []\nminutes = 9", "provider: found [], expected one of azure"),
    ('[models.a]\nprovider = "xai"\nmodel = 5', "expected provider and model"),
    ('[models.a]\nprovider = "xai"\nextra = 5', "expected provider and model"),
    ("[models.a]\nproviders = 5", "models.a: providers: expected a list"),
    ("[models.a]\nproviders = []", "models.a: providers: expected a list of one or more"),
    ("[models.a]\nproviders = [5]", "models.a: found 5, expected {provider = …, model = …}"),
    ('[models.a]\nproviders = [{provider = "acme"}]', "provider 'acme', expected one of azure"),
    ('[models.a]\nproviders = [{provider = "xai", model = 5}]', "expected provider and model"),
    ('[models.a]\nmodel = "m"\nproviders = [{provider = "xai"}]', "expected providers alone"),
    (
        '[models.a]\nproviders = [{provider = "xai"}, {provider = "xai", model = "m"}]',
        "models.a: found xai twice",
    ),
    ('[accounts.a]\nmodels = "gpt"', "accounts.a: expected models, a list"),
    ("[accounts.a]\nmodels = [5]", "accounts.a: expected models, a list"),
    ("[accounts.a]", "accounts.a: expected models, a list"),
    ("defaults = 5", "defaults: expected a table of providers, each with a model"),
    ('[defaults]\nacme = "m"', "defaults.acme: expected one of azure, gemini"),
    ("[defaults]\nxai = 5", "defaults.xai: found 5, expected a model's name"),
    ("health = 5", "health: expected a table of slow_ms, failures, slow_answer_ms"),
    ("[health]\nslow = 5", "health: expected a table of slow_ms, failures, slow_answer_ms"),
    ("[health]\nslow_ms = 0.5", "health.slow_ms: found 0.5, expected an integer from 1 to 10000"),
    ("[health]\nfailures = 0", "health.failures: found 0, expected an integer from 1 to 100"),
    ("voices = 5", "voices: found 5, expected tables"),
    ('[voices]\nmarin = "Kore"', "voices.marin: found 'Kore', expected a table"),
    ('[voices.acme]\nmarin = "Kore"', "voices.acme: expected one of azure, gemini"),
    ("[voices.gemini]\nmarin = 5", "voices.gemini.marin: found 5, expected the name of a voice"),
    ('[voices.xai]\nKore = ""', "voices.xai.Kore: found '', expected the name of a voice"),
    ('[voices.xai]\nKore = "ara"\nkore = "eve"', "voices.xai.kore: found it twice"),
]


def test_providers_without_a_key_are_told_with_their_models() -> None:
    """A list that is shorter than it looks is found before the first provider fails."""
    table = read_table(
        '[models]\na = ["openai", "gemini"]\nb = ["xai", "gemini"]', providers=PROVIDER_NAMES
    )
    assert table.unserved(["openai", "xai"]) == {"gemini": ["a", "b"]}
    assert table.unserved(PROVIDER_NAMES) == {}


@pytest.mark.parametrize(("text", "message"), BAD_TABLES)
def test_a_bad_model_table_says_what_is_wrong(text: str, message: str) -> None:
    """The whole file is checked at start."""
    with pytest.raises(ValueError, match=re.escape(message)):
        read_table(text, providers=PROVIDER_NAMES)


def test_every_mistake_of_a_table_is_named() -> None:
    """An operator mends the file once."""
    text = (
        '[voices.acme]\nmarin = 5\n[defaults]\nacme = "m"\n[other]\n'
        "[health]\nslow_ms = 0\nfailures = 0"
    )
    with pytest.raises(ValueError, match="other") as caught:
        read_table(text, providers=PROVIDER_NAMES)
    assert str(caught.value).count("; ") == 5


FAILOVER = """
    [models."acme-safe"]
    providers = [{provider = "openai"}, {provider = "azure", model = "eu"}, {provider = "gemini"}]
"""
SINGLE = """
    [models."acme-voice"]
    provider = "xai"
"""
ALL_THREE = (
    ModelRoute("openai", "acme-safe"),
    ModelRoute("azure", "eu"),
    ModelRoute("gemini", "acme-safe"),
)


def test_a_model_may_be_at_several_providers() -> None:
    """The order of the file is the operator's order of choice."""
    table = read_table(FAILOVER, providers=PROVIDER_NAMES)
    assert table.routes("acme-safe") == ALL_THREE
    assert table.routes("other") == ()
    assert table.health == HealthRule()
    tuned = read_table("[health]\nslow_ms = 800\nfailures = 5", providers=PROVIDER_NAMES)
    assert tuned.health == HealthRule(slow_s=0.8, failures_max=5)
    assert table.provider_model("acme-safe", provider="azure") == "eu"
    assert table.client_models("eu", provider="azure") == ["acme-safe"]


@pytest.mark.parametrize(
    ("configured", "available", "chosen"),
    [
        ("openai azure gemini", "openai azure gemini", "openai"),
        ("openai azure gemini", "azure gemini", "azure"),
        ("openai gemini", "azure gemini", "gemini"),
        ("azure gemini", "", "azure"),
        ("openai azure gemini", "", "openai"),
        ("xai", "xai", "openai"),
    ],
)
def test_the_first_available_provider_is_chosen(
    configured: str, available: str, chosen: str
) -> None:
    """Where none is, the first that is configured: it may serve all the same."""
    table = read_table(FAILOVER, providers=PROVIDER_NAMES)
    serving = available.split()
    found = table.chosen("acme-safe", configured.split(), lambda name: name not in serving)
    assert found is not None
    assert found.provider == chosen
    assert table.chosen("other", ("openai",), lambda _: 0) is None


def test_models_without_another_provider_need_theirs() -> None:
    """Of the providers that are configured; what a drain cannot change."""
    table = read_table(FAILOVER + SINGLE, providers=PROVIDER_NAMES)
    assert table.needing("openai", PROVIDER_NAMES) == ([], True)
    assert table.needing("openai", ("openai", "xai")) == (["acme-safe"], False)
    assert table.needing("xai", PROVIDER_NAMES) == (["acme-voice"], False)
    assert table.needing("xai", ("openai",)) == ([], False)
