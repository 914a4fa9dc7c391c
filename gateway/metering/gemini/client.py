"""What the client of a Gemini session has asked for, and the model has not begun to answer. Pure.

A message of the client asks for an answer for certain when it is content with ``turnComplete``, a
text, the end of an activity, or the answer of a tool. With automatic activity detection any sound
*may* be speech that is answered: only the provider knows whether it was. Audio of nothing but
zeros, which a muted microphone sends, is no sound.

Source: the reference of ``BidiGenerateContentClientMessage`` (ai.google.dev/api/live).
"""

import json
import re
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Final

from msgspec.structs import replace

from gateway.frames import Frame
from gateway.metering.base import Fragments
from gateway.metering.parsing import (
    UnreadableUsageError,
    clean_text,
    read_map,
    read_object,
    unmasked,
    without_prefix,
)

# ``models/m``; on Vertex AI ``publishers/p/models/m``, with ``projects/…/locations/…/`` before it.
RESOURCE_PATH: Final = re.compile(
    r"(?:(?:projects/[^/]+/locations/[^/]+/)?publishers/[^/]+/)?models/(?=[^/]+$)"
)
# What makes a message worth parsing. Nearly all messages are media, which are not. A name may be
# spelled with an escape. (One expression that begins with a quotation mark is found nine times as
# fast as the names one by one.)
_ASKS: Final = re.compile(rb'"(?:client_?[cC]ontent|tool_?[rR]esponse|text|activity_?[eE]nd)"')
_ESCAPE: Final = b"\\"
_AUDIO: Final = b"audio"  # as a field's name, or in a mime type
_DATA: Final = re.compile(rb'"data"\s*:\s*"')
_MIME: Final = re.compile(rb'"\s*audio/([^"]*)"', re.IGNORECASE)
_RATE: Final = re.compile(rb";\s*rate=(\d{4,6})\b")
_RATE_HZ: Final = 16_000  # where the mime type says nothing
_RATE_MIN: Final = 4_000
_RATE_MAX: Final = 192_000
_ZEROS: Final = b"A="  # the characters of zeros in base64


class GeminiClient:
    """Watches the client of one session.

    ``model`` is the one that its setup asks for, None before the setup. ``asked`` counts the
    answers that are certain to come; ``may_follow`` says that one more may. ``message_bytes`` is
    the length of the message that the last frame completed, 0 while a message is incomplete.
    ``rate_hz`` is the rate of the audio in it, and read only where ``wants_rate`` is set.
    """

    __slots__ = (
        "_fragments", "_is_automatic", "_is_more_left", "asked", "bytes_in", "may_follow",
        "message_bytes", "model", "rate_hz", "wants_rate",
    )  # fmt: skip

    def __init__(self) -> None:
        self._fragments = Fragments()
        self._is_automatic = True
        self._is_more_left = False
        self.model: str | None = None
        self.bytes_in = 0
        self.message_bytes = 0
        self.rate_hz = _RATE_HZ
        self.wants_rate = False
        self.asked = 0
        self.may_follow = False

    def observe(self, frame: Frame, *, is_answering: bool) -> bool:
        """Look at one data frame; whether it asks for an answer for certain.

        ``is_answering``: the model has begun a turn. A tool's answer then belongs to this turn and
        asks for no other one.
        """
        payload = unmasked(frame)
        self.bytes_in += len(payload)
        if frame.is_final and not frame.continues:
            message: bytes | None = payload
        else:
            message = self._fragments.add(replace(frame, start=0, raw=payload))
        self.message_bytes = len(message or b"")
        if message is None:
            return False
        if self.wants_rate:
            self.rate_hz = _rate_hz(message)
        if self.model is None or _ESCAPE in message or _ASKS.search(message) is not None:
            return self._read(message, is_answering=is_answering)
        self._listen(message)
        return False

    def begun(self) -> None:
        """The model has begun to answer what was asked for so far.

        Whether it answers several questions at once or one by one nobody says. So none of them
        is certain to be answered later, but after more than one another answer may follow.
        """
        self._is_more_left = self.asked > 1
        self.asked = 0

    def ended(self, *, was_begun: bool) -> None:
        """A turn is over. What was asked for after its beginning is still to be answered.

        ``was_begun`` is False where it was interrupted before the model's first word: its end is
        then the answer to what was asked for.
        """
        if not was_begun:
            self.begun()
        self.may_follow, self._is_more_left = self._is_more_left, False

    # --- helpers ----------------------------------------------------------------------------------

    def _read(self, message: bytes, *, is_answering: bool) -> bool:
        try:
            event = read_object(message) or {}
            if self.model is None:
                self._set_up(read_map(event, "setup"))
            content = read_map(event, _either(event, "clientContent", "client_content"))
            realtime = read_map(event, _either(event, "realtimeInput", "realtime_input"))
        except (ValueError, UnreadableUsageError):  # the provider refuses it
            self.model = self.model or ""
            return False
        self._listen(message)
        is_asking = (
            content.get(_either(content, "turnComplete", "turn_complete")) is True
            or (not is_answering and _either(event, "toolResponse", "tool_response") in event)
            or bool(realtime.get("text"))
            or _either(realtime, "activityEnd", "activity_end") in realtime
        )
        self.asked += is_asking
        return is_asking

    def _set_up(self, setup: Mapping[str, Any]) -> None:
        """Read the first message: the model without its path, and who detects activity."""
        self.model = clean_text(without_prefix(RESOURCE_PATH, setup.get("model")))
        realtime = read_map(setup, _either(setup, "realtimeInputConfig", "realtime_input_config"))
        name = _either(realtime, "automaticActivityDetection", "automatic_activity_detection")
        self._is_automatic = read_map(realtime, name).get("disabled") is not True

    def _listen(self, message: bytes) -> None:
        if self._is_automatic and not self.may_follow and _AUDIO in message:
            self.may_follow = _is_sound(message)


def _rate_hz(message: bytes) -> int:
    """The rate of the audio in ``message`` by its mime type. Where it names several rates, the
    lowest counts: a high one would make the same bytes shorter, and cheaper.
    """
    if _ESCAPE in message:
        with suppress(ValueError):  # what is no JSON is refused by the provider
            message = json.dumps(read_object(message)).encode()
    rates = [_rate_in(mime) for mime in _MIME.findall(message)]
    return min(rates, default=_RATE_HZ)


def _rate_in(mime: bytes) -> int:
    found = _RATE.search(mime)
    rate_hz = _RATE_HZ if found is None else int(found[1])
    return rate_hz if _RATE_MIN <= rate_hz <= _RATE_MAX else _RATE_HZ


def _is_sound(message: bytes) -> bool:
    """Whether ``message`` holds data that is not all zeros."""
    found = _DATA.search(message)
    while found is not None:
        end = message.find(b'"', found.end())
        if end < 0 or message[found.end() : end].strip(_ZEROS):
            return True
        found = _DATA.search(message, end)
    return False


def _either(fields: Mapping[str, Any], name: str, other_name: str) -> str:
    """The spelling that ``fields`` has; ``other_name`` where it has neither."""
    return name if name in fields else other_name
