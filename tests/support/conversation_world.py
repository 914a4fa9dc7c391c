"""Gateways' conversation stores and accountd's own handlers on a real database, in one event loop.

Sessions are doubles that say something and leave; accountd can be away, and announcements be lost.
"""

import asyncio
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from accountd.accounts.conversations import Conversations
from accountd.request_params import Params, RequestError
from gateway.accountd_client.authorizations import Denial
from gateway.conversations.store import ConversationStore
from gateway.translate.conversation import Conversation
from shared.announcements import encode_new_holder
from shared.errors import UnreachableError
from shared.requests import (
    Reply,
    Request,
    decode_reply,
    decode_request,
    encode_reply,
    encode_request,
)
from tests.support.database import empty_database

ACCOUNT = "acct"


class World:
    """accountd, and what it takes to reach it. ``requests`` are those that it got, in order."""

    def __init__(self, connection: Any) -> None:
        self.handlers = Conversations(connection)
        self.stores: list[ConversationStore] = []
        self.requests: list[Request] = []
        self.is_away = False
        self.is_old = False
        self.refuses = False
        self.loses_announcements = False
        self.loses_answers = 0  # so many of the next ones

    def gateway(self) -> ConversationStore:
        """One more gateway, whose task runs."""
        store = ConversationStore(self)
        self.stores.append(store)
        store.start()
        return store

    async def report(self, method: str, params: Mapping[str, Any]) -> Mapping[str, Any] | Denial:
        """What accountd answers, as it travels."""
        await asyncio.sleep(0)
        if self.is_away:
            raise UnreachableError
        request = decode_request(encode_request(Request(method, dict(params))))
        self.requests.append(request)
        if self.is_old:
            return Denial("unknown_method", f"no method {method}")
        if self.refuses:
            return Denial("bad_request", f"found {str(params)[:200]}")
        handler = {"sessions.open": self.handlers.open, "sessions.store": self.handlers.store}
        try:
            result = handler[method](Params(request.params))
        except RequestError as exc:
            return Denial(exc.code, str(exc))
        self._announce()
        if self.loses_answers:
            self.loses_answers -= 1
            raise UnreachableError
        answer: Mapping[str, Any] = decode_reply(encode_reply(Reply(result))).result
        return answer

    def _announce(self) -> None:
        for change in self.handlers.take_taken_over():
            for store in () if self.loses_announcements else self.stores:
                store.holder_announced(encode_new_holder(change))

    def stored(self, name: str = "s") -> str:
        """What is stored of a session, as text."""
        found = self.handlers._connection.execute(
            "SELECT data FROM sessions WHERE session_id = ? AND type = 'CONV'", (name,)
        ).fetchone()
        return str(found[0]) if found else ""


class Talk:
    """A session that goes on with what is stored. ``on_concluded`` as ``StoredSession`` has it.
    ``is_stored``: it has a claim.
    """

    def __init__(self, conversation: Conversation, *, is_stored: bool) -> None:
        self.conversation = conversation
        self.is_stored = is_stored
        self.on_concluded: Callable[[], None] = lambda: None
        self.is_superseded = False
        self.has_left = False

    @property
    def words(self) -> list[str]:
        """What was said."""
        return [item["content"][0]["text"] for item in self.conversation.items]

    def say(self, words: str) -> None:
        """The user says something."""
        content = [{"type": "input_text", "text": words}]
        self.conversation.add({"type": "message", "role": "user", "content": content})

    def leave(self) -> None:
        """The client is gone."""
        self.has_left = True
        self.on_concluded()

    def supersede(self) -> None:
        """See ``StoredSession``."""
        self.is_superseded = True
        self.leave()


async def connect(store: ConversationStore, name: str = "s", account: str = ACCOUNT) -> Talk:
    """A client connects with the name of its session."""
    claim = await store.open(account, name)
    talk = Talk((claim and claim.conversation) or Conversation(), is_stored=claim is not None)
    if claim is not None:
        store.begin(claim, talk)
    return talk


@contextmanager
def world() -> Iterator[World]:
    """An empty one."""
    with empty_database() as database:
        yield World(database.connection())
