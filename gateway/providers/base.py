"""What a provider's adapter says: where it is, how it is addressed, what it bills. Pure.

A provider is a row in ``gateway.providers.catalog`` and, where it differs, a class.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from typing import Any, Final, Protocol
from urllib.parse import parse_qsl, unquote

from websockets.datastructures import Headers

from gateway.handles.handle import Handle, HandleKind
from gateway.metering.base import CallMeter, Meter
from gateway.providers.first_message import FirstMessageFormat

# Paths that adapters and routes both know. Any prefix may stand before them.
REALTIME: Final = "/realtime"
TRANSLATIONS: Final = "/realtime/translations"
# GPT-Live: a session whose first message names its model, and one whose URL does. Another socket
# may hear a session (``attach``), or begin one that goes on from it (``fork``).
LIVE: Final = "/live/sessions"
LIVE_WITH_MODEL: Final = "/live"
ATTACH: Final = "attach"
_LIVE_SESSION: Final = re.compile(rf"{LIVE}/([^/]+)/({ATTACH}|fork)")
AZURE_GA: Final = "/openai/v1/realtime"
# Parameters of a query that name what began on another connection. A conversation is xAI's.
CONVERSATION_PARAMETER: Final = "conversation_id"
HANDLE_PARAMETERS: Final = {
    "call_id": HandleKind.CALL,
    CONVERSATION_PARAMETER: HandleKind.CONVERSATION,
}
# Headers of the client that OpenAI should see. Never OpenAI-Beta (since May 2026 it closes the
# connection), and never the client's organization or project: the provider key is ours.
FORWARDED_HEADERS: Final = ("OpenAI-Safety-Identifier",)
# The event_id of a configuration that is ours (``Provider.configuring``), not the client's.
CONFIGURATION_ID: Final = "event_rts_configuration"


class Dialect(Enum):
    """A protocol that a client speaks, or a provider. Where they differ a session is translated.

    GPT-Live and translations are protocols of their own, which nothing translates: they count as
    OPENAI here.
    """

    OPENAI = "openai"  # the GA interface; xAI's, too
    OPENAI_BETA = "openai-beta"  # what OpenAI switched off in May 2026; Azure still speaks it
    GEMINI = "gemini"


@dataclass(frozen=True, slots=True)
class Target:
    """What a client's request asks for.

    ``path`` is the provider's own, and ``query`` is sent to the provider as it is. ``model`` is
    what the client asked for: empty where it asked for something else (a call), None where its
    first message will say (Gemini's setup, GPT-Live's ``session.start``). ``is_anonymous``: the
    client gave its session no name, so ``session_id`` was made here.

    The client speaks ``dialect``, and the provider ``provider_dialect`` on this path.
    ``is_undecided``: the provider may be another one by the model that the first message names;
    ``is_held``: the key may not have every model that it may name. ``is_chosen``: the client named
    the provider, or a session there that it resumes, so no other serves it. ``gemini_path`` is the
    one that a client of Gemini's asked for, which has a version, where it is served elsewhere.
    There may be several providers of a kind: what depends on the protocol asks the kind of
    ``provider`` (``shared.provider_kinds``).
    """

    provider: str
    model: str | None
    session_id: str
    path: str
    query: str
    is_anonymous: bool = False
    dialect: Dialect = Dialect.OPENAI
    provider_dialect: Dialect = Dialect.OPENAI
    is_undecided: bool = False
    is_held: bool = False
    is_chosen: bool = False
    gemini_path: str = ""

    @property
    def is_translated(self) -> bool:
        """Whether client and provider speak different protocols."""
        return self.dialect is not self.provider_dialect

    @property
    def is_transcription(self) -> bool:
        """Whether the session only transcribes, so that it has a transcriber but no model."""
        return self._named("intent") == "transcription"

    @property
    def call_id(self) -> str:
        """The call whose sideband this connection is; empty where it is none."""
        return self._named("call_id")

    @property
    def conversation_id(self) -> str:
        """The conversation with which this connection goes on; empty where it names none."""
        return self._named(CONVERSATION_PARAMETER)

    @property
    def is_live(self) -> bool:
        """Whether it is a session of GPT-Live, or attaches to one, or forks one."""
        return f"{self.path}/".startswith(f"{LIVE_WITH_MODEL}/")

    @property
    def waits(self) -> bool:
        """Whether nobody is dialled before the client's first message."""
        return self.is_undecided or self.is_held

    @property
    def opening(self) -> str:
        """What a first message that names a model is called."""
        return "setup" if self.dialect is Dialect.GEMINI else "session.start"

    @property
    def live_session(self) -> tuple[str, str] | None:
        """(id, ``attach`` or ``fork``) of a session of GPT-Live that exists; None where the request
        names none.
        """
        found = _LIVE_SESSION.fullmatch(self.path)
        return None if found is None else (unquote(found[1]), found[2])

    @property
    def handles(self) -> Sequence[Handle]:
        """The handles that the request names. They may be another account's."""
        values = parameters_of(self.query)
        found = [
            Handle(self.provider, kind, values[name])
            for name, kind in HANDLE_PARAMETERS.items()
            if name in values
        ]
        if self.live_session is not None:
            found.append(Handle(self.provider, HandleKind.LIVE, self.live_session[0]))
        return found

    def _named(self, name: str) -> str:
        return parameters_of(self.query).get(name, "")


