"""The values of a session: states, who takes part and listens, how it opens and leaves. Pure."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final, Protocol, TypeVar

from gateway.connections.close import CloseEvent
from gateway.frames import Frame
from gateway.http.refusals import Refusal
from gateway.providers.base import Dialect
from gateway.providers.first_message_gate import Gate

SessionT_contra = TypeVar("SessionT_contra", contravariant=True)


class SessionState(Enum):
    """Where a session is in its life."""

    CONNECTING = auto()  # the client is there, the provider is dialled
    RELAYING = auto()  # both are there
    RECONNECTING = auto()  # the client is there, another connection to a provider is dialled
    DRAINING = auto()  # the client is gone, the provider reports what its last response cost
    ENDED = auto()


TRANSITIONS: Final = {
    SessionState.CONNECTING: {SessionState.RELAYING, SessionState.ENDED},
    SessionState.RELAYING: {
        SessionState.RECONNECTING,
        SessionState.DRAINING,
        SessionState.ENDED,
    },
    SessionState.RECONNECTING: {SessionState.RELAYING, SessionState.ENDED},
    SessionState.DRAINING: {SessionState.ENDED},
    SessionState.ENDED: set[SessionState](),
}


# In these a provider is being dialled.
DIALLING: Final = (SessionState.CONNECTING, SessionState.RECONNECTING)


@dataclass(frozen=True, slots=True)
class SessionInfo:
    """Who talks to whom at first, and in which protocol the client does."""

    session_id: str
    account_id: str
    provider: str
    dialect: Dialect = Dialect.OPENAI


@dataclass(frozen=True, slots=True)
class Opening:
    """How a session's first messages get to the provider.

    ``ask`` finds out whether the client may use a handle that its first message names: None if so.
    The client's messages pass ``gate`` where the first one names the model. ``preface`` is sent to
    the provider before all that the client sends: the configuration that an ephemeral key holds.
    ``received`` are frames of the client that were read before the session was made.
    """

    ask: Callable[[str], Awaitable[Refusal | None]]
    gate: Gate | None = None
    preface: Sequence[Frame] = ()
    received: Sequence[Frame] = ()


@dataclass(frozen=True, slots=True)
class Departure:
    """The gateway is going away: the session ends once no response is in flight, and at ``by`` at
    the latest (monotonic seconds), with ``close_code``.
    """

    by: float
    close_code: int

    def is_due(self, now: float, *, is_idle: bool) -> bool:
        """Whether to end the session now; ``is_idle``: no response is in flight."""
        return is_idle or now > self.by


class Listener(Protocol[SessionT_contra]):
    """What hears how a session goes."""

    def provider_left(self, close: CloseEvent) -> None:
        """The provider's connection has ended, and there is a client."""

    def client_gone(self) -> None:
        """The session goes on, or ends, without a client. May be called again."""

    def ended(self, session: SessionT_contra) -> None:
        """The session has ended. Called once."""
