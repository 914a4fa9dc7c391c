"""Sessions of Gemini Live, and what they cost: the Developer API and Vertex AI."""

from dataclasses import replace
from typing import Any

from gateway.metering.base import Metered
from shared.usage import Kind, Usage
from tests.support.golden import Event, Script, Step, charge, strange

MODEL = "gemini-3.1-flash-live"
AUDIO = "UklGRiQAAABXQVZF" * 40
QUOTE = '{"serverContent":{"turnComplete":true},"usageMetadata":{"promptTokenCount":7}}'

USAGE: Event = {
    "promptTokenCount": 1185, "responseTokenCount": 51, "totalTokenCount": 1236,
    "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 1000},
                            {"modality": "AUDIO", "tokenCount": 160}],
    "responseTokensDetails": [{"modality": "AUDIO", "tokenCount": 51}],
}  # fmt: skip
SECOND: Event = {"promptTokenCount": 1251, "responseTokenCount": 63, "totalTokenCount": 1314}
FIRST_CHARGE = charge("turn_1", MODEL, (1185, 51, 1236), into=(1000, 160, 0, 0), out=(0, 51, 0))
SECOND_CHARGE = charge("turn_2", MODEL, (1251, 63, 1314))


def grounding(turn: Metered, queries: int) -> Metered:
    """A turn that was looked up with so many queries."""
    return replace(turn, usage=turn.usage + Usage(grounding_queries=queries))


def server(**fields: Any) -> Step:
    """A message of the server, in a binary frame."""
    return Step(fields, is_binary=True)


def content(usage: Any = None, **fields: Any) -> Step:
    """``serverContent``, with usage beside it if there is any."""
    beside = {} if usage is None else {"usageMetadata": usage}
    return server(serverContent=fields, **beside)


def usage_alone(usage: Any) -> Step:
    """A message with nothing but usage."""
    return server(usageMetadata=usage)


def complete(usage: Any = None, **fields: Any) -> Step:
    """The end of a turn."""
    return content(usage, turnComplete=True, **fields)


SETUP = Step({"setup": {"model": f"models/{MODEL}"}}, is_client=True)
READY = server(setupComplete={})
SPEECH = content(
    modelTurn={"parts": [{"inlineData": {"mimeType": "audio/pcm;rate=24000", "data": AUDIO}}]}
)
WORDS = content(outputTranscription={"text": QUOTE})
HEARD = content(inputTranscription={"text": QUOTE})
GENERATED = content(generationComplete=True)
TOOL = server(toolCall={"functionCalls": [{"id": "1", "name": "quote", "args": {"text": QUOTE}}]})
TURN = (HEARD, WORDS, SPEECH, SPEECH, GENERATED)


def gemini(
    name: str, *steps: Step, expected: tuple[Any, ...], setup: Step = SETUP, shape: str = "gemini"
) -> Script:
    """A session that has been set up."""
    return Script(f"Gemini, {name}", shape, "", (setup, READY, *steps), expected)


def one(name: str, usage: Any, *expected: Any, shape: str = "gemini") -> Script:
    """A session with one turn."""
    return gemini(name, *TURN, complete(usage), expected=expected, shape=shape)


NAMES = [
    one("Developer API", USAGE, FIRST_CHARGE),
    one(
        "Vertex AI",
        {"promptTokenCount": 40, "candidatesTokenCount": 20, "totalTokenCount": 60,
         "promptTokensDetails": [{"modality": "AUDIO", "tokenCount": 40}],
         "candidatesTokensDetails": [{"modality": "AUDIO", "tokenCount": 15},
                                     {"modality": "TEXT", "tokenCount": 5}],
         "trafficType": "ON_DEMAND"},
        charge("turn_1", MODEL, (40, 20, 60), into=(0, 40, 0, 0), out=(5, 15, 0),
               raw={"trafficType": "ON_DEMAND"}),
    ),
    one("both spellings of the answer",
        {**USAGE, "candidatesTokenCount": 51,
         "candidatesTokensDetails": [{"modality": "AUDIO", "tokenCount": 51}]}, FIRST_CHARGE),
    one("both spellings, one of them without a count",
        {"promptTokenCount": 40, "responseTokenCount": 0, "responseTokensDetails": [],
         "candidatesTokenCount": 20,
         "candidatesTokensDetails": [{"modality": "AUDIO", "tokenCount": 20}]},
        charge("turn_1", MODEL, (40, 20, 60), out=(0, 20, 0))),
    one("snake_case",
        {"prompt_token_count": 9, "response_token_count": 4,
         "prompt_tokens_details": [{"modality": "TEXT", "token_count": 9}]},
        charge("turn_1", MODEL, (9, 4, 13), into=(9, 0, 0, 0))),
    gemini("snake_case throughout", server(server_content={"model_turn": {"parts": []}}),
           server(server_content={"turn_complete": True},
                  usage_metadata={"prompt_token_count": 9, "response_token_count": 4}),
           expected=(charge("turn_1", MODEL, (9, 4, 13)),)),
]  # fmt: skip

