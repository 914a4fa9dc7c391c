"""What Gemini's server messages say, and how the few that matter are found unparsed. Pure.

Every field has two spellings: the API's camelCase, and the snake_case that protobuf's JSON accepts.
"""

import re
from collections.abc import Mapping
from typing import Any, Final

from gateway.handles.handle import HandleKind, IssuedHandle

# What makes a message worth parsing. A name may be spelled with an escape.
NEEDLES: Final = (
    b'"usageMetadata"', b'"turnComplete"', b'"setupComplete"', b'"interactionStatus"',
    b'"usage_metadata"', b'"turn_complete"', b'"setup_complete"', b'"interaction_status"',
    b'"interrupted"', b'"generationComplete"', b'"generation_complete"',
    b'"webSearchQueries"', b'"web_search_queries"',
    b'"sessionResumptionUpdate"', b'"session_resumption_update"', rb"\u",
)  # fmt: skip
USAGE: Final = re.compile(rb'"usage_?[mM]etadata"')
# Names by which the model begins a turn. A transcription may begin one, too; but Vertex AI sends
# empty ones, which begin nothing, so a message with one is parsed.
BEGINS: Final = re.compile(rb'"(?:modelTurn|toolCall)"')
MAY_BEGIN: Final = b'"outputTranscription"'
# What comes before the end of a turn even when the model said nothing in it.
ENDINGS: Final = ("interrupted", "generationComplete", "generation_complete")
# Models that only transcribe, by their names, and the words that they deliver.
TRANSCRIBES: Final = "transcribe"
TRANSCRIBED_TEXT: Final = re.compile(rb'"input_?[tT]ranscription"\s*:\s*\{[^}]*"text"')
# Values of interactionStatus by which the model has finished; the second one is an old name.
INTERACTION_OVER: Final = ("IDLE", "REQUIRES_ACTION")


def field_of(parent: Mapping[str, Any], name: str, other_name: str) -> Any:
    """A field by the first of its two spellings that has a value."""
    value = parent.get(name)
    return parent.get(other_name) if value is None else value


def issued_handle_in(event: Mapping[str, Any]) -> IssuedHandle | None:
    """The handle by which the session can be resumed, where ``event`` gives one."""
    update = field_of(event, "sessionResumptionUpdate", "session_resumption_update")
    value = field_of(update, "newHandle", "new_handle") if isinstance(update, dict) else None
    return IssuedHandle(HandleKind.SESSION, value) if isinstance(value, str) and value else None


def begins_turn(event: Mapping[str, Any], content: Mapping[str, Any]) -> bool:
    """What ``BEGINS`` searches for, in a message that was parsed."""
    spoken = field_of(content, "outputTranscription", "output_transcription")
    return (
        field_of(content, "modelTurn", "model_turn") is not None
        or field_of(event, "toolCall", "tool_call") is not None
        or (isinstance(spoken, dict) and "text" in spoken)
    )
