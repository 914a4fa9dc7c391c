"""Divides the accounts whose balances are asked for into requests that accountd takes. Pure."""

from collections.abc import Iterable, Iterator
from typing import Final

from shared.fields import MESSAGE_BYTES_MAX

# Accounts in one request; accountd answers for no more at once.
ASKED_MAX: Final = 1_000
# Bytes of their names in one request: half of a message, because a message over the limit costs the
# connection.
ASKED_BYTES_MAX: Final = MESSAGE_BYTES_MAX // 2
_NAME_HEAD_BYTES: Final = 3  # msgpack's, for the longest


def portions(accounts: Iterable[str]) -> Iterator[list[str]]:
    """``accounts`` in lists, each of as many as fit into one request."""
    some: list[str] = []
    bytes_left = ASKED_BYTES_MAX
    for account in accounts:
        size = len(account.encode()) + _NAME_HEAD_BYTES
        if len(some) == ASKED_MAX or size > bytes_left:
            yield some
            some, bytes_left = [], ASKED_BYTES_MAX
        some.append(account)
        bytes_left -= size
    if some:
        yield some
