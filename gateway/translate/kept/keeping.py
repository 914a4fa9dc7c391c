"""What a keeper is: it keeps the conversation of one session, for the next provider. Pure.

Client and provider speak the same protocol; ``kept`` has the keeper of OpenAI's, ``kept_gemini``
that of Gemini's.
"""

from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol

from msgspec import Struct

from gateway.frames import Opcode
from gateway.translate.base import Rest
from gateway.translate.conversation import Conversation
from gateway.translate.marks import Mark
from gateway.translate.resumption import Resumption

Json = dict[str, Any]

# What ``client_said`` answers where the provider is not to get a message, and the client no answer.
WITHHELD: Final[Json] = {}


class Wire(Struct, frozen=True):
    """What the frames of a protocol hold, found without parsing audio.

    ``opcode`` is that of the provider's messages, ``opcodes`` those of all that may be JSON.
    ``event_of`` parses a message, and gives None for what is none. ``is_append``: it is the
    client's audio; ``is_speech``: what begins at a place is the provider's. ``mark_of``: see
    ``marks``. ``speaks_first``: the provider does, when a connection stands.
    """

    opcode: Opcode
    opcodes: frozenset[int]
    event_of: Callable[[bytes], Json | None]
    is_append: Callable[[bytes], bool]
    is_speech: Callable[[bytes, int], bool]
    mark_of: Callable[[Json], Mark | None]
    speaks_first: bool


class Keeping(Protocol):
    """Of one session. Nothing that a peer sends makes a method raise."""

    @property
    def wire(self) -> Wire:
        """How its messages are found."""

    @property
    def conversation(self) -> Conversation:
        """What was configured and said."""

    @property
    def is_keeping(self) -> bool:
        """Whether another provider can be told the session."""

    @property
    def is_answering(self) -> bool:
        """Whether something is being said, or was asked for: this is not between two turns."""

    @property
    def is_retelling(self) -> bool:
        """Whether the provider has yet to answer what it was told in place of another one."""

    @property
    def is_waiting(self) -> bool:
        """Whether the provider has to accept something before it is told what the client says."""

    @property
    def resumption(self) -> Resumption | None:
        """See ``Translator``."""

    def opened(self) -> None:
        """A new client is there."""

    def moved_to(self, provider: str) -> None:
        """See ``Translator``."""

    def leave(self) -> Rest:
        """See ``Translator``."""

    def take_over(self, rest: Rest) -> None:
        """See ``Translator``."""

    def provider_opened(self) -> Sequence[Json | bytes]:
        """What a provider is told first."""

    def provider_closed(self) -> Sequence[Json]:
        """What the client hears when the provider is gone."""

    def take_due(self) -> Sequence[bytes]:
        """What the provider is to be told now, by what was said last."""

    def take_notice(self) -> bool:
        """Whether the provider has announced the end of its connection since the last call."""

    def client_said(self, event: Json, raw: bytes) -> Json | None:
        """A message of the client that is no audio: None where the provider is to get it, else the
        answer to it; ``WITHHELD`` is none.
        """

    def client_spoke(self) -> None:
        """The client sends audio."""

    def provider_said(self, event: Json) -> Json | None:
        """A message of the provider that is no audio, as the client gets it: the same object, or
        another; None where it is not for the client.
        """

    def heard(self) -> None:
        """The client gets audio."""
