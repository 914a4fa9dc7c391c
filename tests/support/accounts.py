"""An account of a test, asked for without blocking the event loop."""

import asyncio
from typing import Any

from tests.support.harness import Cluster, eventually


async def key_of(cluster: Cluster, account: str = "acct") -> str:
    """A key of a new account."""
    return await asyncio.to_thread(cluster.create_account, account)


async def rows(cluster: Cluster, account: str = "acct", count: int = 1) -> list[dict[str, Any]]:
    """The account's usage rows, once there are so many."""
    return await asyncio.to_thread(
        eventually, lambda: (r := cluster.usage_rows(account)) and len(r) >= count and r
    )
