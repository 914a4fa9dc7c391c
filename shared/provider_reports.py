"""What a gateway reports of its providers, as values. Pure.

Each gateway sends a ``GatewayReport`` every ``REPORT_S`` (the request ``providers.report``);
accountd keeps the newest of each and answers with the providers that the operator has drained. So a
drain is known everywhere within ``REPORT_S``. Nothing is stored: a report that is lost is replaced
by the next. Unknown fields are ignored, so that either side may be newer.
"""

from enum import StrEnum
from typing import Annotated, Final

from msgspec import Meta, Struct, field

from shared.fields import REQUEST_BYTES_MAX

REPORT_S: Final = 2.0
# A gateway of which nothing was heard for three reports is gone; and time for a busy one to answer.
KEPT_S: Final = 3 * REPORT_S + 1.0

# Bounds of one report, so that it fits into a message whatever names and reasons are like.
PROVIDERS_MAX: Final = 32
TIMES_MAX: Final = 100
MODELS_MAX: Final = 10
NAME_CHARS_MAX: Final = 64
REASON_CHARS_MAX: Final = 200
_KINDS_MAX: Final = 8
_COUNT_MAX: Final = 2**53  # every JSON reader represents integers up to this one exactly
# A character has up to four bytes, a number up to nine.
assert (
    PROVIDERS_MAX
    * (4 * (MODELS_MAX * NAME_CHARS_MAX + 2 * REASON_CHARS_MAX) + 9 * (2 * TIMES_MAX + _KINDS_MAX))
    < REQUEST_BYTES_MAX
)

Name = Annotated[str, Meta(min_length=1, max_length=NAME_CHARS_MAX)]
Count = Annotated[int, Meta(ge=0, le=_COUNT_MAX)]
Reason = Annotated[str, Meta(max_length=REASON_CHARS_MAX)]


class ReportedHealth(StrEnum):
    """Whether new sessions are led to a provider; ``NOT_JUDGED``: no model has another choice."""

    HEALTHY = "healthy"
    UNHEALTHY = "unhealthy"
    PROBED = "probed"  # unhealthy, and one session tries it
    NOT_JUDGED = "not judged"


class ReportedFailure(Struct, frozen=True):
    """What a provider failed at last: ``age_ms`` milliseconds before the report."""

    kind: Name
    reason: Reason
    age_ms: Count


class ProviderReport(Struct, frozen=True, omit_defaults=True):
    """One provider, as one gateway sees it.

    ``sessions`` and ``calls`` are those that have not ended, ``bound`` the sessions among them that
    no other provider can take over. ``dials_ms`` are the times of the latest dials, ``answers_ms``
    how long users waited for the latest answers, where that is measured; ``failures`` counts by
    kind since the gateway's start. ``only_for`` names models that no other provider serves there
    that is not drained, the first ``MODELS_MAX`` of ``only_for_total``; with ``has_choice`` there
    are others that one does serve.
    """

    name: Name
    health: ReportedHealth
    reason: Reason = ""
    sessions: Count = 0
    calls: Count = 0
    bound: Count = 0
    dials_ms: Annotated[list[Count], Meta(max_length=TIMES_MAX)] = field(default_factory=list)
    answers_ms: Annotated[list[Count], Meta(max_length=TIMES_MAX)] = field(default_factory=list)
    failures: Annotated[dict[Name, Count], Meta(max_length=_KINDS_MAX)] = field(
        default_factory=dict
    )
    last_failure: ReportedFailure | None = None
    only_for: Annotated[list[Name], Meta(max_length=MODELS_MAX)] = field(default_factory=list)
    only_for_total: Count = 0
    has_choice: bool = False


class GatewayReport(Struct, frozen=True):
    """All configured providers of one gateway; none: the gateway stops."""

    gateway: Name
    providers: Annotated[list[ProviderReport], Meta(max_length=PROVIDERS_MAX)]
