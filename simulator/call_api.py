"""Plain HTTP requests about calls, as OpenAI answers them."""

import asyncio
import http
import json
from collections.abc import Callable
from typing import Any, Final

from multipart import (  # type: ignore[import-untyped]
    MultipartSegment,
    PushMultipartParser,
    parse_options_header,
)
from websockets.datastructures import Headers
from websockets.http11 import Response

from simulator.admission import is_known, json_response, key_of
from simulator.calls import ANSWER, Call, Switchboard, call_path, configured
from simulator.faults import Faults
from simulator.openai_events import Event
from simulator.plain_http import Posted
from simulator.routing import Route, route, with_model
from simulator.session import Session

MakeSession = Callable[[Route, Call, str], Session]
_NOT_FOUND: Final = http.HTTPStatus.NOT_FOUND


class CallApi:
    """Answers POST requests. ``make`` creates the session of a new call."""

    def __init__(self, calls: Switchboard, make: MakeSession, *, api_key: str | None) -> None:
        self._calls = calls
        self._make = make
        self._api_key = api_key

    async def answer(self, posted: Posted) -> Response:
        """The answer to a POST; 404 for a path that is not about calls."""
        named = call_path(posted.target)
        if named is None:
            return _failed(_NOT_FOUND, "unknown path")
        path, _, query = posted.target.partition("?")
        to = route(f"{path.partition('/calls')[0]}?{query}")
        if to is None:
            return _failed(_NOT_FOUND, "unknown path")
        key = key_of(posted.headers, to)
        if not is_known(key, self._api_key):
            found = f"Incorrect API key provided: {key[:3]}…{key[-4:]}."
            return _failed(http.HTTPStatus.UNAUTHORIZED, found, code="invalid_api_key")
        try:
            serve = self._create if not named[0] else self._serve
            return await serve(to, posted, *named)
        except ValueError as exc:
            return _failed(http.HTTPStatus.BAD_REQUEST, str(exc))

    async def _create(self, to: Route, posted: Posted, _call_id: str, _verb: str) -> Response:
        parts = _form(posted)
        sdp, session = parts.get("sdp", ""), _object(parts.get("session", "{}"))
        if not sdp.startswith("v=0"):
            raise ValueError("sdp: expected a session description")
        faults = Faults.of(with_model(to, str(session.get("model", ""))))
        await asyncio.sleep(faults.dial_s)
        if faults.refuse is not None:
            status = http.HTTPStatus(faults.refuse)
            return _failed(status, f"refused: {status.phrase}")
        call = Call(faults)
        await self._begin(to, call, session)
        path = posted.target.partition("?")[0].rstrip("/")
        headers = {} if faults.call == "nameless" else {"Location": f"{path}/{call.call_id}"}
        return _response(http.HTTPStatus.CREATED, ANSWER, "application/sdp", headers)

    async def _serve(self, to: Route, posted: Posted, call_id: str, verb: str) -> Response:
        call, is_ringing = self._calls.find(call_id), self._calls.is_ringing(call_id)
        if call is None and not (is_ringing and verb in ("accept", "reject")):
            return _failed(_NOT_FOUND, f"Call {call_id} not found.", code="call_id_not_found")
        if verb in ("accept", "reject") and call is not None:
            return _failed(http.HTTPStatus.CONFLICT, "The call was accepted before.")
        if verb == "accept":
            session = _object(posted.body)
            if session.get("type") != "realtime":
                raise ValueError("type: expected realtime")
            faults = Faults.of(with_model(to, str(session.get("model", ""))))
            await asyncio.sleep(faults.dial_s)
            await self._begin(to, Call(faults, call_id), session)
        elif verb == "reject":
            self._calls.turn_away(call_id)
        else:
            if verb == "refer" and not _object(posted.body).get("target_uri"):
                raise ValueError("target_uri: expected where to")
            assert call is not None
            await self._calls.end(call)
        return _response(http.HTTPStatus.OK, "", "application/json")

    async def _begin(self, to: Route, call: Call, session: Event) -> None:
        model = str(session.get("model", "")) or to.model
        self._calls.begin(call, lambda made: self._make(to, made, model))
        await call.session.receive(json.dumps(configured(session)))


def _form(posted: Posted) -> dict[str, str]:
    kind, options = parse_options_header(posted.headers.get("Content-Type", ""))
    if kind == "application/sdp":
        return {"sdp": posted.body.decode()}
    if kind != "multipart/form-data":
        raise ValueError(f"Content-Type: found {kind!r}")
    parts: dict[str, bytearray] = {}
    content = bytearray()
    with PushMultipartParser(options.get("boundary", ""), strict=True) as parser:
        for event in parser.parse(posted.body):
            if isinstance(event, MultipartSegment):
                content = parts.setdefault(event.name, bytearray())
            elif event is not None:
                content += event
    return {name: bytes(part).decode() for name, part in parts.items()}


def _object(text: str | bytes) -> Event:
    found: Any = json.loads(text or "{}")
    if not isinstance(found, dict):
        raise ValueError("expected an object")
    return found


def _failed(status: http.HTTPStatus, message: str, code: str | None = None) -> Response:
    error = {"type": "invalid_request_error", "code": code, "message": message, "param": None}
    return json_response(status, {"error": error})


def _response(
    status: http.HTTPStatus, text: str, kind: str, headers: dict[str, str] | None = None
) -> Response:
    described = {"Content-Type": kind, "Content-Length": str(len(text.encode()))}
    pairs = Headers({**described, "Connection": "close", **(headers or {})})
    return Response(status.value, status.phrase, pairs, text.encode())