COUNTS = [
    one("no response count", {"promptTokenCount": 187, "totalTokenCount": 187},
        charge("turn_1", MODEL, (187, 0, 187))),
    one("zero counts left out",
        {"promptTokenCount": 30, "responseTokenCount": 2, "totalTokenCount": 32,
         "promptTokensDetails": [{"modality": "AUDIO"}, {"modality": "TEXT", "tokenCount": 30}],
         "responseTokensDetails": [{"modality": "AUDIO"}]},
        charge("turn_1", MODEL, (30, 2, 32), into=(30, 0, 0, 0))),
    one("thoughts", {"promptTokenCount": 1197, "responseTokenCount": 37, "thoughtsTokenCount": 28,
                     "totalTokenCount": 1234},
        charge("turn_1", MODEL, (1197, 65, 1262), out=(0, 0, 28))),
    one("tool use",
        {"promptTokenCount": 100, "toolUsePromptTokenCount": 50, "responseTokenCount": 10,
         "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 100}],
         "toolUsePromptTokensDetails": [{"modality": "TEXT", "tokenCount": 50}]},
        charge("turn_1", MODEL, (150, 10, 160), into=(150, 0, 0, 0))),
    one("cached",
        {"promptTokenCount": 100, "cachedContentTokenCount": 64, "responseTokenCount": 10,
         "cacheTokensDetails": [{"modality": "TEXT", "tokenCount": 64}]},
        charge("turn_1", MODEL, (100, 10, 110), into=(0, 0, 0, 64), cached=(64, 0, 0))),
    one("cached by modality",
        {"promptTokenCount": 400, "cachedContentTokenCount": 208, "responseTokenCount": 10,
         "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 100},
                                 {"modality": "AUDIO", "tokenCount": 200},
                                 {"modality": "IMAGE", "tokenCount": 100}],
         "cacheTokensDetails": [{"modality": "TEXT", "tokenCount": 64},
                                {"modality": "AUDIO", "tokenCount": 96},
                                {"modality": "VIDEO", "tokenCount": 48}]},
        charge("turn_1", MODEL, (400, 10, 410), into=(100, 200, 100, 208), cached=(64, 96, 48))),
    one("details short of the count",
        {"promptTokenCount": 500, "responseTokenCount": 10,
         "promptTokensDetails": [{"modality": "AUDIO", "tokenCount": 460}]},
        charge("turn_1", MODEL, (500, 10, 510), into=(0, 460, 0, 0))),
    one("pictures and documents",
        {"promptTokenCount": 900, "responseTokenCount": 10,
         "promptTokensDetails": [{"modality": "IMAGE", "tokenCount": 258},
                                 {"modality": "VIDEO", "tokenCount": 300},
                                 {"modality": "MODALITY_UNSPECIFIED", "tokenCount": 2},
                                 {"modality": "DOCUMENT", "tokenCount": 340}]},
        charge("turn_1", MODEL, (900, 10, 910), into=(2, 0, 558, 0),
               raw={"promptTokensDetails": [{"modality": "DOCUMENT", "tokenCount": 340}]})),
    one("a picture as the answer",
        {"promptTokenCount": 20, "responseTokenCount": 1300,
         "responseTokensDetails": [{"modality": "IMAGE", "tokenCount": 1290},
                                   {"modality": "TEXT", "tokenCount": 10}]},
        charge("turn_1", MODEL, (20, 1300, 1320), out=(10, 0, 0),
               raw={"responseTokensDetails": [{"modality": "IMAGE", "tokenCount": 1290}]})),
    one("a total of nothing", {"totalTokenCount": 0}, charge("turn_1", MODEL)),
    one("service tier and the future", {**USAGE, "serviceTier": "priority", "smellTokenCount": 4},
        charge("turn_1", MODEL, (1185, 51, 1236), into=(1000, 160, 0, 0), out=(0, 51, 0),
               raw={"serviceTier": "priority", "smellTokenCount": 4})),
    one("empty", {}),
    *(one(f"usage {wrong!r}", wrong, strange("turn_1", MODEL, wrong), shape="odd")
      for wrong in (0, "", [], False, 7, "many", {"promptTokenCount": -1},
                    {"promptTokensDetails": {}}, {"totalTokenCount": 120},
                    {"total_token_count": 120, "cachedContentTokenCount": 0},
                    {"promptTokensDetails": [{"modality": "TEXT", "tokenCount": 9_000_000}] * 2})),
]  # fmt: skip

