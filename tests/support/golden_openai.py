"""Sessions of the OpenAI family, and what they cost: OpenAI, Azure, xAI, GPT-Live."""

from gateway.metering.base import Unreadable
from shared.usage import Kind
from tests.support.golden import Script, Step, charge, strange
from tests.support.golden_live import GPT_LIVE
from tests.support.golden_openai_events import (
    ARGUMENTS,
    AUDIO,
    BETA,
    GA,
    HEARD,
    LIMITS,
    QUOTE,
    SPLITS,
    SPOKEN,
    TOKENS,
    USAGE,
    WHISPER,
    WORDS,
    ZEROS,
    created,
    done,
    ga,
    partial,
    server,
    session,
    transcribed,
)
from tests.support.golden_xai import XAI

STATUSES = [
    ga("completed", session(), created(), WORDS, AUDIO, ARGUMENTS, done(), LIMITS,
       expected=(SPOKEN,)),
    ga("cancelled", created(), AUDIO, done(status="cancelled"), expected=(SPOKEN,)),
    ga("incomplete", created(), AUDIO, done(status="incomplete"), expected=(SPOKEN,)),
    ga("failed", created(), done(ZEROS, status="failed"), expected=(charge("resp_1", GA),)),
]  # fmt: skip

PARTIAL = [
    partial("usage null", None),
    partial("usage absent", ...),
    partial("usage empty", {}),
    partial("only total", {"total_tokens": 9}, charge("resp_1", GA, (0, 0, 9))),
    partial("only input", {"input_tokens": 9}, charge("resp_1", GA, (9, 0, 9))),
    partial("only output", {"output_tokens": 9}, charge("resp_1", GA, (0, 9, 9))),
    partial("input and total", {"input_tokens": 4, "total_tokens": 9},
            charge("resp_1", GA, (4, 5, 9))),
    partial("output and total", {"output_tokens": 4, "total_tokens": 9},
            charge("resp_1", GA, (5, 4, 9))),
    partial("details null", {"input_tokens": 4, "input_token_details": None},
            charge("resp_1", GA, (4, 0, 4))),
    partial(
        "fields of the future",
        {**USAGE, "cost_usd": 0.5,
         "input_token_details": {
             **USAGE["input_token_details"],
             "cached_tokens_details": {"text_tokens": 16, "video_tokens": 2, "audio_tokens": 0},
         },
         "output_token_details": {"text_tokens": 34, "audio_tokens": 144,
                                                           "video_tokens": 3, "odour_tokens": 0}},
        charge("resp_1", GA, (52, 178, 230), **SPLITS
               | {"raw": {
                   "cost_usd": 0.5,
                   "input_token_details": {"cached_tokens_details": {"video_tokens": 2}},
                   "output_token_details": {"video_tokens": 3},
               }}),
    ),
    partial(
        "images",
        {"total_tokens": 90, "input_tokens": 80, "output_tokens": 10,
         "input_token_details": {"text_tokens": 5, "audio_tokens": 10, "image_tokens": 65,
                                 "cached_tokens": 40,
                                 "cached_tokens_details": {"image_tokens": 40}},
         "output_token_details": {"text_tokens": 10}},
        charge("resp_1", GA, (80, 10, 90), into=(5, 10, 65, 40), out=(10, 0, 0),
               cached=(0, 0, 40)),
    ),
    partial(
        "cached by modality",
        {"total_tokens": 290, "input_tokens": 280, "output_tokens": 10,
         "input_token_details": {"text_tokens": 100, "audio_tokens": 115, "image_tokens": 65,
                                 "cached_tokens": 208,
                                 "cached_tokens_details": {"text_tokens": 64, "audio_tokens": 96,
                                                           "image_tokens": 48}}},
        charge("resp_1", GA, (280, 10, 290), into=(100, 115, 65, 208), cached=(64, 96, 48)),
    ),
    *(
        partial(f"usage {wrong!r}", wrong, strange("resp_1", GA, wrong), shape="odd")
        for wrong in (False, 0, "", [], [5], "many", 7, True)
    ),
    partial("total below a part", {"input_tokens": 5, "total_tokens": 4},
            strange("resp_1", GA, {"input_tokens": 5, "total_tokens": 4})),
]  # fmt: skip

