"""Wrong settings end the start of a gateway, with one line that an operator can act on."""

import signal

import pytest

from tests.support.certificates import Pem
from tests.support.harness import Daemon, cluster_folder
from tests.support.private_files import write_private

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
    ({"GATEWAY_KEYS_IN_URLS": "no"}, "GATEWAY_KEYS_IN_URLS: found 'no', expected one of allow"),
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


@pytest.mark.parametrize(
    "name",
    [
        "XAI_API_KEY_FILE",
        "GATEWAY_EPHEMERAL_SECRET_FILE",
        "GATEWAY_DEMO_KEY_FILE",
        "GATEWAY_TLS_KEY",
    ],
)
def test_a_file_that_others_may_read_holds_no_secret(name: str) -> None:
    """Whoever has a login on the machine has the secret: the start ends, and the line says how to
    mend it. The group may read it.
    """
    with cluster_folder() as cluster:
        pem = Pem.make(cluster.folder)
        path = cluster.folder / "secret"
        write_private(path, pem.key.read_text() if name == "GATEWAY_TLS_KEY" else "s" * 64)
        other = cluster.folder / "other"
        write_private(other, "s" * 64)
        settings = {"GATEWAY_EPHEMERAL_SECRET_FILE": str(other), **pem.settings, name: str(path)}
        path.chmod(0o644)
        done = cluster.run("rts-gateway", "serve", **settings)
        assert done.returncode == 78
        assert f"{name}: found {path} with mode 0644, expected" in done.stderr
        assert f"chmod o-rwx {path}" in done.stderr
        assert len(done.stderr.strip().splitlines()) == 1
        path.chmod(0o640)
        gateway = Daemon.start(
            "rts-gateway", "serve", folder=cluster.folder,
            env={**cluster.env, **settings, "GATEWAY_LISTEN": "127.0.0.1:0"},
        )  # fmt: skip
        gateway.stop(signal.SIGKILL)


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