ASK = Step({"clientContent": {"turnComplete": True}}, is_client=True)
INTERRUPTED = content(interrupted=True)
SILENT = [
    gemini("silent turns that were asked for and cost the same", ASK, complete(SECOND), ASK,
           complete(SECOND), expected=(charge("turn_1", MODEL, (1251, 63, 1314)), SECOND_CHARGE)),
    gemini("silent turns that were interrupted and cost the same", INTERRUPTED, complete(SECOND),
           INTERRUPTED, complete(SECOND),
           expected=(charge("turn_1", MODEL, (1251, 63, 1314)), SECOND_CHARGE)),
    gemini("silent turns, each generated", GENERATED, complete(SECOND), GENERATED,
           complete(SECOND), expected=(charge("turn_1", MODEL, (1251, 63, 1314)), SECOND_CHARGE)),
    gemini("the end of a silent turn, repeated", ASK, INTERRUPTED, complete(USAGE), complete(USAGE),
           expected=(FIRST_CHARGE,)),
    gemini("asked for, and never answered", ASK,
           expected=(charge("turn_1", MODEL, kind=Kind.ESTIMATE),)),
    gemini("over, and never reported", WORDS, GENERATED, complete(),
           expected=(charge("turn_1", MODEL, kind=Kind.ESTIMATE),)),
    Script("Gemini, asked for before it was refused", "gemini", "", (SETUP, ASK), ()),
]  # fmt: skip

TURNS = [
    gemini("two turns", *TURN, complete(USAGE), *TURN, complete(SECOND),
           expected=(FIRST_CHARGE, SECOND_CHARGE)),
    gemini("two turns that cost the same", *TURN, complete(SECOND), *TURN, complete(SECOND),
           expected=(charge("turn_1", MODEL, (1251, 63, 1314)), SECOND_CHARGE)),
    gemini("Vertex AI, a tool between two generations", TOOL, complete(USAGE), *TURN,
           complete(SECOND), expected=(FIRST_CHARGE, SECOND_CHARGE)),
    gemini("Developer API, a tool within a turn", TOOL, *TURN, complete(USAGE),
           expected=(FIRST_CHARGE,)),
    gemini("before the end", *TURN, usage_alone(USAGE), complete(), *TURN, usage_alone(SECOND),
           complete(), expected=(FIRST_CHARGE, SECOND_CHARGE)),
    gemini("before the beginning", usage_alone(USAGE), *TURN, complete(), usage_alone(SECOND),
           *TURN, complete(), expected=(FIRST_CHARGE, SECOND_CHARGE)),
    gemini("after the end", *TURN, complete(), usage_alone(USAGE), *TURN, complete(),
           usage_alone(SECOND), expected=(FIRST_CHARGE, SECOND_CHARGE)),
    gemini("twice: before and beside", *TURN, usage_alone(USAGE), complete(USAGE), *TURN,
           usage_alone(SECOND), complete(SECOND), expected=(FIRST_CHARGE, SECOND_CHARGE)),
    gemini("twice: beside and after", *TURN, complete(USAGE), usage_alone(USAGE), *TURN,
           complete(SECOND), usage_alone(SECOND), expected=(FIRST_CHARGE, SECOND_CHARGE)),
    gemini("twice: both after", *TURN, complete(), usage_alone(USAGE), usage_alone(USAGE),
           expected=(FIRST_CHARGE,)),
    gemini("grown before the end", *TURN, usage_alone(USAGE), usage_alone(SECOND), complete(),
           expected=(charge("turn_1", MODEL, (1251, 63, 1314)),)),
    gemini("a new record after the end", *TURN, complete(USAGE), usage_alone(SECOND),
           expected=(FIRST_CHARGE, SECOND_CHARGE)),
    gemini("closed before the end", *TURN, usage_alone(USAGE), expected=(FIRST_CHARGE,)),
    gemini("interrupted", WORDS, SPEECH, content(interrupted=True), complete(USAGE), *TURN,
           complete(SECOND), expected=(FIRST_CHARGE, SECOND_CHARGE)),
    gemini("everything in one message",
           content(USAGE, modelTurn={"parts": [{"text": "Yes."}]}, turnComplete=True,
                   outputTranscription={"text": "Yes."}), expected=(FIRST_CHARGE,)),
    gemini("nothing was said, nothing reported", complete(), complete(), HEARD, expected=()),
    gemini("empty transcriptions of Vertex AI", *TURN,
           complete(groundingMetadata={}), content(outputTranscription={}),
           content(outputTranscription={"finished": True}), usage_alone(USAGE), *TURN,
           complete(SECOND), expected=(FIRST_CHARGE, SECOND_CHARGE)),
    gemini("parts of an answer", *TURN, complete(interactionStatus="IN_PROGRESS"), *TURN,
           complete(USAGE, interactionStatus="IDLE"), expected=(FIRST_CHARGE,)),
    gemini("parts with usage of their own", *TURN, complete(USAGE, interactionStatus="IN_PROGRESS"),
           *TURN, complete(SECOND, interactionStatus="IDLE"),
           expected=(FIRST_CHARGE, SECOND_CHARGE)),
    gemini("parts, the first of them by a name that another reader takes for the end", *TURN,
           complete(USAGE, interactionStatus="REQUIRES_ACTION"), *TURN,
           complete(SECOND, interactionStatus="IDLE"), expected=(FIRST_CHARGE, SECOND_CHARGE)),
    gemini("parts with one usage, after what another reader takes for the end", *TURN,
           complete(interactionStatus="REQUIRES_ACTION"), *TURN,
           complete(USAGE, interactionStatus="IDLE"), expected=(FIRST_CHARGE,)),
    gemini("idle by itself", *TURN, complete(USAGE, interactionStatus="IN_PROGRESS"),
           content(interactionStatus="IDLE"), expected=(FIRST_CHARGE,)),
]  # fmt: skip


