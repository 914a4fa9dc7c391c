"""How the simulated Gemini Live refuses a client's message. Pure."""

from typing import Final

INVALID: Final = "Request contains an invalid argument."


class GeminiError(Exception):
    """The client's mistake: the session is closed with this reason."""

    def __init__(self, reason: str = INVALID, *, code: int = 1007) -> None:
        super().__init__(reason)
        self.code = code
