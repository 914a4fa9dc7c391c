"""A client that speaks Gemini Live, a provider of the OpenAI family: the ``Translator``. Pure.

For OpenAI, Azure OpenAI (its GA path) and xAI. ``client_side`` and ``provider_side`` serve the
messages of either peer on one ``State``; what the relay has to know of it is kept here.
"""

from gateway.translate.base import Rest, Translation
from gateway.translate.conversation import Conversation
from gateway.translate.resumption import Resumption
from gateway.translate.to_openai.client_fields import ClientFaultError
from gateway.translate.to_openai.client_side import ClientSide
from gateway.translate.to_openai.provider_side import ProviderSide
from gateway.translate.to_openai.replayed import Replayed
from gateway.translate.to_openai.state import State
from gateway.translate.voices import VoiceTable


class OpenAITranslator:
    """Both directions of one session; see ``Translator`` for what the relay calls.

    ``provider``: ``openai``, ``azure`` or ``xai``. ``model`` is the provider's, which its address
    names; no message does. ``seed``: see ``Ids``; one that no translator of this conversation had
    before. ``conversation`` continues one: where its session is configured, the client was set up
    before, and its setup is not expected again.
    """

    def __init__(
        self,
        *,
        provider: str,
        model: str,
        seed: str,
        voices: VoiceTable,
        conversation: Conversation | None = None,
    ) -> None:
        self.model = model
        self.conversation = Conversation() if conversation is None else conversation
        self._state = State(
            provider=provider, seed=seed, voices=voices, conversation=self.conversation
        )
        self._client = ClientSide(self._state)
        self._provider = ProviderSide(self._state)
        self._is_closed = False

    @property
    def is_waiting(self) -> bool:
        """See ``Translator``: from the client's setup to the provider's ``session.updated``."""
        return self._state.is_waiting

    @property
    def is_answering(self) -> bool:
        """See ``Translator``: a turn begins when the user is heard, and also waits for the answers
        of the functions it called.
        """
        turn = self._state.turn
        return turn.is_busy or turn.is_awaited or self._state.calls.are_due

    @property
    def resumption(self) -> Resumption:
        """See ``Translator``."""
        return self._state.resumption

    def moved_to(self, provider: str) -> None:
        """The next connection is one to ``provider``, with its voice and its transcriber. Called
        while none is connected.
        """
        self._state.moved_to(provider)

    def opened(self) -> Translation:
        """Nothing: a Gemini client speaks first."""
        return Translation()

    def provider_opened(self) -> Translation:
        """The session and what was said so far, if the client's setup is known."""
        out, state = Translation(), self._state
        state.is_connected = True
        state.resumption.connected()
        state.replayed = Replayed()
        if state.is_set_up and not self._is_closed:
            state.configure(out)
        return self._told(out)

    def provider_closed(self) -> Translation:
        """An open turn is interrupted and ends, so that the client can go on."""
        out = Translation()
        state = self._state
        state.is_connected = False
        state.is_waiting = state.is_set_up
        state.resumption.closed()
        state.turn.closed(out, is_known=not state.record.has_unheard)
        state.record.abandon()
        state.hearing.reset()
        return self._told(Translation() if self._is_closed else out)

    def leave(self) -> Rest:
        """What the client said is in the conversation, or waits in its connection."""
        return Rest(gemini=self._client.left())

    def take_over(self, rest: Rest) -> Translation:
        """See ``Translator``: a setup that cannot be read closes the session."""
        out = Translation()
        if rest.gemini is not None:
            try:
                self._client.go_on(rest.gemini)
            except ClientFaultError as fault:
                out.close = fault.close
        return self._told(out)

    def from_client(self, message: bytes) -> Translation:
        """A fault closes the session with 1007, as Gemini does it."""
        out = Translation()
        if not self._is_closed:
            try:
                self._client.take(message, out)
            except ClientFaultError as fault:
                out = Translation(ignored=out.ignored, close=fault.close)
        return self._told(out)

    def from_provider(self, message: bytes) -> Translation:
        """What no Gemini client knows is named, and not passed on."""
        out = Translation()
        if not self._is_closed:
            self._provider.take(message, out)
        return self._told(out)

    def _told(self, out: Translation) -> Translation:
        self._is_closed = self._is_closed or out.close is not None
        return out
