"""``accountctl audit`` and ``accountctl rates``: do the books add up, has all usage a price."""

import sys
from pathlib import Path
from typing import Final

import click

from accountd.ctl import text
from accountd.ctl.client import call
from accountd.ctl.output import JSON, show
from shared.errors import ConfigError, ExitCode

_FILE: Final = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command()
@click.option(
    "--settle", "reason", help="First expect no longer what is missing now; the reason is kept."
)
@JSON
@click.pass_obj
def audit(endpoint: str, reason: str | None, as_json: bool) -> None:
    """Prove every balance and every producer; exit 1 when a check fails."""
    if reason is not None:
        call(endpoint, "audit.settle", {"reason": reason})
    found = call(endpoint, "audit", {})
    show(found, as_json, text.audit_text)
    sys.exit(ExitCode.DONE if found["ok"] else ExitCode.REFUSED)


@click.group()
def rates() -> None:
    """The rate card: what usage costs."""


@rates.command("check")
@click.argument("card", required=False, type=_FILE)
@click.option("--since", help="Past usage from this ISO date or time on; all of it when absent.")
@JSON
@click.pass_obj
def check_rates(endpoint: str, card: Path | None, since: str | None, as_json: bool) -> None:
    """List usage that CARD, or the card in force, has no price for; exit 1 when there is any.

    Also lists units of known models that no entry names: a token of them costs one credit, other
    units cost nothing.
    """
    from accountd.ledger.rate_card_file import read_rate_card  # noqa: PLC0415 - no other needs it

    try:
        card_text = None if card is None else read_rate_card(card).text
    except ValueError as exc:
        raise ConfigError(f"{card}: {exc}", hint="mend the card, then check again") from None
    found = call(endpoint, "rates.check", {"text": card_text, "since": since})
    show(found, as_json, text.rates_text)
    sys.exit(ExitCode.DONE if found["ok"] else ExitCode.REFUSED)
