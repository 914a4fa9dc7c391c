"""A session whose client and provider speak the same protocol, and whose conversation is kept.

Frames go from one side to the other as they came, as in any session of one protocol. What is no
audio is shown to a ``Keeper`` on its way, which another provider's connection is told the
conversation by. A read of nothing but audio passes here as it does in ``relay.sinks``.

``TranslatedSession`` puts it where an ``Interpreter`` would be.
"""

import os
import time
from collections.abc import Callable, Sequence
from typing import Final

from msgspec import json
from msgspec.structs import replace

from gateway.connections.close import CloseEvent
from gateway.connections.connection import Connection
from gateway.connections.receive_queue import Pause
from gateway.frames import Frame, Opcode, Span, asked, frames_of, spoken
from gateway.metering.base import Fragments
from gateway.metering.parsing import unmasked
from gateway.metering.usage_recorder import Recorder
from gateway.providers.base import CONFIGURATION_ID
from gateway.providers.first_message_gate import Gate
from gateway.relay.answer_wait import AnswerWait
from gateway.translate.base import Rest
from gateway.translate.conversation import Conversation
from gateway.translate.kept.keeper import Json, Keeper
from gateway.translate.kept.messages import event_of, is_append, is_speech

OnClose = Callable[[CloseEvent], None]
_REFUSED: Final = CONFIGURATION_ID.encode()


