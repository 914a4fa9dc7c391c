"""The sinks of a session's two connections: where received frames go, and what happens on the way.

``Session`` puts them in place, and exchanges them as its state changes:

=========================  =======================================================================
frames of the client       ``PreOpenBuffer`` until the provider is connected, then
                           ``UpstreamForwarder``
frames of the provider     ``ConfigurationMonitor`` first where an ephemeral key brought the
                           session's configuration, then ``DownstreamForwarder``; ``MeterOnly``
                           once the client is gone
=========================  =======================================================================

``MeterOnly`` holds no reference to the client, so a frame that arrives after the client has left
can be metered and cannot be written to it.
"""

import re
from collections.abc import Callable, Sequence
from typing import ClassVar, Final, Protocol

from gateway.connections.close import CloseEvent
from gateway.connections.connection import Connection
from gateway.connections.receive_queue import Pause
from gateway.connections.sink import SequenceSink, Sink
from gateway.frames import Frame, Span, frames_of
from gateway.limits import MESSAGE_BYTES_MAX, PRE_OPEN_BYTES_MAX, PRE_OPEN_SESSIONS_MAX
from gateway.metering.usage_recorder import Recorder
from gateway.providers.base import CONFIGURATION_ID
from gateway.providers.first_message_gate import Gate

OnClose = Callable[[CloseEvent], None]


class DownstreamSink(Sink, Protocol):
    """Who gets the provider's frames while the client is there."""

    reports_gaps: bool
    """Whether the session is called after any frames, not only after what was metered."""


_CONFIGURED: Final = re.compile(rb'\s*\{\s*"type"\s*:\s*"(?:transcription_)?session\.updated"')
_REFUSED: Final = CONFIGURATION_ID.encode()


class PreOpenBuffer(SequenceSink):
    """Keeps what the client sends before its provider is there, up to ``PRE_OPEN_BYTES_MAX``.

    While ``PRE_OPEN_SESSIONS_MAX`` of them are open, the clients of any further ones are not read.
    """

    opened: ClassVar[int] = 0

    def __init__(self, client: Connection, on_close: OnClose) -> None:
        self._client = client
        self._on_close = on_close
        self._is_open = True
        PreOpenBuffer.opened += 1
        client.partial_max = PRE_OPEN_BYTES_MAX
        if PreOpenBuffer.opened > PRE_OPEN_SESSIONS_MAX:
            client.pause(Pause.CROWDED)
        self._frames: list[Frame] = []
        self._bytes = 0

    def connection_closed(self, close: CloseEvent) -> None:
        """The client has left before its provider was there."""
        self.close()
        self._on_close(close)

    def frames_received(self, frames: Sequence[Frame]) -> None:
        """Keep the frames; past the bound the client's connection is paused."""
        self._frames += frames
        self._bytes += sum(len(frame.raw) for frame in frames)
        if self._bytes > PRE_OPEN_BYTES_MAX:
            self._client.pause(Pause.PRE_OPEN)

    def release(self, to: Sink) -> None:
        """The provider is connected: forward what was kept, then what the connection has queued.

        Should what was kept fill the provider's write buffer, backpressure pauses the client next.
        """
        self.close()
        frames, self._frames = self._frames, []
        to.frames_received(frames)
        self._client.resume(Pause.PRE_OPEN | Pause.CROWDED)

    def close(self) -> None:
        """Keep nothing more: the provider is there, or the client is detached from its session."""
        if self._is_open:
            self._is_open = False
            PreOpenBuffer.opened -= 1
            self._client.partial_max = MESSAGE_BYTES_MAX


class UpstreamForwarder:
    """Lets the meter see the client's frames, then forwards them as they came.

    Where the client's first message names the model, its messages pass a ``gate``.
    ``on_model_refused`` is called with a model that the client may not use: then the session ends.
    ``on_handle_named`` is called with a handle whose owner is to be found out: the message waits in
    the gate until ``resume`` is called, or the session ends.
    """

    __slots__ = (
        "_gate",
        "_on_handle_named",
        "_on_model_refused",
        "_provider",
        "_recorder",
        "connection_closed",
    )

    def __init__(
        self,
        recorder: Recorder,
        provider: Connection,
        *,
        gate: Gate | None,
        on_model_refused: Callable[[str], None],
        on_handle_named: Callable[[str], None],
        on_close: OnClose,
    ) -> None:
        self._recorder = recorder
        self._provider = provider
        self._gate = gate
        self._on_model_refused = on_model_refused
        self._on_handle_named = on_handle_named
        self.connection_closed = on_close

    def messages_received(self, read: bytes, spans: list[Span]) -> None:
        """Forward them as they came, unless they have to pass the gate."""
        if self._gate is None:
            self._recorder.observe_client_messages(read, spans)
            self._provider.write_messages(read)
        else:
            self.frames_received(frames_of(read, spans))

    def frames_received(self, frames: Sequence[Frame]) -> None:
        """Forward them. The meter sees what passes the gate: that is what the provider will see."""
        if self._gate is not None:
            frames = self._gate.admit(frames)
        self._forward(frames)

    def resume(self) -> None:
        """The client may use the handle that it named: forward what waits in the gate."""
        assert self._gate is not None
        self._forward(self._gate.release())

    def _forward(self, frames: Sequence[Frame]) -> None:
        self._recorder.observe_client(frames)
        self._provider.write(frames)
        if self._gate is None:
            return
        if self._gate.refused_model is not None:
            self._on_model_refused(self._gate.refused_model)
        elif self._gate.pending_handle is not None:
            self._on_handle_named(self._gate.pending_handle)


