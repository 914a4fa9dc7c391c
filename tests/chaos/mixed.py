"""``python -m tests.chaos.mixed --ref REF``: processes of two releases together, and killed.

An upgrade is not done at once: gateways of one release work with an accountd of the other. The
checkout's history gives the files of ``REF``. In three runs the gateways are of before, accountd is
of before, or each second gateway is; in each, accountd and gateways are killed under load, and
everything that the provider sent must have been charged once.
"""

import secrets
import subprocess
import sys
import tarfile
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory

import click

from tests.chaos.run import Plan, chaos
from tests.support.paths import ROOT

PLAN = Plan(seed=0, kills=12, clients=20, accounts=20, fault_pause_s=0.9, group=3, responses=150)
PACKAGES = ("accountd", "gateway", "shared", "migrations", "tests", "simulator")


def files_of(ref: str, folder: Path) -> Path:
    """The programs of ``ref`` in ``folder``; proven to be what a process there imports."""
    command = ["git", "archive", "--format=tar", ref, *PACKAGES]
    packed = subprocess.run(command, cwd=ROOT, capture_output=True, check=True).stdout
    with tarfile.open(fileobj=BytesIO(packed)) as archive:
        archive.extractall(folder, filter="data")
    told = subprocess.run(
        [sys.executable, "-c", "import accountd, gateway; print(accountd.__file__)"],
        cwd="/", env={"PYTHONPATH": str(folder)}, capture_output=True, text=True, check=True,
    ).stdout.strip()  # fmt: skip
    assert told == str(folder / "accountd" / "__init__.py"), told
    return folder


def plans(before: Path) -> dict[str, Plan]:
    """What is run, by its title."""
    seed = secrets.randbits(32)
    plan = replace(PLAN, seed=seed)
    return {
        "gateways of before, this accountd": replace(plan, gateways_from=(before,)),
        "these gateways, accountd of before": replace(plan, accountd_from=before),
        "each second gateway of before": replace(plan, gateways_from=(before, None)),
    }


@click.command()
@click.option("--ref", required=True, help="A commit, branch or tag of the release before.")
def main(ref: str) -> None:
    """Run this checkout's programs with those of REF."""
    bad = []
    with TemporaryDirectory(prefix="rts-before-") as name:
        before = files_of(ref, Path(name))
        for title, plan in plans(before).items():
            click.secho(title, bold=True)
            report = chaos(plan, say=lambda line: click.echo(f"  {line}", err=True))
            click.echo(report.table())
            if not report.is_clean or not (report.accountd_kills and report.gateway_kills):
                bad.append(title)
                for line in (*map(str, report.verdict.lost[:10]), *report.tracebacks[:10]):
                    click.echo(f"  {line}")
    if bad:
        sys.exit(f"not clean: {'; '.join(bad)}")


if __name__ == "__main__":
    main()
