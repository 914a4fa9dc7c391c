"""``python -m bench [NAMES] [--quick]``: runs scenarios, and writes down what they found."""

import json
import signal
import sys
import time
import traceback
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from bench import machine, plots
from bench.report import Outcome, Scale, json_of, text_of
from bench.scenarios import MODULE_BY_NAME, scenario


def run(name: str, *, is_quick: bool) -> Outcome | None:
    """Measure and print one scenario; None when it failed, which is printed as well."""
    click.secho(f"{name} …", bold=True)
    scale = Scale(is_quick, tell=lambda line: click.echo(f"  {line}", err=True))
    try:
        outcome = scenario(name)(scale)
    except Exception:  # noqa: BLE001 - the others can still be measured
        traceback.print_exc()
        return None
    click.echo(f"\n{text_of(outcome)}\n")
    return outcome


def draw(outcome: Outcome, folder: Path) -> list[str]:
    """Draw the curves of an outcome; the names of the files."""
    if not plots.can_draw():
        return []
    folder.mkdir(parents=True, exist_ok=True)
    return [plots.draw(curve, folder).name for curve in outcome.curves]


@click.command()
@click.argument("names", nargs=-1, type=click.Choice(list(MODULE_BY_NAME)))
@click.option("--quick", is_flag=True, help="A second or so of each: proves that they run.")
@click.option("--folder", type=click.Path(path_type=Path), default="var", show_default=True,
              help="Gets bench.json, and a drawing of each curve in bench/.")  # fmt: skip
def main(names: tuple[str, ...], folder: Path, *, quick: bool) -> None:
    """Run the scenarios NAMES, or all. Exit code 1 when a bar is not met or a check is wrong."""
    # Told to stop, it ends what it has started.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    for line in (*machine.missing(), *([] if plots.can_draw() else [plots.MISSING])):
        click.echo(line, err=True)
    report: dict[str, Any] = {
        "began": datetime.now(UTC).isoformat(timespec="seconds"), "is_quick": quick,
        "machine": machine.facts(), "scenarios": {},
    }  # fmt: skip
    bad = []
    folder.mkdir(parents=True, exist_ok=True)
    for name in names or MODULE_BY_NAME:
        started = time.monotonic()
        outcome = run(name, is_quick=quick)
        if outcome is None or not (outcome.is_right and (quick or outcome.is_met)):
            bad.append(name)
        if outcome is not None:
            seconds = round(time.monotonic() - started, 1)
            drawings = draw(outcome, folder / "bench")
            entry = {"seconds": seconds, **json_of(outcome), "drawings": drawings}
            report["scenarios"][name] = entry
        # After each: a run of all takes long, and may be interrupted.
        (folder / "bench.json").write_text(json.dumps(report, indent=1, ensure_ascii=False) + "\n")
    click.echo(f"written: {folder / 'bench.json'}")
    if bad:
        sys.exit(f"failed, wrong, or a bar not met: {', '.join(bad)}")


if __name__ == "__main__":
    main()
