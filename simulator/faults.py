"""The faults and other deviations that a test can ask of a session. Pure.

Only this module reads these *parameters*: from the query, from a model's name (``sim-usage-null``
or, several at once, ``sim-usage-null,close-1011``), and from path segments of the same form, for
clients that can set neither query nor model. An unknown value is refused with 400, so that a test
never passes because its fault was misspelt.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from simulator.openai_events import Event

ABSURD_TOKENS: Final = 10**12  # above the 10^7 that a meter accepts for one response
ABNORMAL: Final = 1006  # no close frame is sent (RFC 6455 section 7.1.5): the connection is cut
MILLISECONDS_MAX: Final = 60_000
SESSION_MS_MAX: Final = 3_600_000
FRAGMENTS_MAX: Final = 1_000
CALLER_TURNS_MAX: Final = 100
FAULTY: Final = "sim-"
STORY: Final = "story"
_USAGES: Final = ("null", "missing", "empty", "zero", "absurd", "strange")
_REFUSALS: Final = (
    "400", "401", "402", "403", "404", "408", "425", "429", "500", "502", "503", "504",
)  # fmt: skip
_ACCOUNT: Final = ("invalid_api_key", "insufficient_quota", "billing_hard_limit_reached")
# The codes that a close frame may carry (RFC 6455 section 7.4 and IANA's registry), and 1006.
_CLOSE_CODES: Final = frozenset({*range(1000, 1015), *range(3000, 5000)} - {1004, 1005})
# Every parameter by name, and its value where a model's name gives none: ``sim-usage``.
PARAMETERS: Final[Mapping[str, str]] = {
    "pace": "0", "reply_ms": "", "refuse": "503", "dial_ms": "", "cancel": "ignore",
    "done": "never", "usage": "null", "close": "1011", "close_after_ms": "", "end": "",
    "duplicate": "done", "stall": "reply", "fragment": "3", "spelling": "odd", "quote": "done",
    "transcription": "", "expire_ms": "", "go_away_ms": "", "usage_style": "", "usage_at": "",
    "served": "", "dialect": "", "transcribed": "missing", "redirect": "same",
    "account": "insufficient_quota", "caller": "1", "call": "deaf",
    "recall": "all", "activity": "told", "held": "story", "playback": "awaited",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Faults:
    """What the parameters of one session ask for; by default nothing.

    ``dial_s``: delay of the handshake. ``refuse``: HTTP status in place of the upgrade.
    ``redirect``: target of a 302 in place of the upgrade. ``account``: error about the key's
    account that follows the upgrade. ``served``: model that the server reports.
    ``close_code``, ``close_after_s``: the close, and its delay from the beginning of a response; no
    close when the response has ended before. ``expire_s``: lifetime of a session. ``go_away_s``:
    time of Gemini's ``goAway``.
    ``usage``, ``transcribed``: value in place of the usage of every response, of every
    transcription. ``usage_style``, ``usage_at``: Gemini's field names for it, and the frames that
    carry it. ``end``: status of every response. ``stall``: ``reply`` stops in the middle of a
    response, ``read`` never reads from the client. ``fragments``: frames of a message.
    ``caller_turns``: number of times that the caller of a call speaks before hanging up; 0: never.
    ``call``: ``nameless`` answers an offer without a call id, ``deaf`` accepts no sideband,
    ``dropping`` cuts all sidebands once, during a response. ``is_recalling``: every reply says what
    was said so far. ``is_activity_told``: Gemini tells when speech begins and ends.
    ``is_story_held``: a reply to a user who writes of a story goes no further than its first piece,
    until it is cut. ``is_playback_awaited``: Gemini ends a turn when its answer could have been
    played, until which it can be interrupted.
    """

    dial_s: float = 0.0
    refuse: int | None = None
    close_code: int | None = None
    close_after_s: float | None = None
    usage: str | None = None
    end: str | None = None
    stall: str | None = None
    fragments: int = 1
    expire_s: float | None = None
    go_away_s: float | None = None
    transcription: str = "between"
    usage_style: str | None = None
    usage_at: str = "turn"
    served: str | None = None
    redirect: str | None = None
    account: str | None = None
    transcribed: str | None = None
    is_cancel_ignored: bool = False
    is_done_withheld: bool = False
    is_done_doubled: bool = False
    is_oddly_spelt: bool = False
    is_quoting: bool = False
    caller_turns: int = 0
    call: str | None = None
    is_recalling: bool = False
    is_activity_told: bool = False
    is_story_held: bool = False
    is_playback_awaited: bool = False

    @classmethod
    def of(cls, query: Mapping[str, str]) -> "Faults":
        """The faults in ``query``; raises ``ValueError`` ("expected …") for an unknown value."""
        refuse = _choice(query, "refuse", *_REFUSALS)
        code = _integer(query, "close", 1000, 4999)
        if code is not None and code not in _CLOSE_CODES:
            raise ValueError(
                f"close: found {code}, expected a close code that may be sent, or 1006"
            )
        after_ms = _integer(query, "close_after_ms", 0, MILLISECONDS_MAX) or 0
        return cls(
            dial_s=(_integer(query, "dial_ms", 0, MILLISECONDS_MAX) or 0) / 1000,
            refuse=int(refuse) if refuse else None,
            close_code=code,
            close_after_s=None if code is None else after_ms / 1000,
            usage=_choice(query, "usage", *_USAGES),
            end=_choice(query, "end", "cancelled", "failed", "incomplete"),
            stall=_choice(query, "stall", "reply", "read"),
            fragments=_integer(query, "fragment", 1, FRAGMENTS_MAX) or 1,
            expire_s=_seconds(query, "expire_ms"),
            go_away_s=_seconds(query, "go_away_ms"),
            transcription=_choice(query, "transcription", "before", "between", "after")
            or "between",
            usage_style=_choice(query, "usage_style", "developer", "vertex"),
            usage_at=_choice(
                query, "usage_at", "turn", "standalone_before", "standalone_after", "twice"
            )
            or "turn",
            served=query.get("served"),
            redirect=_choice(query, "redirect", "same", "circle", "away"),
            account=_choice(query, "account", *_ACCOUNT),
            transcribed=_choice(query, "transcribed", "missing", "null"),
            is_cancel_ignored=_choice(query, "cancel", "ignore") is not None,
            is_done_withheld=_choice(query, "done", "never") is not None,
            is_done_doubled=_choice(query, "duplicate", "done") is not None,
            is_oddly_spelt=_choice(query, "spelling", "odd") is not None,
            is_quoting=_choice(query, "quote", "done") is not None,
            caller_turns=_integer(query, "caller", 0, CALLER_TURNS_MAX) or 0,
            call=_choice(query, "call", "nameless", "deaf", "dropping"),
            is_recalling=_choice(query, "recall", "all") is not None,
            is_activity_told=_choice(query, "activity", "told") is not None,
            is_story_held=_choice(query, "held", STORY) is not None,
            is_playback_awaited=_choice(query, "playback", "awaited") is not None,
        )

    @property
    def is_endless(self) -> bool:
        """Whether a response never ends: it stays open until the client leaves."""
        return self.is_done_withheld or self.stall == "reply"

    def reported(self, counted: Event) -> Event | None:
        """The usage to send in place of ``counted``."""
        if self.usage in ("null", "missing"):
            return None
        if self.usage == "empty":
            return {}
        if self.usage in ("zero", "absurd"):
            return _filled(counted, 0 if self.usage == "zero" else ABSURD_TOKENS)
        if self.usage == "strange":
            odd = (-1, 12.5, "many", True)
            names = [name for name, value in counted.items() if type(value) is int]
            return {**counted, **{name: odd[n % 4] for n, name in enumerate(names)}}
        return counted


def parameters(query: Mapping[str, str], *names: str) -> dict[str, str]:
    """Those in a query and in names (models, path segments); the query's take precedence."""
    found: dict[str, str] = {}
    for name in names:
        last = name.rpartition("/")[2]
        if not last.startswith(FAULTY):
            continue
        for part in last.removeprefix(FAULTY).split(","):
            parameter, _, value = part.partition("-")
            if parameter not in PARAMETERS:
                raise ValueError(
                    f"{name}: found {parameter!r}, expected one of {', '.join(PARAMETERS)}"
                )
            found[parameter] = value or PARAMETERS[parameter]
    return {**found, **query}


def _filled(counted: Event, tokens: int) -> Event:
    """A usage of the same shape, with ``tokens`` in place of every count."""
    return {
        name: _filled(value, tokens)
        if isinstance(value, dict)
        else [_filled(part, tokens) for part in value]
        if isinstance(value, list)
        else value
        if isinstance(value, str)
        else tokens
        for name, value in counted.items()
    }


def _choice(query: Mapping[str, str], name: str, *choices: str) -> str | None:
    found = query.get(name)
    if found is not None and found not in choices:
        raise ValueError(f"{name}: found {found!r}, expected {' or '.join(choices)}")
    return found


def _integer(query: Mapping[str, str], name: str, low: int, high: int) -> int | None:
    found: Any = query.get(name)
    if found is None:
        return None
    if not found.isdecimal() or not low <= int(found) <= high:
        raise ValueError(f"{name}: found {found!r}, expected an integer from {low} to {high}")
    return int(found)


def _seconds(query: Mapping[str, str], name: str) -> float | None:
    found = _integer(query, name, 1, SESSION_MS_MAX)
    return None if found is None else found / 1000
