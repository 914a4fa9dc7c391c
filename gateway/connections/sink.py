"""Who gets what a connection receives: the interface, and the simplest of them. Pure."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Protocol

from mypy_extensions import mypyc_attr

from gateway.connections.close import CloseEvent
from gateway.frames import Frame, Span, frames_of


class Sink(Protocol):
    """Who gets what a connection receives."""

    def messages_received(self, read: bytes, spans: list[Span]) -> None:
        """Messages in one frame each, which are all of ``read``: nearly every read of speech."""

    def frames_received(self, frames: Sequence[Frame]) -> None:
        """Data frames, whole and in order."""

    def connection_closed(self, close: CloseEvent) -> None:
        """Nothing more will come. Called once, after the last frame."""


@mypyc_attr(allow_interpreted_subclasses=True)
class SequenceSink(ABC):
    """The part of a sink to which it is all the same how frames came."""

    __slots__ = ()

    def messages_received(self, read: bytes, spans: list[Span]) -> None:
        """See ``Sink``."""
        self.frames_received(frames_of(read, spans))

    @abstractmethod
    def frames_received(self, frames: Sequence[Frame]) -> None:
        """See ``Sink``."""


class Discard(SequenceSink):
    """The sink of a connection whose frames are of no use any more: it drops them."""

    __slots__ = ()

    def frames_received(self, frames: Sequence[Frame]) -> None:
        """Drop the frames."""

    def connection_closed(self, close: CloseEvent) -> None:
        """Do nothing."""