class KeptSplice:
    """Carries the messages of one session. See ``Interpreter`` for what it is asked and calls.

    ``gate``: see ``relay.sinks.UpstreamForwarder``; ``on_answer``: see ``AnswerWait``.
    """

    is_translated: Final = False

    __slots__ = (
        "_client", "_gate", "_has_followed", "_is_heard", "_is_renewal_due", "_keeper",
        "_provider", "_recorder", "_wait", "on_configuration_refused", "on_refused", "on_renewal",
    )  # fmt: skip

    def __init__(
        self,
        keeper: Keeper,
        recorder: Recorder,
        client: Connection,
        *,
        gate: Gate | None,
        on_answer: Callable[[float], None],
    ) -> None:
        self._keeper = keeper
        self._wait = AnswerWait(time.monotonic, on_answer)
        self._recorder = recorder
        self._client = client
        self._gate = gate
        self._provider: Connection | None = None
        self._has_followed = False  # the provider's connection is not the session's first
        self._is_heard = False  # this connection's provider has said something
        self._is_renewal_due = False
        self.on_renewal: Callable[[], None] = _nothing
        self.on_configuration_refused: Callable[[], None] | None = None
        self.on_refused: Callable[[int, str], None] = _refuse_nothing

    @property
    def conversation(self) -> Conversation:
        """What was configured and said."""
        return self._keeper.conversation

    def conclude(self) -> None:
        """The client is gone: what is known of an answer that is cut off becomes part of the
        conversation.
        """
        if self._provider is not None:
            self._keeper.provider_closed()

    @property
    def is_waiting(self) -> bool:
        """Whether a provider that took the place of another has yet to say anything."""
        return self._has_followed and not self._is_heard

    @property
    def may_be_replaced(self) -> bool:
        """Whether another connection could go on: not in the middle of a fragmented message, of
        which a part is gone with this one.
        """
        provider = self._provider
        return not (self._client.is_mid_message or (provider and provider.is_mid_message))

    # --- the connections --------------------------------------------------------------------------

    def open(self) -> None:
        """The client hears its provider's own first event."""
        self._keeper.opened()

    def provider_connected(self, provider: Connection) -> None:
        """A provider is there: it is told what it has to know."""
        self._provider, self._is_renewal_due, self._is_heard = provider, False, False
        told = [
            x if isinstance(x, bytes) else json.encode(x) for x in self._keeper.provider_opened()
        ]
        if told:
            frames = [asked(Opcode.TEXT, message, os.urandom(4)) for message in told]
            self._recorder.observe_client(frames)
            provider.write(frames)
        self._client.resume(Pause.SETUP)

    def provider_disconnected(self) -> None:
        """The provider is gone: what is open towards the client is closed there, and what it says
        waits.
        """
        self._provider, self._has_followed = None, True
        self._wait.forget()
        self._client.write([_spoken(event) for event in self._keeper.provider_closed()])
        self._client.pause(Pause.SETUP)

    def moved_to(self, provider: str) -> None:
        """The next connection is one to ``provider``, which speaks the same protocol."""
        self._keeper.moved_to(provider)

    def leave(self) -> Rest:
        """The next provider speaks another protocol: what is left to do."""
        return self._keeper.leave()

    def take_over(self, rest: Rest) -> None:
        """Go on where another has left. The client waits until a provider is there."""
        self._has_followed = True
        self._keeper.take_over(rest)
        self._client.pause(Pause.SETUP)

    def renew_between_turns(self) -> None:
        """Have the provider's connection replaced once nothing is being said."""
        self._is_renewal_due = True
        self._renew_if_due()

    def forget_session(self) -> None:
        """The session has ended: nothing refers to it in a circle."""
        self._provider = None
        self.on_renewal, self.on_refused = _nothing, _refuse_nothing
        self.on_configuration_refused = None

    # --- frames -----------------------------------------------------------------------------------

    def client_sink(
        self, *, on_model_refused: Callable[[str], None], on_close: OnClose
    ) -> "KeptUpstream":
        """The sink of the client's frames."""
        return KeptUpstream(
            self, self._recorder, self._gate, on_model_refused=on_model_refused, on_close=on_close
        )

    def provider_sink(
        self, *, on_metered: Callable[[], None], on_close: OnClose
    ) -> "KeptDownstream":
        """The sink of the frames of one connection to a provider."""
        return KeptDownstream(
            self, self._recorder, self._client, on_metered=on_metered, on_close=on_close
        )

    def forward(self, read: bytes) -> None:
        """Forward the client's messages as they came."""
        if self._provider is not None:
            self._provider.write_messages(read)

    def write(self, frames: Sequence[Frame]) -> None:
        """Forward frames of the client."""
        if self._provider is not None:
            self._provider.write(frames)

    def client_said(self, message: bytes) -> bool:
        """A message of the client, unless it was told by its beginning that it is audio: whether
        the provider is to get it.
        """
        if is_append(message):
            self._keeper.client_spoke()
            return True
        event = event_of(message)
        if event is None:
            return True
        self._wait.heard(event["type"])
        answer = self._keeper.client_said(event, message)
        if answer is None or self._client.is_mid_message:
            return True
        self._client.write([_spoken(answer)])
        return False

    def client_spoke(self) -> None:
        """The client sends audio."""
        self._keeper.client_spoke()

    @property
    def is_retelling(self) -> bool:
        """Whether the provider has yet to answer what the client has heard before."""
        return self._keeper.is_retelling

    def provider_said(self, frame: Frame, message: bytes) -> Frame | None:
        """A message of the provider that is no audio, which ends with ``frame``: the frame that the
        client gets in its place, mostly the same; None where it gets none.
        """
        event = event_of(message)
        if event is None:
            return frame
        self._wait.heard(event["type"])
        said = self._keeper.provider_said(event)
        if said is event:
            return frame
        return None if said is None else _spoken(said)

    def heard_audio(self) -> None:
        """The client gets audio."""
        self._keeper.heard()

    def provider_wrote(self, frames: Sequence[Frame]) -> None:
        """What the provider said in ``frames`` was forwarded: see to what follows from it."""
        self._is_heard = True
        refused = self.on_configuration_refused
        if refused is not None and any(_REFUSED in frame.raw for frame in frames):
            refused()
        elif self._is_renewal_due:
            self._renew_if_due()

    def _renew_if_due(self) -> None:
        if self._provider is not None and self.may_be_replaced and not self._keeper.is_answering:
            self._is_renewal_due = False
            self._client.pause(Pause.SETUP)
            self.on_renewal()


