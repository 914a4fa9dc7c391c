"""What an interpreter, or a splice that keeps the conversation, asks of its session. Pure."""

from collections.abc import Callable


class Asks:
    """Until a session says otherwise nothing comes of it.

    ``on_renewal`` is called when the provider's connection has to be replaced; ``on_refused`` with
    a code and a reason when the session cannot go on; ``on_configuration_refused`` when the
    configuration that an ephemeral key brought is refused, None where it brought none.
    """

    __slots__ = ("on_configuration_refused", "on_refused", "on_renewal")

    on_renewal: Callable[[], None]
    on_refused: Callable[[int, str], None]
    on_configuration_refused: Callable[[], None] | None

    def __init__(self) -> None:
        Asks.forget_session(self)

    def forget_session(self) -> None:
        """The session has ended, or has yet to begin: nothing refers to it in a circle."""
        self.on_renewal, self.on_refused = _nothing, _refuse_nothing
        self.on_configuration_refused = None


def _nothing() -> None:
    """Until the session says what to do."""


def _refuse_nothing(_code: int, _reason: str) -> None:
    """Until the session says what to do."""