ORDER = [
    ga("two responses in flight", created(), created("resp_2"), done(name="resp_2"), done(),
       expected=(charge("resp_2", GA, (52, 178, 230), **SPLITS), SPOKEN)),
    ga("repeated", created(), done(), done(), done(), expected=(SPOKEN,)),
    ga("null, then the real one", created(), done(None), done(), expected=(SPOKEN,)),
    ga("strange, then the real one", created(), done({"input_tokens": -1}), done(), done(),
       expected=(strange("resp_1", GA, {"input_tokens": -1}), SPOKEN)),
    ga("real, then a strange one", created(), done(), done({"input_tokens": -1}),
       expected=(SPOKEN,)),
    ga("no response id, repeated", done(name=""), done(name=""),
       expected=(charge("", GA, (52, 178, 230), **SPLITS),)),
    ga("an item with a response's id", session(), transcribed(TOKENS, item="resp_1"), created(),
       done(), transcribed(TOKENS, number=2, item="resp_1"),
       expected=(charge("resp_1", WHISPER, (38, 10, 48), into=(10, 28, 0, 0),
                        kind=Kind.TRANSCRIPTION), SPOKEN,
                 charge("resp_1", WHISPER, (38, 10, 48), into=(10, 28, 0, 0),
                        kind=Kind.TRANSCRIPTION))),
]  # fmt: skip

MODELS = [
    ga("the server names another model", session("gpt-realtime-2026"), created(), done(),
       session("gpt-realtime-2027", kind="session.updated"), created("resp_2"), done(name="resp_2"),
       expected=(charge("resp_1", "gpt-realtime-2026", (52, 178, 230), **SPLITS),
                 charge("resp_2", "gpt-realtime-2027", (52, 178, 230), **SPLITS))),
    ga("the server names none", session("", kind="session.updated"), done(), expected=(SPOKEN,)),
    Script(
        "a transcription session", "beta", "",
        (server("transcription_session.updated",
                session={"client_secret": {"value": "ek", "expires_at": 1},
                         "input_audio_transcription": {"model": "whisper-1"}}),
         transcribed(TOKENS)),
        (charge("item_u", "whisper-1", (38, 10, 48), into=(10, 28, 0, 0),
                kind=Kind.TRANSCRIPTION),),
    ),
]  # fmt: skip

TRANSCRIPTIONS = [
    ga("tokens before the response", session(), transcribed(TOKENS), created(), done(),
       expected=(HEARD, SPOKEN)),
    ga("tokens within the response", session(), created(), AUDIO, transcribed(TOKENS), done(),
       expected=(HEARD, SPOKEN)),
    ga("tokens after the response", session(), created(), done(), LIMITS, transcribed(TOKENS),
       expected=(SPOKEN, HEARD)),
    ga("duration", session(), transcribed({"type": "duration", "seconds": 3.0015}),
       expected=(charge("item_u", WHISPER, kind=Kind.TRANSCRIPTION, ms=3002),)),
    ga("duration and more", session(),
       transcribed({"type": "duration", "seconds": 3, "channels": 2}),
       expected=(charge("item_u", WHISPER, kind=Kind.TRANSCRIPTION, ms=3000,
                        raw={"channels": 2}),)),
    ga("seconds without a type", session(), transcribed({"seconds": 3}),
       transcribed({"type": "tokens", "seconds": 0.25, "total_tokens": None}, number=2),
       expected=(charge("item_u", WHISPER, kind=Kind.TRANSCRIPTION, ms=3000),
                 charge("item_u", WHISPER, kind=Kind.TRANSCRIPTION, ms=250)), shape="odd"),
    ga("a duration and tokens", session(),
       transcribed({**TOKENS, "type": "duration", "seconds": 3}),
       transcribed({**TOKENS, "seconds": 3}, number=2),
       expected=(charge("item_u", WHISPER, kind=Kind.TRANSCRIPTION, ms=3000,
                        raw={name: value for name, value in TOKENS.items() if name != "type"}),
                 charge("item_u", WHISPER, (38, 10, 48), into=(10, 28, 0, 0),
                        kind=Kind.TRANSCRIPTION, raw={"seconds": 3})), shape="odd"),
    *(ga(f"a transcription that counts {unknown}", session(), transcribed(unknown),
         expected=(strange("item_u", WHISPER, unknown),), shape="odd")
      for unknown in ({"type": "duration"}, {"type": "duration", "duration": 3}, {"minutes": 1},
                      {"type": "duration", "seconds": "3"}, {"seconds": None}, {"type": "tokens"})),
    ga("no transcription usage", session(), transcribed(...), transcribed(None, number=2),
       transcribed({}, number=3), shape="odd"),
    ga("endless seconds", session(), transcribed({"type": "duration", "seconds": 10**400}),
       expected=(strange("item_u", WHISPER, {"type": "duration", "seconds": 10**400}),),
       shape="odd"),
    ga("several for one item", session(), transcribed(TOKENS), transcribed(TOKENS, number=2),
       transcribed(TOKENS, number=2), expected=(HEARD, HEARD)),
    ga("the model that transcribes is kept", session(),
       session(kind="session.updated", whisper=""), transcribed(TOKENS), expected=(HEARD,)),
    ga("the model that transcribes is unknown", transcribed(TOKENS),
       expected=(charge("item_u", GA, (38, 10, 48), into=(10, 28, 0, 0),
                        kind=Kind.TRANSCRIPTION),)),
]  # fmt: skip

