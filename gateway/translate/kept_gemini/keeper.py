"""Keeps the conversation of a Gemini client's session at Gemini, for the next connection. Pure.

Messages go between client and provider as they came, so long as the first connection stays. When it
is gone the keeper closes towards the client the turn that is open (``provider_closed``). The next
one is told the setup, with the newest handle where the client has asked for such, and, once it has
accepted that, as contents what the handle does not bring back, or the whole conversation. What was
asked for in writing is asked for again where nothing of the answer was heard.

Its ``setupComplete``, and each ``goAway``, are not for the client. Speech is kept by its
transcript, where the client has asked for one.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from msgspec import json

from gateway.metering.gemini.events import End, ServerMessage, read_message
from gateway.translate.base import GeminiClient, Ids, Rest
from gateway.translate.conversation import Conversation
from gateway.translate.kept.keeping import WITHHELD, Json
from gateway.translate.kept_gemini.messages import (
    field,
    object_field,
    objects_field,
    text_field,
    wire,
)
from gateway.translate.kept_gemini.setup import Setup
from gateway.translate.kept_gemini.talk import Talk
from gateway.translate.kept_gemini.turn import Turn, TurnEvent, Turns
from gateway.translate.to_gemini.answers import content_message
from gateway.translate.to_openai.client_fields import ClientFaultError, Fields, read
from gateway.translate.to_openai.settings import read_context, read_setup
from gateway.translate.voices import BUILT_IN, VoiceTable

# What a client hears that holds handles of a session that goes on without them.
_NOT_RESUMABLE: Final = b'{"sessionResumptionUpdate":{"resumable":false}}'
_ACTIVITY: Final[Json] = {"realtimeInput": {"activityStart": {}}}


class GeminiKeeper:
    """See ``Keeping``. ``seed``: see ``Ids``; ``voices`` are the operator's, for the configuration
    that is stored. ``conversation`` continues one, of a client that was there before. ``model`` is
    Gemini's name for that of a client which was served elsewhere before.
    """

    resumption: Final = None  # its handles are told in the setup

    __slots__ = (
        "_due", "_has_followed", "_has_notice", "_has_usage", "_is_active", "_is_announced",
        "_is_asked_again", "_is_continued", "_is_history", "_is_usage_due", "_model", "_setup",
        "_talk", "_turns", "_voices", "conversation", "is_waiting", "wire",
    )  # fmt: skip

    def __init__(
        self,
        *,
        seed: str,
        conversation: Conversation | None = None,
        voices: VoiceTable = BUILT_IN,
        model: str = "",
    ) -> None:
        self.conversation = conversation or Conversation()
        self.wire = wire()
        self._model = model
        self._voices = voices
        self._talk = Talk(Ids(seed), self.conversation)
        self._turns = Turns()
        self._setup: Setup | None = None
        self._due: list[Json] = []
        # A client that was there before: the provider is to know what was said then.
        self._is_continued = bool(self.conversation.items)
        self._is_announced = False  # the client has heard setupComplete
        self._is_asked_again = False
        self._is_history = False  # what the client writes now is not answered
        self._is_active = False  # the client has begun an activity, and not ended it
        self._has_followed = False  # this connection was told the setup by the gateway
        self._has_usage = False  # of the turn that is open
        self._is_usage_due = False  # of the turn that has ended
        self._has_notice = False  # the provider has announced its end
        self.is_waiting = False

    @property
    def is_keeping(self) -> bool:
        """See ``Keeping``: a setup that is too large, or no conversation, is not kept."""
        return self._setup is None or self._setup.is_kept

    @property
    def is_answering(self) -> bool:
        """See ``Keeping``: also while the usage of the last turn is still to come."""
        is_speaking = self._is_active or self._talk.is_heard
        return self._turns.is_open or is_speaking or self._is_usage_due or self.is_waiting

    @property
    def is_retelling(self) -> bool:
        """See ``Keeping``."""
        return self.is_waiting and self._is_announced

    # --- the connections --------------------------------------------------------------------------

    def opened(self) -> None:
        """See ``Keeping``: the client sends its setup first."""

    def moved_to(self, provider: str) -> None:
        """See ``Keeping``: only Gemini speaks this."""

    def leave(self) -> Rest:
        """See ``Keeping``. The client's handles lead to a session that does not go on there."""
        setup = self._setup
        if setup is None:
            return Rest()
        client = GeminiClient(
            setup.left,
            is_accepted=self._is_announced,
            is_asked=self._is_asked_again,
            is_history=self._is_history,
            is_active=self._is_active,
            calls=self._talk.calls.known,
        )
        has_handle = self._is_announced and setup.handle is not None
        return Rest(gemini=client, to_client=[_NOT_RESUMABLE] if has_handle else [])

    def take_over(self, rest: Rest) -> None:
        """See ``Keeping``. The model is named as Gemini names it."""
        client = rest.gemini
        if client is None:
            return
        raw = json.encode({"setup": {**client.setup, "model": f"models/{self._model}"}})
        self.client_said(json.decode(raw), raw)
        self._is_history, self._is_active = client.is_history, client.is_active
        self._is_announced, self._is_asked_again = client.is_accepted, client.is_asked
        self._talk.go_on(client.calls)
        self._turns.go_on(is_asked=client.is_asked, is_calling=self._talk.calls.are_due)

    def provider_opened(self) -> Sequence[Json | bytes]:
        """See ``Keeping``."""
        self._has_notice, self._due = False, []
        if self._setup is None:
            return ()
        self.is_waiting = self._has_followed = True
        return (self._setup.told(),)

    def provider_closed(self) -> Sequence[Json]:
        """See ``Keeping``. A handle that the provider did not take is not told again, unless it is
        the client's own, which has to hear that it is refused.
        """
        if self.is_retelling and self._setup is not None:
            self._setup.handle = None
        closing, self._is_asked_again = self._turns.close()
        self._talk.lost()
        self.is_waiting = self._is_usage_due = self._has_usage = False
        self._due = []
        return closing

    def take_due(self) -> Sequence[bytes]:
        """See ``Keeping``."""
        due, self._due = self._due, []
        return [json.encode(message) for message in due]

    def take_notice(self) -> bool:
        """See ``Keeping``."""
        had, self._has_notice = self._has_notice, False
        return had

    # --- the client -------------------------------------------------------------------------------

    def client_said(self, event: Json, raw: bytes) -> Json | None:
        """See ``Keeping``. What cannot be read is the provider's to refuse."""
        try:
            kind, body = read(raw)
            return _HANDLERS[kind](self, body, object_field(event, kind), len(raw))
        except ClientFaultError:
            return None

    def client_spoke(self) -> None:
        """See ``Keeping``."""
        self._talk.spoke()

    def _set_up(self, body: Fields, raw: Json, size: int) -> None:
        if self._setup is not None:  # the provider closes for it
            return
        self._setup = Setup(raw, size=size)
        self._is_history = self._setup.begins_with_history
        if self._setup.handle is not None:
            self._talk.handle_covers_all()
        self.is_waiting = self._is_continued and self._setup.is_kept
        self.conversation.revision += 1
        self.conversation.session = read_setup(body, self._voices, "gemini")[0]

    def _update_context(self, body: Fields, raw: Json, _size: int) -> None:
        if self._setup is not None:
            self._setup.update(raw)
        self.conversation.session.update(read_context(body))
        self.conversation.revision += 1

    def _take_content(self, body: Fields, _raw: Json, _size: int) -> None:
        is_complete = body.flag("turnComplete")
        writer = self._talk.writer
        items = [item for turn in body.objects("turns") for item in writer.turn(turn)]
        is_whole = self._talk.wrote(items)
        if self._is_history:
            self._is_history = not is_complete
        elif is_complete:
            self._ask(is_whole=is_whole)
        else:
            self._turns.move(TurnEvent.CANCELLED)

    def _take_outputs(self, body: Fields, _raw: Json, _size: int) -> Json | None:
        talk = self._talk
        outputs = [talk.writer.answer(answer) for answer in body.objects("functionResponses")]
        is_whole, told = talk.wrote(outputs), talk.told_of_calls(outputs)
        if not talk.calls.are_due:
            self._ask(is_whole=is_whole)
        if told:
            self._due.append(content_message(told, is_complete=True))
        return None if told is None else WITHHELD

    def _take_realtime(self, body: Fields, _raw: Json, _size: int) -> None:
        if body.has("activityStart"):
            self._is_active = True
            self._turns.move(TurnEvent.CANCELLED)
        if body.has("audio") or body.has("mediaChunks"):
            self._talk.spoke()
        if words := body.text("text"):
            self._ask(is_whole=self._talk.wrote([self._talk.writer.text(words)]))
        if body.has("activityEnd"):
            self._is_active = False
            self._ask(is_whole=False)

    def _ask(self, *, is_whole: bool) -> None:
        """The model is to answer; ``is_whole``: another one can be asked the same."""
        self._is_usage_due = False
        self._talk.asked(is_next=self._turns.has_question)
        self._turns.move(TurnEvent.ASKED if is_whole else TurnEvent.ASKED_ALOUD)

    # --- the provider -----------------------------------------------------------------------------

    def heard(self) -> None:
        """See ``Keeping``."""
        if self._turns.state is not Turn.SPEAKING:
            self._begin()

    def provider_said(self, event: Json) -> Json | None:
        """See ``Keeping``."""
        said = read_message(event)
        if said.usage:
            self._has_usage, self._is_usage_due = True, False
        if said.is_setup:
            return self._accepted(event)
        if field(event, "goAway") is not None:
            self._has_notice = self.is_keeping
            return None if self.is_keeping else event
        self._keep_handle(object_field(event, "sessionResumptionUpdate"))
        calls = objects_field(object_field(event, "toolCall"), "functionCalls")
        if calls:
            self._begin()
            self._turns.move(TurnEvent.CALLED)
            self._talk.called(call for call in calls if text_field(call, "name"))
        cancelled = field(object_field(event, "toolCallCancellation"), "ids")
        for call_id in cancelled if isinstance(cancelled, list) else ():
            self._talk.calls.answer(str(call_id), None)
        self._hear(said)
        return event

    def _accepted(self, event: Json) -> Json | None:
        if self.is_waiting:
            self.is_waiting = False
            self._due += self._retold()
        is_repeated = self._is_announced and self._has_followed
        self._is_announced = True
        return None if is_repeated else event

    def _retold(self) -> list[Json]:
        """What a connection is told that has accepted the setup. Where the first content is not
        answered, all of it is complete; what is asked again follows as a text.
        """
        setup, is_asked = self._setup, self._is_asked_again
        assert setup is not None
        turns = self._talk.resumed(has_handle=setup.handle is not None)
        self._is_asked_again = False
        if is_asked:
            self._talk.asked(is_next=False)
        told: list[Json] = []
        if setup.begins_with_history:
            question = _text_of(turns[-1]) if is_asked and turns else ""
            history = turns[:-1] if question else turns
            told.append(content_message(history, is_complete=not self._is_history))
            if is_asked:
                ask = {"realtimeInput": {"text": question}}
                told.append(ask if question else content_message([], is_complete=True))
        elif turns or is_asked:
            told.append(content_message(turns, is_complete=is_asked))
        return [*told, *([_ACTIVITY] if self._is_active else [])]

    def _keep_handle(self, update: Json) -> None:
        handle = text_field(update, "newHandle")
        is_wanted = self._setup is not None and self._setup.is_resumable
        if handle and is_wanted and field(update, "resumable") is True:
            assert self._setup is not None
            self._setup.handle = handle
            self._talk.handle_issued()

    def _hear(self, said: ServerMessage) -> None:
        """A ``serverContent``: several things at once, in the order in which they are said."""
        content: Json = dict(said.content)
        if field(content, "interrupted") is True:
            self._turns.move(TurnEvent.CUT)
            self._talk.paused()
        if heard := text_field(object_field(content, "inputTranscription"), "text"):
            self._talk.transcribed(heard)
        spoken = text_field(object_field(content, "outputTranscription"), "text")
        if spoken and self._turns.state is not Turn.INTERRUPTED:  # else it comes late
            self._begin()
            self._talk.answered(spoken)
        for part in objects_field(object_field(content, "modelTurn"), "parts"):
            if field(part, "thought") is not True:
                self._begin()
                self._talk.answered(text_field(part, "text"))
        if field(content, "generationComplete") is True or said.end is End.PART:
            self._turns.move(TurnEvent.GENERATED)
        if said.end is End.PART:
            self._talk.paused()
        elif said.end is not End.NOTHING:
            self._is_usage_due = self._turns.is_open and not self._has_usage
            self._has_usage = False
            self._turns.move(TurnEvent.ENDED)
            self._talk.ended()

    def _begin(self) -> None:
        """The model says something."""
        self._is_usage_due = False
        self._turns.move(TurnEvent.SAID)
        self._talk.began()


# What each message of the client does.
_HANDLERS: Final[Mapping[str, Callable[[GeminiKeeper, Fields, Json, int], Json | None]]] = {
    "setup": GeminiKeeper._set_up,
    "contextUpdate": GeminiKeeper._update_context,
    "clientContent": GeminiKeeper._take_content,
    "toolResponse": GeminiKeeper._take_outputs,
    "realtimeInput": GeminiKeeper._take_realtime,
}


def _text_of(content: Json) -> str:
    """The text of a user's content that is nothing else; else empty."""
    parts = objects_field(content, "parts")
    if content.get("role") != "user" or not all(set(part) == {"text"} for part in parts):
        return ""
    return "\n".join(text_field(part, "text") for part in parts)
