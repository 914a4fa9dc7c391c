"""The user's audio, and the item that it becomes. Pure.

Few models say when the user speaks (``voiceActivity``). With automatic detection, speech has begun
when the model is interrupted, or when its transcript comes; the audio since the last turn becomes
an item when the model answers. Without it the client commits.

``speech_started`` makes a client stop what it plays, which takes it moments: what it hears of the
answer meanwhile is lost (pipecat). So speech is announced while the user is heard, never together
with the answer: a transcript is held until some more audio was heard, and where the answer comes
before that, or nothing was known before it, the item is committed without an announcement. Nothing
is playing then, as Gemini would have been interrupted.

The transcript comes in any order beside the model's turn. What comes while the model answers still
belongs to the item that is being answered: where the user had begun to speak again, the model would
have been interrupted first. The client is told of it unless the transcript was completed, which it
is when the model begins, as it is with OpenAI's.
"""

from typing import Any, Final

from gateway.translate.base import Ids
from gateway.translate.to_gemini.events import ClientEvents
from gateway.translate.to_gemini.items import Items
from gateway.translate.to_gemini.reading import Json

# Of the user's audio, between the first word of a transcript and its announcement. Gemini may send
# a transcript in the same moment as the answer, or while the user speaks.
_APART_MS: Final = 200
# Of audio that is held while the model is busy, as messages for it: a minute of 24 kHz. Where there
# is more, the activity begins, and interrupts the model.
HELD_BYTES_MAX: Final = 4 * 1024 * 1024


