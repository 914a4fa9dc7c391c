"""What Gemini Live refuses in a client's message beyond wrong types: names and values. Pure.

The names are those of ``google-genai``'s ``LiveClientMessage``, from which a test derives them
again, in camelCase. A name that is not there closes the session with 1007, as the real provider
does: ``Unknown name "soup" at 'setup': Cannot find field.``
"""

from collections.abc import Mapping
from typing import Any, Final

from simulator.gemini_errors import GeminiError
from simulator.openai_events import Event

# The fields of each message by the name of its type, and the types of those that are messages
# themselves. What has no type here is a value, belongs to the application, or is used by nobody.
FIELDS: Final[Mapping[str, Mapping[str, str]]] = {
    name: dict(part.partition(":")[::2] for part in fields.split())
    for name, fields in {
        "LiveClientMessage": (
            "setup:LiveClientSetup clientContent:LiveClientContent toolResponse:"
            "LiveClientToolResponse realtimeInput:LiveClientRealtimeInput contextUpdate:"
            "LiveClientContextUpdate"
        ),
        "LiveClientSetup": (
            "model generationConfig:GenerationConfig systemInstruction:Content tools:Tool"
            " sessionResumption:SessionResumptionConfig contextWindowCompression:"
            "ContextWindowCompressionConfig inputAudioTranscription:AudioTranscriptionConfig"
            " outputAudioTranscription:AudioTranscriptionConfig proactivity:ProactivityConfig"
            " explicitVadSignal historyConfig:HistoryConfig avatarConfig safetySettings labels"
            " realtimeInputConfig:RealtimeInputConfig"
        ),
        "GenerationConfig": (
            "modelSelectionConfig responseJsonSchema audioTimestamp candidateCount"
            " enableAffectiveDialog frequencyPenalty logprobs maxOutputTokens mediaResolution"
            " presencePenalty responseLogprobs responseMimeType responseModalities responseSchema"
            " routingConfig seed speechConfig:SpeechConfig stopSequences temperature"
            " thinkingConfig:ThinkingConfig topK topP enableEnhancedCivicAnswers responseFormat"
            " translationConfig audioTranscriptionConfig"
        ),
        "SpeechConfig": "voiceConfig:VoiceConfig languageCode multiSpeakerVoiceConfig",
        "VoiceConfig": "replicatedVoiceConfig prebuiltVoiceConfig:PrebuiltVoiceConfig voice",
        "PrebuiltVoiceConfig": "voiceName",
        "ThinkingConfig": "includeThoughts thinkingBudget thinkingLevel",
        "RealtimeInputConfig": (
            "automaticActivityDetection:AutomaticActivityDetection activityHandling turnCoverage"
            " interimTranscriptTimestampEnabled"
        ),
        "AutomaticActivityDetection": (
            "disabled startOfSpeechSensitivity endOfSpeechSensitivity prefixPaddingMs"
            " silenceDurationMs"
        ),
        "SessionResumptionConfig": "handle transparent",
        "ContextWindowCompressionConfig": "triggerTokens slidingWindow:SlidingWindow",
        "SlidingWindow": "targetTokens",
        "AudioTranscriptionConfig": (
            "languageCodes languageAuto languageHints customVocabulary adaptationPhrases"
            " wordTimestamp diarization mode sourceText"
        ),
        "ProactivityConfig": "proactiveAudio proactiveVideo",
        "HistoryConfig": "initialHistoryInClientContent",
        "Content": "parts:Part role",
        "Part": (
            "mediaResolution codeExecutionResult executableCode fileData functionCall:FunctionCall"
            " functionResponse:FunctionResponse inlineData:Blob text thought thoughtSignature"
            " videoMetadata toolCall toolResponse partMetadata audioTranscription mediaProcessing"
            " speechMetadata documentMetadata spreadsheetMetadata audioMetadata"
        ),
        "Blob": "data displayName mimeType",
        "Tool": (
            "retrieval computerUse fileSearch googleSearch googleMaps codeExecution"
            " enterpriseWebSearch functionDeclarations:FunctionDeclaration googleSearchRetrieval"
            " parallelAiSearch urlContext mcpServers exaAiSearch"
        ),
        "FunctionDeclaration": (
            "description name parameters:Schema parametersJsonSchema response:Schema"
            " responseJsonSchema behavior"
        ),
        "Schema": (
            "additionalProperties defs ref anyOf:Schema default description enum example format"
            " items:Schema maxItems maxLength maxProperties maximum minItems minLength"
            " minProperties minimum nullable pattern properties propertyOrdering required title"
            " type"
        ),
        "FunctionCall": "id args name partialArgs willContinue",
        "FunctionResponse": "willContinue scheduling parts id name response",
        "LiveClientContent": "turns:Content turnComplete",
        "LiveClientRealtimeInput": (
            "mediaChunks:Blob audio:Blob audioStreamEnd video:Blob text activityStart activityEnd"
        ),
        "LiveClientToolResponse": "functionResponses:FunctionResponse",
        "LiveClientContextUpdate": ("systemInstruction:Content tools:LiveClientContextUpdateTools"),
        "LiveClientContextUpdateTools": "tools:Tool",
    }.items()
}
# Fields whose value is one of a few names.
VALUES: Final[Mapping[str, tuple[str, ...]]] = {
    "responseModalities": ("TEXT", "AUDIO"),
    "activityHandling": ("START_OF_ACTIVITY_INTERRUPTS", "NO_INTERRUPTION"),
    "startOfSpeechSensitivity": ("START_SENSITIVITY_HIGH", "START_SENSITIVITY_LOW"),
    "endOfSpeechSensitivity": ("END_SENSITIVITY_HIGH", "END_SENSITIVITY_LOW"),
    "turnCoverage": (
        "TURN_INCLUDES_ONLY_ACTIVITY", "TURN_INCLUDES_ALL_INPUT",
        "TURN_INCLUDES_AUDIO_ACTIVITY_AND_ALL_VIDEO",
    ),
    "behavior": ("BLOCKING", "NON_BLOCKING"),
    "scheduling": ("SILENT", "WHEN_IDLE", "INTERRUPT"),
    "voiceName": (
        "Zephyr", "Puck", "Charon", "Kore", "Fenrir", "Leda", "Orus", "Aoede", "Callirrhoe",
        "Autonoe", "Enceladus", "Iapetus", "Umbriel", "Algieba", "Despina", "Erinome", "Algenib",
        "Rasalgethi", "Laomedeia", "Achernar", "Alnilam", "Schedar", "Gacrux", "Pulcherrima",
        "Achird", "Zubenelgenubi", "Vindemiatrix", "Sadachbia", "Sadaltager", "Sulafat",
    ),
}  # fmt: skip
SCHEMA_TYPES: Final = ("STRING", "NUMBER", "INTEGER", "BOOLEAN", "ARRAY", "OBJECT", "NULL")
_ROLES: Final = ("user", "model")


