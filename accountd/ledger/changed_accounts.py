"""Accounts that requests changed: noted after the COMMIT, announced by the daemon. Pure."""


class ChangedAccounts:
    """Ids of accounts whose balance, plan or status is another one, each once, in their order."""

    def __init__(self) -> None:
        self._accounts: dict[str, None] = {}

    def note(self, account_id: str) -> None:
        """Note that a change of the account was committed."""
        self._accounts[account_id] = None

    def take(self) -> list[str]:
        """Return the accounts noted since the last call, and forget them."""
        taken = list(self._accounts)
        self._accounts.clear()
        return taken
