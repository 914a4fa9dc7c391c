"""``python -m tests.chaos.fuzz [--seconds 60] [--target NAME] [--replay FILE]``.

Coverage-guided: `atheris` (libFuzzer) makes up bytes for the parts that read what strangers send,
and keeps what leads to a new branch. Targets are the functions of ``fuzz_parts`` and of
``fuzz_gateway``: frames, headers of proxies, messages to meters, the first bytes of a client, whole
sessions. What a target refuses is written to ``var/fuzz``; ``--replay`` gives it to the target once
more. The corpus is kept there, and a later run begins with it.
"""

import hashlib
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import click

from tests.support.fuzz_gateway import Gateways
from tests.support.fuzz_parts import frames, meters, prelude
from tests.support.fuzz_seeds import seeds, words
from tests.support.paths import ROOT

FOLDER: Final = ROOT / "var" / "fuzz"
# Two at a time; each has its part of the time. The slow ones begin.
SHARES: Final = {"relay": 40, "door": 36, "meters": 24, "frames": 16, "prelude": 4}
LANES: Final = (("relay", "frames", "prelude"), ("door", "meters"))
_LIMITS: Final = ("-max_len=4096", "-timeout=10", "-rss_limit_mb=1024", "-print_final_stats=1")
_START_S: Final = 60.0  # to import everything, instrumented, on a busy machine
_STATUS: Final = re.compile(r"#(\d+)\s+\w+\s+cov: (\d+) ft: (\d+) corp: (\d+)")
_WRITTEN: Final = re.compile(r"Test unit written to (\S+)")
Say = Callable[[str], None]
_TOLD_S: Final = 5.0  # between two lines of one target


@dataclass
class Progress:
    """How far one target is. ``branches`` and ``features`` are of the gateway's modules."""

    target: str
    cases: int = 0
    branches: int = 0
    features: int = 0
    corpus: int = 0
    crash: str = ""
    exit_code: int | None = None

    def read(self, line: str) -> bool:
        """Take what a line of libFuzzer says; whether it says something."""
        if found := _STATUS.search(line):
            self.cases, self.branches, self.features, self.corpus = map(int, found.groups())
        if found_file := _WRITTEN.search(line):
            self.crash = found_file[1]
        return bool(found)

    @property
    def is_clean(self) -> bool:
        """Whether it ran to the end of its time, and found nothing."""
        return self.exit_code == 0 and not self.crash and self.cases > 0

    def __str__(self) -> str:
        """A line of the table."""
        end = "" if self.exit_code is None else "clean" if self.is_clean else f"FOUND {self.crash}"
        return (
            f"{self.target:8} {self.cases:>9,} cases {self.branches:>6,} branches"
            f" {self.features:>6,} features {self.corpus:>5,} kept  {end}"
        )


def run(target: str, seconds: int, say: Say, folder: Path = FOLDER) -> Progress:
    """Fuzz one target, and tell now and then how far it is. What is kept is in ``folder``."""
    progress, told_at = Progress(target), time.monotonic()
    command = [
        sys.executable, "-m", "tests.chaos.fuzz_worker", target, str(_corpus(target, folder)),
        *_LIMITS,
        f"-max_total_time={seconds}", f"-artifact_prefix={folder}/{target}-",
        f"-dict={_words(folder)}",
    ]  # fmt: skip
    with (
        (folder / f"{target}.log").open("w") as log,
        subprocess.Popen(
            command,
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        ) as worker,
    ):
        watchdog = threading.Timer(seconds + _START_S, worker.kill)
        watchdog.start()
        assert worker.stdout is not None
        for line in worker.stdout:
            log.write(line)
            if progress.read(line) and time.monotonic() - told_at > _TOLD_S:
                told_at = time.monotonic()
                say(str(progress))
        progress.exit_code = worker.wait()
        watchdog.cancel()
    return progress


def fuzz(targets: Iterable[str], seconds: int, say: Say, folder: Path = FOLDER) -> list[Progress]:
    """Fuzz ``targets``, two at a time, for about ``seconds`` in all."""
    wanted, found = set(targets), list[Progress]()
    lanes = [[name for name in lane if name in wanted] for lane in LANES]

    def work(lane: Sequence[str]) -> None:
        whole = sum(SHARES[name] for name in lane)
        for name in lane:
            share = max(1, round(seconds * SHARES[name] / whole))
            found.append(run(name, share, say, folder))

    threads = [threading.Thread(target=work, args=(lane,)) for lane in lanes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sorted(found, key=lambda one: list(SHARES).index(one.target))


def replay(path: Path) -> None:
    """Give one input to the target that its name begins with; raises what that raises."""
    with Gateways() as gateways:
        targets: dict[str, Callable[[bytes], None]] = {
            "frames": frames, "prelude": prelude, "meters": meters,
            "door": gateways.door, "relay": gateways.relay,
        }  # fmt: skip
        targets[path.name.partition("-")[0]](path.read_bytes())


def _corpus(target: str, folder: Path) -> Path:
    """The folder of what a target begins with."""
    corpus = folder / f"corpus-{target}"
    corpus.mkdir(parents=True, exist_ok=True)
    for seed in seeds().get(target, ()):
        (corpus / hashlib.sha1(seed).hexdigest()).write_bytes(seed)
    return corpus


def _words(folder: Path) -> Path:
    path = folder / "words"
    quoted = ("".join(f"\\x{byte:02x}" for byte in word) for word in words())
    path.write_text("".join(f'"{word}"\n' for word in quoted))
    return path


@click.command()
@click.option("--seconds", default=60, show_default=True, help="For all targets together.")
@click.option(
    "--target", "targets", type=click.Choice(list(SHARES)), multiple=True, help="Only this one."
)
@click.option("--replay", "replayed", type=click.Path(path_type=Path), help="One input, again.")
def main(*, seconds: int, targets: Sequence[str], replayed: Path | None) -> None:
    """Look for bytes that the gateway does not survive."""
    if replayed is not None:
        replay(replayed)
        return
    found = fuzz(targets or SHARES, seconds, lambda line: click.echo(line, err=True))
    click.echo("\n".join(map(str, found)))
    for one in found:
        if not one.is_clean:
            click.echo(f"log: {FOLDER / one.target}.log", err=True)
    sys.exit(0 if all(one.is_clean for one in found) else 1)


if __name__ == "__main__":
    main()
