"""The command ``rts-simulator``."""

from pathlib import Path

import click
import uvloop

from shared import config, logs
from simulator.generation import Pace
from simulator.server import EventLog, Provider, run


@click.group()
@click.version_option(package_name="realtime-switch")
def cli() -> None:
    """Simulate the providers, so that clients and gateways run without a provider's key."""


@cli.command()
@click.option("--listen", default="127.0.0.1:8090", show_default=True, help="HOST:PORT.")
@click.option(
    "--usage-log", default="var/usage.jsonl", show_default=True,
    help="Every usage that is sent, as JSON lines.",
)  # fmt: skip
@click.option(
    "--abandoned-log",
    help="Responses that were begun and whose response.done did not get out, as JSON lines.",
)
@click.option("--audio-log", help="A folder for the audio that each session was sent (raw PCM).")
@click.option(
    "--pace", default=2.5, show_default=True, type=click.FloatRange(0, 1000),
    help="Generation speed as a factor of real time; 0: as fast as possible.",
)  # fmt: skip
@click.option("--api-key", envvar="SIMULATOR_API_KEY", help="Take only this key; any when absent.")
def serve(
    *,
    listen: str,
    usage_log: str,
    abandoned_log: str | None,
    audio_log: str | None,
    pace: float,
    api_key: str | None,
) -> None:
    """Speak every provider's protocol until SIGTERM."""
    checker = config.Checker({"listen": listen})
    address = checker.value("LISTEN", config.address)
    checker.finish()
    logs.configure(service="simulator")
    path = Path(usage_log)
    provider = Provider(
        pace=Pace(factor=pace),
        usage_log=EventLog(path, option="--usage-log"),
        abandoned_log=(
            EventLog(Path(abandoned_log), option="--abandoned-log") if abandoned_log else None
        ),
        audio_log=Path(audio_log) if audio_log else None,
        api_key=api_key,
    )
    uvloop.run(run(address, provider, path))


def main() -> None:
    """Entry point of ``rts-simulator``."""
    config.run(cli)
