"""The place of a session among those that spend from one cap, which take turns as an account's do.

``floors`` gives the floor of the cap to it, beside that of the account to the session itself.
Made by ``limited_credit``.
"""

from gateway.credit.credit import Credit
from gateway.credit.floors import FloorMember


class CapSeat:
    """A member of those that spend from ``cap``, which is held as if it were credit; what it knows
    of responses ``session`` tells.
    """

    __slots__ = ("_session", "cap", "has_floor", "is_crowded")

    def __init__(self, session: FloorMember, cap: Credit) -> None:
        self._session = session
        self.cap = cap
        self.is_crowded, self.has_floor = False, True

    @property
    def account_id(self) -> str:
        """See ``FloorMember``: the name of the cap."""
        return self.cap.account_id

    def responses(self) -> int:
        """See ``FloorMember``."""
        return self._session.responses()

    def is_asked(self) -> bool:
        """See ``FloorMember``."""
        return self._session.is_asked()

    def is_continuous(self) -> bool:
        """See ``FloorMember``."""
        return self._session.is_continuous()

    def may_answer(self) -> bool:
        """See ``FloorMember``."""
        return self._session.may_answer()

    def floor_changed(self) -> None:
        """See ``FloorMember``."""
        self._session.floor_changed()
