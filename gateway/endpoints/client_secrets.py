"""The bodies of ``POST /v1/realtime/client_secrets``, of ``…/translations/client_secrets`` and of
their answers, as OpenAI defines them. Pure.

Everything in the body is optional, except a translation's model. The key opens sessions only with
the ``model`` of ``session``; the rest of ``session`` is their initial configuration, which a client
may change by its own ``session.update``, as with OpenAI. ``rs_origin`` is the gateway's extension:
the key is refused when a browser sends it from another origin. Called by ``minting``.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from gateway.door.ephemeral import LIFETIME_S_DEFAULT, LIFETIME_S_MAX, LIFETIME_S_MIN
from gateway.http.bodies import as_object, read_json
from gateway.http.refusals import Refusal, bad_request
from shared.usage import ID_CHARS_MAX

_OBJECT_BY_TYPE: Final = {
    "realtime": "realtime.session",
    "transcription": "realtime.transcription_session",
}
# The types of session for which a path makes keys; the first is the default.
CONVERSATIONS: Final = tuple(_OBJECT_BY_TYPE)
TRANSLATIONS: Final = ("translation",)
# RFC 6454 section 6.2, as browsers write it.
_ORIGIN: Final = re.compile(r"https?://[a-z0-9.\-]+(:\d{1,5})?|https?://\[[0-9a-f:.]+\](:\d{1,5})?")


@dataclass(frozen=True, slots=True)
class KeyRequest:
    """What kind of key is asked for."""

    lifetime_s: int
    session: Mapping[str, Any]
    model: str | None = None
    origin: str | None = None

    @property
    def configuration(self) -> Mapping[str, Any] | None:
        """The initial configuration of the key's sessions; None: the provider's defaults."""
        rest = {name: value for name, value in self.session.items() if name != "model"}
        return None if rest == {"type": "realtime"} else rest


def read_key_request(
    body: bytes, *, types: Sequence[str] = CONVERSATIONS, lifetime_s_max: int = LIFETIME_S_MAX
) -> KeyRequest | Refusal:
    """Read a body. An empty one asks for the defaults, and for the first of ``types``."""
    try:
        asked = as_object(read_json(body or b"{}"), "body")
        session = as_object(asked.get("session"), "session")
        return KeyRequest(
            _lifetime(as_object(asked.get("expires_after"), "expires_after"), lifetime_s_max),
            {**session, "type": _type(session, types)},
            _model(session, is_required=types is TRANSLATIONS),
            _origin(asked),
        )
    except ValueError as exc:
        return bad_request(str(exc))


def answer(
    wanted: KeyRequest, *, value: str, expires_at: int, session_id: str
) -> Mapping[str, Any]:
    """The answer, as the SDKs expect it; ``expires_at`` in Unix seconds."""
    described: dict[str, Any] = {"id": session_id}
    if (kind := wanted.session["type"]) in TRANSLATIONS:
        # Both fields are required in the SDK's type. There is no session yet, so the key's expiry
        # stands for the session's.
        described |= {"audio": wanted.session.get("audio") or {}, "expires_at": expires_at}
    else:
        described["object"] = _OBJECT_BY_TYPE[kind]
    return {"value": value, "expires_at": expires_at, "session": {**wanted.session, **described}}


def _lifetime(expires_after: Mapping[str, Any], most: int) -> int:
    anchor = expires_after.get("anchor", "created_at")
    seconds = expires_after.get("seconds", min(LIFETIME_S_DEFAULT, most))
    if anchor != "created_at":
        raise ValueError("expires_after.anchor: expected created_at")
    if type(seconds) is not int or not LIFETIME_S_MIN <= seconds <= most:
        expected = f"expected an integer from {LIFETIME_S_MIN} to {most}"
        raise ValueError(f"expires_after.seconds: found {str(seconds)[:32]!r}, {expected}")
    return seconds


def _type(session: Mapping[str, Any], types: Sequence[str]) -> str:
    found = session.get("type", types[0])
    if not isinstance(found, str) or found not in types:
        raise ValueError(f"session.type: expected {' or '.join(types)}, as the path says")
    return found


def _model(session: Mapping[str, Any], *, is_required: bool) -> str | None:
    model = session.get("model")
    if model is None and not is_required:
        return None
    if not isinstance(model, str) or not 0 < len(model) <= ID_CHARS_MAX or not model.isprintable():
        raise ValueError(f"session.model: expected 1 to {ID_CHARS_MAX} printable characters")
    return model


def _origin(asked: Mapping[str, Any]) -> str | None:
    origin = asked.get("rs_origin")
    if origin is None:
        return None
    if not isinstance(origin, str) or len(origin) > ID_CHARS_MAX or not _ORIGIN.fullmatch(origin):
        raise ValueError("rs_origin: expected an origin like https://app.example.org")
    return origin
