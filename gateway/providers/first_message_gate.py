"""The gate that a client's messages pass where the first one names the model. Pure.

Messages are read until one has named the model, and all of them where the account may use only
certain models. A message that is read passes when its last fragment has arrived: otherwise the
provider could get the first half of a message whose second half names a model that is not allowed.
What waits is at most one message (``MESSAGE_BYTES_MAX``).

A message may name a session to resume. Then accountd is asked whose session it is, and the message
waits, with all that follow, until the relay calls ``release``. What a message says is read by
``providers.first_message``.
"""

import copy
from collections.abc import Callable, Sequence
from enum import Enum, auto
from typing import Final

from gateway.frames import Frame
from gateway.metering.parsing import unmasked
from gateway.providers.first_message import UNCLEAR, FirstMessageFormat, framed


class GateState(Enum):
    """Whether messages pass."""

    CLOSED = auto()  # no message has passed
    OPEN = auto()  # a message has passed, or the URL named the model
    CHECKING = auto()  # a message waits for the owner of the handle that it names
    REFUSED = auto()  # a message named a model that the account may not use: nothing passes


TRANSITIONS: Final = {
    GateState.CLOSED: {GateState.OPEN, GateState.CHECKING, GateState.REFUSED},
    GateState.OPEN: {GateState.CHECKING, GateState.REFUSED},
    GateState.CHECKING: {GateState.OPEN},
    GateState.REFUSED: set[GateState](),
}


class Gate:
    """Lets a client's frames through when their messages may go on to the provider.

    ``has_passed`` says that ``state`` was OPEN once, so the provider may have been asked for
    something. While it is CHECKING ``pending_handle`` is the handle that accountd is asked about;
    once it is REFUSED ``refused_model`` is the model that the account may not use.
    """

    __slots__ = (
        "_call",
        "_format",
        "_fragments",
        "_has_delegate",
        "_is_limited",
        "_is_model_named",
        "_pending_message",
        "_queued",
        "has_passed",
        "pending_handle",
        "refused_model",
        "state",
    )  # fmt: skip

    def __init__(
        self,
        first_message: FirstMessageFormat,
        *,
        call: Callable[[str], str | None],
        is_limited: bool,
        has_opened: bool = False,
    ) -> None:
        """``call`` returns the provider's name of a model that the client names, and None when the
        account may not use it. ``is_limited``: the account may not use every model, so later
        messages that name one (OpenAI's ``session.update``) are read, too. ``has_opened``: the URL
        named a model, or the session needs none.
        """
        self._format = first_message
        self._call = call
        self._is_limited = is_limited
        self._is_model_named = has_opened
        self._has_delegate = not first_message.naming  # True where none is needed
        self.state = GateState.OPEN if has_opened else GateState.CLOSED
        self.has_passed = has_opened
        self.refused_model: str | None = None
        self.pending_handle: str | None = None
        self._fragments: list[Frame] = []  # of the message that is not complete yet
        self._pending_message: Sequence[Frame] = ()  # names ``pending_handle``
        self._queued: list[Frame] = []  # what came after it

    @property
    def unknown_handle_reason(self) -> str:
        """The reason by which the provider refuses a handle that it does not know."""
        return self._format.unknown_handle_reason

    def admit(self, frames: Sequence[Frame]) -> Sequence[Frame]:
        """The frames that may go on now. While the gate is CHECKING they wait for ``release``; once
        it is REFUSED they are dropped.
        """
        if self._is_blocked():
            self._queue(frames)
            return ()
        if self._is_model_named and not self._is_limited:
            return frames
        passed: list[Frame] = []
        for number, frame in enumerate(frames):
            if self._is_blocked():  # by the message before
                self._queue(frames[number:])
                break
            self._fragments.append(frame)
            if frame.is_final:
                message, self._fragments = self._fragments, []
                passed += self._judge(message)
        return passed

    def model_refused_in(self, frames: Sequence[Frame]) -> str | None:
        """The model for which ``admit`` would refuse the first message of ``frames``, which it is
        still to be given; None where it would not.
        """
        if not frames:
            return None
        trial = copy.copy(self)
        trial._fragments, trial._queued = [], []
        trial.admit(frames)
        return None if trial.has_passed else trial.refused_model

    def open(self) -> None:
        """Another protocol's provider was told the first message: its model is known, and was
        checked.
        """
        self._is_model_named = True
        if self.state is GateState.CLOSED:
            self._move(GateState.OPEN)

    def release(self) -> Sequence[Frame]:
        """The account may use ``pending_handle``: the frames that waited for that and may go on."""
        message, self._pending_message, self.pending_handle = self._pending_message, (), None
        queued, self._queued = self._queued, []
        self._move(GateState.OPEN)
        return [*message, *self.admit(queued)]

    # --- helpers ----------------------------------------------------------------------------------

    def _move(self, state: GateState) -> None:
        assert state in TRANSITIONS[self.state]
        self.state = state
        self.has_passed |= state is GateState.OPEN

    def _is_blocked(self) -> bool:
        return self.state in (GateState.CHECKING, GateState.REFUSED)

    def _queue(self, frames: Sequence[Frame]) -> None:
        """Let ``frames`` wait for ``release``. After a refusal the session ends, so none wait."""
        if self.state is GateState.CHECKING:
            self._queued += frames

    def _judge(self, whole: list[Frame]) -> Sequence[Frame]:
        message = b"".join(unmasked(frame) for frame in whole)
        request = self._format.read(message)
        names = [] if request.model is None and self._is_model_named else [request.model or UNCLEAR]
        if self._is_limited and request.model != UNCLEAR:
            names += [*request.delegates, *self._missing_from(message)]
        called = [self._call(name) for name in names]
        if None in called:
            self.refused_model = names[called.index(None)]
            self._move(GateState.REFUSED)
            return ()
        frames: Sequence[Frame] = whole
        if request.model:
            self._is_model_named = True
            name = called[0] or request.model
            if name != request.model:
                frames = framed(self._format.renamed(message, name))
        if request.handle is not None:
            self.pending_handle, self._pending_message = request.handle, frames
            self._move(GateState.CHECKING)
            return ()
        if self.state is GateState.CLOSED:
            self._move(GateState.OPEN)
        return frames

    def _missing_from(self, message: bytes) -> list[str]:
        """``UNCLEAR``, which is the name of no model, where ``message`` had to name a model that
        works for the session and names none; else nothing.
        """
        if not self._format.naming:
            return []
        has = self._format.has_delegate(message, had=self._has_delegate)
        self._has_delegate = bool(has)
        return [UNCLEAR] if has is None else []
