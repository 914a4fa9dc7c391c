"""What a translator is: messages in, messages out, in both directions of one session. Pure.

A translator knows no socket and no clock, and its ids come from a seed, so the same messages give
the same answers. What it has to remember beyond a provider's connection is its ``conversation``,
which can be written down, and given to a translator for another provider.

The relay calls it in this order::

    opened()                      a new client is there: what it hears first
    provider_opened()             a provider is connected: what it is told first
    from_client(), from_provider()  in any order, one whole message each
    provider_closed()             that provider is gone; perhaps another one is dialled:
    provider_opened()             it is told what was configured and said so far

While ``is_waiting`` the provider has not accepted the session's configuration yet. The relay then
gives it no message of the client; these wait in the client's connection, whose flow control bounds
them.
"""

from enum import Enum, auto
from hashlib import blake2b
from typing import Any, Final, Protocol

from msgspec import Struct, field

from gateway.translate.conversation import Conversation
from gateway.translate.marks import Mark
from gateway.translate.resumption import Resumption

# An id that a client gives an item, and the id of a call, has at most so many characters (OpenAI's
# error ``string_above_max_length``).
ID_CHARS_MAX: Final = 32


def call_id_of(name: str) -> str:
    """The id of a call as OpenAI's clients can have it: Gemini's names are longer. The same name
    gives the same id.
    """
    if len(name) <= ID_CHARS_MAX:
        return name
    return f"call_{blake2b(name.encode(), digest_size=13).hexdigest()}"


class Renewal(Enum):
    """When the provider's connection has to be replaced by another one."""

    NOW = auto()  # nothing is being said: what was configured takes a new connection
    BETWEEN_TURNS = auto()  # the provider announced its end: once no response is open


class Close(Struct, frozen=True):
    """The session cannot go on: the code and the reason with which the client is closed."""

    code: int
    reason: str


class Translation(Struct):
    """What a message becomes; the messages are in the order in which they are to be sent.

    Each is the payload of one message: JSON in UTF-8. ``ignored`` names what the other protocol
    has no word for, for the log and the metric (``setup.generationConfig.topK``). ``marks`` are
    what the message says of the user's wait for an answer. ``renewal`` and ``close`` are for the
    relay to act on after the messages are sent.
    """

    to_client: list[bytes] = field(default_factory=list)
    to_provider: list[bytes] = field(default_factory=list)
    ignored: list[str] = field(default_factory=list)
    marks: list[Mark | None] = field(default_factory=list)
    renewal: Renewal | None = None
    close: Close | None = None


class GeminiClient(Struct, frozen=True):
    """How far a client of Gemini's is, beside the conversation.

    ``setup`` is as it came, with what ``contextUpdate`` changed, and without a handle.
    ``is_accepted``: the client has heard ``setupComplete``. ``is_asked``: an answer is to be asked
    for, of which it has heard nothing. ``is_history``: what it writes now is not answered.
    ``is_active``: it has begun an activity, and not ended it. ``calls`` are the id and the name of
    each function that was called, and whether the model waits for its answer.
    """

    setup: dict[str, Any]
    is_accepted: bool = False
    is_asked: bool = False
    is_history: bool = False
    is_active: bool = False
    calls: tuple[tuple[str, str, bool], ...] = ()


class Rest(Struct, frozen=True):
    """What one translator leaves, beside the conversation, to another that takes its place.

    ``announced`` are the ``id`` and the ``model`` of the session that a client of OpenAI's was told
    of, empty where it was told of none. ``unanswered`` are its messages, in GA's form.
    ``to_client`` closes what the other does not go on with. ``gemini`` is a client of Gemini's;
    None where it has not sent its setup.
    """

    announced: dict[str, Any] = {}
    unanswered: list[bytes] = []
    to_client: list[bytes] = []
    gemini: GeminiClient | None = None


class Translator(Protocol):
    """Both directions of one session. Nothing that a peer sends makes a method raise."""

    @property
    def conversation(self) -> Conversation:
        """What was configured and said so far, without what is being said."""

    @property
    def is_waiting(self) -> bool:
        """Whether ``from_client`` may not be called now: the setup is not accepted yet."""

    @property
    def is_answering(self) -> bool:
        """Whether something is being said, so that this is not between two turns: a response is
        open towards the client, or the provider is known to hear the user.
        """

    @property
    def resumption(self) -> Resumption | None:
        """What the next connection to the same provider can go on with by itself; None where no
        connection can.
        """

    def opened(self) -> Translation:
        """The client was upgraded. Called once, first."""

    def provider_opened(self) -> Translation:
        """A provider's connection is open: the first one, or one in place of another."""

    def provider_closed(self) -> Translation:
        """The provider's connection is gone: what was open towards the client is closed there. The
        relay decides whether another provider takes its place.
        """

    def moved_to(self, provider: str) -> None:
        """The next connection is one to ``provider``, which speaks the same protocol as the one
        before.
        """

    def leave(self) -> Rest:
        """The provider is gone, and the next one speaks another protocol: what is left to do. This
        translator is not used any more.
        """

    def take_over(self, rest: Rest) -> Translation:
        """Go on where another translator has left; called before ``provider_opened``."""

    def from_client(self, message: bytes) -> Translation:
        """Take one whole message of the client."""

    def from_provider(self, message: bytes) -> Translation:
        """Take one whole message of the provider."""


class Ids:
    """Names for what a translator makes, e.g. ``item_8f3a_1``: the same seed gives the same.

    ``seed`` is text that no other session has.
    """

    __slots__ = ("_count", "_seed")

    def __init__(self, seed: str) -> None:
        self._seed = seed
        self._count = 0

    def make(self, kind: str) -> str:
        """The next id, of at most 32 characters (OpenAI's bound for items)."""
        self._count += 1
        return f"{kind}_{self._seed}_{self._count}"[:ID_CHARS_MAX]

    def has_made(self, name: str, kind: str) -> bool:
        """Whether ``name`` may be one that ``make`` returned for ``kind``."""
        return self._count > 0 and name.startswith(f"{kind}_{self._seed}_")