AZURE = [
    Script(
        "Azure Voice Live", "beta", BETA,
        (server("session.created", session={
            "id": "sess_1", "model": "gpt-4o-mini-realtime-preview",
            "modalities": ["audio", "text"],
            "input_audio_transcription": {"model": "azure-speech"}}),
         server("conversation.item.created", previous_item_id=None,
                item={"id": "item_1", "type": "message", "role": "user", "content": []}),
         created(),
         server("response.audio.delta", response_id="resp_1", item_id="item_1", output_index=0,
                content_index=0, delta="UklGRg" * 40),
         transcribed({"type": "duration", "seconds": 4}),
         done({"total_tokens": 211, "input_tokens": 103, "output_tokens": 108,
               "input_token_details": {"text_tokens": 83, "audio_tokens": 20, "cached_tokens": 64,
                                       "cached_tokens_details": {"text_tokens": 64}},
               "output_token_details": {"text_tokens": 18, "audio_tokens": 70,
                                        "reasoning_tokens": 20}}, part="audio"),
         LIMITS),
        (charge("item_u", "azure-speech", kind=Kind.TRANSCRIPTION, ms=4000),
         charge("resp_1", "gpt-4o-mini-realtime-preview", (103, 108, 211), into=(83, 20, 0, 64),
                out=(18, 70, 20), cached=(64, 0, 0))),
    ),
]  # fmt: skip

AZURE += [
    Script(
        "Azure, a translation in the old names", "beta", "gpt-realtime-translate",
        (created(),
         server("response.text.delta", response_id="resp_1", item_id="item_1", output_index=0,
                content_index=0, delta=QUOTE),
         done(part="text")),
        (charge("resp_1", "gpt-realtime-translate", (52, 178, 230), **SPLITS),),
    ),
]  # fmt: skip

ODD = [
    ga("a BOM", Step(raw=b"\xef\xbb\xbf" + done().text()), expected=(SPOKEN,), shape="odd"),
    ga("a NUL", Step(raw=b'{"type":"response.done","usage":\x00{}}'),
       expected=(Unreadable("", GA, "", '{"type":"response.done","usage":\x00{}}'),), shape="odd"),
    ga("JSON in a binary frame", Step(done().event, is_binary=True), expected=(SPOKEN,)),
    ga("types that are none",
       *(server("response.event", event={"type": odd, "response": {"usage": {"input_tokens": 1}}})
         for odd in ([], {}, None, 7)),
       *(Step({"type": odd}) for odd in ([], {}, None, 7)), server("error", error=[]), shape="odd"),
]  # fmt: skip

SCRIPTS = STATUSES + PARTIAL + ORDER + MODELS + TRANSCRIPTIONS + AZURE + XAI + GPT_LIVE + ODD
