"""What clients need around them: a cluster with every provider and TLS, and their own programs."""

import asyncio
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from clients.outcome import Where
from deploy import certificate
from tests.support.harness import Cluster, cluster_folder
from tests.support.paths import ROOT
from tests.support.private_files import write_private

NODE_MODULES = ROOT / "tests" / "clients" / "node" / "node_modules"
AGENTS_PYTHON = ROOT / ".venv-agents" / "bin" / "python"
HEAVY_PYTHON = ROOT / "var" / "clients-venv" / "bin" / "python"
PROGRAM_S = 60.0


@contextmanager
def every_provider(*, pace: float, asked: str = "") -> Iterator[Cluster]:
    """A cluster whose gateway speaks TLS beside plain, with the simulator as every provider.

    ``pace`` is how many times faster than real time answers are made, 0: as fast as possible;
    ``asked`` is what else is asked of the simulator, as a path segment (``sim-recall``).
    """
    with cluster_folder() as cluster:
        cluster.start_accountd()
        simulator = cluster.start_simulator("--pace", str(pace))
        host = f"http://{simulator.field('listen')}/{asked}".rstrip("/")
        cert, key = cluster.folder / "cert.pem", cluster.folder / "key.pem"
        certificate.make(cert, key)
        secret = cluster.folder / "ephemeral.secret"
        write_private(secret, "s" * 64)
        cluster.start_gateway(
            OPENAI_BASE_URL=f"{host}/v1",
            AZURE_OPENAI_API_KEY="azure-provider-key",
            AZURE_OPENAI_ENDPOINT=host,
            XAI_API_KEY="xai-provider-key",
            XAI_BASE_URL=f"{host}/xai/v1",
            GEMINI_API_KEY="gemini-provider-key",
            GEMINI_BASE_URL=host,
            GATEWAY_TLS_CERT=str(cert),
            GATEWAY_TLS_KEY=str(key),
            GATEWAY_TLS_LISTEN="127.0.0.1:0",
            GATEWAY_EPHEMERAL_SECRET_FILE=str(secret),
            GATEWAY_OPS_LISTEN="127.0.0.1:0",
        )
        yield cluster


def where(cluster: Cluster, *, key: str, model: str) -> Where:
    """What a client of this cluster is told."""
    return Where(
        plain=cluster.address,
        tls=cluster.gateways[0].field("tls"),
        key=key,
        ca=str(cluster.folder / "cert.pem"),
        model=model,
    )


async def run_program(
    *command: str | Path, env: Mapping[str, str], program: str = "", folder: Path = ROOT
) -> str:
    """Run a client's program; its standard output. What it complained about is shown.

    ``program`` is its standard input.
    """
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=folder,
        env={"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/"), **env},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(PROGRAM_S):
            out, err = await process.communicate(program.encode())
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 0, f"{command}: {err.decode()[-2000:]}"
    return out.decode()