def check_fields(message: Event) -> None:
    """Refuse names and values that Gemini Live refuses; raises ``GeminiError``."""
    _check(message, "LiveClientMessage", "")


def _check(value: Any, kind: str, where: str) -> None:
    if value is None:
        return
    if isinstance(value, list):
        for number, part in enumerate(value):
            _check(part, kind, f"{where}[{number}]")
        return
    if not isinstance(value, dict):
        raise GeminiError(f"Invalid value at '{where[-60:]}' ({kind}).")
    _check_fields(value, kind, where)
    if kind == "Schema":
        _schema(value, where)
    elif kind == "Content" and value.get("role"):
        _one_of(value["role"], _ROLES, f"{where}.role")


def _check_fields(value: Event, kind: str, where: str) -> None:
    fields = FIELDS[kind]
    for name, part in value.items():
        at = f"{where}.{name}".lstrip(".")
        if name not in fields:
            raise GeminiError(f"Unknown name \"{name[:30]}\" at '{where[-50:]}': no such field.")
        if fields[name]:
            _check(part, fields[name], at)
        elif name in VALUES:
            _one_of(part, VALUES[name], at)


def _schema(schema: Event, where: str) -> None:
    """The types of a schema; what ``properties`` has is schemas by names of the application."""
    if isinstance(schema.get("type"), str):
        _one_of(schema["type"].upper(), SCHEMA_TYPES, f"{where}.type")
    properties = schema.get("properties")
    for name, part in (properties if isinstance(properties, dict) else {}).items():
        _check(part, "Schema", f"{where}.properties.{name[:20]}")


def _one_of(value: Any, allowed: tuple[str, ...], where: str) -> None:
    for found in value if isinstance(value, list) else [value]:
        if found is not None and found not in allowed:
            raise GeminiError(f"Invalid value at '{where[-50:]}': {str(found)[:30]!r}.")
