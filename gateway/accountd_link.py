"""What a gateway keeps open beside its clients: everything that talks to accountd, and the spool.

``app`` opens it first and closes it last, so that whatever a client's session still meters has
somewhere to go.
"""

import asyncio
import secrets
from dataclasses import dataclass

import zmq.asyncio

from gateway.accountd_client.leases import Leases
from gateway.accountd_client.recalls import Recalls
from gateway.accountd_client.rpc_client import RpcClient
from gateway.accountd_client.subscriber import Subscriber
from gateway.config import GatewayConfig
from gateway.conversations.store import ConversationStore
from gateway.credit.balances import Balances
from gateway.delivery.spool_manager import SpoolManager
from gateway.delivery.usage_sender import UsageSender
from gateway.handles.ownership import HandleRegistry
from shared.announcements import HOLDER_TOPIC, RECALL_TOPIC
from shared.errors import ConfigError
from shared.metrics import Metric
from shared.zmq_sockets import LINGER_MS


@dataclass(frozen=True, slots=True)
class AccountdLink:
    """Sockets to accountd, what uses them, and the spool: all started."""

    context: zmq.asyncio.Context
    accountd: RpcClient
    subscriber: Subscriber
    balances: Balances
    usage: UsageSender
    handles: HandleRegistry
    leases: Leases
    recalls: Recalls
    conversations: ConversationStore | None  # where they are stored

    @classmethod
    def open(cls, config: GatewayConfig) -> "AccountdLink":
        """Open the spool, connect to accountd, and start. Raises ``ConfigError``."""
        spool_manager = _open_spool(config)
        context = zmq.asyncio.Context()
        accountd = RpcClient(context, config.rpc_endpoint, grant_cache_s=config.grant_cache_s)
        accountd.start()
        subscriber = Subscriber(context, config.events_endpoint)
        balances = Balances(
            subscriber,
            accountd,
            near_responses=config.near_empty_responses,
            typical_credits=config.typical_credits,
        )
        usage = UsageSender(
            context,
            usage_endpoint=config.usage_endpoint,
            subscriber=subscriber,
            accountd=accountd,
            balances=balances,
            manager=spool_manager,
        )
        usage.start()
        subscriber.start()
        balances.start()
        handles = HandleRegistry(accountd, allows_unknown=config.allows_unknown_handles)
        handles.start()
        name = secrets.token_hex(8)  # of this process, at accountd
        leases = Leases(accountd, name)
        leases.start()
        recalls = Recalls(accountd, name)
        subscriber.subscribe(RECALL_TOPIC, recalls.announced)
        recalls.start()
        conversations = None
        if config.stores_conversations:
            conversations = ConversationStore(accountd)
            subscriber.subscribe(HOLDER_TOPIC, conversations.holder_announced)
            conversations.start()
        return cls(
            context, accountd, subscriber, balances, usage, handles, leases, recalls, conversations
        )

    def metrics(self) -> list[Metric]:
        """The numbers of all of it, for ``/metrics``."""
        parts = (
            self.handles, self.accountd, self.balances, self.usage, self.leases, self.recalls,
        )  # fmt: skip
        found = [metric for part in parts for metric in part.metrics()]
        return found + (self.conversations.metrics() if self.conversations is not None else [])

    async def hand_over(self) -> int:
        """Wait until all usage is durable, for ``LINGER_MS`` at most: how many batches are not."""
        return await self.usage.close(LINGER_MS / 1000)

    async def close(self) -> None:
        """Tell accountd of the last conversations and handles, and close every socket, but not the
        context.
        """
        if self.conversations is not None:
            await self.conversations.close()
        await self.leases.close()
        await self.recalls.close()
        await self.handles.close()
        await self.balances.stop()
        await self.subscriber.close()
        await self.accountd.close()

    async def terminate(self) -> None:
        """Close the context; it waits until its sockets have sent what they have."""
        await asyncio.to_thread(self.context.term)


def _open_spool(config: GatewayConfig) -> SpoolManager | None:
    if config.spool_dir is None:
        return None
    try:
        return SpoolManager(config.spool_dir, config.retention)
    except OSError as exc:
        raise ConfigError(
            f"GATEWAY_SPOOL_DIR: cannot write {config.spool_dir}: {exc.strerror}",
            hint="name a folder on a disk of this machine that has space",
        ) from exc
