"""The client's first message where it names the model, and the gate that it must pass. Pure.

Gemini's ``setup`` and GPT-Live's ``session.start`` name the model that a URL names elsewhere. Until
one was looked at, and as long as an account is held to certain models, nothing of a message goes on
before its last fragment is here: a provider never sees the half of what it must not see. What is
held is bounded by the longest message that there may be (``MESSAGE_BYTES_MAX``).

A message is read strictly. One that names its model twice, or in a way that two readers could
understand differently, names none that may be used by an account that is held to certain models;
for others it goes on as it is, and the provider judges it.

Gemini's ``setup`` may also name a session to resume, by a handle. Whose that is has to be asked,
so the message, and what follows it, waits until that is known.
"""

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from websockets.frames import Frame as WireFrame
from websockets.frames import Opcode

from gateway.frames import Frame, FrameScanner
from gateway.metering.reading import read_object, unmasked, without_prefix, without_repetition
from shared.usage import ID_CHARS_MAX

PLAIN_NAME: Final = re.compile("")
_UNCLEAR: Final = ""
_MAY_RESUME: Final = re.compile(rb"esumption|\\u")  # a name may be spelled with an escape
_OBJECT: Final = re.compile(rb'(?:\xef\xbb\xbf)?\s*\{\s*"')  # so JSON begins; audio hardly ever


@dataclass(frozen=True, slots=True)
class Asked:
    """What a message asks for: None when it does not, empty when it is not clear for what.

    ``handle`` leads to the session that it resumes. ``delegates`` are the models that are to work
    for the session, in a message that is clear; their tokens are charged like the session's.
    """

    model: str | None = None
    handle: str | None = None
    delegates: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Opening:
    """Where a first message names its model: in the object ``holder``, behind ``prefix``.

    ``delegates`` are the paths in there of the objects that name models to work for that one. Where
    they work in its place, ``naming`` are the types of the messages that name them: all that a
    client may say before one is named. ``resumptions`` are the paths of a handle, and ``unknown``
    is what the provider says of one that it does not know.
    """

    holder: str
    prefix: re.Pattern[str]
    delegates: tuple[tuple[str, ...], ...] = ()
    naming: frozenset[str] = frozenset()
    resumptions: tuple[tuple[str, ...], ...] = ()
    unknown: str = ""

    def read(self, message: bytes) -> Asked:
        """What ``message`` asks for."""
        try:
            holder = self._holder_in(message)
        except ValueError:
            may_resume = bool(self.resumptions) and _MAY_RESUME.search(message) is not None
            return Asked(_UNCLEAR, _UNCLEAR if may_resume else None)
        delegates = (self._named_in(_inside(holder, path)) for path in self.delegates)
        return Asked(
            self._named_in(holder),
            self._handle_in(holder),
            tuple(name for name in delegates if name is not None),
        )

    def has_delegate(self, message: bytes, *, had: bool) -> bool | None:
        """Whether one is named once ``message``, which is clear, was heard; ``had``: before it.

        None where nothing but naming one may be said, and this is something else.
        """
        if had and not self._may_be_in(message):
            return True
        try:
            event = read_object(message, pairs_hook=without_repetition) or {}
        except ValueError:  # nothing that names a model, so nobody else has read it
            event = {}
        kind = event.get("type")
        if not isinstance(kind, str) or kind not in self.naming:
            return True if had else None
        holders = [_inside(event.get(self.holder), path[:-1]) for path in self.delegates]
        told = [
            holder[path[-1]]
            for holder, path in zip(holders, self.delegates, strict=True)
            if isinstance(holder, dict) and path[-1] in holder
        ]
        if any(self._named_in(delegate) for delegate in told):
            return True
        return had and None not in told  # null ends it, and what does not name one leaves it

    def renamed(self, message: bytes, name: str) -> bytes:
        """``message``, of which ``read`` finds the model, with another one: ``name``."""
        event: dict[str, Any] = json.loads(message)
        holder = event[self.holder]
        model = holder["model"]
        holder["model"] = model.removesuffix(without_prefix(self.prefix, model)) + name
        return json.dumps(event).encode()

    def _holder_in(self, message: bytes) -> object:
        """What stands under ``holder``; None when nothing does. Raises ``ValueError``."""
        if not self._may_be_in(message):
            return None
        return (read_object(message, pairs_hook=without_repetition) or {}).get(self.holder)

    def _named_in(self, holder: object) -> str | None:
        if not isinstance(holder, dict) or "model" not in holder:
            return None
        return self._name(holder["model"])

    def _handle_in(self, holder: object) -> str | None:
        """The handle; an empty one, which some clients send with their first setup, is none."""
        found = [value for path in self.resumptions if (value := _inside(holder, path))]
        if not found:
            return None
        return found[0] if len(found) == 1 and isinstance(found[0], str) else _UNCLEAR

    def _may_be_in(self, message: bytes) -> bool:
        """Whether it is worth parsing. A type (``session.update``) does not count, so that audio is
        not parsed; an escape may spell a name, but raw audio (xAI) that holds one is no text.
        """
        if re.search(rb"%b(?![.\w])" % self.holder.encode(), message) is not None:
            return True
        return b"\\" in message and _OBJECT.match(message) is not None and _is_text(message)

    def _name(self, model: object) -> str:
        name = without_prefix(self.prefix, model)
        is_clear = 0 < len(name) <= ID_CHARS_MAX and name.isprintable()
        return name if is_clear and "/" not in name else _UNCLEAR


