"""What the two directions of one session have in common. Pure."""

from typing import Any, Final

from msgspec import json

from gateway.translate import usage
from gateway.translate.audio import PCM_24K, Converter, Encoding, for_gemini, openai_format
from gateway.translate.base import Ids, Renewal, Translation
from gateway.translate.conversation import Conversation
from gateway.translate.marks import of_gemini
from gateway.translate.to_gemini import configuration
from gateway.translate.to_gemini.answers import Pending
from gateway.translate.to_gemini.calls import Calls
from gateway.translate.to_gemini.contents import replay
from gateway.translate.to_gemini.events import ClientEvents
from gateway.translate.to_gemini.items import Items
from gateway.translate.to_gemini.link import LINKS, Link, Step
from gateway.translate.to_gemini.reading import Json
from gateway.translate.to_gemini.response import COMPLETED, Outcome, Response
from gateway.translate.to_gemini.session_fields import Reading
from gateway.translate.to_gemini.setup import setup_of
from gateway.translate.to_gemini.speech import Speech
from gateway.translate.to_gemini.turn import Turn, TurnEvent, moved
from gateway.translate.voices import VoiceTable

# Samples of G.711 are one byte, at 8 kHz; of PCM two, at 24 kHz.
_BYTES_PER_MS: Final = {Encoding.PCM16: 48, Encoding.ULAW: 8, Encoding.ALAW: 8}


