"""Any path and any query: to whom a session goes, and what goes there, is what was looked at.

The paths and the parameters are written down here once more, as a provider's reader sees them:
decoded, and in either case.
"""

import itertools
import re
from urllib.parse import unquote, unquote_plus

from hypothesis import event, example, given, settings
from hypothesis import strategies as st
from websockets.datastructures import Headers

from gateway.door.allowed_models import ModelRoute, ModelTable
from gateway.door.routing import route, with_provider_model
from gateway.http.refusals import Refusal
from gateway.providers.base import Dialect, Target
from gateway.providers.catalog import PROVIDER_NAMES

TABLE = ModelTable(
    {"acme": ModelRoute("xai", "grok voice/1"), "ours": ModelRoute("azure", "dep;1&model=x")}
)
SECRET = "rslive_v1_secret"
FAMILY = ("openai", "azure", "xai")
BIDI = "google.ai.generativelanguage.v1beta.GenerativeService.BidiGenerateContent"
# Whose the whole path is, in lower case; what no prefix may hold.
OWN = "openai|voice-live|voice-agent|agents|endpoint|protocols|voice|realtime|live|ws|xai"
PREFIX = rf"(?:/(?:s|provider)/[^/]+|/(?!(?:{OWN})(?:/|$))[^/]+)*"
FORMS = [
    ("gemini", rf"/ws/{re.escape(BIDI.lower())}(?:constrained)?"),
    ("azure", "/agents/[^/]+/endpoint/protocols/voice/live/sessions"),
    ("azure", "/openai/v1/realtime|/openai/realtime|/voice-live/realtime|/voice-agent/realtime"),
    ("openai", "/live/sessions|/live|/realtime/translations|/realtime"),
    ("xai", "/xai/realtime|/xai/v1/realtime"),
]
# What a provider is asked for, where it is not the path that the client used.
OWN_PATHS = {
    "openai": r"/realtime|/realtime/translations|/live/sessions|/live",
    "azure": FORMS[1][1] + "|" + FORMS[2][1],
    "xai": "/realtime",
    "gemini": rf"/ws/{re.escape(BIDI)}",
}
OURS = (
    "provider",
    "rs_core",
    "key",
    "access_token",
    "api-key",
    "rs_key",
    "rs_sessid",
    "rs_events",
    "rs_x",
)
SUBJECTS = ("model", "deployment", "intent", "call_id")

SEGMENTS = st.sampled_from(
    [
        *OWN.split("|"), "v1", "sessions", "translations", "helper", "s", "t", "acme", "calls",
        BIDI, BIDI + "Constrained", "realtimes", "rtc_1", "attach",
        "OpenAI", "Voice-Live", "voice%2Dlive", "re%61ltime", "openai%2Fv1%2Frealtime", "%2e%2e",
        "..", "", "a%20b", "ä",
    ]
)  # fmt: skip
ENDS = st.sampled_from(
    [
        "v1/realtime", "realtime", "v1/realtime/translations", "v1/live/sessions", "v1/live",
        "openai/v1/realtime", "openai/realtime", "voice-live/realtime", "voice-agent/realtime",
        "agents/helper/endpoint/protocols/voice/live/sessions", "xai/v1/realtime", f"ws/{BIDI}", "",
    ]
)  # fmt: skip
BENIGN = st.sampled_from(["v1", "t", "acme", "s", "name", "a%20b", "provider", "gemini"])
PATHS = st.builds(
    lambda prefix, end, slash: slash + slash.join([*prefix, *end.split("/")]),
    st.lists(BENIGN, max_size=2) | st.lists(SEGMENTS, max_size=4),
    ENDS,
    st.sampled_from(["/", "/", "//"]),
)
MODELS = st.sampled_from(
    [
        "gpt-realtime", "grok-voice", "gemini-x", "acme", "ours", "", "a%26model%3Db", "a;b", "a=b",
        "M",
    ]
)  # fmt: skip
VALUES = st.sampled_from(
    ["transcription", "x", "", "1", "openai", "xai", "azure", "gemini", "OPENAI", "Gemini"]
)


@st.composite
def parameters(draw: st.DrawFn) -> str:
    """A parameter in one of its spellings. What is ours holds a secret where it may."""
    name = draw(st.sampled_from([*OURS, *SUBJECTS, "model", "model", "rs_api", "api-version",
                                 "agent-name", "agent-id", "conversation_id", "x"]))  # fmt: skip
    value = draw(MODELS if name in ("model", "deployment") else VALUES)
    if name in OURS and name not in ("provider", "rs_core", "rs_events", "rs_sessid"):
        value = SECRET
    spelled = draw(st.sampled_from([name, name, name, name.upper(), name.title(), None]))
    if spelled is None:
        at = draw(st.integers(0, len(name) - 1))
        spelled = f"{name[:at]}%{ord(name[at]):02x}{name[at + 1 :]}"
    return draw(st.sampled_from([f"{spelled}={value}", f"{spelled}={value}", spelled]))


QUERIES = st.builds(
    lambda named, others: [*named, *others],
    st.sampled_from(
        [
            ["model=gpt-realtime"],
            ["model=acme"],
            ["deployment=ours"],
            ["model=ours"],
            ["model=gemini-x"],
            ["model=gpt-realtime", "rs_core=GEMINI"],
            [],
        ]
    ),
    st.lists(parameters(), max_size=5),
).flatmap(st.permutations)
TARGETS = st.builds(lambda path, query: f"{path}?{'&'.join(query)}", PATHS, QUERIES)


