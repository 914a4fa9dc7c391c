"""One event of OpenAI's beta as one of GA, and the other way round. Pure.

``beta_fields`` has the forms of sessions, responses and items. Sources: ``RealtimeServerEvent`` and
``RealtimeClientEvent`` of both interfaces in the SDK.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

from gateway.translate import beta_fields as fields
from gateway.translate.usage import of_response_done

Json = dict[str, Any]

# The provider's events that have another name. An item is *created* where GA has it added and done.
RENAMED: Final[Mapping[str, str]] = {
    **{
        f"response.output_{what}.{step}": f"response.{what}.{step}"
        for what in ("audio", "audio_transcript", "text")
        for step in ("delta", "done")
    },
    "conversation.item.added": "conversation.item.created",
}
# Those of a session that only transcribes.
RENAMED_TRANSCRIPTION: Final[Mapping[str, str]] = {
    "session.created": "transcription_session.created",
    "session.updated": "transcription_session.updated",
}
# Those that the beta does not have.
DROPPED: Final = frozenset(
    {
        "conversation.item.done",
        "conversation.item.input_audio_transcription.segment",
        "input_audio_buffer.timeout_triggered",
        "input_audio_buffer.dtmf_event_received",
    }
)
DROPPED_BEGINNINGS: Final = ("mcp_list_tools.", "response.mcp_call")
# Where the provider's errors name a setting by its place in GA.
_PARAMS: Final[Mapping[str, str]] = {
    f"{owner}.{'.'.join(place)}": f"{owner}.{name}"
    for owner, places in (("session", fields.SESSION_PLACES), ("response", fields.RESPONSE_PLACES))
    for name, place in places.items()
}


def ga_event(event: Json) -> tuple[Json, list[str]]:
    """A client's event in GA's form, the same object where nothing differs, and the names of what
    is dropped. It has a ``type``.
    """
    convert = _CLIENT_EVENTS.get(event["type"])
    return (event, []) if convert is None else convert(event)


def beta_event(event: Json) -> Json | None:
    """An event of GA in the beta's form, the same object where nothing differs; None for one that
    the beta does not have. It has a ``type``.
    """
    kind = event["type"]
    if kind in DROPPED or kind.startswith(DROPPED_BEGINNINGS):
        return None
    changed: Json = {}
    for name, convert in _SERVER_FIELDS.items():
        if isinstance(event.get(name), dict):
            changed[name] = convert(event[name])
            if changed[name] is None:
                return None
    names = RENAMED_TRANSCRIPTION if _is_transcription(event) else RENAMED
    if kind in names:
        changed["type"] = names[kind]
    if kind == "response.done" and "response" in changed:
        changed["response"]["usage"] = of_response_done(event) or None
    if not changed and "obfuscation" not in event:
        return event
    made = {**event, **changed}
    made.pop("obfuscation", None)  # it pads GA's deltas
    return made


def _is_transcription(event: Json) -> bool:
    session = event.get("session")
    return isinstance(session, dict) and session.get("type") == "transcription"


def _update_session(event: Json) -> tuple[Json, list[str]]:
    return _settings(
        event, "session", fields.SESSION_PLACES, fields.SESSION_DROPPED, {"type": "realtime"}
    )


def _update_transcription(event: Json) -> tuple[Json, list[str]]:
    made, dropped = _settings(
        event,
        "session",
        fields.SESSION_PLACES,
        fields.TRANSCRIPTION_DROPPED,
        {"type": "transcription"},
    )
    return {**made, "type": "session.update"}, dropped


def _create_response(event: Json) -> tuple[Json, list[str]]:
    if not isinstance(event.get("response"), dict):
        return event, []
    return _settings(event, "response", fields.RESPONSE_PLACES, fields.RESPONSE_DROPPED, {})


def _settings(
    event: Json,
    name: str,
    places: Mapping[str, fields.Path],
    dropped: frozenset[str],
    added: Json,
) -> tuple[Json, list[str]]:
    """``event`` with GA's form of what ``name`` holds, and the names of what is dropped."""
    found = event.get(name)
    settings, left = fields.ga_settings(found if isinstance(found, dict) else {}, places, dropped)
    return {**event, name: {**added, **settings}}, [f"{name}.{field}" for field in left]


def _create_item(event: Json) -> tuple[Json, list[str]]:
    item = event.get("item")
    return ({**event, "item": fields.ga_item(item)} if isinstance(item, dict) else event), []


def _error(error: Json) -> Json:
    param = error.get("param")
    known = _PARAMS.get(param) if isinstance(param, str) else None
    return error if known is None else {**error, "param": known}


_CLIENT_EVENTS: Final[Mapping[str, Callable[[Json], tuple[Json, list[str]]]]] = {
    "session.update": _update_session,
    "transcription_session.update": _update_transcription,
    "response.create": _create_response,
    "conversation.item.create": _create_item,
}
_SERVER_FIELDS: Final[Mapping[str, Callable[[Json], Json | None]]] = {
    "session": fields.beta_session,
    "response": fields.beta_response,
    "item": fields.beta_item,
    "part": fields.beta_part,
    "error": _error,
}
