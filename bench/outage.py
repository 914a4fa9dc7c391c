"""Measures an outage of accountd: the memory of waiting batches, and how fast they are delivered.

Run it from the root of the project: ``.venv/bin/python -m bench.outage``. A process with the usage
sender of a gateway (spool included) meters and seals 100,000 batches of five responses while
accountd is not running, then accountd starts. Exit code 1 when the process grew by more than
100 MB, when delivery took more than 30 s, or when a response was not charged.
"""

import asyncio
import gc
import os
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import Final

import click
import uvloop
import zmq.asyncio
from msgspec.structs import replace

from bench.report import Cell, Check, Outcome, Scale, Table, at_most
from bench.scenarios import end_with
from bench.spool_append import SINGLE
from gateway.accountd_client.authorizations import Authorization
from gateway.accountd_client.rpc_client import RpcClient
from gateway.accountd_client.subscriber import Subscriber
from gateway.credit.balances import Balances, SessionCredit
from gateway.delivery.retention import Retention
from gateway.delivery.spool_manager import SpoolManager
from gateway.delivery.usage_sender import UsageSender
from gateway.limits import NEAR_EMPTY_RESPONSES
from shared import logs
from shared.usage import Usage
from tests.support.harness import Cluster, cluster_folder

BATCHES: Final = 100_000
RESPONSES: Final = 5  # in each batch
GROWTH_MB_MAX: Final = 100.0
DELIVERY_S_MAX: Final = 30.0
GIVE_UP_S: Final = 300.0
TICK_S: Final = 0.005


def resident_mb() -> float:
    """The resident memory of this process."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise AssertionError("no VmRSS")


async def hold_and_deliver(batches: int, env: dict[str, str]) -> None:
    """The gateway's part, in a process of its own. It prints its results, a line each."""
    context = zmq.asyncio.Context()
    accountd = RpcClient(context, env["ACCOUNTD_RPC_ENDPOINT"], grant_cache_s=0)
    accountd.start()
    spool = env.get("GATEWAY_SPOOL_DIR")
    subscriber = Subscriber(context, env["ACCOUNTD_EVENTS_ENDPOINT"])
    balances = Balances(
        subscriber, accountd, near_responses=NEAR_EMPTY_RESPONSES, typical_credits=0
    )
    sender = UsageSender(
        context,
        usage_endpoint=env["ACCOUNTD_USAGE_ENDPOINT"],
        subscriber=subscriber,
        accountd=accountd,
        balances=balances,
        manager=SpoolManager(Path(spool), Retention()) if spool else None,
    )
    sender.start()
    subscriber.start()
    balances.start()
    credit = balances.open(Authorization("acct", "", 10**12, 0), wants_balances=False)
    await asyncio.sleep(0.5)
    gc.collect()
    before = resident_mb()
    for number in range(batches):
        meter(sender, credit, number)
        if number % 100 == 99:
            await asyncio.sleep(0)
    await asyncio.sleep(1)
    gc.collect()
    print(f"held {len(sender)} {resident_mb() - before:.1f}", flush=True)
    deadline, late = time.monotonic() + GIVE_UP_S, [0.0]
    while len(sender) and (now := time.monotonic()) < deadline:
        await asyncio.sleep(TICK_S)
        late.append(time.monotonic() - now - TICK_S)
    late.sort()
    p99, worst = (late[int(len(late) * share)] * 1000 for share in (0.99, 0.9999))
    print(f"delivered {len(sender)} {p99:.1f} {worst:.1f}", flush=True)
    await sender.close(5.0)
    await balances.stop()
    await subscriber.close()
    await accountd.close()
    context.destroy(linger=0)


def meter(sender: UsageSender, credit: SessionCredit, number: int) -> None:
    """Make one batch as a session does: note and spend each response, then seal."""
    single = replace(SINGLE, account_id="acct", session_id=f"sess_{number:024d}")
    names = tuple(f"resp_{number:018d}{part}" for part in range(RESPONSES))
    singles = [replace(single, response_ids=(name,)) for name in names]
    covers = [sender.note(one) for one in singles]
    cost = sum(credit.spend(one) for one in singles)
    usage = sum((single.usage for _ in names), start=Usage())
    batch = replace(single, responses=RESPONSES, response_ids=names, usage=usage)
    sender.send(batch, [number for number in covers if number], partial(credit.sealed, cost))


def measure(scale: Scale) -> Outcome:
    """Measure an outage, with a spool."""
    with cluster_folder() as cluster:
        return outcome(cluster, batches=scale.pick(BATCHES, quick=500), spool=True)


def outcome(cluster: Cluster, *, batches: int, spool: bool) -> Outcome:
    """Hold ``batches``, and deliver them."""
    cluster.start_accountd()
    cluster.create_account("acct", tokens=10**12)
    assert cluster.accountd is not None
    cluster.accountd.stop()
    env = dict(cluster.env)
    if not spool:
        del env["GATEWAY_SPOOL_DIR"]
    command = [sys.executable, "-m", "bench.outage", "--batches", str(batches), "--as-gateway"]
    with subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True) as gateway:
        assert gateway.stdout is not None
        _, held, grown = gateway.stdout.readline().split()
        starting = time.monotonic()
        cluster.start_accountd()
        ready = time.monotonic()
        _, left, p99, worst = gateway.stdout.readline().split()
        delivered_s = time.monotonic() - ready
        gateway.wait()
    charged = cluster.accountctl("usage", "acct")["totals"]["responses"]
    rows: tuple[tuple[Cell, ...], ...] = (
        ("spool", "on" if spool else "off"),
        (f"batches held, of {RESPONSES} responses", int(held)),
        ("memory, MB", float(grown)),
        ("start of accountd, s", ready - starting),
        ("delivered after, s", delivered_s),
        ("messages left", int(left)),
        ("event loop late meanwhile, p99, ms", float(p99)),
        ("event loop late meanwhile, p99.99, ms", float(worst)),
    )
    return Outcome(
        tables=(Table("An outage of accountd", ("what", "found"), rows),),
        bars=(
            at_most("memory of held batches, MB", float(grown), GROWTH_MB_MAX),
            at_most("delivery of held batches, s", delivered_s, DELIVERY_S_MAX),
        ),
        checks=(Check("responses charged", charged, batches * RESPONSES),),
    )


@click.command()
@click.option("--batches", default=BATCHES, show_default=True, help="Batches to hold.")
@click.option("--no-spool", is_flag=True, help="In memory only.")
@click.option("--as-gateway", is_flag=True, hidden=True)
def main(*, batches: int, no_spool: bool, as_gateway: bool) -> None:
    """Measure an outage of accountd."""
    if as_gateway:
        logs.configure(service="bench", level="WARNING")
        uvloop.run(hold_and_deliver(batches, dict(os.environ)))
        return
    with cluster_folder() as cluster:
        found = outcome(cluster, batches=batches, spool=not no_spool)
    end_with(found)


if __name__ == "__main__":
    main()
