"""A standby whose follower is killed again and again."""

import secrets

from tests.chaos.standby_kills import torment
from tests.support.harness import cluster_folder


def test_a_standby_is_a_database_whenever_its_follower_dies() -> None:
    """At any instant what is there opens, and at the end nothing is missing."""
    with cluster_folder() as cluster:
        torment(cluster, kills=4, seed=secrets.randbits(32))
