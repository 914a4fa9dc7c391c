"""A real accountd whose database somebody reads for long."""

from sqlcipher3 import dbapi2 as sqlcipher

from accountd.data.database import WAL_BYTES_MAX
from shared.usage import Usage, UsageBatch
from shared.wire import encode_envelope, encode_usage
from tests.support.harness import Cluster, cluster_folder, eventually
from tests.support.usage_socket import usage_socket

WAL_METRIC = "rts_accountd_wal_bytes"
BIG = ("x" * 2_000,) * 5  # what a gateway keeps of one batch's unknown parts
BATCHES = 2_500  # twice the limit of the log


def push_usage(cluster: Cluster) -> None:
    """Send usage of as many bytes as rows can have, and wait until it is in the database."""
    with usage_socket(cluster) as push:
        for sequence in range(1, BATCHES + 1):
            usage = UsageBatch("a", "s", "openai", "m", "response", 1, ("r",), Usage(), 0, BIG)
            push.send_multipart(encode_envelope(b"p" * 16, sequence, encode_usage(usage)))
        applied = "rts_accountd_batches_applied_total"
        assert cluster.accountd is not None
        accountd = cluster.accountd
        eventually(lambda: accountd.metrics()[applied] == BATCHES, seconds=30)


def test_the_log_shrinks_after_a_long_reader() -> None:
    """The file grows while it is read and is empty when the daemon has nothing to do."""
    with cluster_folder() as cluster:
        cluster.env["ACCOUNTD_OPS_LISTEN"] = "127.0.0.1:0"
        accountd = cluster.start_accountd()
        cluster.create_account("a")
        reader = sqlcipher.connect(str(cluster.folder / "accounts.db"), isolation_level=None)
        reader.execute(f"PRAGMA key = \"x'{(cluster.folder / 'db.key').read_text()}'\"")
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM accounts").fetchone()
        push_usage(cluster)
        assert accountd.metrics()[WAL_METRIC] > WAL_BYTES_MAX
        reader.close()
        eventually(lambda: accountd.metrics()[WAL_METRIC] == 0, seconds=30)
        assert cluster.audit()["ok"]
