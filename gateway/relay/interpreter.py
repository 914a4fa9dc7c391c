"""A translated session: joins its translator with the connections of client and provider.

``Session`` puts the two sinks of an ``Interpreter`` in the place of those that forward frames as
they came. The order is the same: what the provider sends is metered first, in its own protocol,
then translated and written; so a charge never depends on a translation. While the translator waits
for the provider to accept the session's configuration, the client's messages wait in its
connection. So they do while the client does not read what they are answered with: an answer may be
much longer than what it answers. Nothing of this runs in a session whose client and provider speak
the same protocol.
"""

import os
import time
from collections.abc import Callable, Sequence
from typing import Final

import structlog
from msgspec.structs import replace

from gateway.connections.close import CloseEvent
from gateway.connections.connection import Connection
from gateway.connections.receive_queue import Pause
from gateway.connections.sink import SequenceSink
from gateway.frames import Frame, Opcode, asked, spoken
from gateway.limits import WRITE_HIGH_WATER_BYTES
from gateway.metering.base import Fragments
from gateway.metering.parsing import unmasked
from gateway.metering.usage_recorder import Recorder
from gateway.providers.base import CONFIGURATION_ID, Dialect
from gateway.relay.answer_wait import AnswerWait
from gateway.relay.asks import Asks
from gateway.translate.base import Renewal, Rest, Translation, Translator
from gateway.translate.conversation import Conversation
from gateway.translate.resumption import Resumption

log = structlog.get_logger()

OnClose = Callable[[CloseEvent], None]
# Names of what was ignored are logged once a session, and so many of them.
_IGNORED_NAMES_MAX: Final = 50
_REFUSED: Final = CONFIGURATION_ID.encode()  # only an error names the message that it answers


