"""The client's first message where it names the model: how it is read, and renamed. Pure.

Gemini's ``setup`` and GPT-Live's ``session.start`` name the model that a URL names elsewhere. The
gate (``providers.gate``) lets a message through by what is read here; providers say where their
messages name it (``FirstMessageFormat``).

A message is read strictly. One that names its model twice, or in a way that two readers could
understand differently, names none that may be used by an account that is limited to certain models;
for others it goes on as it is, and the provider judges it.

Gemini's ``setup`` may also name a session to resume, by a handle.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from websockets.frames import Frame as WireFrame
from websockets.frames import Opcode

from gateway.frames import Frame, FrameScanner
from gateway.metering.reading import read_object, without_prefix, without_repetition
from shared.usage import ID_CHARS_MAX

PLAIN_NAME: Final = re.compile("")
UNCLEAR: Final = ""  # no model or handle has this name
_MAY_RESUME: Final = re.compile(rb"esumption|\\u")  # a name may be spelled with an escape
_OBJECT: Final = re.compile(rb'(?:\xef\xbb\xbf)?\s*\{\s*"')  # so JSON begins; audio hardly ever


@dataclass(frozen=True, slots=True)
class FirstMessageContent:
    """What a message asks for: None when it does not, empty when it is not clear for what.

    ``handle`` leads to the session that it resumes. ``delegates`` are the models that are to work
    for the session, in a message that is clear; their tokens are charged like the session's.
    """

    model: str | None = None
    handle: str | None = None
    delegates: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class FirstMessageFormat:
    """Where a first message names its model: in the object ``holder``, behind ``prefix``.

    ``delegates`` are the paths in there of the objects that name models to work for that one. Where
    they work in its place, ``naming`` are the types of the messages that name them: all that a
    client may say before one is named. ``resumptions`` are the paths of a handle, and
    ``unknown_handle_reason`` is what the provider says of a handle that it does not know.
    """

    holder: str
    prefix: re.Pattern[str]
    delegates: tuple[tuple[str, ...], ...] = ()
    naming: frozenset[str] = frozenset()
    resumptions: tuple[tuple[str, ...], ...] = ()
    unknown_handle_reason: str = ""

    def read(self, message: bytes) -> FirstMessageContent:
        """What ``message`` asks for."""
        try:
            holder = self._holder_in(message)
        except ValueError:
            may_resume = bool(self.resumptions) and _MAY_RESUME.search(message) is not None
            return FirstMessageContent(UNCLEAR, UNCLEAR if may_resume else None)
        delegates = (self._named_in(_inside(holder, path)) for path in self.delegates)
        return FirstMessageContent(
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
        return found[0] if len(found) == 1 and isinstance(found[0], str) else UNCLEAR

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
        return name if is_clear and "/" not in name else UNCLEAR


# Whom a transcription session (``?intent=transcription``) names in place of a model: its
# transcriber, in GA's words or the beta's. The provider has one of its own for audio that comes
# before one is named.
TRANSCRIPTION: Final = FirstMessageFormat(
    "session",
    PLAIN_NAME,
    (("audio", "input", "transcription"), ("input_audio_transcription",)),
    naming=frozenset({"session.update", "transcription_session.update"}),
)


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
