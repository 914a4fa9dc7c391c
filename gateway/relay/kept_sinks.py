"""The sinks of a session of one protocol whose conversation is kept. See ``kept_splice``.

A read of nothing but audio takes the way that it takes in ``relay.sinks``. All else is shown to
the session frame by frame, after it was metered, and before it is forwarded.
"""

from collections.abc import Callable, Sequence
from typing import Protocol

from msgspec.structs import replace

from gateway.connections.close import CloseEvent
from gateway.connections.connection import Connection
from gateway.frames import Frame, Span, frames_of
from gateway.metering.base import Fragments
from gateway.metering.parsing import unmasked
from gateway.metering.usage_recorder import Recorder
from gateway.providers.first_message_gate import Gate
from gateway.translate.kept.keeping import Wire

OnClose = Callable[[CloseEvent], None]


class Kept(Protocol):
    """What the sinks ask of their session, and tell it."""

    @property
    def is_retelling(self) -> bool:
        """Whether the provider has yet to answer what the client has heard before."""

    @property
    def must_wait(self) -> bool:
        """Whether the client has to wait until the provider has accepted what it was told."""

    def hold_back(self, frames: Sequence[Frame]) -> None:
        """The client waits for that, first of all with ``frames``."""

    def client_said(self, message: bytes) -> bool:
        """A message of the client, unless it was told by its beginning that it is audio: whether
        the provider is to get it.
        """

    def client_spoke(self) -> None:
        """The client sends audio."""

    def provider_said(self, frame: Frame, message: bytes) -> Frame | None:
        """A message of the provider that is no audio, which ends with ``frame``: the frame that the
        client gets in its place, mostly the same; None where it gets none.
        """

    def heard_audio(self) -> None:
        """The client gets audio."""

    def provider_wrote(self, frames: Sequence[Frame]) -> None:
        """What the provider said in ``frames`` was forwarded: see to what follows from it."""


class KeptUpstream:
    """Lets the meter and the keeper see the client's frames, and forwards them as they came."""

    __slots__ = (
        "_fragments", "_gate", "_on_handle_named", "_on_model_refused", "_recorder", "_splice",
        "_wire", "connection_closed", "has_spoken", "provider",
    )  # fmt: skip

    def __init__(
        self,
        splice: Kept,
        recorder: Recorder,
        gate: Gate | None,
        *,
        wire: Wire,
        on_model_refused: Callable[[str], None],
        on_handle_named: Callable[[str], None],
        on_close: OnClose,
    ) -> None:
        """``gate`` and what goes with it: see ``relay.sinks.UpstreamForwarder``."""
        self._splice = splice
        self._recorder = recorder
        self._gate = gate
        self._wire = wire
        self._on_model_refused = on_model_refused
        self._on_handle_named = on_handle_named
        self._fragments = Fragments()
        self.connection_closed = on_close
        self.provider: Connection | None = None
        # The session knows of audio since the provider said something else: it is told once.
        self.has_spoken = False

    def messages_received(self, read: bytes, spans: list[Span]) -> None:
        """Forward them as they came; those from the first on that is no audio, frame by frame."""
        if self._gate is None:
            seen = self._recorder.skim_client(read, spans)
            if seen:
                self._spoke()
                if seen == len(spans):
                    if self.provider is not None:
                        self.provider.write_messages(read)
                    return
                self._write(frames_of(read, spans[:seen]))
                spans = spans[seen:]
        self.frames_received(frames_of(read, spans))

    def frames_received(self, frames: Sequence[Frame]) -> None:
        """Forward what passes the gate, and what the provider is to get."""
        self._forward(frames if self._gate is None else self._gate.admit(frames))

    def resume(self) -> None:
        """The client may use the handle that it named: forward what waits in the gate."""
        assert self._gate is not None
        self._forward(self._gate.release())

    def _forward(self, frames: Sequence[Frame]) -> None:
        passed: list[Frame] = []
        waiting: Sequence[Frame] = ()
        for number, frame in enumerate(frames, 1):
            if self._passes(frame):
                passed.append(frame)
            if self._splice.must_wait:
                waiting = frames[number:]
                break
        self._recorder.observe_client(passed)
        self._write(passed)
        if self._splice.must_wait:
            self._splice.hold_back(waiting)
        gate = self._gate
        if gate is None:
            return
        if gate.refused_model is not None:
            self._on_model_refused(gate.refused_model)
        elif gate.pending_handle is not None:
            self._on_handle_named(gate.pending_handle)

    def _spoke(self) -> None:
        if not self.has_spoken:
            self.has_spoken = True
            self._splice.client_spoke()

    def _write(self, frames: Sequence[Frame]) -> None:
        if self.provider is not None:
            self.provider.write(frames)

    def _passes(self, frame: Frame) -> bool:
        """Fragments pass as they come: only a message in one frame can be withheld."""
        payload = unmasked(frame)
        if frame.is_final and not frame.continues:
            if frame.opcode in self._wire.opcodes and not self._wire.is_append(payload):
                return self._splice.client_said(payload)
            self._spoke()
            return True
        message = self._fragments.add(replace(frame, start=0, raw=payload))
        if message is not None:
            self._splice.client_said(message)
        return True