def grounded(*queries: str) -> Event:
    """What was searched for, as a frame says it."""
    chunk = {"web": {"uri": "https://example.org", "title": QUOTE}}
    return {"webSearchQueries": list(queries), "groundingChunks": [chunk]}


LOOKED_UP = content(modelTurn={"parts": [{"text": "As "}]}, groundingMetadata=grounded("a", "b"))
AGAIN = content(
    outputTranscription={"text": "I read,"}, groundingMetadata=grounded("a", "b", "a")
)  # fmt: skip
GROUNDED = [
    gemini("queries, repeated on every frame", LOOKED_UP, AGAIN, *TURN,
           complete(USAGE, groundingMetadata=grounded("b", "c")), *TURN, LOOKED_UP,
           complete(SECOND),
           expected=(grounding(FIRST_CHARGE, 3), grounding(SECOND_CHARGE, 2))),
    gemini("Vertex AI, nothing looked up", *TURN, complete(USAGE, groundingMetadata={}),
           expected=(FIRST_CHARGE,)),
    gemini("queries of a turn that is never reported", LOOKED_UP, AGAIN,
           expected=(charge("turn_1 queries", MODEL, pieces=(0, 2, 0)),
                     charge("turn_1", MODEL, kind=Kind.ESTIMATE))),
]  # fmt: skip


def setup(model: str, **more: Any) -> Step:
    """A setup that asks for ``model``."""
    return Step({"setup": {"model": model, **more}}, is_client=True)


PUBLISHED = f"projects/p/locations/l/publishers/google/models/{MODEL}"
OTHERS = [
    gemini("Vertex AI's model", *TURN, complete(USAGE), expected=(FIRST_CHARGE,),
           setup=setup(PUBLISHED)),
    gemini("a bare model", *TURN, complete(USAGE), expected=(FIRST_CHARGE,),
           setup=setup(MODEL, generation_config={"candidate_count": 1})),
    Script("the setup is not accepted yet", "gemini", "", (SETUP, *TURN, complete(USAGE)),
           (charge("turn_1", "", (1185, 51, 1236), into=(1000, 160, 0, 0), out=(0, 51, 0)),)),
    gemini("in text frames", *(Step(step.event) for step in (*TURN, complete(USAGE))),
           expected=(FIRST_CHARGE,)),
    gemini("a farewell", *TURN, complete(USAGE), server(goAway={"timeLeft": "50s"}),
           server(sessionResumptionUpdate={"newHandle": QUOTE, "resumable": True}),
           server(toolCallCancellation={"ids": ["1"]}), expected=(FIRST_CHARGE,)),
    gemini("a BOM", *TURN,
           Step(raw=b"\xef\xbb\xbf" + complete(USAGE).text(), is_binary=True),
           expected=(FIRST_CHARGE,), shape="odd"),
]  # fmt: skip

SCRIPTS = NAMES + COUNTS + SILENT + TURNS + GROUNDED + OTHERS
