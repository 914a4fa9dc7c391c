"""The adapters of the OpenAI family: how a key is shown, who meters, how a session begins."""

import json
from typing import Any

import pytest
from websockets.datastructures import Headers

from gateway.metering.openai.gpt_live import LiveMeter
from gateway.metering.openai.meter import OpenAIMeter
from gateway.metering.openai.observer import LiveObserverMeter, ObserverMeter
from gateway.metering.openai.translation import TranslationMeter
from gateway.providers.base import CONFIGURATION_ID, Target, forwarded
from gateway.providers.openai import XAI, Azure, OpenAI, OpenAIFamily

FAMILY = {
    "openai": OpenAI(base_url="wss://o/v1", api_key="sk-ours"),
    "azure": Azure(base_url="wss://a", api_key="sk-ours"),
    "xai": XAI(base_url="wss://x/v1", api_key="sk-ours"),
}


def target(name: str, path: str = "/realtime", query: str = "", model: str | None = "m") -> Target:
    """A request that goes to one of the family."""
    return Target(name, model, "sess_1", path, query)


KEYS = [
    ("openai", {"Authorization": "Bearer sk-ours"}),
    ("azure", {"api-key": "sk-ours"}),
    ("xai", {"Authorization": "Bearer sk-ours"}),
]


@pytest.mark.parametrize(("name", "shown"), KEYS)
def test_our_key_is_shown_and_never_the_clients(name: str, shown: dict[str, str]) -> None:
    """Nor its organization, its project, or the header of the beta."""
    client_headers = Headers(
        {"Authorization": "Bearer rslive_v1_x", "api-key": "rslive_v1_x", "Cookie": "a=b",
         "OpenAI-Beta": "realtime=v1", "OpenAI-Organization": "org", "OpenAI-Project": "proj"}
    )  # fmt: skip
    assert FAMILY[name].headers(forwarded(client_headers)) == shown


SAFETY = [
    # what a client says of its user; what goes on
    (["user-1"], "user-1"),
    (["user-1", "user-2"], "user-1"),
    (["usér"], None),
    ([], None),
]


@pytest.mark.parametrize(("said", "expected"), SAFETY)
def test_who_the_user_is_goes_on_to_openai(said: list[str], expected: str | None) -> None:
    """Once, and in ASCII: nothing else may stand in a header."""
    client_headers = Headers([("openai-safety-identifier", value) for value in said])
    headers = FAMILY["openai"].headers(forwarded(client_headers))
    assert headers.get("OpenAI-Safety-Identifier") == expected


def test_the_url_is_that_of_the_request_at_the_provider() -> None:
    """The query goes on as it was spelled."""
    asked = target("azure", "/openai/v1/realtime", "model=my%2Ddep")
    assert FAMILY["azure"].url(asked) == "wss://a/openai/v1/realtime?model=my%2Ddep"


METERS = [
    # provider, path, query; what meters the session
    ("openai", "/realtime", "model=m", OpenAIMeter),
    ("azure", "/openai/realtime", "deployment=m", OpenAIMeter),
    ("xai", "/realtime", "model=m", OpenAIMeter),
    ("openai", "/realtime/translations", "model=m", TranslationMeter),
    ("openai", "/realtime", "call_id=rtc_1", ObserverMeter),
    ("azure", "/openai/v1/realtime", "call_id=rtc_1", ObserverMeter),
    ("azure", "/openai/realtime", "call_id=rtc_1", OpenAIMeter),  # its calls are at another path
    ("xai", "/realtime", "call_id=rtc_1", OpenAIMeter),  # takes no calls
    ("openai", "/live", "model=m", LiveMeter),
    ("openai", "/live/sessions", "", LiveMeter),
    ("openai", "/live/sessions/live_1/fork", "", LiveMeter),
    ("openai", "/live/sessions/live_1/attach", "", LiveObserverMeter),
]


@pytest.mark.parametrize(("name", "path", "query", "meter"), METERS)
def test_each_kind_of_session_has_its_meter(
    name: str, path: str, query: str, meter: type[OpenAIMeter]
) -> None:
    """Who joins what another connection is charged for charges nothing."""
    assert type(FAMILY[name].meter(target(name, path, query))) is meter


SHARED = [
    ("xai", "model=m", False),
    ("xai", "conversation_id=conv_1", True),
    ("openai", "model=m", False),
]


@pytest.mark.parametrize(("name", "query", "is_shared"), SHARED)
def test_what_another_connection_may_report_is_charged_once(
    name: str, query: str, is_shared: bool
) -> None:
    """By the provider's ids, which are the same on both."""
    assert FAMILY[name].meter(target(name, query=query)).is_shared is is_shared


REALTIME: dict[str, Any] = {"type": "realtime", "instructions": "Be kind."}
TRANSCRIPTION: dict[str, Any] = {"type": "transcription", "audio": {}}
TRANSLATION: dict[str, Any] = {"type": "translation", "audio": {"output": {"language": "fr"}}}
INTENT = "intent=transcription"
CONFIGURED: list[tuple[str, str, str, str | None, dict[str, Any], dict[str, Any] | None]] = [
    # provider, path, query, model, the key's configuration; the session that is sent, None: nothing
    ("openai", "/realtime", "model=m", "m", REALTIME, REALTIME),
    ("xai", "/realtime", "model=m", "m", REALTIME, REALTIME),
    ("azure", "/openai/v1/realtime", "model=m", "m", REALTIME, REALTIME),
    ("azure", "/openai/realtime", "deployment=m", "m", REALTIME, None),  # the beta's names
    ("openai", "/realtime", "call_id=rtc_1", "", REALTIME, None),  # configured when it was made
    ("openai", "/live", "model=m", "m", REALTIME, None),
    ("openai", "/realtime", INTENT, "", TRANSCRIPTION, TRANSCRIPTION),
    ("openai", "/realtime", INTENT, "", REALTIME, None),
    ("openai", "/realtime", "model=m", "m", TRANSCRIPTION, None),
    ("openai", "/realtime/translations", "model=m", "m", TRANSLATION,
     {"audio": TRANSLATION["audio"]}),
    ("openai", "/realtime/translations", "model=m", "m", REALTIME, None),
    ("xai", "/realtime/translations", "model=m", "m", TRANSLATION, None),
]  # fmt: skip


@pytest.mark.parametrize(("name", "path", "query", "model", "configuration", "sent"), CONFIGURED)
def test_a_session_begins_as_its_key_says(
    name: str,
    path: str,
    query: str,
    model: str | None,
    configuration: dict[str, Any],
    sent: dict[str, Any] | None,
) -> None:
    """Where the kind of session is that of the configuration, and nowhere else."""
    before = dict(configuration)
    found = FAMILY[name].configuring(target(name, path, query, model), configuration)
    expected = {"type": "session.update", "event_id": CONFIGURATION_ID, "session": sent}
    assert (None if found is None else json.loads(found)) == (None if sent is None else expected)
    assert configuration == before, "the key's configuration is used again"


def test_a_translation_without_a_wish_begins_without_a_word() -> None:
    """Its type is what the path says already."""
    asked = target("openai", "/realtime/translations", "model=m")
    assert FAMILY["openai"].configuring(asked, {"type": "translation"}) == b""


def test_the_family_itself_takes_no_calls() -> None:
    """A member that takes them says where."""
    assert OpenAIFamily(base_url="wss://h", api_key="k").calls is None
    assert FAMILY["xai"].calls is None
