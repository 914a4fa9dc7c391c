"""A client that speaks OpenAI's beta, and a provider side that speaks GA. Pure.

OpenAI switched the beta off in May 2026; clients that speak it are still there. The two differ in
the names of a dozen events (``beta_events``) and in the form of sessions, responses and items
(``beta_fields``): a message becomes one message or none, and ids are untouched. Audio, which is
nearly all of the traffic, is neither parsed nor written again.

The provider side may be a provider, or another translator (``chain``): so the client can talk to
Gemini. A message that is no event is passed on as it is; the other side says what is wrong with it.
"""

from typing import Any, Final

from msgspec import json

from gateway.translate.base import Rest, Translation
from gateway.translate.beta_events import beta_event, ga_event
from gateway.translate.conversation import Conversation
from gateway.translate.kept.keeper import Keeper
from gateway.translate.kept.messages import event_of, is_append
from gateway.translate.marks import of_openai
from gateway.translate.resumption import Resumption
from gateway.translate.voices import BUILT_IN, VoiceTable

Json = dict[str, Any]

# Providers write compact JSON that begins with the type, so for audio a name is exchanged.
_AUDIO: Final = b'{"type":"response.output_audio.delta",'
_BETA_AUDIO: Final = b'{"type":"response.audio.delta",'


class BetaTranslator:
    """Both directions of one session. ``seed``: see ``Ids``.

    ``conversation`` continues one: the provider is told what is in it. The client has heard
    ``session.created`` then, unless it is a new one: where ``opened`` is called.
    """

    def __init__(
        self,
        *,
        seed: str,
        voices: VoiceTable = BUILT_IN,
        conversation: Conversation | None = None,
        home: str = "",
    ) -> None:
        self._keeper = Keeper(seed=seed, voices=voices, conversation=conversation, home=home)

    @property
    def conversation(self) -> Conversation:
        """See ``Translator``."""
        return self._keeper.conversation

    @property
    def is_waiting(self) -> bool:
        """See ``Translator``: where xAI goes on with a conversation, until it has replayed it."""
        return self._keeper.is_waiting

    @property
    def resumption(self) -> Resumption | None:
        """See ``Translator``."""
        return self._keeper.resumption

    @property
    def is_answering(self) -> bool:
        """See ``Translator``."""
        return self._keeper.is_answering

    def opened(self) -> Translation:
        """The provider's own ``session.created`` is the client's first message."""
        self._keeper.opened()
        return Translation()

    def provider_opened(self) -> Translation:
        """In place of another provider this one is told what was configured and said."""
        told = self._keeper.provider_opened()
        return Translation(
            to_provider=[x if isinstance(x, bytes) else json.encode(x) for x in told]
        )

    def provider_closed(self) -> Translation:
        """The responses that it left open are cancelled."""
        made = [beta_event(event) for event in self._keeper.provider_closed()]
        return Translation(to_client=[json.encode(event) for event in made if event is not None])

    def moved_to(self, provider: str) -> None:
        """See ``Translator``."""
        self._keeper.moved_to(provider)

    def leave(self) -> Rest:
        """See ``Translator``."""
        return self._keeper.leave()

    def take_over(self, rest: Rest) -> Translation:
        """See ``Translator``."""
        self._keeper.take_over(rest)
        return Translation()

    def from_client(self, message: bytes) -> Translation:
        """See ``Translator``: GA's form of one event of the beta."""
        if is_append(message):
            self._keeper.client_spoke()
            return Translation(to_provider=[message])
        event = event_of(message)
        if event is None:
            return Translation(to_provider=[message])
        made, dropped = ga_event(event)
        raw = message if made is event else json.encode(made)
        answer = self._keeper.client_said(made, raw)
        if answer is not None:
            return Translation(to_client=[json.encode(beta_event(answer))], ignored=dropped)
        return Translation(to_provider=[raw], ignored=dropped, marks=[of_openai(made)])

    def from_provider(self, message: bytes) -> Translation:
        """See ``Translator``: the beta's form of one event of GA."""
        if message.startswith(_AUDIO):
            self._keeper.heard()
            return Translation(to_client=[_BETA_AUDIO + message[len(_AUDIO) :]])
        event = event_of(message)
        if event is None:
            return Translation(to_client=[message])
        said = self._keeper.provider_said(event)
        made = beta_event(said) if said is not None else None
        told = [] if made is None else [message if made is event else json.encode(made)]
        return Translation(told, [*self._keeper.take_due()], marks=[of_openai(event)])
