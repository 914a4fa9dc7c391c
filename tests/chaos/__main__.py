"""``python -m tests.chaos --kills 100 [--promotions N] [--seed N] [--restores N] [--control]``."""

import secrets
import sys

import click

from tests.chaos.run import Plan, chaos

RESTORES_PER_KILL = 0.06


@click.command()
@click.option("--kills", default=100, show_default=True, help="Processes to kill.")
@click.option("--seed", type=int, help="Repeats the choices of a run, though not its instants.")
@click.option("--clients", default=40, show_default=True, help="Clients at a time.")
@click.option("--restores", type=int, help="Of an older backup; 6 in 100 kills by default.")
@click.option("--promotions", default=0, help="Of a standby, in the place of restores.")
@click.option("--control", is_flag=True, help="Without resends and adoption: it must show loss.")
def main(
    *,
    kills: int,
    seed: int | None,
    clients: int,
    restores: int | None,
    promotions: int,
    control: bool,
) -> None:
    """Kill real processes under load and compare what was sent with what was charged."""
    if control or promotions:
        restores = 0
    plan = Plan(
        seed=secrets.randbits(32) if seed is None else seed,
        kills=kills, clients=clients, has_resends=not control,
        restores=restores if restores is not None else round(kills * RESTORES_PER_KILL),
        promotions=promotions,
    )  # fmt: skip
    report = chaos(plan, say=lambda line: click.echo(line, err=True))
    click.echo(report.table())
    for problem in report.problems[:20]:
        click.echo(f"  {problem}")
    for entry in report.verdict.lost[:20]:
        click.echo(f"  lost {entry}")
    sys.exit(0 if report.is_clean else 1)


if __name__ == "__main__":
    main()
