"""Waits until gateways have obeyed what a command took back, and says what it ended there."""

import time
from collections.abc import Mapping
from typing import Any, Final

import click

from accountd.ctl.client import call
from shared.errors import OperatorError

# Gateways obey within a few milliseconds, or within two seconds where they missed the announcement.
WAIT_S: Final = 3.0
# For the first gateway, where accountd or that gateway was started a moment ago.
FIRST_S: Final = 0.25
PAUSE_S: Final = 0.02
_NOBODY: Final[Mapping[str, int]] = {"gateways": 0, "confirmed": 0, "ended": 0}


def confirmed(endpoint: str, found: dict[str, Any]) -> dict[str, Any]:
    """The answer to a command, with what its recall ended in place of the recall's number."""
    outcome = wait_for_gateways(endpoint, found.pop("recall"))
    return {
        **found,
        "sessions_ended": outcome["ended"],
        "gateways": outcome["gateways"],
        "gateways_confirmed": outcome["confirmed"],
    }


def wait_for_gateways(endpoint: str, recall: int) -> Mapping[str, int]:
    """How many gateways there are, how many have obeyed, and what ended there. What the command
    asked for is done in any case, so a gateway that does not confirm is told on stderr and no
    failure.
    """
    begun = time.monotonic()
    outcome: Mapping[str, int] = _NOBODY
    try:
        while True:
            outcome = call(endpoint, "recalls.outcome", {"number": recall})
            missing = outcome["gateways"] - outcome["confirmed"]
            waits_s = WAIT_S if missing else 0.0 if outcome["gateways"] else FIRST_S
            if time.monotonic() - begun >= waits_s:
                break
            time.sleep(PAUSE_S)
    except OperatorError as exc:
        click.echo(f"accountctl: done, but not confirmed: {exc}", err=True)
        return outcome
    if missing:
        click.echo(
            f"accountctl: done; {missing} of {outcome['gateways']} gateways have not confirmed,"
            " and obey as soon as they hear of it",
            err=True,
        )
    return outcome
