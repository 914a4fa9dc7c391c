"""One message of each sort, as this release writes it, and what it reads in it.

``python -m tests.support.frozen NAME`` writes them to ``tests/unit/shared/frozen/NAME.json``, after
a change of what travels. A file that is there is what older processes send, and is never written
anew.
"""

import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from gateway.delivery import journal_format
from shared import announcements, requests, wire
from shared.usage import (
    USAGE_FIELDS,
    EndOfProducer,
    InvalidUsage,
    Kind,
    LostBatch,
    Usage,
    UsageBatch,
    UsageMessage,
)

FOLDER = Path(__file__).resolve().parents[1] / "unit" / "shared" / "frozen"
PRODUCER, HOLDER = bytes(range(16)), bytes(range(16, 32))
AT_MS = 1_796_000_000_000
Frames = list[bytes]


def _batch(**other: Any) -> UsageBatch:
    usage = Usage(input_tokens=60, output_tokens=40, total_tokens=100, input_cached_tokens=16)
    named = {
        "account_id": "acct_1", "session_id": "sess_1", "provider": "openai",
        "model": "gpt-realtime", "kind": Kind.RESPONSE.value, "responses": 2,
        "response_ids": ("resp_1", "resp_2"), "usage": usage, "metered_at_ms": AT_MS, **other,
    }  # fmt: skip
    return UsageBatch(**named)


def _usage() -> dict[str, UsageMessage]:
    counts = Usage(**{name: number for number, name in enumerate(USAGE_FIELDS, 1)})
    total = msgspec.structs.replace(counts, total_tokens=3)
    found = {
        "batch": _batch(),
        "batch of every count": _batch(usage=total, raw=('{"new":1}',)),
        "shared": _batch(responses=1, response_ids=("r",), is_shared=True),
        "estimate": _batch(kind=Kind.ESTIMATE.value),
        "doubtful": _batch(kind=Kind.DOUBTFUL.value, doubtful_kind=Kind.DURATION.value),
        "invalid": InvalidUsage("acct_1", "s", "openai", "m", "r", "no number", "{}", AT_MS),
        "end": EndOfProducer(),
        "lost": LostBatch(),
    }
    if "key_hash" in UsageBatch.__struct_fields__:
        found["of a key"] = _batch(key_hash="ab" * 32)
    return found


def written() -> dict[str, Frames]:
    """The frames of each message, by its name."""
    found: dict[str, Frames] = {
        f"usage: {name}": [wire.encode_usage(message)] for name, message in _usage().items()
    }
    found["envelope"] = wire.encode_envelope(PRODUCER, 258, b"payload")
    found["watermark"] = announcements.encode_watermark(announcements.Watermark(PRODUCER, 7, 9))
    balance = announcements.AnnouncedBalance(
        "acct_1", 7, 3, 20, -5, 2, "v2", {PRODUCER: announcements.Applied(4, frozenset({6}))}
    )
    found["balance"] = announcements.encode_balance(balance)
    holder = announcements.NewHolder("acct_1", "sess_1", HOLDER)
    found["new holder"] = announcements.encode_new_holder(holder)
    recall = announcements.Recall(11, "key_revoked", key_hash="ab" * 32)
    found["recall"] = announcements.encode_recall(recall)
    asked = {"key_hash": "ab" * 32, "lease": "one", "gateway": "g"}
    found["request"] = [requests.encode_request(requests.Request("authorize", asked))]
    asked = {"producers": [PRODUCER], "seen": [7], "changes": [AT_MS, 12]}
    found["request: sync"] = [requests.encode_request(requests.Request("sync", asked))]
    granted = {
        "account_id": "acct_1", "key_indicator": "rsliv…00000", "token_remaining": 5,
        "topup_remaining": 20, "mark": 11, "expires_in_ms": 1_000, "keeps_sessions": True,
        "limits": {}, "is_leased": True,
    }  # fmt: skip
    found["reply"] = [requests.encode_reply(requests.Reply(granted))]
    recalled = {"mark": 11, "recalls": [], "changes": [AT_MS, 12]}
    found["reply: recalls"] = [requests.encode_reply(requests.Reply(recalled))]
    done = requests.Reply({"id": "acct_1"}, warning="done, and not in the journal")
    found["reply: warned"] = [requests.encode_reply(done)]
    refused = requests.Reply(error=("too_many_sessions", "no"), retry_after_s=3)
    found["reply: refused"] = [requests.encode_reply(refused)]
    found["spool segment"] = [
        journal_format.encode_header(PRODUCER)
        + journal_format.encode_base(3, 8)
        + journal_format.encode_metered(9, b"one")
        + journal_format.encode_sealed(4, (9,), b"message")
    ]
    return found


_READERS: dict[str, Callable[[Frames], Any]] = {
    "usage": lambda frames: wire.decode_usage(frames[0]),
    "envelope": wire.decode_envelope,
    "watermark": announcements.decode_watermark,
    "balance": announcements.decode_balance,
    "new holder": announcements.decode_new_holder,
    "recall": announcements.decode_recall,
    "request": lambda frames: requests.decode_request(frames[0]),
    "reply": lambda frames: requests.decode_reply(frames[0]),
    "spool segment": lambda frames: list(journal_format.read_records(frames[0])),
}


def read(name: str, frames: Frames) -> Any:
    """What this release reads in a message, as values of JSON, with the type's name."""
    return _plain(_READERS[name.partition(":")[0]](frames))


def _plain(value: Any) -> Any:
    names = getattr(value, "__struct_fields__", None) or getattr(
        value, "__dataclass_fields__", None
    )
    if names is not None:
        return {"is": type(value).__name__, **{n: _plain(getattr(value, n)) for n in names}}
    if isinstance(value, Mapping):
        return {_plain(key): _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(one) for one in value]
    return value.hex() if isinstance(value, bytes) else value


def main() -> None:
    """Write what this release writes."""
    (name,) = sys.argv[1:]
    found = {
        key: {"frames": [frame.hex() for frame in frames], "read": read(key, frames)}
        for key, frames in written().items()
    }
    path = FOLDER / f"{name}.json"
    assert not path.exists(), path
    path.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
