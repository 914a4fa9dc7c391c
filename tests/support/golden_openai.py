"""Sessions of the OpenAI family, and what they cost: OpenAI, Azure, xAI, GPT-Live."""

from dataclasses import replace
from typing import Any

from gateway.metering.base import Unreadable
from shared.usage import Kind, Usage
from tests.support.golden import Event, Script, Step, charge, strange

GA, BETA, GROK = "gpt-realtime-2.1", "gpt-4o-realtime-preview", "grok-voice-latest"
WHISPER, LIVE = "gpt-realtime-whisper", "gpt-live-1"
COMPLETED = "conversation.item.input_audio_transcription.completed"

USAGE: Event = {
    "total_tokens": 230, "input_tokens": 52, "output_tokens": 178,
    "input_token_details": {
        "text_tokens": 20, "audio_tokens": 32, "image_tokens": 0, "cached_tokens": 16,
        "cached_tokens_details": {"text_tokens": 16, "audio_tokens": 0, "image_tokens": 0},
    },
    "output_token_details": {"text_tokens": 34, "audio_tokens": 144},
}  # fmt: skip
SPLITS: dict[str, Any] = {"into": (20, 32, 0, 16), "out": (34, 144, 0), "cached": (16, 0, 0)}
ZEROS: Event = {
    "total_tokens": 0, "input_tokens": 0, "output_tokens": 0,
    "input_token_details": {"text_tokens": 0, "audio_tokens": 0, "cached_tokens": 0},
    "output_token_details": {"text_tokens": 0, "audio_tokens": 0},
}  # fmt: skip
# A reply that quotes an event: text, never a charge.
QUOTE = 'I heard {"type":"response.done","response":{"id":"resp_q","usage":{"total_tokens":7}}}.'


def server(kind: str, *, number: int = 1, **fields: Any) -> Step:
    """An event of the server."""
    return Step({"type": kind, "event_id": f"event_{kind}_{number}", **fields})


def done(
    usage: Any = USAGE,
    *,
    name: str = "resp_1",
    status: str = "completed",
    part: str = "output_audio",
    calls: tuple[str, ...] = (),
    **more: Any,
) -> Step:
    """``response.done``; usage is left out when it is ``...``. ``calls`` are types of items."""
    content = [{"type": part, "transcript": QUOTE}]
    response = {
        "object": "realtime.response", "id": name, "status": status,
        "status_details": None if status == "completed" else {"type": status},
        "output": [{"id": "item_1", "type": "message", "status": "completed", "role": "assistant",
                    "content": content},
                   *({"id": f"call_{n}", "type": call} for n, call in enumerate(calls))],
        "conversation_id": "conv_1", "output_modalities": ["audio"], "max_output_tokens": "inf",
        "metadata": None,
    }  # fmt: skip
    if usage is not ...:
        response["usage"] = usage
    return server("response.done", response=response, **more)


def created(name: str = "resp_1") -> Step:
    """``response.created``."""
    response = {"object": "realtime.response", "id": name, "status": "in_progress", "usage": None}
    return server("response.created", response=response)


def session(model: str = GA, *, kind: str = "session.created", whisper: str = WHISPER) -> Step:
    """What the server says about the session, in GA's nested form."""
    audio = {"input": {"transcription": {"model": whisper} if whisper else None}}
    return server(
        kind, session={"type": "realtime", "id": "sess_1", "model": model, "audio": audio}
    )


def transcribed(usage: Any, *, number: int = 1, item: str = "item_u") -> Step:
    """The caller's words and what it took to hear them; usage is left out when it is ``...``."""
    fields = {"item_id": item, "content_index": 0, "transcript": QUOTE}
    if usage is not ...:
        fields["usage"] = usage
    return server(COMPLETED, number=number, **fields)