class KeptDownstream:
    """Meters the provider's frames, shows the keeper what is no audio, and forwards them.

    ``on_metered`` and ``reports_gaps``: see ``relay.sinks.DownstreamForwarder``.
    """

    __slots__ = (
        "_client", "_fragments", "_has_heard", "_has_said", "_held", "_on_metered",
        "_recorder", "_splice", "_wire", "connection_closed", "reports_gaps",
    )  # fmt: skip

    def __init__(
        self,
        splice: Kept,
        recorder: Recorder,
        client: Connection,
        *,
        wire: Wire,
        on_metered: Callable[[], None],
        on_close: OnClose,
    ) -> None:
        self._splice = splice
        self._recorder = recorder
        self._client = client
        self._wire = wire
        self._fragments = Fragments()
        self._held: list[Frame] = []  # fragments of what may be an answer that the client gets not
        self._has_heard = False  # see ``KeptUpstream.has_spoken``
        self._has_said = False  # there was something else than audio
        self._on_metered = on_metered
        self.connection_closed = on_close
        self.reports_gaps = False

    def messages_received(self, read: bytes, spans: list[Span]) -> None:
        """Forward them as they came; those from the first on that is no audio, frame by frame."""
        seen = self._recorder.skim(read, spans)
        if seen:
            self._heard()
            if seen == len(spans):
                self._client.write_messages(read)
                if self.reports_gaps:
                    self._on_metered()
                return
            self._client.write(frames_of(read, spans[:seen]))
            spans = spans[seen:]
        self.frames_received(frames_of(read, spans))

    def frames_received(self, frames: Sequence[Frame]) -> None:
        """Meter, show, forward: what the client gets is charged, whatever becomes of it."""
        has_metered = self._recorder.observe(frames)
        frames = self._recorder.for_client(frames)
        self._client.write([said for frame in frames for said in self._said(frame)])
        if self._has_said:
            self._has_said = self._has_heard = False
            self._splice.provider_wrote(frames)
        if has_metered or self.reports_gaps:
            self._on_metered()

    def _said(self, frame: Frame) -> Sequence[Frame]:
        """What the client gets of the frame. Fragments pass as they come, but for those of what it
        may have heard before: these wait for the last.
        """
        if not frame.is_final or frame.continues:
            return self._said_in_part(frame)
        wire = self._wire
        if frame.opcode not in wire.opcodes or wire.is_speech(frame.raw, frame.start):
            self._heard()
            return (frame,)
        self._has_said, self._has_heard = True, False
        said = self._splice.provider_said(frame, frame.raw[frame.start :])
        return () if said is None else (said,)

    def _heard(self) -> None:
        if not self._has_heard:
            self._has_heard = True
            self._splice.heard_audio()

    def _said_in_part(self, frame: Frame) -> Sequence[Frame]:
        message = self._fragments.add(frame)
        if message is None and (self._held or not frame.continues) and self._splice.is_retelling:
            self._held.append(frame)
            return ()
        held, self._held = self._held, []
        self._has_said = True
        if message is None:
            return (*held, frame)
        said = self._splice.provider_said(frame, message)
        if said is frame or not held:
            return (*held, frame)
        return () if said is None else (said,)