def owners(target: str) -> set[str]:
    """The providers whose own path the whole path is, with a prefix that names nobody's."""
    segments = [
        unquote(x).lower().replace("/", "|")
        for x in target.split("?", maxsplit=1)[0].split("/")
        if x
    ]
    text = "/" + "/".join(segments)
    return {name for name, forms in FORMS if re.fullmatch(f"{PREFIX}(?:{forms})", text)}


def read(query: str) -> list[tuple[str, str]]:
    """Parameters as a server reads them that takes names in either case."""
    pairs = (pair.partition("=") for pair in re.split("[&;]", query) if pair)
    return [(unquote_plus(name).lower(), unquote_plus(value)) for name, _, value in pairs]


@settings(max_examples=1_000)
@given(TARGETS)
@example("/t/acme/openai/v1/realtime?model=gpt-realtime")
@example("/voice-agent/v1/realtime?model=gpt-realtime")
@example("/agents/helper/live/sessions")
@example("/live/?model=gpt-realtime")
@example("/v1/realtime?model=acme&mod%65l=grok-voice&Deployment=x")
@example(f"/ws/{BIDI}?provider=openai")
@example(f"/provider/xai/ws/{BIDI}?model=gpt-realtime")
@example("/t/provider/gemini/v1/realtime?model=gpt-realtime&x=1")
def test_a_session_goes_where_its_whole_path_says_with_what_was_judged(target: str) -> None:
    """Never to whom only the end of the path belongs, nor with a second name for the model."""
    found = route(
        target, Headers(), table=TABLE, providers=PROVIDER_NAMES, new_session_id=lambda: "sess_new"
    )
    if isinstance(found, Refusal):
        event(f"refused {found.code}")
        assert found.status in (400, 404)
        assert SECRET not in found.message
        return
    event(f"{found.provider} {found.path}")
    goes_to_its_owner(target, found)
    nothing_of_ours_goes_on(found)
    only_what_was_judged_goes_on(found)
    only_what_was_judged_goes_on(with_provider_model(found, TABLE))


def goes_to_its_owner(target: str, found: Target) -> None:
    """The provider is the path's, or, within the family, the one that was named; it is of another
    family only where the session is translated.
    """
    assert re.fullmatch(OWN_PATHS[found.provider], found.path)
    asked = owners(target)
    is_original = re.fullmatch(r"/*\?.*", target) is not None and "rs_" in unquote(target)
    speaks_gemini = found.dialect is Dialect.GEMINI
    assert speaks_gemini == ("gemini" in asked) or is_original
    if speaks_gemini != (found.provider == "gemini"):
        crosses_by_choice(target, found)
    if found.provider in asked or (is_original and found.provider in ("openai", "gemini")):
        return
    assert found.provider in FAMILY or found.is_translated
    assert asked & set(FAMILY) or speaks_gemini or is_original
    assert found.path in ("/realtime", "/openai/v1/realtime") or found.provider == "gemini"


def crosses_by_choice(target: str, found: Target) -> None:
    """The client named the provider, or a model of that name; what has no counterpart there was not
    asked for, and nothing of the query goes on but the model.
    """
    path, _, query = target.partition("?")
    given = read(query)
    named = {value.lower() for name, value in given if name in ("provider", "rs_core")}
    segments = [unquote(segment).lower() for segment in path.split("/") if segment]
    behind = [after for one, after in itertools.pairwise(segments) if one == "provider"]
    models = [value for name, value in given if name == "model"]
    by_model = found.provider == "gemini" and any(x.startswith("gemini-") for x in models)
    assert found.is_translated
    assert found.provider in {*named, *behind} or by_model
    assert found.is_undecided == (found.dialect is Dialect.GEMINI)
    assert found.query == ""  # the model is told in the setup, or not known yet
    pairs = [pair.partition("=") for pair in reversed(query.split("&"))]
    first = {unquote_plus(name): unquote_plus(value) for name, _, value in pairs}
    assert not any(first.get(name) for name in ("intent", "call_id", "conversation_id"))


def nothing_of_ours_goes_on(found: Target) -> None:
    """Neither a key nor what only the gateway understands."""
    names = [name for name, _ in read(found.query)]
    assert not set(names) & set(OURS)
    assert not any(name.startswith("rs_") for name in names)
    assert SECRET not in unquote(found.query + found.path)


def only_what_was_judged_goes_on(found: Target) -> None:
    """However a server reads the query, it finds the model that was looked at, and no other."""
    said = read(found.query)
    for name in ("intent", "call_id"):
        assert len([1 for one, _ in said if one == name]) <= 1
    models = [(name, value) for name, value in said if name in ("model", "deployment")]
    values = dict(said)
    subject = "deployment" if found.path == "/openai/realtime" else "model"
    assert len(models) <= 1
    if found.model is None:  # the first message names it
        return
    if found.provider == "gemini":  # a translator makes the first message
        assert (found.query, found.is_translated) == ("", True)
        return
    if values.get("call_id"):  # nobody knows what model that call has
        assert found.model == ""
        return
    assert [value for _, value in models if value] == ([found.model] if found.model else [])
    assert {name for name, _ in models} <= {subject}
    assert not (found.model and values.get("intent"))
