"""The bench of the relay, with real processes."""

import asyncio
import shutil

from bench import relay
from tests.support.harness import cluster_folder


def test_each_relay_is_measured() -> None:
    """The gateway, haproxy where there is one, and the bare program; all their sessions end."""
    with cluster_folder() as cluster:
        found = asyncio.run(relay.run(cluster, 1, 0.3, None))
    with_haproxy = ["haproxy"] if shutil.which("haproxy") else []
    assert list(found) == [relay.GATEWAY, *with_haproxy, "bytes on uvloop"]
    assert all(len(taken) == 1 and taken[0] > 0 for taken in found.values())
    assert set(relay.ratios(found)) == set(found) - {relay.GATEWAY}