AUDIO = server(
    "response.output_audio.delta", response_id="resp_1", item_id="item_1", output_index=0,
    content_index=0, delta="UmVhbFRpbWU" * 40,
)  # fmt: skip
WORDS = server(
    "response.output_audio_transcript.delta", response_id="resp_1", item_id="item_1",
    output_index=0, content_index=0, delta=QUOTE,
)  # fmt: skip
ARGUMENTS = server(
    "response.function_call_arguments.done", response_id="resp_1", item_id="item_1",
    output_index=0, call_id="call_1", name="quote", arguments=QUOTE,
)  # fmt: skip
LIMITS = server("rate_limits.updated", rate_limits=[{"name": "tokens", "limit": 9, "remaining": 8}])
TOKENS = {
    "type": "tokens", "total_tokens": 48, "input_tokens": 38, "output_tokens": 10,
    "input_token_details": {"text_tokens": 10, "audio_tokens": 28},
}  # fmt: skip
HEARD = charge(
    "item_u", WHISPER, (38, 10, 48), into=(10, 28, 0, 0), kind=Kind.TRANSCRIPTION
)  # fmt: skip
SPOKEN = charge("resp_1", GA, (52, 178, 230), **SPLITS)


def ga(name: str, *steps: Step, expected: tuple[Any, ...] = (), shape: str = "ga") -> Script:
    """A session of OpenAI GA."""
    return Script(name, shape, GA, steps, expected)


def partial(name: str, usage: Any, *expected: Any, shape: str = "ga") -> Script:
    """A session with one response."""
    return ga(name, created(), done(usage), expected=expected, shape=shape)


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

GROK_USAGE: Event = {
    "input_tokens": 156,
    "input_token_details": {"text_tokens": 10, "audio_tokens": 146, "grok_tokens": 0},
    "output_tokens": 185,
    "output_token_details": {"text_tokens": 15, "audio_tokens": 150, "grok_tokens": 20},
    "total_tokens": 341, "output_audio_seconds": 3.38, "billable_audio_seconds": 5,
}  # fmt: skip
GROK_CHARGE = charge(
    "resp_1", GROK, (156, 185, 341), into=(10, 146, 0, 0), out=(15, 150, 0),
    raw={"output_audio_seconds": 3.38,
         "output_token_details": {"grok_tokens": 20}},
)  # fmt: skip
GROK_SECONDS = charge("resp_1", GROK, kind=Kind.DURATION, ms=5_000)
XAI = [
    Script(
        f"xAI, {what}", "xai", GROK,
        (server("conversation.created", conversation={"id": "conv_1"}),
         server("ping", timestamp=17),
         created(),
         Step(raw=b"\x7b\x00\xff\x00" * 200, is_binary=True),
         done(inner, response_id="resp_1", usage_=GROK_USAGE, previous_item_id=None),
         done(inner, response_id="resp_1", usage_=GROK_USAGE, previous_item_id=None)),
        (GROK_CHARGE, GROK_SECONDS),
    )
    for what, inner in [
        ("an empty usage inside", {}), ("none inside", ...), ("null inside", None),
        ("zeros inside", ZEROS), ("nulls inside", dict.fromkeys(ZEROS)),
    ]
]  # fmt: skip
LATER: Event = {**GROK_USAGE, "billable_audio_seconds": 8}
CALLS = ("web_search_call", "x_search_call", "mcp_call", "file_search_call", "function_call")
XAI += [
    Script(
        "xAI, a running total of seconds", "xai", GROK,
        (created(), done({}, usage_=GROK_USAGE),
         created("resp_2"), done({}, name="resp_2", usage_=LATER),
         created("resp_3"), done({}, name="resp_3", usage_=LATER)),
        (GROK_CHARGE, GROK_SECONDS,
         replace(GROK_CHARGE, response_id="resp_2"),
         charge("resp_2", GROK, kind=Kind.DURATION, ms=3_000),
         replace(GROK_CHARGE, response_id="resp_3")),
    ),
    Script(
        "xAI, tools that it ran itself", "xai", GROK,
        (created(), done({}, calls=CALLS, usage_=GROK_USAGE)),
        (replace(GROK_CHARGE, usage=GROK_CHARGE.usage + Usage(web_searches=2, tool_calls=2)),
         GROK_SECONDS),
    ),
]  # fmt: skip
for _script in XAI:
    for _step in _script.steps:
        if "usage_" in _step.event:
            _step.event["usage"] = _step.event.pop("usage_")

RESOURCE = {"id": "live_1", "model": LIVE, "status": "active", "expires_at": 1_800_000_000}
DELEGATED_USAGE = {
    "input_tokens": 900, "input_tokens_details": {"cached_tokens": 512, "cache_write_tokens": 64},
    "output_tokens": 120, "output_tokens_details": {"reasoning_tokens": 100}, "total_tokens": 1020,
}  # fmt: skip


