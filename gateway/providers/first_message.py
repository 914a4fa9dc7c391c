"""The client's first message where it names the model: how it is read, and renamed. Pure.

Gemini's ``setup`` and GPT-Live's ``session.start`` name the model; of other sessions the URL does.
The gate (``providers.first_message_gate``) decides by what is read here. Where in a message the
model is named differs from provider to provider (``FirstMessageFormat``).

A message is read strictly. One in which a name stands twice could be understood in another way by
the provider (``{"model":"a","model":"b"}``), so its model is ``UNCLEAR``. An account that is
limited to certain models may not use that; for others the message goes on as it is.

Gemini's ``setup`` may also hold a handle, by which it resumes a session.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from websockets.frames import Frame as WireFrame
from websockets.frames import Opcode

from gateway.frame_scanner import FrameScanner
from gateway.frames import Frame
from gateway.metering.parsing import read_object, without_prefix, without_repetition
from shared.usage import ID_CHARS_MAX

PLAIN_NAME: Final = re.compile("")
UNCLEAR: Final = ""  # the name of no model, and no handle
_MAY_RESUME: Final = re.compile(rb"esumption|\\u")  # a name may be spelled with an escape
# How a JSON object begins, and raw audio hardly ever does.
_OBJECT: Final = re.compile(rb'(?:\xef\xbb\xbf)?\s*\{\s*"')


@dataclass(frozen=True, slots=True)
class FirstMessageContent:
    """What a message asks for. ``model`` and ``handle`` are None where it names none, and
    ``UNCLEAR`` where it is not clear which.

    ``handle`` leads to the session that is resumed. ``delegates`` are the models that shall work
    for the session, if the message is clear; their tokens are charged to the session's account.
    """

    model: str | None = None
    handle: str | None = None
    delegates: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class FirstMessageFormat:
    """Where a first message names its model: in the object ``holder``, behind ``prefix``.

    ``delegates`` are paths inside ``holder`` of objects that name further models, which work for
    the session. A session that only transcribes has no model, only such a one (its transcriber):
    then ``naming`` are the types of messages that name it, and no other message may come before
    one has. ``resumptions`` are the paths of a handle, and ``unknown_handle_reason`` is the reason
    by which the provider refuses a handle that it does not know.
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
        """Whether a delegate is named after ``message``, which is clear. ``had``: before it.

        None where the message had to name one and does not.
        """
        if had and not self._may_be_in(message):
            return True
        try:
            event = read_object(message, pairs_hook=without_repetition) or {}
        except ValueError:  # not parsed before, as it does not hold the name ``holder``
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
        return had and None not in told  # null takes it away, any other value leaves it

    def renamed(self, message: bytes, name: str) -> bytes:
        """``message``, in which ``read`` found a model, with the model ``name`` in its place."""
        event: dict[str, Any] = json.loads(message)
        holder = event[self.holder]
        model = holder["model"]
        holder["model"] = model.removesuffix(without_prefix(self.prefix, model)) + name
        return json.dumps(event).encode()

    def _holder_in(self, message: bytes) -> object:
        """The value of ``holder``; None where there is none. Raises ``ValueError``."""
        if not self._may_be_in(message):
            return None
        return (read_object(message, pairs_hook=without_repetition) or {}).get(self.holder)

    def _named_in(self, holder: object) -> str | None:
        if not isinstance(holder, dict) or "model" not in holder:
            return None
        return self._name(holder["model"])

    def _handle_in(self, holder: object) -> str | None:
        """The handle. An empty one, which some clients send with their first setup, is none."""
        found = [value for path in self.resumptions if (value := _inside(holder, path))]
        if not found:
            return None
        return found[0] if len(found) == 1 and isinstance(found[0], str) else UNCLEAR

    def _may_be_in(self, message: bytes) -> bool:
        """Whether ``message`` is worth parsing: it holds the name ``holder``, or an escape, which
        may spell it. ``session`` in a type (``session.update``) is not this name, so that audio is
        not parsed for its type. Raw audio (xAI) may hold a backslash, but is no text.
        """
        if re.search(rb"%b(?![.\w])" % self.holder.encode(), message) is not None:
            return True
        return b"\\" in message and _OBJECT.match(message) is not None and _is_text(message)

    def _name(self, model: object) -> str:
        name = without_prefix(self.prefix, model)
        is_clear = 0 < len(name) <= ID_CHARS_MAX and name.isprintable()
        return name if is_clear and "/" not in name else UNCLEAR


# A session that only transcribes (``?intent=transcription``) names a transcriber in place of a
# model, where the GA interface has it or the beta. Audio that came before it is named would be
# transcribed by one that the provider chooses.
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
    """``message`` as a client sends it: a masked text frame."""
    data = WireFrame(Opcode.TEXT, message).serialize(mask=True)
    return FrameScanner(expects_mask=True, message_bytes_max=len(message)).feed(data)
