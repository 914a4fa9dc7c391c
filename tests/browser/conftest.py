"""A gateway with the page, and a browser to look at it."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser

from browser.chromium import chromium
from browser.on_page import SECRET, start_gateway
from tests.support.harness import Cluster, cluster_folder
from tests.support.ports import free_ports
from tests.support.private_files import write_private


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """A gateway with the page and the demo, and the simulator as every provider."""
    with cluster_folder() as running:
        write_private(running.folder / "ephemeral.secret", SECRET)
        running.start_accountd()
        simulator = running.start_simulator()
        host = f"http://{simulator.field('listen')}"
        running.env |= {
            "GATEWAY_PAGE": "yes",
            "GATEWAY_EPHEMERAL_SECRET_FILE": str(running.folder / "ephemeral.secret"),
            "GATEWAY_DEMO_KEY_FILE": str(running.folder / "demo.key"),
            "AZURE_OPENAI_API_KEY": "azure-provider-key",
            "AZURE_OPENAI_ENDPOINT": host,
            "GEMINI_API_KEY": "gemini-provider-key",
            "GEMINI_BASE_URL": host,
            "GEMINI_EU_API_KEY": "gemini-eu-provider-key",
            "GATEWAY_MODELS_FILE": str(running.folder / "models.toml"),
        }
        (running.folder / "models.toml").write_text(
            '[providers.gemini-eu]\napi_key_env = "GEMINI_EU_API_KEY"\n'
        )
        # A test starts it anew at its address, which nobody else may take meanwhile.
        (port,) = free_ports(1)
        start_gateway(running, f"127.0.0.1:{port}")
        yield running


@pytest.fixture(scope="module")
def browser(cluster: Cluster) -> Iterator[Browser]:
    """One browser for all."""
    with chromium(cluster.folder) as running:
        yield running