class Interpreter(Asks):
    """Carries the messages of one session through its translator. ``on_ignored`` counts what the
    other protocol has no word for.
    """

    is_translated: Final = True

    def __init__(
        self,
        translator: Translator,
        recorder: Recorder,
        client: Connection,
        *,
        dialect: Dialect,
        session_id: str,
        on_ignored: Callable[[int], None],
        on_answer: Callable[[float], None],
        on_end: Callable[[bool], None],
    ) -> None:
        """``dialect`` is the client's: Gemini's messages are binary frames, OpenAI's are text.
        ``on_answer``, ``on_end``: see ``AnswerWait``.
        """
        super().__init__()
        self._translator = translator
        self._recorder = recorder
        self._client = client
        self._opcode = Opcode.BINARY if dialect is Dialect.GEMINI else Opcode.TEXT
        self._session_id = session_id
        self._on_ignored = on_ignored
        self._wait = AnswerWait(time.monotonic, on_answer, on_end)
        self._ignored: set[str] = set()
        self._client_sink: ClientSink | None = None
        self._provider: Connection | None = None
        self._for_provider: list[Frame] = []  # what one read becomes is written at once
        self._for_client: list[Frame] = []
        self._unwritten = 0  # bytes in both
        self._is_unread = False  # a message was answered while the client does not read
        self._renewal: Renewal | None = None
        self._is_held = False
        self._is_over = False  # the session was refused

    @property
    def is_waiting(self) -> bool:
        """Whether the provider has yet to accept what it was told."""
        return self._translator.is_waiting

    @property
    def conversation(self) -> Conversation:
        """What was configured and said."""
        return self._translator.conversation

    @property
    def resumption(self) -> Resumption | None:
        """See ``Translator``."""
        return self._translator.resumption

    def conclude(self) -> None:
        """The client is gone: what is known of an answer that is cut off becomes part of the
        conversation.
        """
        if self._provider is not None:
            self._is_over = True
            self._translator.provider_closed()

    @property
    def may_be_replaced(self) -> bool:
        """Always: the client gets no messages of the provider's, so none in parts."""
        return True

    def open(self) -> None:
        """The client was upgraded: it hears what comes first in its protocol."""
        self._act_on(self._translator.opened())
        self.flush()

    def provider_connected(self, provider: Connection) -> None:
        """A provider is there: it is told what it has to know."""
        self._provider, self._renewal, self.is_leaving = provider, None, False
        self._act_on(self._translator.provider_opened())
        self._let_through()
        self.flush()

    def provider_disconnected(self) -> None:
        """The provider is gone: what is open towards the client is closed there."""
        self._provider = None
        self._wait.forget()
        self._act_on(self._translator.provider_closed())
        self.flush()
        self._hold(True)

    def forget_session(self) -> None:
        """The session has ended: nothing refers to it in a circle."""
        self._provider = self._client_sink = None
        super().forget_session()

    def moved_to(self, provider: str) -> None:
        """The next connection is one to ``provider``, which speaks the same protocol."""
        self._translator.moved_to(provider)

    def leave(self) -> Rest:
        """The next provider speaks another protocol: what is left to do."""
        rest = self._translator.leave()
        self._act_on(Translation(to_client=rest.to_client))
        self.flush()
        if self._client_sink is not None and (parts := self._client_sink.give_back()):
            self.hold_back(Pause.SETUP, parts)
        return rest

    def take_over(self, rest: Rest) -> None:
        """Go on where another has left. The client waits until a provider is there."""
        self._hold(True)
        self._act_on(self._translator.take_over(rest))
        self.flush()

    def client_sink(
        self,
        *,
        on_model_refused: Callable[[str], None],  # noqa: ARG002 - its model is known
        on_handle_named: Callable[[str], None],  # noqa: ARG002 - a translator tells none
        on_close: OnClose,
    ) -> "ClientSink":
        """The sink of the client's frames: one for all connections to a provider, as the fragments
        of a message may come before and after one is replaced.
        """
        self._client_sink = self._client_sink or ClientSink(self, on_close=on_close)
        return self._client_sink

    def provider_sink(self, *, on_metered: Callable[[], None], on_close: OnClose) -> "ProviderSink":
        """The sink of the frames of one connection to a provider."""
        return ProviderSink(self, self._recorder, on_metered=on_metered, on_close=on_close)

    def take_from_client(self, message: bytes) -> None:
        """Translate one message of the client. What it becomes is written by ``flush``."""
        if self._is_over:
            return
        answers = len(self._for_client)
        self._act_on(self._translator.from_client(message))
        self._is_unread = self._client.is_write_paused and len(self._for_client) > answers
        if self._unwritten > WRITE_HIGH_WATER_BYTES:
            self.flush()

    def reason_to_wait(self) -> Pause | None:
        """Why the client's next message cannot be taken now: there is no provider that takes it, no
        room in the provider's write buffer, or the client has to read its answers first.
        """
        if self._is_over:
            return None
        if self._must_wait():
            return Pause.SETUP
        if self._is_unread and self._client.is_write_paused:
            return Pause.UNREAD
        if self._provider is not None and self._provider.is_write_paused:
            return Pause.BACKPRESSURE
        return None

    def hold_back(self, reason: Pause, frames: Sequence[Frame]) -> None:
        """The client waits, first of all with ``frames``, which were not taken."""
        self._is_unread = False
        self._is_held = self._is_held or reason is Pause.SETUP
        self._client.hold_back(reason, frames)

    def take_from_provider(self, message: bytes) -> None:
        """Translate one message of the provider, which was metered."""
        if self._is_over:
            return
        self._act_on(self._translator.from_provider(message))
        self._let_through()

    def renew_between_turns(self) -> None:
        """Have the provider's connection replaced once no response is open."""
        self._renewal = self._renewal or Renewal.BETWEEN_TURNS
        self._renew_if_due()

    def leave_between_turns(self) -> None:
        """The same, unless ``is_leaving`` is taken back before."""
        self.is_leaving = True
        self._renew_if_due()

    def leave_now(self) -> None:
        """Have the provider's connection replaced now, whatever is being said."""
        self._renewal = Renewal.NOW
        self._renew_if_due()

    def flush(self) -> None:
        """Write what the messages of one read have become."""
        if self._for_provider:
            frames, self._for_provider = self._for_provider, []
            if self._provider is not None:
                self._recorder.observe_client(frames)
                self._provider.write(frames)
        if self._for_client:
            frames, self._for_client = self._for_client, []
            self._client.write(frames)
        self._unwritten = 0

    # --- helpers ----------------------------------------------------------------------------------

    def _must_wait(self) -> bool:
        return self._provider is None or self._translator.is_waiting

    def _let_through(self) -> None:
        """Let the client go on, if that is possible now."""
        self._hold(self._must_wait())

    def _hold(self, is_held: bool) -> None:
        """Let the client's messages wait in its connection, or no longer."""
        if is_held is not self._is_held:
            self._is_held = is_held
            (self._client.pause if is_held else self._client.resume)(Pause.SETUP)

    def _act_on(self, translation: Translation) -> None:
        """Write the messages, and see to what else follows from them."""
        if self._provider is not None:
            for message in translation.to_provider:
                self._unwritten += len(message)
                self._for_provider.append(asked(Opcode.TEXT, message, os.urandom(4)))
        for message in translation.to_client:
            self._unwritten += len(message)
            self._for_client.append(spoken(self._opcode, message))
            if self.brings_configuration and _REFUSED in message:
                self.flush()
                self._is_over = True
                if self.asked is not None:
                    self.asked.refuse_configuration()
                return
        for mark in translation.marks:
            self._wait.note(mark)
        if translation.ignored:
            self._note_ignored(translation.ignored)
        if translation.close is not None:
            self.flush()
            self._is_over = True
            if self.asked is not None:
                self.asked.close_client(translation.close.code, translation.close.reason)
            return
        self._renewal = translation.renewal or self._renewal
        self._renew_if_due()

    def _renew_if_due(self) -> None:
        """Have the provider's connection replaced; the client waits until another one is there."""
        is_asked = self._renewal is not None or self.is_leaving
        if not is_asked or self._provider is None or not self._is_due():
            return
        self.flush()
        self._renewal = self._provider = None
        self._hold(True)
        if self.asked is not None:
            self.asked.renew_provider()

    def _is_due(self) -> bool:
        return self._renewal is Renewal.NOW or not self._translator.is_answering

    def _note_ignored(self, names: Sequence[str]) -> None:
        self._on_ignored(len(names))
        room = _IGNORED_NAMES_MAX - len(self._ignored)
        new = [name for name in dict.fromkeys(names) if name not in self._ignored][:room]
        if new:
            self._ignored.update(new)
            log.info("not translated", session=self._session_id, what=", ".join(new)[:200])


