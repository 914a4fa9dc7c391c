"""Wrong settings end the start of a gateway, with one line that an operator can act on."""

import pytest

from tests.support.harness import cluster_folder

SETTINGS = [
    ({"OPENAI_API_KEY": ""}, "no provider: found none of OPENAI_API_KEY"),
    ({"GATEWAY_LISTEN": "nowhere"}, "GATEWAY_LISTEN: found 'nowhere', expected HOST:PORT"),
    ({"OPENAI_BASE_URL": "ftp://x"}, "OPENAI_BASE_URL: found 'ftp://x', expected ws://"),
    ({"OPENAI_BASE_URL": "https://me:secret@x/v1?api-key=secret"},
     "OPENAI_BASE_URL: found 'https://…@x/v1?…', expected ws://"),
    ({"ACCOUNTD_RPC_ENDPOINT": "tcp://0.0.0.0:5"}, "expected a loopback address"),
    ({"ACCOUNTD_USAGE_ENDPOINT": f"ipc:///{'x' * 200}"}, "at most 107 bytes"),
    ({"LOG_LEVEL": "LOUD"}, "LOG_LEVEL: found 'LOUD', expected one of"),
    ({"OPENAI_API_KEY_FILE": "/nowhere"}, "keep one"),
    ({"AZURE_OPENAI_API_KEY": "k"}, "AZURE_OPENAI_ENDPOINT: found nothing"),
    ({"XAI_API_KEY": "a b"}, "XAI_API_KEY: expected printable ASCII"),
    ({"GATEWAY_STORE_CONVERSATIONS": "1"}, "GATEWAY_STORE_CONVERSATIONS: found '1', expected one"),
    ({"GATEWAY_MODELS_FILE": "/nowhere"}, "cannot read it: No such file"),
]  # fmt: skip


@pytest.mark.parametrize(("settings", "message"), SETTINGS)
def test_bad_settings_are_one_line_and_exit_78(settings: dict[str, str], message: str) -> None:
    """Every mistake is named with what was found and expected, before a socket opens."""
    with cluster_folder() as cluster:
        done = cluster.run("rts-gateway", "serve", **settings)
    assert done.returncode == 78
    assert message in done.stderr
    assert "secret" not in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_all_mistakes_are_reported_together() -> None:
    """An operator mends everything in one go."""
    with cluster_folder() as cluster:
        done = cluster.run("rts-gateway", "serve", LOG_LEVEL="LOUD", GATEWAY_LISTEN="nowhere")
    assert "LOG_LEVEL" in done.stderr
    assert "GATEWAY_LISTEN" in done.stderr


EU = '[providers.azure-eu]\napi_key_env = "AZURE_EU_API_KEY"\n'
MODELS_FILES = [
    # the file; settings; what the line says
    (f'{EU}base_url = "https://eu.example"', {},
     "AZURE_EU_API_KEY: found nothing; set it, or AZURE_EU_API_KEY_FILE:"
     " GATEWAY_MODELS_FILE: providers.azure-eu names it"),
    (EU, {"AZURE_EU_API_KEY": "k"},
     "providers.azure-eu: found no base_url, and no AZURE_OPENAI_ENDPOINT; set one of them"),
    (f'{EU}base_url = "ftp://x"', {"AZURE_EU_API_KEY": "k"},
     "providers.azure-eu: base_url: found 'ftp://x', expected ws://"),
    (f'{EU}base_url = "https://x/?api-key=secret"', {"AZURE_EU_API_KEY": "k"},
     "providers.azure-eu: base_url: found 'https://x/?…', expected ws://"),
    (EU, {"AZURE_EU_API_KEY": "a b", "AZURE_OPENAI_ENDPOINT": "https://x"},
     "AZURE_EU_API_KEY: expected printable ASCII"),
    ('[providers.sweden]\napi_key_env = "K"', {}, "providers.sweden: expected a name of at most"),
]  # fmt: skip


@pytest.mark.parametrize(("models", "settings", "message"), MODELS_FILES)
def test_a_provider_of_the_models_file_is_checked_with_everything_else(
    models: str, settings: dict[str, str], message: str
) -> None:
    """The line names the entry, and the variable that it names."""
    with cluster_folder() as cluster:
        path = cluster.folder / "models.toml"
        path.write_text(models)
        done = cluster.run("rts-gateway", "serve", GATEWAY_MODELS_FILE=str(path), **settings)
    assert done.returncode == 78
    assert message in done.stderr
    assert "secret" not in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_a_provider_of_a_list_that_has_no_key_is_logged() -> None:
    """One file may be for gateways with different keys, so that does not end the start."""
    with cluster_folder() as cluster:
        cluster.start_accountd()
        path = cluster.folder / "models.toml"
        path.write_text('[models]\nsafe = ["openai", "xai"]')
        gateway = cluster.start_gateway(GATEWAY_MODELS_FILE=str(path), XAI_API_KEY="")
        (line,) = [x for x in gateway.complaints() if "provider without a key" in x]
    assert "provider=xai models=safe" in line
