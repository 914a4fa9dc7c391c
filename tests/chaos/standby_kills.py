"""``python -m tests.chaos.standby_kills --kills 50``: a follower or its shipper dies at any point.

Of a copy of a live ledger, in the middle of copying, applying, replacing. After each kill the two
files must be a database that can be opened; at the end the standby has all that was committed.
"""

import os
import random
import secrets
import signal
import time

import click

from tests.support.harness import Cluster, cluster_folder
from tests.support.standby import Standby, counts
from tests.support.usage_socket import TOKENS, charge, usage_socket

ROWS = 400  # of each round: a log that is started over once or twice
DELAY_S = 0.9  # from the follower's start to its end, at most


def torment(cluster: Cluster, *, kills: int, seed: int) -> Standby:
    """Kill so many times while usage comes; raises ``AssertionError`` when something is missing."""
    chance = random.Random(seed)
    standby = Standby(cluster, cluster.folder / "standby.db")
    cluster.start_accountd()
    cluster.create_account("acct", tokens=10**9)
    for number in range(kills):
        process = standby.begin()
        until = time.monotonic() + chance.uniform(0, DELAY_S)
        with usage_socket(cluster) as push:
            charge(cluster, push, "acct", rows=ROWS, producer=os.urandom(16))
        time.sleep(max(0.0, until - time.monotonic()))
        if chance.random() < 0.3:
            for child in standby.children():
                os.kill(child, signal.SIGKILL)
            time.sleep(chance.uniform(0, 0.3))
        process.kill()
        process.wait()
        if standby.has_base():
            rows, _, tokens = standby.counts()
            assert tokens == 10**9 - rows * TOKENS, f"seed {seed}: kill {number} tore a commit"
    standby.start()
    standby.catch_up()
    found, expected = standby.counts(), (kills * ROWS, 1, 10**9 - kills * ROWS * TOKENS)
    assert found == expected, f"seed {seed}: {found}, expected {expected}"
    standby.end()
    assert cluster.accountd is not None
    cluster.accountd.stop(signal.SIGKILL)
    assert counts(standby.source_path, cluster) == expected
    return standby


@click.command()
@click.option("--kills", default=50, show_default=True)
@click.option("--seed", type=int)
def main(*, kills: int, seed: int | None) -> None:
    """Kill followers and shippers at random instants."""
    chosen = secrets.randbits(32) if seed is None else seed
    click.echo(f"seed {chosen}")
    with cluster_folder() as cluster:
        torment(cluster, kills=kills, seed=chosen)
    click.echo(f"{kills} kills: each time a whole database, and nothing missing at the end")


if __name__ == "__main__":
    main()
