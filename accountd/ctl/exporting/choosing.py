"""The format that the options ask for, and which options go with it."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from typing import Final

import click

from accountd.ctl.arguments import shortened
from accountd.ctl.exporting import formats
from accountd.ctl.exporting.cloud_events import source_of
from accountd.ctl.exporting.focus import Terms
from accountd.ctl.exporting.formats import Format

FormatOf = Callable[[str], Format]
"""The format, once the id of the ledger is known."""

_PRICE: Final = re.compile(r"[0-9]{1,6}(\.[0-9]{1,12})?", re.ASCII)
_CURRENCY: Final = re.compile(r"[A-Z]{3}")
_URI: Final = re.compile(r"[!-~]{1,256}")


@dataclass(frozen=True, slots=True)
class FormatOptions:
    """Options that only some formats have; None is absent."""

    issuer: str | None = None
    currency: str | None = None
    credit_price: str | None = None
    is_prepaid: bool = False
    source: str | None = None


def _terms(options: FormatOptions) -> Terms:
    if options.issuer is None or options.currency is None or options.credit_price is None:
        raise click.UsageError(
            "focus needs what the ledger does not know: --issuer, --currency and --credit-price"
        )
    if not options.issuer.strip() or not options.issuer.isprintable():
        raise click.UsageError(f"--issuer: found {shortened(options.issuer)}, expected a name")
    if not _CURRENCY.fullmatch(options.currency):
        raise click.UsageError(
            f"--currency: found {shortened(options.currency)}, expected a code like USD"
        )
    if not _PRICE.fullmatch(options.credit_price):
        raise click.UsageError(
            f"--credit-price: found {shortened(options.credit_price)}, expected a number like"
            " 0.00002, of at most 12 digits after the point"
        )
    price = Decimal(options.credit_price)
    return Terms(options.issuer, options.currency, price, options.is_prepaid)


def _check_source(source: str | None) -> None:
    if source is not None and not _URI.fullmatch(source):
        raise click.UsageError(f"--source: found {shortened(source)}, expected a URI or a part")


_FORMATS: Final[Mapping[str, Callable[[FormatOptions, str], Format]]] = {
    "csv": lambda _options, _ledger: formats.CSV,
    "jsonl": lambda _options, _ledger: formats.JSON_LINES,
    "focus": lambda options, _ledger: formats.focus_csv(_terms(options)),
    "cloudevents": lambda options, ledger: formats.events(options.source or source_of(ledger)),
    "cloudevents-batch": lambda options, ledger: formats.event_batches(
        options.source or source_of(ledger)
    ),
}
NAMES: Final = tuple(_FORMATS)


def format_of(name: str, options: FormatOptions) -> FormatOf:
    """The format; raises ``click.UsageError`` for options that do not go with it."""
    of_focus = FormatOptions(source=options.source)
    if name != "focus" and options != of_focus:
        raise click.UsageError(
            "--issuer, --currency, --credit-price and --prepaid go with --format focus"
        )
    if not name.startswith("cloudevents") and options.source is not None:
        raise click.UsageError("--source goes with --format cloudevents")
    if name == "focus":
        _terms(options)
    _check_source(options.source)
    return partial(_FORMATS[name], options)