class State:
    """Of one session. ``out`` is the translation of the message that is being read."""

    def __init__(
        self, *, model: str, seed: str, voices: VoiceTable, conversation: Conversation | None
    ) -> None:
        self.model = model
        self.voices = voices
        self.ids = Ids(seed)
        self.conversation = conversation or Conversation()
        self.conversation_id = self.ids.make("conv")
        self.events = ClientEvents(self.ids)
        self.items = Items(self.conversation)
        self.speech = Speech(self.ids, self.events, self.items)
        self.pending = Pending()
        self.calls = Calls(self.conversation.items)
        self.link = Link.AWAY
        self.turn = Turn.IDLE
        self.response: Response | None = None
        self.following: Json | None = None  # what was asked for behind it; it was generated
        self.has_spoken = False
        self.is_answer_due = False  # functions gave their outputs: the model answers these
        self.is_create_due = False  # it has begun to, and the client's response.create is to come
        self.updates_due = 0  # of session.update, once the provider has the configuration
        self.is_asked_again = False  # the open response, once another provider is there
        self.is_part_due = False  # the turn ended, and the model goes on by itself
        self.usage: Json | None = None  # of the turn that has not ended
        self.usage_due_appends = 0  # a turn ended without usage, which is waited for so long
        self.handle: str | None = None  # by which the provider's session can be resumed
        self._known_by_handle: frozenset[str] = frozenset()  # the items that it knows then
        self._confirmed: frozenset[str] = frozenset()  # those that the provider knows for certain
        self.out = Translation()
        self.input_format = PCM_24K
        self.converter = Converter(PCM_24K, PCM_24K)
        self.bytes_per_ms = _BYTES_PER_MS[Encoding.PCM16]
        self._configure()

    def _configure(self) -> None:
        session = configuration.default_session(session_id=self.ids.make("sess"), model=self.model)
        given = self.conversation.session
        reading = Reading(self.model, is_lenient=True)
        if given:
            session = configuration.adopted(session, given, reading)
            self.move_link(Step.NEEDED)
        self.unadopted = reading.ignored  # of another provider's configuration; to be told once
        self._given, self._became = given, session
        self.set_session(session)

    def give_back_session(self) -> None:
        """Another provider goes on: it may have words for what Gemini had none for."""
        session = configuration.restored(self.session, self._became, self._given)
        self.conversation.session = session

    # --- the session ------------------------------------------------------------------------------

    @property
    def session(self) -> Json:
        """The configuration in effect, in GA's form."""
        return self.conversation.session

    def set_session(self, session: Json) -> None:
        """Another configuration is in effect."""
        self.conversation.session = session
        self.is_detected = configuration.turn_detection(session) is not None
        self.setup = setup_of(session, model=self.model, voices=self.voices)
        given = openai_format(session["audio"]["input"]["format"])
        if given != self.input_format:
            self.input_format = given
            self.converter = Converter(given, for_gemini(given))
            self.bytes_per_ms = _BYTES_PER_MS[given.encoding]

    @property
    def is_interruptible(self) -> bool:
        """Whether the user's speech interrupts the model."""
        found = configuration.turn_detection(self.session)
        return found is None or bool(found["interrupt_response"])

    # --- messages ---------------------------------------------------------------------------------

    def begin(self) -> Translation:
        """Begin to translate one message."""
        self.out = Translation()
        self.events.out = self.out.to_client
        return self.out

    def send(self, message: Any) -> None:
        """Tell the provider something; it has accepted the setup."""
        assert self.link is Link.READY
        self.out.to_provider.append(json.encode(message))
        self.out.marks.append(of_gemini(message))

    def move_link(self, step: Step) -> bool:
        """Whether the link is another one by this."""
        before = self.link
        self.link = LINKS[before].get(step, before)
        return self.link is not before

    def renew(self) -> None:
        """Have the provider's connection replaced: now, or once no response is open."""
        if self.response is not None:
            self.out.renewal = Renewal.BETWEEN_TURNS
        else:
            self.out.renewal = Renewal.NOW
            self.move_link(Step.REPLACED)

    # --- what outlives a connection ---------------------------------------------------------------

    def turn_answered(self) -> None:
        """The provider has ended a turn, so it has read what was sent before that."""
        self._confirmed = self.items.ids() - self.pending.item_ids() - self.calls.item_ids()

    def keep_handle(self, handle: str) -> None:
        """The provider's session can be resumed as it was when it issued the handle. What was sent
        meanwhile, after a resumption the former conversation, may not be part of that.
        """
        self.handle = handle
        self._known_by_handle = self._confirmed

    def unknown_turns(self) -> list[Json]:
        """What the provider does not know of the conversation, as contents. What was created and
        not asked for yet is not among it.
        """
        known = self.pending.item_ids() | (self._known_by_handle if self.handle else frozenset())
        return replay(self.conversation.items, known=known, audio=self.input_format)

    def disconnected(self, *, was_refused: bool) -> None:
        """The provider's connection is gone. ``was_refused``: before it accepted the setup, perhaps
        because of the handle.
        """
        if was_refused:
            self.handle = None
        self.begin_following()
        self._confirmed = self._known_by_handle if self.handle else frozenset()
        response = self.response
        # What nothing was heard of is asked for again, where the question is known.
        self.is_asked_again = (
            response is not None and response.is_unheard and not self.speech.is_untold
        )
        if response is not None and not self.is_asked_again:
            self.finish_response(None, Outcome.cancelled(None))
        self.speech.disconnected()
        is_asked_for = self.is_answer_due or bool(self.calls.item_ids())
        self.pending.is_told = self.pending.is_told or is_asked_for  # with what is told again
        self.calls.disconnected()
        self.is_answer_due = self.is_part_due = False
        self.turn, self.usage = Turn.IDLE, None

    # --- responses --------------------------------------------------------------------------------

    @property
    def is_generated(self) -> bool:
        """Whether the open response misses nothing but the end of the turn."""
        response = self.response
        return response is not None and response.outcome is None and response.is_generated

    @property
    def is_usage_due(self) -> bool:
        """Whether the open response waits for nothing but its usage."""
        return self.usage_due_appends > 0

    def take_usage(self) -> Json | None:
        """The usage that was reported for the turn that ends."""
        found, self.usage = self.usage, None
        return found

    def move_turn(self, event: TurnEvent) -> None:
        """The provider's turn is somewhere else now."""
        self.turn = moved(self.turn, event)

    def create_response(self, request: Json | None) -> Response:
        """A response is open from now on. ``request`` is how the client asked for it, None where it
        did not.
        """
        assert self.response is None
        self.is_create_due = self.is_answer_due and request is None
        self.is_part_due = False
        self.response = Response(
            self.session,
            conversation_id=self.conversation_id,
            request=request or {},
            ids=self.ids,
            events=self.events,
            items=self.items,
        )
        self.is_answer_due = False
        return self.response

    def tell_awaited_outputs(self) -> None:
        """The outputs of functions, where the client has asked for the answer before the last."""
        response = self.response
        if response is not None and response.is_unheard and self.calls.is_complete:
            self.send(self.calls.take())

    @property
    def is_model_busy(self) -> bool:
        """Whether the model speaks, or is about to, or waits for functions: an activity would cut
        that off, which a client does not ask for that only sends audio.
        """
        response = self.response
        if response is not None and response.outcome is None:
            return not response.is_generated
        return self.calls.are_awaited

    def follow(self, request: Json) -> None:
        """The client asks for another response while the open one is generated: that one is done
        with the end of its turn, which has its usage and is on its way, and the other created then.
        """
        assert self.response is not None
        self.response.end(COMPLETED)
        self.following = request

    def begin_following(self) -> None:
        """The response that was asked for behind the open one, if there is one, is open now."""
        if self.following is not None:
            self.finish_response(self.take_usage())

    def finish_response(
        self,
        usage_metadata: Json | None,
        outcome: Outcome | None = None,
        *,
        is_turn_over: bool = True,
    ) -> None:
        """The open response is over, with this usage."""
        response = self.response
        assert response is not None
        if outcome is not None:
            response.end(outcome)
        self.has_spoken = self.has_spoken or response.has_spoken
        following, self.following = self.following, None
        if is_turn_over and following is None:
            self.speech.turn_ended()
        response.done(usage.to_openai(usage_metadata) if usage_metadata else None)
        self.response = None
        self.usage_due_appends = 0
        if following is not None:
            self.create_response(following)
