"""Usage as values: what a response used, and the batches that travel to accountd. Pure.

Gateways make them, ``shared.wire`` writes them as bytes, and accountd charges them. Token counts
are integers, durations are milliseconds, and every bound stands here with its reason.
"""

from dataclasses import dataclass
from enum import StrEnum
from operator import add, attrgetter
from typing import Annotated, Final

from msgspec import Meta, Struct

from shared.fields import TEXT_CHARS_MAX

# What of an unreadable usage object is kept: with its envelope it must fit into one message.
RAW_USAGE_CHARS_MAX: Final = 8 * 1024
# What is kept of the unknown parts of one usage object; a batch holds five of them.
RAW_PART_CHARS_MAX: Final = 2 * 1024

# A 60-minute session at the providers' fastest reported rates stays far below this.
TOKENS_PER_RESPONSE_MAX: Final = 10_000_000
# A gateway sends 5; more is allowed so that the batch size can change without a new version.
RESPONSES_PER_BATCH_MAX: Final = 1_000
ID_CHARS_MAX: Final = TEXT_CHARS_MAX
EPOCH_MS_MAX: Final = 253_402_300_799_999  # the end of the year 9999

# Checked by the decoder of ``shared.wire`` only: an object made here is not checked again.
Id = Annotated[str, Meta(max_length=ID_CHARS_MAX)]
Count = Annotated[int, Meta(ge=0, le=TOKENS_PER_RESPONSE_MAX)]


class Kind(StrEnum):
    """What a usage message is about; the ``kind`` column of ``usage_metrics``."""

    RESPONSE = "response"  # usage that the provider reported
    TRANSCRIPTION = "transcription"  # of the caller's speech: priced as another model
    DURATION = "duration"  # a session that is billed by its length, not by tokens
    ESTIMATE = "estimate"  # the provider never reported it; counted from the audio relayed
    ESTIMATED_TRANSCRIPTION = "estimated_transcription"  # the same, of a transcription
    ESTIMATED_DURATION = "estimated_duration"  # the same, of a session that is billed by its length
    DOUBTFUL = "doubtful"  # a response that a damaged spool may have sent before; quarantined
    INVALID = "invalid"  # ``InvalidUsage``
    LOST = "lost"  # ``LostBatch``
    END = "end"  # ``EndOfProducer``


# What no provider reported: charged only where an option or a rule says so.
ESTIMATES: Final = frozenset({Kind.ESTIMATE, Kind.ESTIMATED_TRANSCRIPTION, Kind.ESTIMATED_DURATION})
BATCH_KINDS: Final = frozenset(
    {Kind.RESPONSE, Kind.TRANSCRIPTION, Kind.DURATION, *ESTIMATES, Kind.DOUBTFUL}
)


class Usage(Struct, frozen=True, gc=False, omit_defaults=True, forbid_unknown_fields=True):
    """Token counts of one response, or the sum of several.

    ``total_tokens`` is what is charged. The splits are subsets of input and output: cached input
    is part of the input, thoughts are part of the output; none is ever added on top. ``billed_ms``
    is what is billed by duration: milliseconds, never summed as tokens. ``input_cached_*_tokens``
    say which modality was cached, where the provider says so. ``input_cache_write_tokens`` are the
    part of the input that was written to a cache. ``web_searches``, ``grounding_queries`` and
    ``tool_calls`` count what is billed by the piece; they are no tokens and part of nothing.
    """

    input_tokens: Count = 0
    output_tokens: Count = 0
    total_tokens: Count = 0
    input_text_tokens: Count = 0
    input_audio_tokens: Count = 0
    input_image_tokens: Count = 0
    input_cached_tokens: Count = 0
    output_text_tokens: Count = 0
    output_audio_tokens: Count = 0
    output_thought_tokens: Count = 0
    billed_ms: Count = 0
    input_cached_text_tokens: Count = 0
    input_cached_audio_tokens: Count = 0
    input_cached_image_tokens: Count = 0
    input_cache_write_tokens: Count = 0
    web_searches: Count = 0
    grounding_queries: Count = 0
    tool_calls: Count = 0

    def __add__(self, other: "Usage") -> "Usage":
        """Field by field sum."""
        return Usage(*map(add, counts_of(self), counts_of(other)))


USAGE_FIELDS: Final = Usage.__struct_fields__
counts_of: Final = attrgetter(*USAGE_FIELDS)
"""All counts of a ``Usage``, in the order of ``USAGE_FIELDS``."""


class UsageBatch(
    Struct, frozen=True, gc=False, omit_defaults=True, forbid_unknown_fields=True,
    tag_field="v", tag=1,
):  # fmt: skip
    """The usage of up to ``RESPONSES_PER_BATCH_MAX`` responses of one session and one model.

    One batch becomes one row of ``usage_metrics``. ``metered_at_ms`` is the gateway's wall clock
    (Unix time, milliseconds) at the last response. ``raw`` holds, as JSON texts, the parts of the
    providers' usage objects that the gateway does not know: other units, fields of the future.
    ``doubtful_kind`` is the kind that a DOUBTFUL one had: a retry is priced as that. ``is_shared``:
    another socket may report the same response, which the provider has named; then it is the only
    one of its batch. ``key_hash`` names the key of the session where what it
    spends is counted.
    """

    account_id: Id
    session_id: Id
    provider: Id
    model: Id
    kind: Id
    responses: Annotated[int, Meta(ge=1, le=RESPONSES_PER_BATCH_MAX)]
    response_ids: Annotated[tuple[Id, ...], Meta(max_length=RESPONSES_PER_BATCH_MAX)]
    usage: Usage
    metered_at_ms: Annotated[int, Meta(ge=0, le=EPOCH_MS_MAX)]
    raw: tuple[str, ...] = ()
    doubtful_kind: str = ""
    is_shared: bool = False
    key_hash: Id = ""


@dataclass(frozen=True, slots=True)
class InvalidUsage:
    """A usage object of the provider that the gateway could not read: quarantined, not charged.

    ``raw`` is its JSON text, cut at ``RAW_USAGE_CHARS_MAX``; ``detail`` says what was wrong.
    """

    account_id: str
    session_id: str
    provider: str
    model: str
    response_id: str
    detail: str
    raw: str
    metered_at_ms: int


@dataclass(frozen=True, slots=True)
class EndOfProducer:
    """A producer's last message: it ended cleanly, and its sequence is the number of them all."""


@dataclass(frozen=True, slots=True)
class LostBatch:
    """Takes the place of a message that accountd had and lost, and no gateway holds any more.

    Without it the hole would hold the watermark back for ever.
    """


UsageMessage = UsageBatch | InvalidUsage | EndOfProducer | LostBatch
