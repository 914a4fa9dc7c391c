"""``accountctl providers``: who serves sessions, how well, and taking one out of service."""

import click

from accountd.ctl import provider_text
from accountd.ctl.client import call
from accountd.ctl.output import JSON, show


@click.group(invoke_without_command=True)
@JSON
@click.pass_context
def providers(context: click.Context, /, as_json: bool) -> None:
    """What the gateways see of their providers: health, dials, sessions, failures."""
    if context.invoked_subcommand is None:
        found = call(context.obj, "providers.overview", {})
        show(found, as_json, provider_text.overview_text)


@providers.command()
@click.argument("provider", metavar="NAME")
@click.option("--force", is_flag=True, help="Even where no gateway has a provider of this name.")
@JSON
@click.pass_obj
def drain(endpoint: str, provider: str, force: bool, as_json: bool) -> None:
    """Take a provider out of service: new sessions avoid it, live ones leave it between turns.

    It still serves what no other provider can.
    """
    found = call(endpoint, "providers.drain", {"provider": provider, "force": force})
    show(found, as_json, provider_text.drained_text)


@providers.command()
@click.argument("provider", metavar="NAME")
@JSON
@click.pass_obj
def resume(endpoint: str, provider: str, as_json: bool) -> None:
    """Put a drained provider into service again: new sessions may go there; none moves back."""
    found = call(endpoint, "providers.resume", {"provider": provider})
    show(found, as_json, provider_text.resumed_text)
