"""A session whose client and provider speak the same protocol, and whose conversation is kept.

Frames go from one side to the other as they came, as in any session of one protocol. What is no
audio is shown to a ``Keeper`` on its way, which another provider's connection is told the
conversation by. The frames themselves pass ``kept_sinks``.

``LastingSession`` puts it where an ``Interpreter`` would be.
"""

import os
import time
from collections.abc import Callable, Sequence
from typing import Final

import structlog
from msgspec import json

from gateway.connections.connection import Connection
from gateway.connections.receive_queue import Pause
from gateway.frames import Frame, Opcode, asked, spoken
from gateway.metering.usage_recorder import Recorder
from gateway.providers.base import CONFIGURATION_ID
from gateway.providers.first_message_gate import Gate
from gateway.relay.answer_wait import AnswerWait
from gateway.relay.asks import Asks
from gateway.relay.kept_sinks import KeptDownstream, KeptUpstream, OnClose
from gateway.translate.base import Rest
from gateway.translate.conversation import Conversation
from gateway.translate.kept.keeping import Json, Keeping
from gateway.translate.marks import Mark
from gateway.translate.resumption import Resumption

log = structlog.get_logger()

_REFUSED: Final = CONFIGURATION_ID.encode()


class KeptSplice(Asks):
    """Carries the messages of one session. See ``Interpreter`` for what it is asked and calls.

    ``gate``: see ``relay.sinks.UpstreamForwarder``; ``on_answer``, ``on_end``: see
    ``AnswerWait``.
    """

    is_translated: Final = False

    __slots__ = (
        "_client", "_gate", "_has_followed", "_is_heard", "_is_held", "_is_renewal_due", "_keeper",
        "_provider", "_recorder", "_upstream", "_wait",
    )  # fmt: skip

    def __init__(
        self,
        keeper: Keeping,
        recorder: Recorder,
        client: Connection,
        *,
        gate: Gate | None,
        on_answer: Callable[[float], None],
        on_end: Callable[[bool], None],
    ) -> None:
        super().__init__()
        self._keeper = keeper
        self._wait = AnswerWait(time.monotonic, on_answer, on_end)
        self._recorder = recorder
        self._client = client
        self._gate = gate
        self._provider: Connection | None = None
        self._upstream: KeptUpstream | None = None
        self._has_followed = False  # the provider's connection is not the session's first
        self._is_heard = False  # this connection's provider has said something
        self._is_held = False  # the client, until the provider has accepted what it was told
        self._is_renewal_due = False

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
        """Whether the provider has yet to say anything: one that took the place of another, or that
        speaks first in its protocol.
        """
        has_to_speak = self._has_followed or self._keeper.wire.speaks_first
        return has_to_speak and (self._keeper.is_waiting or not self._is_heard)

    @property
    def must_wait(self) -> bool:
        """Whether the client has to wait until the provider has accepted what it was told."""
        return self._keeper.is_waiting

    @property
    def may_be_replaced(self) -> bool:
        """Whether another connection could go on: not in the middle of a fragmented message, of
        which a part is gone with this one; and not before it is known whether the client may use
        the handle that it named.
        """
        provider, gate = self._provider, self._gate
        is_checking = gate is not None and gate.pending_handle is not None
        is_mid_message = self._client.is_mid_message or (provider and provider.is_mid_message)
        return self._keeper.is_keeping and not (is_mid_message or is_checking)

    # --- the connections --------------------------------------------------------------------------

    @property
    def resumption(self) -> Resumption | None:
        """See ``Translator``."""
        return self._keeper.resumption

    def open(self) -> None:
        """The client hears its provider's own first event."""
        self._keeper.opened()

    def provider_connected(self, provider: Connection) -> None:
        """A provider is there: it is told what it has to know."""
        self._provider, self._is_heard = provider, False
        self._is_renewal_due = self.is_leaving = False
        if self._upstream is not None:
            self._upstream.provider = provider
        told = self._keeper.provider_opened()
        self._tell([x if isinstance(x, bytes) else json.encode(x) for x in told])
        self._is_held = self.must_wait
        if not self._is_held:
            self._client.resume(Pause.SETUP)

    def hold_back(self, frames: Sequence[Frame]) -> None:
        """The client waits, first of all with ``frames``, until the provider has accepted what it
        was told.
        """
        self._is_held = True
        self._client.hold_back(Pause.SETUP, frames)

    def provider_disconnected(self) -> None:
        """The provider is gone: what is open towards the client is closed there, and what it says
        waits.
        """
        self._provider, self._has_followed = None, True
        if self._upstream is not None:
            self._upstream.provider = None
        self._wait.forget()
        self._client.write([self._spoken(event) for event in self._keeper.provider_closed()])
        self._client.pause(Pause.SETUP)

    def moved_to(self, provider: str) -> None:
        """The next connection is one to ``provider``, which speaks the same protocol."""
        self._keeper.moved_to(provider)

    def leave(self) -> Rest:
        """The next provider speaks another protocol: what is left to do."""
        rest, opcode = self._keeper.leave(), self._keeper.wire.opcode
        self._client.write([spoken(opcode, message) for message in rest.to_client])
        return rest

    def take_over(self, rest: Rest) -> None:
        """Go on where another has left. The client waits until a provider is there."""
        self._has_followed = True
        self._keeper.take_over(rest)
        self._client.pause(Pause.SETUP)

    def renew_between_turns(self) -> None:
        """Have the provider's connection replaced once nothing is being said."""
        self._is_renewal_due = True
        self._renew_if_due()

    def leave_between_turns(self) -> None:
        """The same, unless ``is_leaving`` is taken back before."""
        self.is_leaving = True
        self._renew_if_due()

    def leave_now(self) -> None:
        """Have the provider's connection replaced now, whatever is being said."""
        self._renew()

    def forget_session(self) -> None:
        """The session has ended: nothing refers to it in a circle."""
        self._provider = self._upstream = None
        super().forget_session()

    # --- frames -----------------------------------------------------------------------------------

    def client_sink(
        self,
        *,
        on_model_refused: Callable[[str], None],
        on_handle_named: Callable[[str], None],
        on_close: OnClose,
    ) -> KeptUpstream:
        """The sink of the client's frames."""
        self._upstream = KeptUpstream(
            self, self._recorder, self._gate, wire=self._keeper.wire,
            on_model_refused=on_model_refused, on_handle_named=on_handle_named, on_close=on_close,
        )  # fmt: skip
        return self._upstream

    def provider_sink(self, *, on_metered: Callable[[], None], on_close: OnClose) -> KeptDownstream:
        """The sink of the frames of one connection to a provider."""
        return KeptDownstream(
            self, self._recorder, self._client, wire=self._keeper.wire, on_metered=on_metered,
            on_close=on_close,
        )  # fmt: skip

    def client_said(self, message: bytes) -> bool:
        """A message of the client, unless it was told by its beginning that it is audio: whether
        the provider is to get it.
        """
        keeper = self._keeper
        if keeper.wire.is_append(message):
            keeper.client_spoke()
            return True
        event = keeper.wire.event_of(message)
        if event is None:
            return True
        self._wait.note(self._keeper.wire.mark_of(event))
        answer = keeper.client_said(event, message)
        if answer is None or self._client.is_mid_message:
            return True
        if answer:
            self._client.write([self._spoken(answer)])
        else:
            self._tell(keeper.take_due())
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
        event = self._keeper.wire.event_of(message)
        if event is None:
            return frame
        self._wait.note(self._keeper.wire.mark_of(event))
        said = self._keeper.provider_said(event)
        if said is event:
            return frame
        if said is None and event.get("type") == "error":
            self._note_withheld(event.get("error"))
        return None if said is None else self._spoken(said)

    def _note_withheld(self, error: object) -> None:
        """Log an error that is not about what the client says now. Its text may quote what was
        said, so only its code and field are logged.
        """
        if isinstance(error, dict):
            log.warning(
                "error withheld", session=self._recorder.session_id,
                provider=self._recorder.provider, code=str(error.get("code"))[:64],
                param=str(error.get("param"))[:64],
            )  # fmt: skip

    def heard_audio(self) -> None:
        """The client gets audio."""
        self._wait.note(Mark.BEGUN)
        self._keeper.heard()

    def provider_wrote(self, frames: Sequence[Frame]) -> None:
        """What the provider said in ``frames`` was forwarded: see to what follows from it."""
        self._is_heard = True
        if self._upstream is not None:
            self._upstream.has_spoken = False
        if self._provider is not None and not self._provider.is_mid_message:
            self._tell(self._keeper.take_due())
        if self._is_held and not self.must_wait:
            self._is_held = False
            self._client.resume(Pause.SETUP)
        if self.brings_configuration and any(_REFUSED in frame.raw for frame in frames):
            if self.asked is not None:
                self.asked.refuse_configuration()
            return
        self._is_renewal_due |= self._keeper.take_notice()
        if self._is_renewal_due or self.is_leaving:
            self._renew_if_due()

    def _tell(self, messages: Sequence[bytes]) -> None:
        """Tell the provider something that the client does not say now."""
        if messages and self._provider is not None:
            frames = [asked(Opcode.TEXT, message, os.urandom(4)) for message in messages]
            self._recorder.observe_client(frames)
            self._provider.write(frames)

    def _spoken(self, event: Json) -> Frame:
        return spoken(self._keeper.wire.opcode, json.encode(event))

    def _renew_if_due(self) -> None:
        if self._provider is not None and self.may_be_replaced and not self._keeper.is_answering:
            self._renew()

    def _renew(self) -> None:
        self._is_renewal_due = False
        self._client.pause(Pause.SETUP)
        if self.asked is not None:
            self.asked.renew_provider()
