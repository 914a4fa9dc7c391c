"""What an interpreter, or a splice that keeps the conversation, asks of its session. Pure."""

from typing import Protocol


class Asked(Protocol):
    """The session."""

    def renew_provider(self) -> None:
        """The provider's connection has to be replaced."""

    def close_client(self, code: int, reason: str) -> None:
        """The session cannot go on."""

    def refuse_configuration(self) -> None:
        """The configuration that an ephemeral key brought is refused."""


class Asks:
    """``asked`` is None until there is a session, and after its end: nothing refers to it in a
    circle. ``brings_configuration``: an ephemeral key brought one. ``is_leaving``: the session is
    to leave its provider once nothing is being said; until then it may stay after all.
    """

    __slots__ = ("asked", "brings_configuration", "is_leaving")

    def __init__(self) -> None:
        self.asked: Asked | None = None
        self.brings_configuration = self.is_leaving = False

    def forget_session(self) -> None:
        """The session has ended."""
        self.asked = None