# Whom a transcription session (``?intent=transcription``) names in place of a model: its
# transcriber, in GA's words or the beta's. The provider has one of its own for audio that comes
# before one is named.
TRANSCRIPTION: Final = Opening(
    "session",
    PLAIN_NAME,
    (("audio", "input", "transcription"), ("input_audio_transcription",)),
    naming=frozenset({"session.update", "transcription_session.update"}),
)


class Gate:
    """Lets a client's frames through when their messages may go on to the provider.

    ``call`` answers what the provider calls a model that the client names, and None when the
    account may not use it. ``is_held``: the account may not use every model, so later messages that
    name one (OpenAI's ``session.update``) are looked at, too. ``has_opened``: the URL named one, or
    said that there is none.
    """

    __slots__ = (
        "_behind", "_call", "_frames", "_has_delegate", "_has_opened", "_is_held", "_opening",
        "_ready", "asks", "has_passed", "refused",
    )  # fmt: skip

    def __init__(
        self,
        opening: Opening,
        *,
        call: Callable[[str], str | None],
        is_held: bool,
        has_opened: bool = False,
    ) -> None:
        self._opening = opening
        self._call = call
        self._is_held = is_held
        self._frames: list[Frame] = []
        self._has_opened = has_opened
        self._has_delegate = not opening.naming  # or needs none
        self.has_passed = has_opened  # something may have been asked for
        self.refused: str | None = None  # the model that the account may not use
        # The handle of which it is to be found out whether the account may use it, the message that
        # waits for that, and what came after it.
        self.asks: str | None = None
        self._ready: Sequence[Frame] = ()
        self._behind: list[Frame] = []

    @property
    def unknown(self) -> str:
        """What the provider says of a handle that it does not know."""
        return self._opening.unknown

    def take(self, frames: Sequence[Frame]) -> Sequence[Frame]:
        """Those that may go on; once ``refused`` is set nothing may any more, and while it ``asks``
        nothing before ``go_on``.
        """
        if self._ready:
            self._behind += frames
            return ()
        if self._has_opened and not self._is_held:
            return frames
        passed: list[Frame] = []
        for number, frame in enumerate(frames, 1):
            self._frames.append(frame)
            if frame.is_final and self.refused is None:
                whole, self._frames = self._frames, []
                passed += self._judge(whole)
                if self._ready:
                    self._behind += frames[number:]
                    break
        return passed

    def go_on(self) -> Sequence[Frame]:
        """The account may use what it asked for: what waited for that, as far as it may go on."""
        ready, self._ready, self.asks = self._ready, (), None
        behind, self._behind = self._behind, []
        self.has_passed = True
        return [*ready, *self.take(behind)]

    def _judge(self, whole: list[Frame]) -> Sequence[Frame]:
        message = b"".join(unmasked(frame) for frame in whole)
        asked = self._opening.read(message)
        is_later = asked.model is None and self._has_opened
        names = [] if is_later else [asked.model or _UNCLEAR]
        if self._is_held and asked.model != _UNCLEAR:
            names += [*asked.delegates, *self._missing_from(message)]
        called = [self._call(name) for name in names]
        if None in called:
            self.refused = names[called.index(None)]
            return ()
        frames: Sequence[Frame] = whole
        if asked.model:
            self._has_opened = True
            name = called[0] or asked.model
            if name != asked.model:
                frames = framed(self._opening.renamed(message, name))
        if asked.handle is not None:
            self.asks, self._ready = asked.handle, frames
            return ()
        if not is_later:
            self.has_passed = True
        return frames

    def _missing_from(self, message: bytes) -> list[str]:
        """What no model is called, where ``message`` had to name one that works for the session."""
        if not self._opening.naming:
            return []
        has = self._opening.has_delegate(message, had=self._has_delegate)
        self._has_delegate = bool(has)
        return [_UNCLEAR] if has is None else []


def _inside(value: object, path: tuple[str, ...]) -> object:
    for name in path:
        value = value.get(name) if isinstance(value, dict) else None
    return value


def _is_text(message: bytes) -> bool:
    try:
        message.decode()
    except UnicodeDecodeError:
        return False
    return True


def framed(message: bytes) -> Sequence[Frame]:
    """A text message as a client sends it."""
    data = WireFrame(Opcode.TEXT, message).serialize(mask=True)
    return FrameScanner(expects_mask=True, message_bytes_max=len(message)).feed(data)
