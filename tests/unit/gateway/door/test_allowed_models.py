"""The table of models: who may use which, and what is wrong with a file."""

import re

import pytest

from gateway.door.allowed_models import ModelRoute, ModelTable, read_table
from gateway.providers.catalog import PROVIDER_NAMES
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
    """
    assert read_table(text, providers=PROVIDER_NAMES) == ModelTable(
        {
            "acme-voice": ModelRoute("xai", "grok-voice-latest"),
            "plain": ModelRoute("openai", "plain"),
        },
        {"acct_1": ("gpt-realtime*", "acme-voice")},
    )


BAD_TABLES = [
    ("a =", "not TOML"),
    ("[other]", "unknown table 'other'"),
    ("models = 5", "models: expected tables"),
    ("[models]\na = 1", "models: expected tables"),
    ('[models.a]\nprovider = "acme"', "provider 'acme', expected one of azure, gemini"),
    ('[models.a]\nprovider = "xai"\nmodel = 5', "expected provider and model"),
    ('[models.a]\nprovider = "xai"\nextra = 5', "expected provider and model"),
    ('[accounts.a]\nmodels = "gpt"', "accounts.a: expected models, a list"),
    ("[accounts.a]\nmodels = [5]", "accounts.a: expected models, a list"),
    ("[accounts.a]", "accounts.a: expected models, a list"),
]


@pytest.mark.parametrize(("text", "message"), BAD_TABLES)
def test_a_bad_model_table_says_what_is_wrong(text: str, message: str) -> None:
    """The whole file is checked at start."""
    with pytest.raises(ValueError, match=re.escape(message)):
        read_table(text, providers=PROVIDER_NAMES)
