"""Every rule of the grammar of Gemini Live can fail, and a right session does not."""

import copy
import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.support.grammar_gemini import Checker

Message = dict[str, Any]
Change = Callable[[list[Message]], object]


def content(**fields: Any) -> Message:
    """A serverContent."""
    return {"serverContent": fields}


def audio(data: str = "AAA=", mime_type: str = "audio/pcm;rate=24000") -> Message:
    """A piece of speech."""
    return content(modelTurn={"parts": [{"inlineData": {"data": data, "mimeType": mime_type}}]})


def ending(**fields: Any) -> Message:
    """turnComplete with its usage."""
    usage = {
        "promptTokenCount": 10, "responseTokenCount": 5, "thoughtsTokenCount": 2,
        "totalTokenCount": 15, "cachedContentTokenCount": 4,
        "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 10}],
    }  # fmt: skip
    return {**content(turnComplete=True, **fields), "usageMetadata": usage}


CALL = {"toolCall": {"functionCalls": [{"id": "c1", "name": "weather", "args": {}}]}}
WORDS = content(outputTranscription={"text": "Good"})
GENERATED, INTERRUPTED = content(generationComplete=True), content(interrupted=True)
ANOTHER = {"toolCall": {"functionCalls": [{"id": "c9", "name": "weather", "args": {}}]}}
TAKEN_BACK = {"toolCallCancellation": {"ids": ["c1"]}}
HANDLE = {"sessionResumptionUpdate": {"newHandle": "h", "resumable": True}}
GO_AWAY = {"goAway": {"timeLeft": "50s"}}
SESSION: list[Message] = [
    {"setupComplete": {}},
    content(inputTranscription={"text": "Hello"}),
    WORDS, audio(), GENERATED, ending(),
    HANDLE,
    CALL, TAKEN_BACK, INTERRUPTED, content(inputTranscription={"text": "Stop"}), ending(),
    GO_AWAY,
    audio(), ending(turnCompleteReason="RESPONSE_REJECTED"),
    {**ANOTHER, "usageMetadata": {"promptTokenCount": 5}}, audio(), GENERATED, ending(),
]  # fmt: skip


def check(messages: list[Message]) -> None:
    """The whole session."""
    checker = Checker()
    for message in messages:
        checker.see(json.dumps(message).encode())
    checker.finish()


def test_the_session_is_right() -> None:
    """Otherwise the changes below would prove nothing."""
    check(SESSION)


def insert(at: int, *messages: Message) -> Change:
    """More messages."""
    return lambda session: session.__setitem__(slice(at, at), messages)


def put(at: int, message: Message) -> Change:
    """Another message in its place."""
    return lambda session: session.__setitem__(at, message)


def drop(at: int) -> Change:
    """A message is missing."""
    return lambda session: session.pop(at)


def usage(at: int, **counts: Any) -> Change:
    """Other counts."""
    return lambda session: session[at]["usageMetadata"].update(counts)


WRONG: list[tuple[str, Change]] = [
    ("not the SDK's", put(1, {"serverContents": {}})),
    ("not the SDK's", put(1, content(turnCompleted=True))),
    ("not the SDK's", usage(5, candidatesTokenCount=5)),
    ("several at once", put(1, {**WORDS, **CALL})),
    ("an empty message", put(1, {})),
    ("usageMetadata on its own", put(6, {"usageMetadata": {}})),
    ("must be first", drop(0)),
    ("and once", insert(1, {"setupComplete": {}})),
    ("goAway twice", insert(12, GO_AWAY)),
    ("without timeLeft", put(12, {"goAway": {}})),
    ("without a handle", put(6, {"sessionResumptionUpdate": {"resumable": True}})),
    ("an empty serverContent", put(2, {"serverContent": {}})),
    ("modelTurn in a turn that is", insert(5, audio())),
    ("outputTranscription in a turn that is", insert(5, WORDS)),
    ("modelTurn in a turn that is", insert(10, audio())),
    ("outputTranscription in a turn that is", insert(10, WORDS)),
    ("interrupted twice", insert(10, INTERRUPTED)),
    ("generationComplete while", insert(5, GENERATED)),
    ("generationComplete while", insert(10, GENERATED)),
    ("generationComplete while", insert(1, GENERATED)),
    ("turnComplete without a turn", insert(6, ending())),
    ("without generationComplete", drop(4)),
    ("turnComplete is missing", drop(18)),
    ("a modelTurn without parts", put(3, content(modelTurn={"parts": []}))),
    ("a part that is nothing", put(3, content(modelTurn={"parts": [{}]}))),
    ("audio as", put(3, audio(mime_type="audio/pcm;rate=16000"))),
    ("half a sample", put(3, audio("AA=="))),
    ("not the SDK's|no base64", put(3, audio("%%"))),
    ("without functionCalls", put(7, {"toolCall": {}})),
    ("toolCall in a turn", insert(10, CALL)),
    ("without a name", put(7, {"toolCall": {"functionCalls": [{"id": "c1"}]}})),
    ("without an id", put(7, {"toolCall": {"functionCalls": [{"name": "weather"}]}})),
    ("call c1 twice", insert(13, CALL)),
    ("was never called", put(8, {"toolCallCancellation": {"ids": ["c2"]}})),
    ("taken back twice", insert(8, TAKEN_BACK)),
    ("not beside turnComplete", put(4, {**GENERATED, "usageMetadata": {}})),
    ("a negative count", usage(5, promptTokenCount=-1)),
    ("the total", usage(5, totalTokenCount=16)),
    ("more cached", usage(5, cachedContentTokenCount=11)),
    ("Details are", usage(5, promptTokensDetails=[{"modality": "TEXT", "tokenCount": 11}])),
    ("Details are", usage(5, responseTokensDetails=[{"modality": "TEXT", "tokenCount": 6}])),
]


@pytest.mark.parametrize(("text", "change"), WRONG)
def test_a_rule_can_fail(text: str, change: Change) -> None:
    """A session that breaks it is refused, and told why."""
    session = copy.deepcopy(SESSION)
    change(session)
    with pytest.raises(AssertionError, match=text):
        check(session)


def test_a_usage_may_be_loose_where_that_is_said() -> None:
    """Alone, and twice."""
    checker = Checker(has_loose_usage=True)
    for message in [SESSION[0], audio(), GENERATED, {"usageMetadata": {}}, ending()]:
        checker.see(message)
    checker.finish()


def test_a_cut_session_need_not_be_whole() -> None:
    """Whatever was open."""
    for end in range(1, len(SESSION)):
        checker = Checker()
        for message in SESSION[:end]:
            checker.see(message)
        checker.finish(is_cut=True)
    with pytest.raises(AssertionError, match="no message"):
        Checker().finish(is_cut=True)


def test_vertex_has_names_of_its_own() -> None:
    """Calls without ids, and a turn that ends with one."""
    call = {"toolCall": {"functionCalls": [{"name": "weather", "args": {}}]}}
    last = {**content(turnComplete=True), "usageMetadata": {"candidatesTokenCount": 5}}
    checker = Checker(is_vertex=True)
    for message in [{"setupComplete": {"sessionId": "s"}}, call, last]:
        checker.see(message)
    checker.finish()