class KeptUpstream:
    """Lets the meter and the keeper see the client's frames, and forwards them as they came."""

    __slots__ = (
        "_fragments",
        "_gate",
        "_on_model_refused",
        "_recorder",
        "_splice",
        "connection_closed",
    )

    def __init__(
        self,
        splice: KeptSplice,
        recorder: Recorder,
        gate: Gate | None,
        *,
        on_model_refused: Callable[[str], None],
        on_close: OnClose,
    ) -> None:
        self._splice = splice
        self._recorder = recorder
        self._gate = gate
        self._on_model_refused = on_model_refused
        self._fragments = Fragments()
        self.connection_closed = on_close

    def messages_received(self, read: bytes, spans: list[Span]) -> None:
        """Forward them as they came; those from the first on that is no audio, frame by frame."""
        if self._gate is None:
            seen = self._recorder.skim_client(read, spans)
            if seen:
                self._splice.client_spoke()
                if seen == len(spans):
                    self._splice.forward(read)
                    return
                self._splice.write(frames_of(read, spans[:seen]))
                spans = spans[seen:]
        self.frames_received(frames_of(read, spans))

    def frames_received(self, frames: Sequence[Frame]) -> None:
        """Forward what passes the gate, and what the provider is to get."""
        gate = self._gate
        if gate is not None:
            frames = gate.admit(frames)
        passed = [frame for frame in frames if self._passes(frame)]
        self._recorder.observe_client(passed)
        self._splice.write(passed)
        if gate is not None and gate.refused_model is not None:
            self._on_model_refused(gate.refused_model)

    def _passes(self, frame: Frame) -> bool:
        """Fragments pass as they come: only a message in one frame can be withheld."""
        payload = unmasked(frame)
        if frame.is_final and not frame.continues:
            return frame.opcode != Opcode.TEXT or self._splice.client_said(payload)
        message = self._fragments.add(replace(frame, start=0, raw=payload))
        if message is not None:
            self._splice.client_said(message)
        return True


class KeptDownstream:
    """Meters the provider's frames, shows the keeper what is no audio, and forwards them.

    ``on_metered`` and ``reports_gaps``: see ``relay.sinks.DownstreamForwarder``.
    """

    __slots__ = (
        "_client", "_fragments", "_held", "_on_metered", "_recorder", "_splice",
        "connection_closed", "reports_gaps",
    )  # fmt: skip

    def __init__(
        self,
        splice: KeptSplice,
        recorder: Recorder,
        client: Connection,
        *,
        on_metered: Callable[[], None],
        on_close: OnClose,
    ) -> None:
        self._splice = splice
        self._recorder = recorder
        self._client = client
        self._fragments = Fragments()
        self._held: list[Frame] = []  # fragments of what may be an answer that the client gets not
        self._on_metered = on_metered
        self.connection_closed = on_close
        self.reports_gaps = False

    def messages_received(self, read: bytes, spans: list[Span]) -> None:
        """Forward them as they came; those from the first on that is no audio, frame by frame."""
        seen = self._recorder.skim(read, spans)
        if seen:
            self._splice.heard_audio()
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
        self._splice.provider_wrote(frames)
        if has_metered or self.reports_gaps:
            self._on_metered()

    def _said(self, frame: Frame) -> Sequence[Frame]:
        """What the client gets of the frame. Fragments pass as they come, but for those of what it
        may have heard before: these wait for the last.
        """
        if not frame.is_final or frame.continues:
            return self._said_in_part(frame)
        if frame.opcode != Opcode.TEXT or is_speech(frame.raw, frame.start):
            self._splice.heard_audio()
            return (frame,)
        said = self._splice.provider_said(frame, frame.raw[frame.start :])
        return () if said is None else (said,)

    def _said_in_part(self, frame: Frame) -> Sequence[Frame]:
        message = self._fragments.add(frame)
        if message is None and (self._held or not frame.continues) and self._splice.is_retelling:
            self._held.append(frame)
            return ()
        held, self._held = self._held, []
        if message is None:
            return (*held, frame)
        said = self._splice.provider_said(frame, message)
        if said is frame or not held:
            return (*held, frame)
        return () if said is None else (said,)


def _spoken(event: Json) -> Frame:
    return spoken(Opcode.TEXT, json.encode(event))


def _nothing() -> None:
    """Until the session says what to do."""


def _refuse_nothing(_code: int, _reason: str) -> None:
    """Until the session says what to do."""
