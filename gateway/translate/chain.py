"""Two translators as one: what the outer one tells its provider, the inner one hears. Pure.

So a client that speaks OpenAI's beta talks to Gemini: ``Chained(BetaTranslator(…), ToGemini(…))``.
"""

from gateway.translate.base import Renewal, Rest, Translation, Translator
from gateway.translate.conversation import Conversation
from gateway.translate.resumption import Resumption


class Chained:
    """``outer`` has the client, ``inner`` the provider. The inner one is the outer one's provider,
    and is always there: only the inner one is told of connections that open and close.
    """

    def __init__(self, outer: Translator, inner: Translator) -> None:
        self._outer = outer
        self._inner = inner
        # What a message of the client became, while the inner one waits: the rest of one message.
        self._held: list[bytes] = []

    @property
    def conversation(self) -> Conversation:
        """The inner one's: it has the provider that may be replaced."""
        return self._inner.conversation

    @property
    def is_waiting(self) -> bool:
        """See ``Translator``."""
        return bool(self._held) or self._outer.is_waiting or self._inner.is_waiting

    @property
    def is_answering(self) -> bool:
        """See ``Translator``."""
        return self._inner.is_answering

    @property
    def resumption(self) -> Resumption | None:
        """See ``Translator``."""
        return self._inner.resumption

    def opened(self) -> Translation:
        """Both have a client now, and the outer one its provider."""
        total = Translation()
        self._take_outer(self._outer.opened(), total)
        self._take_outer(self._outer.provider_opened(), total)
        self._take_inner(self._inner.opened(), total)
        return total

    def provider_opened(self) -> Translation:
        """See ``Translator``."""
        return self._through(self._inner.provider_opened())

    def provider_closed(self) -> Translation:
        """See ``Translator``."""
        return self._through(self._inner.provider_closed())

    def moved_to(self, provider: str) -> None:
        """See ``Translator``."""
        self._inner.moved_to(provider)

    def leave(self) -> Rest:
        """See ``Translator``; what is unanswered is GA's, so it is the inner one's."""
        rest = self._inner.leave()
        closing = self._through(Translation(to_client=rest.to_client))
        return Rest(rest.announced, [*rest.unanswered, *self._held], closing.to_client)

    def take_over(self, rest: Rest) -> Translation:
        """See ``Translator``. To the outer one its provider is there at once."""
        self._outer.provider_opened()
        return self._through(self._inner.take_over(rest))

    def from_client(self, message: bytes) -> Translation:
        """See ``Translator``."""
        total = Translation()
        self._take_outer(self._outer.from_client(message), total)
        return total

    def from_provider(self, message: bytes) -> Translation:
        """See ``Translator``."""
        return self._through(self._inner.from_provider(message))

    def _through(self, made: Translation) -> Translation:
        """What the inner one made, on its way to the client; then what was held on its own way."""
        total = Translation()
        self._take_inner(made, total)
        while self._held and not self._inner.is_waiting:
            self._take_inner(self._inner.from_client(self._held.pop(0)), total)
        return total

    def _take_outer(self, made: Translation, total: Translation) -> None:
        total.to_client += made.to_client
        _note(made, total)
        for message in made.to_provider:
            if self._held or self._inner.is_waiting:
                self._held.append(message)
            else:
                self._take_inner(self._inner.from_client(message), total)

    def _take_inner(self, made: Translation, total: Translation) -> None:
        total.to_provider += made.to_provider
        total.marks += made.marks  # the outer one's provider is the inner one, which makes it up
        _note(made, total)
        for message in made.to_client:
            self._take_outer(self._outer.from_provider(message), total)


def _note(made: Translation, total: Translation) -> None:
    """Add what is for the relay: of two renewals the sooner one, of two closes the first."""
    total.ignored += made.ignored
    if made.renewal is Renewal.NOW or total.renewal is None:
        total.renewal = made.renewal or total.renewal
    total.close = total.close or made.close