class Speech:
    """What one session's user says.

    ``written_ms`` is the length of all audio so far. ``uncommitted_bytes`` is what was appended
    since the last commit. ``is_active`` says that Gemini was told of the beginning of an activity,
    and not of its end; ``is_due`` that a commit has not been answered.
    """

    def __init__(self, ids: Ids, events: ClientEvents, items: Items) -> None:
        self._ids = ids
        self._events = events
        self._items = items
        self._written_us = 0
        self._since_ms = 0  # where the last turn of the user ended
        self._item_id: str | None = None  # of the speech that is heard
        self._is_stopped = False
        self._texts: list[str] = []  # its transcript
        self._held_at_ms: int | None = None  # since when that has not been announced
        self._committed: Json | None = None  # the item that is being answered
        self._is_transcribed = True  # whether its transcript was completed
        self._seconds = 0.0  # of its audio
        self._held: list[bytes] = []  # of an activity that has not begun
        self._held_bytes = 0
        self.uncommitted_bytes = 0
        self.is_active = False
        self.is_due = False

    @property
    def written_ms(self) -> int:
        """See the class."""
        return self._written_us // 1000

    @property
    def is_heard(self) -> bool:
        """Whether the user is known to speak, or to have spoken."""
        return self._item_id is not None or self._held_at_ms is not None

    @property
    def has_audio(self) -> bool:
        """Whether there is audio that no item has."""
        return self.uncommitted_bytes > 0

    @property
    def is_answered(self) -> bool:
        """Whether there is an item to which a late transcript belongs."""
        return self._committed is not None

    @property
    def is_open(self) -> bool:
        """Whether the provider has something of a turn of the user's that it has yet to answer."""
        return self.is_due or self.is_active or self.is_heard or self.is_held

    @property
    def is_held(self) -> bool:
        """Whether there is audio of an activity that has not begun."""
        return bool(self._held)

    @property
    def is_untold(self) -> bool:
        """Whether the user said something that is asked, or being heard, and not transcribed."""
        committed = self._committed
        return self.is_open or (committed is not None and not committed["content"][0]["transcript"])

    def appended(self, size: int, *, bytes_per_ms: int) -> None:
        """So many bytes of audio were sent on."""
        self.uncommitted_bytes += size
        self._written_us += size * 1000 // bytes_per_ms
        if self._held_at_ms is not None and self.written_ms - self._held_at_ms >= _APART_MS:
            self.started(self._held_at_ms)

    def hold(self, message: bytes) -> bool:
        """Keep a message with audio until the activity begins; False where it has to begin now."""
        if self._held_bytes + len(message) > HELD_BYTES_MAX:
            return False
        self._held.append(message)
        self._held_bytes += len(message)
        return True

    def take_held(self) -> list[bytes]:
        """The messages that were held."""
        held, self._held, self._held_bytes = self._held, [], 0
        return held

    def started(self, start_ms: int | None = None) -> None:
        """The user speaks; nothing is said twice of one speech."""
        if self._item_id is not None:
            return
        self._forget_committed()
        self._item_id = self._ids.make("item")
        start_ms = self.written_ms if start_ms is None else start_ms
        is_held, self._held_at_ms = self._held_at_ms is not None, None
        self._events.add(
            "input_audio_buffer.speech_started", audio_start_ms=start_ms, item_id=self._item_id
        )
        if is_held:
            self._tell("".join(self._texts), self._item_id)

    def stopped(self, end_ms: int | None = None) -> None:
        """The user does not speak any more."""
        if self._item_id is None or self._is_stopped:
            return
        self._is_stopped = True
        self._events.add(
            "input_audio_buffer.speech_stopped",
            audio_end_ms=self.written_ms if end_ms is None else end_ms,
            item_id=self._item_id,
        )

    def transcribed(self, text: str, *, is_late: bool) -> None:
        """A piece of the transcript. ``is_late``: of what was committed, if anything was."""
        if is_late and self._committed is not None:
            self._add_late(self._committed, text)
            return
        self._texts.append(text)
        if self._item_id is not None:
            self._tell(text, self._item_id)
        elif self._held_at_ms is None:
            self._held_at_ms = self.written_ms

    def kept(self, text: str) -> None:
        """A piece of the transcript of what the client has yet to commit."""
        self._texts.append(text)

    def finished(self) -> None:
        """The transcript of what was committed is complete."""
        if self._committed is None or self._is_transcribed:
            return
        self._is_transcribed = True
        self._events.add(
            "conversation.item.input_audio_transcription.completed",
            item_id=self._committed["id"],
            content_index=0,
            transcript=self._committed["content"][0]["transcript"] or "",
            usage={"type": "duration", "seconds": self._seconds},
        )

    def commit(self, *, is_transcribed: bool) -> None:
        """What was said becomes an item; an end of what was announced was told before that.

        ``is_transcribed``: the client wants the transcript.
        """
        self._forget_committed()
        item_id = self._item_id or self._ids.make("item")
        previous = self._items.place(item_id)
        text = "".join(self._texts)
        item = _item(item_id, text or None)
        self._events.add("input_audio_buffer.committed", previous_item_id=previous, item_id=item_id)
        shown = _item(item_id, None)
        self._events.add("conversation.item.added", previous_item_id=previous, item=shown)
        self._events.add("conversation.item.done", previous_item_id=previous, item=item)
        if self._item_id is None and text:  # nobody could be told before
            self._tell(text, item_id)
        self._items.keep(item)
        self._committed, self._is_transcribed = item, not is_transcribed
        self._seconds = round((self.written_ms - self._since_ms) / 1000, 3)
        self._since_ms = self.written_ms
        self._forget_heard()

    def answered(self) -> None:
        """The model begins: the transcript so far is complete, where there is one."""
        self.is_due = False
        if self._committed is not None and self._committed["content"][0]["transcript"]:
            self.finished()

    def turn_ended(self) -> None:
        """The answer is over; what is transcribed from now on is said from now on, but of what the
        client committed meanwhile.
        """
        if not self.is_due:
            self._forget_committed()
        if not (self.is_heard or self.is_active or self.is_held):
            self._since_ms = self.written_ms
            self.uncommitted_bytes = 0

    def disconnected(self) -> None:
        """The provider is gone, and with it what was said to it; a client that knows of that hears
        so.
        """
        self._forget_committed()
        if self.is_active or self.is_held or self._item_id is not None:
            self.cleared()
        self._forget_heard()
        self.is_active = self.is_due = False

    def cleared(self) -> None:
        """What is not committed is gone, or the client took it back."""
        self._forget_heard()
        self.take_held()
        self._since_ms = self.written_ms
        self._events.add("input_audio_buffer.cleared")

    # --- helpers ----------------------------------------------------------------------------------

    def _forget_heard(self) -> None:
        self._item_id, self._is_stopped, self._texts = None, False, []
        self._held_at_ms = None
        self.uncommitted_bytes = 0

    def _forget_committed(self) -> None:
        self.finished()
        self._committed = None

    def _add_late(self, item: Json, text: str) -> None:
        part = item["content"][0]
        part["transcript"] = (part["transcript"] or "") + text
        self._items.changed(item)
        if not self._is_transcribed:
            self._tell(text, item["id"])

    def _tell(self, text: str, item_id: Any) -> None:
        self._events.add(
            "conversation.item.input_audio_transcription.delta",
            item_id=item_id,
            content_index=0,
            delta=text,
        )


def _item(item_id: str, transcript: str | None) -> Json:
    return {
        "id": item_id,
        "object": "realtime.item",
        "type": "message",
        "status": "completed",
        "role": "user",
        "content": [{"type": "input_audio", "transcript": transcript}],
    }