NO_IMAGES: Event = {
    "input_tokens": 0, "output_tokens": 0, "total_tokens": 0,
    "input_tokens_details": {"text_tokens": 0, "image_tokens": 0},
}  # fmt: skip
SEARCHES: Event = {"image_gen": NO_IMAGES, "web_search": {"num_requests": 3}}
DRAWINGS: Event = {
    "image_gen": {"input_tokens": 90, "output_tokens": 1_056, "total_tokens": 1_146,
                  "input_tokens_details": {"text_tokens": 90, "image_tokens": 0}},
    "web_search": {"num_requests": 0},
}  # fmt: skip


def seconds(total: float, *, kind: str = "session.usage.updated", **more: Any) -> Step:
    """GPT-Live: the seconds so far."""
    return server(kind, number=int(total * 1000), usage={"seconds": total}, **more)


def delegated(kind: str, response: Any) -> Step:
    """GPT-Live: an event of a response that another model makes."""
    return server(
        "response.event", delegation_id="dlg_1", event={"type": kind, "response": response}
    )


GPT_LIVE = [
    Script(
        "GPT-Live", "live", None,
        (server("session.started", session=RESOURCE),
         seconds(1.5), seconds(1.5), seconds(4.2504, context_window={"usage_ratio": 0.1}),
         seconds(4.1),
         delegated("response.created", {"id": "resp_d", "model": "gpt-6", "usage": None}),
         delegated("response.output_text.delta", None),
         *(delegated(f"response.{end}", {"id": f"resp_{end}", "model": "gpt-6",
                                         "usage": DELEGATED_USAGE})
           for end in ("completed", "incomplete", "completed")),
         delegated("response.failed", {"id": "resp_f", "model": "gpt-6", "usage": None}),
         server("decision.event", delegation_id=None,
                event={"type": "decision.completed",
                       "decision": {"model": "gpt-6-mini", "answers": [],
                                    "usage": DELEGATED_USAGE}}),
         seconds(6.0, kind="session.closed", reason="close_requested", session=RESOURCE)),
        (charge("1500 ms", LIVE, kind=Kind.DURATION, ms=1500),
         charge("4250 ms", LIVE, kind=Kind.DURATION, ms=2750),
         *(charge(name, model, (900, 120, 1020), into=(0, 0, 0, 512), out=(0, 0, 100),
                  written=64)
           for name, model in [("resp_completed", "gpt-6"), ("resp_incomplete", "gpt-6"),
                               ("event_decision.event_1", "gpt-6-mini")]),
         charge("6000 ms", LIVE, kind=Kind.DURATION, ms=1750)),
    ),
    Script(
        "GPT-Live, a delegate that searches", "live", None,
        (server("session.started", session=RESOURCE),
         delegated("response.completed", {"id": "resp_s", "model": "gpt-5.6",
                                          "usage": DELEGATED_USAGE, "tool_usage": SEARCHES}),
         seconds(1.5, kind="session.closed", reason="close_requested", session=RESOURCE)),
        (charge("resp_s", "gpt-5.6", (900, 120, 1020), into=(0, 0, 0, 512), out=(0, 0, 100),
                written=64, pieces=(3, 0, 0)),
         charge("1500 ms", LIVE, kind=Kind.DURATION, ms=1500)),
    ),
    Script(
        "GPT-Live, a delegate that draws", "live", None,
        (server("session.started", session=RESOURCE),
         delegated("response.completed", {"id": "resp_i", "model": "gpt-5.6",
                                          "usage": DELEGATED_USAGE, "tool_usage": DRAWINGS}),
         server("session.closed", reason="close_requested", session=RESOURCE,
                usage={"seconds": 0.0})),
        (charge("resp_i", "gpt-5.6", (900, 120, 1020), into=(0, 0, 0, 512), out=(0, 0, 100),
                written=64),
         charge("resp_i images", "image_gen", (90, 1056, 1146), into=(90, 0, 0, 0))),
    ),
    Script(
        "GPT-Live, closed without usage", "odd", None,
        (server("session.started", session=RESOURCE), seconds(2),
         server("session.closed"), server("session.closed", usage={"seconds": True})),
        (charge("2000 ms", LIVE, kind=Kind.DURATION, ms=2000),
         strange("event_session.closed_1", LIVE, {"seconds": True})),
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
