"""What both directions of a session know. Pure."""

from typing import Any

from gateway.translate.base import Ids, Translation
from gateway.translate.conversation import Conversation, Item
from gateway.translate.resumption import Resumption
from gateway.translate.to_openai import provider_messages
from gateway.translate.to_openai.calls import Calls
from gateway.translate.to_openai.content import Writer
from gateway.translate.to_openai.heard_words import HeardWords
from gateway.translate.to_openai.hearing import Hearing
from gateway.translate.to_openai.record import Record
from gateway.translate.to_openai.replay import items_to_create
from gateway.translate.to_openai.replayed import Replayed, is_answer
from gateway.translate.to_openai.settings import Settings, adopted, for_provider, settings_of
from gateway.translate.to_openai.turn import Turn
from gateway.translate.voices import VoiceTable
from shared.provider_kinds import kind_of


class State:
    """One session.

    ``is_connected``: a provider is there. ``is_waiting``: it has not accepted the session yet.
    ``is_told``: the client knows that its setup was accepted. ``is_active``: the client has begun
    an activity, and not ended it. ``setup`` is the client's.
    """

    __slots__ = (
        "calls", "conversation", "hearing", "ids", "is_active", "is_connected", "is_told",
        "is_waiting", "provider", "record", "replayed", "resumption", "settings", "setup", "turn",
        "voices", "words", "writer",
    )  # fmt: skip

    def __init__(
        self, *, provider: str, seed: str, voices: VoiceTable, conversation: Conversation
    ) -> None:
        self.provider = provider
        self.voices = voices
        self.conversation = conversation
        self.settings = Settings()
        self.setup: dict[str, Any] = {}
        if conversation.session:
            conversation.session = adopted(conversation.session, provider, voices)
            self.settings = settings_of(conversation.session)
        self.ids = Ids(seed)
        self.calls = Calls()
        self.turn = Turn(self.ids, self.calls)
        self.hearing = Hearing()
        self.record = Record(conversation)
        self.words = HeardWords()
        self.writer = Writer(self.ids, self.calls)
        self.resumption = Resumption()
        self.replayed = Replayed()
        self.is_connected = False
        self.is_told = bool(conversation.session)
        self.is_waiting = self.is_told
        self.is_active = False

    @property
    def is_set_up(self) -> bool:
        """Whether the client's setup is known."""
        return bool(self.conversation.session)

    def moved_to(self, provider: str) -> None:
        """Another provider is told the session, which so far is one of the provider before."""
        self.provider = provider
        self.resumption.refused()
        if self.is_set_up:
            session = self.conversation.session
            self.conversation.session = adopted(session, provider, self.voices)

    def configure(self, out: Translation) -> None:
        """Tell the provider the session, and what was said in it before."""
        self.is_waiting = True
        if not self.is_connected:
            return
        session = for_provider(self.conversation.session, self.provider)
        if self._is_xai:  # the next connection can go on with the conversation
            session["resumption"] = {"enabled": True}
        out.to_provider.append(provider_messages.update(session, provider_messages.SETUP_ID))
        if not self.resumption.is_waiting:
            self._tell_items(out)

    def accepted(self, out: Translation) -> None:
        """The provider has accepted the session, and replayed what it had of it."""
        self.is_waiting = False
        self.resumption.enabled({"resumption": {"enabled": self._is_xai}})
        if not self.resumption.is_waiting:
            return
        self.resumption.accepted()
        if not self.resumption.is_resumed:
            self._tell_items(out)
            return
        out.to_provider += map(provider_messages.delete_item, self.replayed.unheard())
        for missing in self.replayed.missing(self.conversation.items):
            told = provider_messages.create_item(missing.item, missing.previous_id)
            out.to_provider.append(told)
        self.turn.resume(out)

    def was_replayed(self, item_id: str, item: Item) -> None:
        """The provider had an item before this connection."""
        kept = self.conversation.items
        name = item_id if self.conversation.has(item_id) else self.replayed.alike(item, kept)
        if name:
            self.replayed.is_known(name, item_id)
        elif is_answer(item):
            self.replayed.is_unheard(item_id)

    @property
    def _is_xai(self) -> bool:
        return kind_of(self.provider) == "xai"

    def _tell_items(self, out: Translation) -> None:
        items = items_to_create(self.conversation.items)
        out.to_provider += map(provider_messages.create_item, items)
        self.turn.resume(out)

    def say(self, item: Item, out: Translation, *, is_kept: bool = True) -> None:
        """Give the provider an item of the client."""
        out.to_provider.append(provider_messages.create_item(item))
        if is_kept:
            self.record.add(item)

    def append(self, audio: str, out: Translation) -> None:
        """Give the provider audio of the user, in base64; "" is none."""
        if audio:
            out.to_provider.append(provider_messages.append(audio))
