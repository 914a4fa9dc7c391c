"""The providers that there are, and their adapters."""

from gateway.providers.catalog import CATALOG, PROVIDER_NAMES, ProviderConfig, open_providers


def test_each_provider_is_opened_with_its_own_adapter() -> None:
    """What it is called in the catalog is what it is called in usage rows."""
    configs = [ProviderConfig(name, f"wss://{name}", "k") for name in sorted(PROVIDER_NAMES)]
    providers = open_providers(configs)
    assert {name: provider.name for name, provider in providers.items()} == {
        name: name for name in PROVIDER_NAMES
    }


def test_only_what_is_configured_is_opened() -> None:
    """A provider without a key is not there."""
    assert set(open_providers([ProviderConfig("xai", "wss://x", "k")])) == {"xai"}
    assert open_providers([]) == {}


def test_no_two_providers_share_a_setting() -> None:
    """The key of one would be shown to the other."""
    settings = [name for entry in CATALOG for name in (entry.key_setting, entry.url_setting)]
    assert len(set(settings)) == len(settings)


def test_a_key_is_not_in_the_text_of_its_configuration() -> None:
    """Configurations are logged."""
    assert "sk-secret" not in repr(ProviderConfig("xai", "wss://x", "sk-secret"))