@lru_cache(maxsize=64)  # the same few, again and again; a query for a provider holds no key
def parameters_of(query: str) -> Mapping[str, str]:
    """The decoded parameters of a ``Target.query``, those without a value left out."""
    return dict(parse_qsl(query))


class ProviderCalls(Protocol):
    """Where a provider takes calls over WebRTC and SIP, and how they are metered."""

    path: str
    """The path of its sessions. That of its calls is ``{path}/calls``."""

    def has(self, target: Target) -> bool:
        """Whether ``target`` is a sideband of one of its calls."""

    def url(self, *segments: str, query: str = "") -> str:
        """Where plain HTTP requests go. ``segments`` are none, or a call's id and a verb."""

    def meter(self, model: str) -> CallMeter:
        """The meter of one call."""


class Provider(Protocol):
    """An adapter. It keeps no state of a session; its ``meter`` does."""

    @property
    def name(self) -> str:
        """What the provider is called in usage rows, in ``?provider=`` and in the model table; its
        kind is known by it (``shared.provider_kinds``).
        """

    @property
    def first_message(self) -> FirstMessageFormat:
        """How a client's first message names the model, where the request names none."""

    @property
    def calls(self) -> ProviderCalls | None:
        """Its calls over WebRTC and SIP; None where it takes none."""

    def url(self, target: Target) -> str:
        """Where to connect."""

    def headers(self, forwarded: Mapping[str, str]) -> dict[str, str]:
        """The request headers for the provider: its key, never the client's, and what ``forwarded``
        found.
        """

    def meter(self, target: Target) -> Meter:
        """A meter for one session, with the model in the provider's words."""

    def configuring(self, target: Target, configuration: Mapping[str, Any]) -> bytes | None:
        """The message that configures a session on ``target`` before the client does.

        ``configuration`` is a session object in OpenAI's GA form with its ``type``. None where a
        session on ``target`` cannot begin with it; empty where it asks for nothing, so that no
        message is needed. An error that answers the message names ``CONFIGURATION_ID``.
        """


def forwarded(client_headers: Headers) -> dict[str, str]:
    """The headers of a client that its provider may see."""
    return {
        name: value
        for name in FORWARDED_HEADERS
        for value in client_headers.get_all(name)[:1]  # a repeated header is no reason to fail
        if value.isascii()
    }


def configuration_event(configuration: Mapping[str, Any]) -> bytes:
    """A ``session.update`` of ours with a session object in OpenAI's form."""
    event = {"type": "session.update", "event_id": CONFIGURATION_ID, "session": configuration}
    return json.dumps(event, separators=(",", ":")).encode()


def joined(base_url: str, path: str, query: str) -> str:
    """A URL. ``base_url`` is ``ws(s)://HOST/PREFIX`` without a slash at its end."""
    return f"{base_url}{path}" + (f"?{query}" if query else "")
