"""Sessions of GPT-Live, and what they cost: seconds, and tokens of the models it delegates to."""

from typing import Any

from shared.usage import Kind
from tests.support.golden import Event, Script, Step, charge, strange
from tests.support.golden_openai_events import (
    LIVE,
    server,
)

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