class DownstreamForwarder:
    """Meters the provider's frames, then forwards them as they came.

    ``on_metered`` is called after frames of which something was metered were forwarded. While
    ``reports_gaps`` is set it is called after any frames: the session waits for the end of a
    fragmented message to send an event of its own, or for the end of a response to end itself.
    """

    __slots__ = ("_client", "_on_metered", "_recorder", "connection_closed", "reports_gaps")

    def __init__(
        self,
        recorder: Recorder,
        client: Connection,
        *,
        on_metered: Callable[[], None],
        on_close: OnClose,
    ) -> None:
        self._recorder = recorder
        self._client = client
        self._on_metered = on_metered
        self.connection_closed = on_close
        self.reports_gaps = False

    def messages_received(self, read: bytes, spans: list[Span]) -> None:
        """Forward them as they came, unless the recorder replaces one."""
        seen = self._recorder.skim(read, spans)
        if seen == len(spans):
            self._client.write_messages(read)
            if self.reports_gaps:
                self._on_metered()
            return
        frames = frames_of(read, spans[seen:])
        has_metered = self._recorder.observe(frames)
        for_client = self._recorder.for_client(frames)
        if for_client is frames:
            self._client.write_messages(read)
        else:
            self._client.write([*frames_of(read, spans[:seen]), *for_client])
        if has_metered or self.reports_gaps:
            self._on_metered()

    def frames_received(self, frames: Sequence[Frame]) -> None:
        """Meter, then forward: what the client gets is charged, even if the gateway is killed, or
        the write fails, in between.
        """
        has_metered = self._recorder.observe(frames)
        self._client.write(self._recorder.for_client(frames))
        if has_metered or self.reports_gaps:
            self._on_metered()


class ConfigurationMonitor(SequenceSink):
    """Passes frames to ``DownstreamForwarder`` until the provider has answered our configuration.

    ``on_answered`` is called with whether the provider accepted it: the first ``session.updated``
    says so, an error that names our message denies it. The client gets both events.
    """

    __slots__ = ("_on_answered", "_sink", "connection_closed")

    def __init__(self, sink: DownstreamForwarder, on_answered: Callable[[bool], None]) -> None:
        self._sink = sink
        self._on_answered = on_answered
        self.connection_closed = sink.connection_closed

    def frames_received(self, frames: Sequence[Frame]) -> None:
        """Pass them on, then look for the answer."""
        self._sink.frames_received(frames)
        for frame in frames:
            is_violation = _REFUSED in frame.raw
            if is_violation or _CONFIGURED.match(frame.raw, frame.start):
                self._on_answered(not is_violation)
                return


class MeterOnly(SequenceSink):
    """Meters the provider's frames and drops them: the client is gone.

    The provider was told to cancel. Where it answers that (OpenAI), it does so in the order of
    events: once it has reported that a response ended, or that there was none to cancel, all that
    the client had asked for is over, including a response that had not begun when the client left.
    A response that begins all the same (voice activity detection may start one) is cancelled, too.
    """

    __slots__ = (
        "_answers_before",
        "_in_flight",
        "_on_begun",
        "_on_idle",
        "_recorder",
        "connection_closed",
    )

    def __init__(
        self,
        recorder: Recorder,
        *,
        on_begun: Callable[[], None],
        on_idle: Callable[[], None],
        on_close: OnClose,
    ) -> None:
        self._recorder = recorder
        self._answers_before = recorder.cancels_answered
        self._in_flight = recorder.in_flight
        self._on_begun = on_begun
        self._on_idle = on_idle
        self.connection_closed = on_close

    def frames_received(self, frames: Sequence[Frame]) -> None:
        """Meter; ``on_idle`` is called as soon as no response is, or will be, in flight."""
        recorder = self._recorder
        recorder.observe(frames)
        before, self._in_flight = self._in_flight, recorder.in_flight
        is_answered = recorder.cancels_answered > self._answers_before and not self._in_flight
        if is_answered or not recorder.drain_s:
            self._on_idle()
        elif self._in_flight - before:
            self._on_begun()
