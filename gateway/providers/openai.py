"""The OpenAI family: OpenAI Realtime and GPT-Live, Azure OpenAI, xAI. Pure.

They share events, errors and the meter, and differ in their addresses and the header for the key.
Sources: the ``openai`` SDK's types and clients; xAI by recordings.
"""

from collections.abc import Mapping
from typing import Any

from gateway.metering.base import Meter
from gateway.metering.openai.gpt_live import LiveMeter
from gateway.metering.openai.meter import OpenAIMeter
from gateway.metering.openai.observer import LiveObserverMeter
from gateway.metering.openai.translation import TranslationMeter
from gateway.providers.base import (
    AZURE_GA,
    REALTIME,
    TRANSLATIONS,
    Target,
    configuration_event,
    joined,
)
from gateway.providers.first_message import PLAIN_NAME, FirstMessageFormat
from gateway.providers.openai_calls import OpenAICalls


class OpenAIFamily:
    """What the adapters of the family share. ``base_url`` is ``ws(s)://HOST/PREFIX``; without a
    ``name`` it is the first of its kind.
    """

    kind = "openai"
    ga_paths: tuple[str, ...] = (REALTIME,)
    bills_seconds = False
    # On paths that begin so transcriptions have a price of their own, also without a report.
    bills_transcripts = "/"
    calls: OpenAICalls | None = None
    # The messages are session.start (GPT-Live) and session.update. The paths lead to the models
    # that GPT-Live delegates to.
    first_message = FirstMessageFormat(
        "session", PLAIN_NAME, (("delegation", "responses"), ("delegation", "decisions"))
    )

    def __init__(self, *, base_url: str, api_key: str, name: str = "") -> None:
        self.name = name or self.kind
        self._base_url = base_url
        self._api_key = api_key

    def url(self, target: Target) -> str:
        """See ``Provider``."""
        return joined(self._base_url, target.path, target.query)

    def headers(self, forwarded: Mapping[str, str]) -> dict[str, str]:
        """See ``Provider``."""
        return {**self._key_header(), **forwarded}

    def meter(self, target: Target) -> Meter:
        """See ``Provider``."""
        if target.is_live:
            return self._live_meter(target)
        assert target.model is not None, "only a session of GPT-Live names it later"
        if target.path == TRANSLATIONS:
            return TranslationMeter(model=target.model)
        if self.calls is not None and self.calls.has(target):
            return self.calls.observer(target.model)
        return OpenAIMeter(
            model=target.model,
            bills_seconds=self.bills_seconds,
            bills_transcripts=target.path.startswith(self.bills_transcripts),
            resumes=target.conversation_id,
            is_shared=bool(target.handles),
        )

    def _live_meter(self, target: Target) -> Meter:
        """A socket that attaches only observes: the session's own connection is charged. A fork is
        a session of its own.
        """
        match target.live_session:
            case (_, "attach"):
                return LiveObserverMeter()
            case (_, "fork"):
                return LiveMeter(is_fork=True)
        return LiveMeter(model=target.model or "")

    def configuring(self, target: Target, configuration: Mapping[str, Any]) -> bytes | None:
        """See ``Provider``: a ``session.update``. None on paths with the beta's names, which take
        other objects; for a call, which was configured when it was made; and for GPT-Live, whose
        client sends the first message. A translation's update has no ``type`` (SDK
        ``RealtimeTranslationSessionUpdateRequest``).
        """
        begins = "realtime" if target.model else None
        if target.path == TRANSLATIONS:
            begins = "translation"
        elif target.is_transcription:
            begins = "transcription"
        if target.path not in self.ga_paths or configuration["type"] != begins:
            return None
        session = dict(configuration)
        if begins == "translation":
            del session["type"]
        if not session:
            return b""
        return configuration_event(session)

    def _key_header(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self._api_key}"}


class OpenAI(OpenAIFamily):
    """OpenAI itself: ``base_url`` ends in ``/v1``."""

    def __init__(self, *, base_url: str, api_key: str, name: str = "") -> None:
        super().__init__(base_url=base_url, api_key=api_key, name=name)
        self.calls = OpenAICalls(base_url, REALTIME)

    ga_paths = (REALTIME, TRANSLATIONS)


class XAI(OpenAIFamily):
    """xAI Grok voice: ``base_url`` ends in ``/v1``."""

    kind = "xai"
    bills_seconds = True


class Azure(OpenAIFamily):
    """Azure OpenAI: ``base_url`` is the resource's endpoint.

    Voice Live and its agents charge text and audio by the token, and this price includes what
    Azure Speech transcribes (learn.microsoft.com, Voice Live overview, "Pricing").
    """

    kind = "azure"
    ga_paths = (AZURE_GA,)
    bills_transcripts = "/openai/"

    def __init__(self, *, base_url: str, api_key: str, name: str = "") -> None:
        super().__init__(base_url=base_url, api_key=api_key, name=name)
        self.calls = OpenAICalls(base_url, AZURE_GA)

    def _key_header(self) -> dict[str, str]:
        return {"api-key": self._api_key}
