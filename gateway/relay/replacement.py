"""Whether and when another connection to a provider takes the place of one that is gone. Pure.

A session whose conversation is known can go on over another connection: after a drop, at the cap of
a session's lifetime, where its provider announces its end, or where a configuration takes a new
connection. What a provider refuses for good (a model, an argument, our account) it would refuse
again. Times are monotonic seconds.
"""

from typing import Final

from gateway.connections.close import POLICY_VIOLATION, CloseEvent

# RFC 6455 section 7.4.1: 1007 is data that does not fit its type. Gemini closes with it after an
# invalid argument, and with 1008 after what it does not serve.
_INVALID_PAYLOAD: Final = 1007
_FINAL: Final = frozenset({_INVALID_PAYLOAD, POLICY_VIOLATION})
# RFC 6455 section 7.4.2: the provider's own codes; OpenAI closes with 4000 and more for good.
_PRIVATE_CODES: Final = 3000

# Tries in a row of which none lasted, and the pauses before them.
TRIES_MAX: Final = 7
PAUSE_S: Final = 0.25
PAUSE_S_MAX: Final = 4.0
# A connection that stood this long counts as good: the next drop begins to count anew.
GOOD_S: Final = 10.0
# One that we have replaced this soon comes after a pause, too: a client, or a provider, that asks
# for one replacement after the other makes no loop of dials.
SOON_S: Final = 1.0


def is_final(close: CloseEvent) -> bool:
    """Whether the provider has refused the session for good."""
    return close.code in _FINAL or close.code >= _PRIVATE_CODES


class Replacement:
    """The tries of one session."""

    __slots__ = ("_connected_at", "_has_followed", "_is_renewing", "_is_retold", "_soon", "_tries")

    def __init__(self) -> None:
        self._tries = 0
        self._soon = 0  # connections in a row that we have replaced soon
        self._connected_at: float | None = None
        self._is_renewing = False
        self._has_followed = False  # the connection is not the session's first
        self._is_retold = False  # what one that followed refused was told to another already

    def connected(self, now: float) -> None:
        """A connection stands."""
        self._connected_at = now
        self._is_renewing = False

    def renewing(self) -> None:
        """The connection is closed by us, so that another one takes its place."""
        self._is_renewing = True

    def may_follow(
        self, close: CloseEvent, now: float, *, was_accepted: bool, has_refuge: bool = False
    ) -> bool:
        """Whether another connection is worth a try after ``close``. Each yes counts as a try,
        unless it was we who closed. ``has_refuge``: it refuses our account, and is one to another
        provider: that is a try, too, whoever closed, as that one may refuse it as well.

        ``was_accepted``: the provider had accepted what it was told. A connection that followed
        another, and was refused before that, may have been told of a session to resume that is
        over. The next one is told the conversation instead, so it is worth one more try.
        """
        stood_s = 0.0 if self._connected_at is None else now - self._connected_at
        self._connected_at = None
        if stood_s >= GOOD_S:
            self._tries, self._is_retold = 0, False
        self._soon = self._soon + 1 if self._is_renewing and stood_s < SOON_S else 0
        if has_refuge:
            self._has_followed = True
            return self.may_try_again()
        if self._is_renewing:
            self._has_followed = True
            return True
        if is_final(close):
            if was_accepted or not self._has_followed or self._is_retold:
                return False
            self._is_retold = True
        self._has_followed = True
        return self.may_try_again()

    def may_try_again(self) -> bool:
        """The same after a dial that failed."""
        self._tries += 1
        return self._tries <= TRIES_MAX

    def pause_s(self, chance: float) -> float:
        """The pause before the next dial: none before the first, then doubling, with jitter.

        ``chance`` is random, from 0 to 1: sessions that lost their provider at once must not all
        dial at once.
        """
        tries = max(self._tries, self._soon)
        if tries <= 1:
            return 0.0
        # Of many, the exponent alone would be a number of many digits.
        longest: float = min(PAUSE_S_MAX, PAUSE_S * 2 ** min(tries - 2, TRIES_MAX))
        return longest * (0.5 + chance / 2)
