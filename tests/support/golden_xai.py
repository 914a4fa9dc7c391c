"""Sessions of xAI, and what they cost: tokens, and a running total of seconds."""

from dataclasses import replace

from shared.usage import Kind, Usage
from tests.support.golden import Event, Script, Step, charge
from tests.support.golden_openai_events import (
    GROK,
    ZEROS,
    created,
    done,
    server,
)

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
