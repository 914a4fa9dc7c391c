"""Wrong settings end the start of a gateway, with one line that an operator can act on."""

import pytest

from tests.support.harness import cluster_folder

SETTINGS = [
    ({"OPENAI_API_KEY": ""}, "no provider: found none of OPENAI_API_KEY"),
    ({"GATEWAY_LISTEN": "nowhere"}, "GATEWAY_LISTEN: found 'nowhere', expected HOST:PORT"),
    ({"OPENAI_BASE_URL": "ftp://x"}, "OPENAI_BASE_URL: found 'ftp://x', expected ws://"),
    ({"ACCOUNTD_RPC_ENDPOINT": "tcp://0.0.0.0:5"}, "expected a loopback address"),
    ({"ACCOUNTD_USAGE_ENDPOINT": f"ipc:///{'x' * 200}"}, "at most 107 bytes"),
    ({"LOG_LEVEL": "LOUD"}, "LOG_LEVEL: found 'LOUD', expected one of"),
    ({"OPENAI_API_KEY_FILE": "/nowhere"}, "keep one"),
    ({"AZURE_OPENAI_API_KEY": "k"}, "AZURE_OPENAI_ENDPOINT: found nothing"),
    ({"XAI_API_KEY": "a b"}, "XAI_API_KEY: expected printable ASCII"),
    ({"GATEWAY_STORE_CONVERSATIONS": "1"}, "GATEWAY_STORE_CONVERSATIONS: found '1', expected one"),
    ({"GATEWAY_MODELS_FILE": "/nowhere"}, "cannot read it: No such file"),
]


@pytest.mark.parametrize(("settings", "message"), SETTINGS)
def test_bad_settings_are_one_line_and_exit_78(settings: dict[str, str], message: str) -> None:
    """Every mistake is named with what was found and expected, before a socket opens."""
    with cluster_folder() as cluster:
        done = cluster.run("rts-gateway", "serve", **settings)
    assert done.returncode == 78
    assert message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_all_mistakes_are_reported_together() -> None:
    """An operator mends everything in one go."""
    with cluster_folder() as cluster:
        done = cluster.run("rts-gateway", "serve", LOG_LEVEL="LOUD", GATEWAY_LISTEN="nowhere")
    assert "LOG_LEVEL" in done.stderr
    assert "GATEWAY_LISTEN" in done.stderr
