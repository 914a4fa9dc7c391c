"""The sockets between the processes, as files that somebody may already use."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import zmq

from shared import zmq_sockets
from shared.errors import AlreadyRunningError, ConfigError
from tests.support.harness import Cluster, cluster_folder


@pytest.fixture
def folder() -> Iterator[Path]:
    """A short path: that of a Unix socket holds at most 107 bytes."""
    made = Path(tempfile.mkdtemp(prefix="rts-"))
    yield made
    shutil.rmtree(made)


def test_an_endpoint_is_not_taken_from_who_listens_there(folder: Path) -> None:
    """ZeroMQ itself would take it over silently; a file that was left behind is taken over."""
    endpoint = f"ipc://{folder}/run/x.sock"
    with zmq.Context() as context, context.socket(zmq.PULL) as first:
        zmq_sockets.bind(first, endpoint)
        with (
            context.socket(zmq.PULL) as second,
            pytest.raises(AlreadyRunningError, match="another process listens"),
        ):
            zmq_sockets.bind(second, endpoint)
    (folder / "run" / "x.sock").touch()
    with zmq.Context() as context, context.socket(zmq.PULL) as third:
        zmq_sockets.bind(third, endpoint)


def test_a_taken_port_is_a_clear_error() -> None:
    """TCP says so by itself; the hint is ours."""
    with (
        zmq.Context() as context,
        context.socket(zmq.PULL) as first,
        context.socket(zmq.PULL) as second,
    ):
        port = first.bind_to_random_port("tcp://127.0.0.1")
        with pytest.raises(ConfigError, match="cannot listen"):
            zmq_sockets.bind(second, f"tcp://127.0.0.1:{port}")


@pytest.fixture
def other() -> Iterator[Cluster]:
    """A second database."""
    with cluster_folder() as cluster:
        yield cluster


def test_a_daemon_with_another_database_does_not_steal_the_sockets(other: Cluster) -> None:
    """Exit 73 with one line; the first daemon goes on answering."""
    with cluster_folder() as cluster:
        cluster.start_accountd()
        cluster.create_account("first")
        sockets = {n: v for n, v in cluster.env.items() if n.endswith("_ENDPOINT")}
        done = other.run("accountd", "serve", **sockets)
        assert done.returncode == 73
        assert "another process listens" in done.stderr
        assert len(done.stderr.strip().splitlines()) == 1
        assert cluster.accountctl("account", "show", "first")["id"] == "first"
