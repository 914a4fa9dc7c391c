"""The bench of the relay, with real processes."""

import asyncio

from bench import machine, relay
from tests.support.harness import cluster_folder


def test_each_relay_is_measured() -> None:
    """The gateway, what is installed beside it, and the programs on uvloop: bytes, and charges.

    It runs compiled as well where ``make compiled`` was run.
    """
    stage, case = relay.Stage(seconds=0.2, warm_up_s=0.1), relay.Case(sessions=5, rounds=1)
    with cluster_folder() as cluster:
        compiled = relay.compiled_modules(is_quick=True)
        done = asyncio.run(relay.run(cluster, stage, [case], compiled=compiled, is_quick=True))
    found = done.found_by_case[case]
    installed = [name for name in ("haproxy", "nginx") if machine.find(name)]
    on_uvloop = ["bytes on uvloop", "websockets on uvloop"]
    forms = [relay.PLAIN] if compiled is None else [relay.COMPILED, relay.PLAIN]
    assert list(found) == [*forms, relay.UNKEPT, relay.UNMETERED, *installed, *on_uvloop]
    assert all(len(one.trip_us) == 1 and one.trip_us[0] > 0 for one in found.values())
    assert all(one.frames > 0 and one.frames_changed == 0 for one in found.values())
    assert set(relay.ratios(found)) == set(found) - {forms[0]}
    assert done.charged == done.reported > 0
