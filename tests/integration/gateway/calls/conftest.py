"""Gateways and a provider that take calls."""

from collections.abc import Iterator

import pytest

from tests.support.harness import Cluster, cluster_folder
from tests.support.private_files import write_private


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """Two gateways; the second one has Azure as well, and an account that is held to a model."""
    with cluster_folder() as running:
        write_private(running.folder / "ephemeral.secret", "s" * 64)
        (running.folder / "models.toml").write_text(
            '[models."house-voice"]\nprovider = "openai"\nmodel = "sim-caller-2,pace-0"\n'
            '[models."house-voice-quiet"]\nprovider = "openai"\nmodel = "sim-caller-0,pace-0"\n'
            '[accounts."held"]\nmodels = ["house-voice*"]\n'
        )
        running.env["GATEWAY_EPHEMERAL_SECRET_FILE"] = str(running.folder / "ephemeral.secret")
        running.env["GATEWAY_OPS_LISTEN"] = "127.0.0.1:0"
        running.start_accountd()
        running.start_simulator("--pace", "0")
        simulated = f"http://{running.simulator.field('listen')}" if running.simulator else ""
        for _ in range(2):
            running.start_gateway(AZURE_OPENAI_API_KEY="azure-key", AZURE_OPENAI_ENDPOINT=simulated)
        yield running
