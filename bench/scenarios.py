"""The scenarios of ``python -m bench``, in the order in which they run."""

import importlib
import sys
from collections.abc import Callable
from typing import Final, NoReturn, cast

import click

from bench.report import Outcome, Scale, text_of

# Each is loaded when it runs: one that lacks a library leaves the others alone.
MODULE_BY_NAME: Final = {
    "metering": "bench.metering",
    "spool_append": "bench.spool_append",
    "relay": "bench.relay",
    "paced": "bench.paced",
    "translation": "bench.translation",
    "sessions": "bench.sessions",
    "ingestion": "bench.ingestion",
    "command": "bench.command",
    "duplicates": "bench.duplicates",
    "restart": "bench.restart",
    "standby": "bench.standby",
    "backup": "bench.backup",
    "outage": "bench.outage",
    "never_block": "bench.never_block",
    "balances": "bench.balances",
    "refusals": "bench.refusals",
}


def scenario(name: str) -> Callable[[Scale], Outcome]:
    """The function that measures a scenario of this name."""
    module = importlib.import_module(MODULE_BY_NAME[name])
    return cast(Callable[[Scale], Outcome], module.measure)


def end_with(outcome: Outcome) -> NoReturn:
    """Print the outcome of a scenario that is a command of its own, and exit: 1 when it is bad."""
    click.echo(text_of(outcome))
    sys.exit(0 if outcome.is_right and outcome.is_met else 1)
