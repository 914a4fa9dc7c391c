"""What Gemini's server messages say, and how the few that matter are found unparsed. Pure.

Every field has two spellings: the API's camelCase, and the snake_case that protobuf's JSON accepts.
"""

import re
from collections.abc import Mapping
from enum import Enum, auto
from typing import Any, Final, NamedTuple

from gateway.handles.handle import HandleKind, IssuedHandle

# Names that make a message worth parsing. (One expression that begins with a quotation mark is
# searched three times as fast as the names one by one.)
NAMES: Final = re.compile(
    rb'"(?:usageMetadata|turnComplete|setupComplete|interactionStatus'
    rb"|usage_metadata|turn_complete|setup_complete|interaction_status"
    rb"|interrupted|generationComplete|generation_complete"
    rb"|webSearchQueries|web_search_queries"
    rb'|sessionResumptionUpdate|session_resumption_update)"'
)
# The beginning of an escape, which may spell one of them: JSON allows "turn\u0043omplete".
ESCAPE: Final = rb"\u"
USAGE: Final = re.compile(rb'"usage_?[mM]etadata"')
# Names by which the model begins a turn. The transcription of what it says begins one as well, but
# only with a text: Vertex AI sends ``"outputTranscription": {}``. So such a message is parsed.
BEGINS: Final = re.compile(rb'"(?:modelTurn|toolCall)"')
MAY_BEGIN: Final = b'"outputTranscription"'
# What announces the end of a turn, also of one in which the model said nothing.
_ENDINGS: Final = ("interrupted", "generationComplete", "generation_complete")
# A part of the names of models that only transcribe, and what the words look like that they send.
TRANSCRIBES: Final = "transcribe"
TRANSCRIBED_TEXT: Final = re.compile(rb'"input_?[tT]ranscription"\s*:\s*\{[^}]*"text"')
# Values of interactionStatus: only a part of the answer is over, or all of it. REQUIRES_ACTION is
# an old name.
_PART_OVER: Final = "IN_PROGRESS"
_INTERACTION_OVER: Final = ("IDLE", "REQUIRES_ACTION")


class End(Enum):
    """What is over by a message of the server."""

    NOTHING = auto()
    PART = auto()  # turnComplete, IN_PROGRESS: a part of the answer, and the turn stays open
    TURN = auto()  # turnComplete
    INTERACTION = auto()  # no turnComplete, but a status by which an open turn is over


class ServerMessage(NamedTuple):
    """What one message of the server says, as far as the meter needs it.

    ``usage`` is as the server wrote it: None where there is none, ``{}`` where it counts nothing.
    """

    content: Mapping[str, Any]  # serverContent; empty where there is none
    usage: Any
    issued_handle: IssuedHandle | None  # by which the session can be resumed
    is_setup: bool  # the setup was accepted
    is_begin: bool  # it holds something that the model says, so a turn has begun
    is_ending: bool  # it announces the end of the turn
    end: End

    @property
    def is_turn_complete(self) -> bool:
        """Whether it says ``turnComplete``, of the turn or of a part."""
        return self.end in (End.PART, End.TURN)


def read_message(event: Mapping[str, Any]) -> ServerMessage:
    """Read a message that was parsed. A value of a wrong type counts as absent."""
    content = field_of(event, "serverContent", "server_content")
    content = content if isinstance(content, dict) else {}
    return ServerMessage(
        content=content,
        usage=field_of(event, "usageMetadata", "usage_metadata"),
        issued_handle=_issued_handle_in(event),
        is_setup="setupComplete" in event or "setup_complete" in event,
        is_begin=_begins_turn(event, content),
        is_ending=any(content.get(name) is True for name in _ENDINGS),
        end=_end_in(content),
    )


def field_of(parent: Mapping[str, Any], name: str, other_name: str) -> Any:
    """The field under ``name``; under ``other_name`` where there is none, or null."""
    value = parent.get(name)
    return parent.get(other_name) if value is None else value


def _end_in(content: Mapping[str, Any]) -> End:
    status = str(field_of(content, "interactionStatus", "interaction_status")).upper()
    if field_of(content, "turnComplete", "turn_complete") is True:
        return End.PART if status == _PART_OVER else End.TURN
    return End.INTERACTION if status in _INTERACTION_OVER else End.NOTHING


def _issued_handle_in(event: Mapping[str, Any]) -> IssuedHandle | None:
    """The handle by which the session can be resumed, where ``event`` gives one."""
    update = field_of(event, "sessionResumptionUpdate", "session_resumption_update")
    value = field_of(update, "newHandle", "new_handle") if isinstance(update, dict) else None
    return IssuedHandle(HandleKind.SESSION, value) if isinstance(value, str) and value else None


def _begins_turn(event: Mapping[str, Any], content: Mapping[str, Any]) -> bool:
    """Whether the model says something: what ``BEGINS`` finds unparsed, or a transcribed text."""
    spoken = field_of(content, "outputTranscription", "output_transcription")
    return (
        field_of(content, "modelTurn", "model_turn") is not None
        or field_of(event, "toolCall", "tool_call") is not None
        or (isinstance(spoken, dict) and "text" in spoken)
    )
