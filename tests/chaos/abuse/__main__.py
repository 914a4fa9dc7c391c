"""``python -m tests.chaos.abuse [--only NAME]``."""

import sys

import click

from tests.chaos.abuse.kinds import KINDS
from tests.chaos.abuse.run import attack
from tests.chaos.abuse.verdict import table


@click.command()
@click.option("--only", multiple=True, help="Kinds whose name has this in it.")
def main(*, only: tuple[str, ...]) -> None:
    """Abuse a gateway in every way, and measure an honest client meanwhile."""
    found = []
    for kind in KINDS:
        if not only or any(part in kind.name for part in only):
            seen = attack(kind)
            found.append(seen)
            for problem in seen.problems():
                click.echo(f"{kind.name}: {problem}", err=True)
    click.echo(table(found))
    sys.exit(1 if any(seen.problems() for seen in found) else 0)


if __name__ == "__main__":
    main()