class ClientSink(SequenceSink):
    """Gives a client's whole messages to the interpreter."""

    __slots__ = ("_fragments", "_interpreter", "_parts", "connection_closed")

    def __init__(self, interpreter: Interpreter, *, on_close: OnClose) -> None:
        self._interpreter = interpreter
        self._fragments = Fragments()
        self._parts: list[Frame] = []  # of the message that is not complete
        self.connection_closed = on_close

    def frames_received(self, frames: Sequence[Frame]) -> None:
        """Unmask and join them."""
        interpreter = self._interpreter
        reason, taken = interpreter.reason_to_wait(), 0
        for frame in frames if reason is None else ():
            taken += 1
            payload = unmasked(frame)
            whole = frame.is_final and not frame.continues
            message = payload if whole else self._join(frame, payload)
            if message is not None:
                interpreter.take_from_client(message)
                if (reason := interpreter.reason_to_wait()) is not None:
                    break
        interpreter.flush()
        if reason is not None:
            interpreter.hold_back(reason, frames[taken:])

    def give_back(self) -> list[Frame]:
        """Another sink takes the message that is not complete: its fragments, as they came."""
        parts, self._parts = self._parts, []
        return parts

    def _join(self, frame: Frame, payload: bytes) -> bytes | None:
        if frame.is_final:
            self._parts = []
        else:
            self._parts.append(frame)
        return self._fragments.add(replace(frame, start=0, raw=payload))


class ProviderSink(SequenceSink):
    """Meters a provider's frames, then gives the whole messages to the interpreter.

    ``on_metered`` is called as that of ``relay.sinks.DownstreamForwarder``.
    """

    __slots__ = (
        "_fragments", "_interpreter", "_on_metered", "_recorder", "connection_closed",
        "reports_gaps",
    )  # fmt: skip

    def __init__(
        self,
        interpreter: Interpreter,
        recorder: Recorder,
        *,
        on_metered: Callable[[], None],
        on_close: OnClose,
    ) -> None:
        self._interpreter = interpreter
        self._recorder = recorder
        self._fragments = Fragments()
        self._on_metered = on_metered
        self.connection_closed = on_close
        self.reports_gaps = False

    def frames_received(self, frames: Sequence[Frame]) -> None:
        """Meter, then translate: what the client gets is charged, whatever becomes of it."""
        has_metered = self._recorder.observe(frames)
        for frame in self._recorder.for_client(frames):
            message = self._fragments.add(frame)
            if message is not None:
                self._interpreter.take_from_provider(message)
        self._interpreter.flush()
        if has_metered or self.reports_gaps:
            self._on_metered()
