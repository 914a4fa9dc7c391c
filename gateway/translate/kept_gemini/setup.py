"""The client's ``setup``, and what of it another provider's connection is told. Pure.

It is told as it came, with the newest handle and what ``contextUpdate`` changed.
"""

from typing import Any, Final

from msgspec import json

from gateway.metering.gemini.events import TRANSCRIBES
from gateway.translate.kept.keeping import Json
from gateway.translate.kept_gemini.messages import (
    field,
    object_field,
    objects_field,
    snake,
    text_field,
)

# Instructions and tools of a large agent are some ten thousand bytes. Of a larger setup nothing is
# kept: the session ends with its provider's connection.
SETUP_BYTES_MAX: Final = 128 * 1024
_RESUMPTION: Final = "sessionResumption"
_HISTORY: Final = "historyConfig"


class Setup:
    """That of one session, once the client has sent it.

    ``is_kept``: another provider can be told it. ``handle`` is the newest by which the session can
    be resumed. ``begins_with_history``: content that is told first is not answered.
    """

    __slots__ = ("_body", "begins_with_history", "handle", "is_kept")

    def __init__(self, body: Json, *, size: int) -> None:
        """``body`` is the setup; ``size`` are the bytes of its message."""
        self._body = body
        self.is_kept = size <= SETUP_BYTES_MAX and not _is_of_another_kind(body)
        resumption = object_field(body, _RESUMPTION)
        self.handle: str | None = text_field(resumption, "handle") or None
        history = object_field(body, _HISTORY)
        self.begins_with_history = field(history, "initialHistoryInClientContent") is True

    @property
    def left(self) -> Json:
        """It, for a provider of another protocol: without a handle, which leads to none there."""
        body = dict(self._body)
        if self.is_resumable:
            resumption = dict(object_field(body, _RESUMPTION))
            resumption.pop("handle", None)
            _put(body, _RESUMPTION, resumption)
        return body

    @property
    def is_resumable(self) -> bool:
        """Whether the client has asked for handles."""
        return isinstance(field(self._body, _RESUMPTION), dict)

    def update(self, change: Json) -> None:
        """A ``contextUpdate`` of the client."""
        body = dict(self._body)
        if field(change, "systemInstruction") is not None:
            _put(body, "systemInstruction", field(change, "systemInstruction"))
        if isinstance(field(change, "tools"), dict):  # an object around the list
            _put(body, "tools", objects_field(object_field(change, "tools"), "tools"))
        self._body = body
        self.is_kept = self.is_kept and len(json.encode(body)) <= SETUP_BYTES_MAX

    def told(self) -> Json:
        """What a provider is told in place of another one."""
        body = self.left
        if self.is_resumable and self.handle:
            _put(body, _RESUMPTION, {**object_field(body, _RESUMPTION), "handle": self.handle})
        return {"setup": body}


def _is_of_another_kind(body: Json) -> bool:
    """Whether it is no conversation, as it only transcribes or translates; or one whose client
    counts what the provider has read of its messages.
    """
    config = object_field(body, "generationConfig")
    is_translation = field(config, "translationConfig") is not None
    counts = field(object_field(body, _RESUMPTION), "transparent") is True
    return is_translation or counts or TRANSCRIBES in text_field(body, "model")


def _put(body: Json, name: str, value: Any) -> None:
    """Replace the field ``name``, however it is spelled."""
    body.pop(snake(name), None)
    body[name] = value
