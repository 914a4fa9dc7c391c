"""The bodies of ``POST /v1/realtime/calls`` and of its verbs. Pure.

A caller's offer (SDP) comes alone, as ``application/sdp``, or in ``multipart/form-data`` together
with the session, as the ``openai`` SDK and OpenAI's WebRTC guide send it. Bodies are read strictly
and written anew, so that the provider gets exactly what was checked. Called by ``api``.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from multipart import (  # type: ignore[import-untyped]
    MultipartError,
    MultipartSegment,
    PushMultipartParser,
    parse_options_header,
)

from gateway.http.bodies import as_object, read_json
from gateway.http.refusals import Refusal, bad_request
from shared.usage import ID_CHARS_MAX

SDP: Final = "application/sdp"
FORM: Final = "multipart/form-data"
JSON: Final = "application/json"
_PARTS: Final = ("sdp", "session")
# RFC 8866 section 5: what every session description begins with.
_SDP_BEGINNING: Final = "v=0"


@dataclass(frozen=True, slots=True)
class Offer:
    """A caller's offer, and the configuration of the session that is to answer it."""

    sdp: str
    session: Mapping[str, Any]

    def parts(self) -> dict[str, tuple[None, str, str]]:
        """The form by which the provider gets it: name -> (no file name, content, type)."""
        return {
            "sdp": (None, self.sdp, SDP),
            "session": (None, json.dumps(self.session, separators=(",", ":")), JSON),
        }


def read_offer(content_type: str, body: bytes) -> Offer | Refusal:
    """Read the body of ``POST /v1/realtime/calls``; without a session ``session`` is empty."""
    try:
        kind, options = parse_options_header(content_type)
        if kind == SDP:
            return Offer(_sdp(body), {})
        if kind != FORM:
            raise ValueError(f"Content-Type: found {kind[:80]!r}, expected {SDP} or {FORM}")
        parts = _parts(body, boundary=options.get("boundary", ""))
        if "sdp" not in parts:
            raise ValueError("found no part sdp in the form, expected the caller's offer")
        session = as_object(_json(parts.get("session", b""), "session"), "session")
        return Offer(_sdp(parts["sdp"]), session)
    except ValueError as exc:
        return bad_request(str(exc))


def read_session(body: bytes) -> Mapping[str, Any] | Refusal:
    """Read the body of a verb, a JSON object; no body gives an empty one."""
    try:
        return as_object(_json(body, "body"), "body")
    except ValueError as exc:
        return bad_request(str(exc))


def model_in(session: Mapping[str, Any]) -> str | Refusal:
    """The model that a session names; empty when it names none."""
    model = session.get("model")
    if model is None:
        return ""
    if not isinstance(model, str) or not 0 < len(model) <= ID_CHARS_MAX or not model.isprintable():
        return bad_request(f"session.model: expected 1 to {ID_CHARS_MAX} printable characters")
    return model


# --- helpers -------------------------------------------------------------------------------------


def _json(text: bytes, name: str) -> object:
    return read_json(text, name) if text.strip() else None


def _sdp(body: bytes) -> str:
    try:
        text = body.decode()
    except UnicodeDecodeError:
        raise ValueError("sdp: expected text in UTF-8") from None
    if not text.startswith(_SDP_BEGINNING):
        expected = f"expected a session description, which begins with {_SDP_BEGINNING}"
        raise ValueError(f"sdp: found {text[:32]!r}, {expected}")
    return text


def _parts(body: bytes, *, boundary: str) -> dict[str, bytes]:
    """The parts of a form by name. A part that is there twice is refused."""
    if not boundary:
        raise ValueError(f"Content-Type: found no boundary, expected one with {FORM}")
    found: dict[str, bytes] = {}
    content = bytearray()
    name = ""
    try:
        with PushMultipartParser(boundary, content_length=len(body), strict=True) as parser:
            for event in parser.parse(body):
                if isinstance(event, MultipartSegment):
                    name, content = event.name, bytearray()
                elif event is not None:
                    content += event
                else:
                    if name in found or name not in _PARTS:
                        twice = " twice" if name in found else ""
                        expected = f"expected {' and '.join(_PARTS)}, once each"
                        raise ValueError(f"found the part {name[:32]!r}{twice}, {expected}")
                    found[name] = bytes(content)
    except MultipartError as exc:
        raise ValueError(f"body: expected a whole form, but {exc}") from None
    return found
