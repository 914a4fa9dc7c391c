"""The oracle of the broken network finds every kind of error."""

from collections import Counter
from typing import Any

import pytest

from tests.chaos.provider_cuts import Found
from tests.chaos.talkers import Talker

SAID = ["1", "210", "2"]
CASES: list[tuple[str, dict[str, Any], dict[str, Any], str]] = [
    ("all is well", {}, {}, ""),
    ("the client was closed", {"closed": "1011"}, {}, "closed: 1011"),
    ("an error event", {"errors": [{"code": "x"}]}, {}, "'code': 'x'"),
    ("another conversation", {"mistaken": "said ['1'], recalled []"}, {}, "a0: said ['1']"),
    ("not charged", {"tokens": 8}, {}, "heard 8, charged 7, sent 9"),
    ("charged twice", {}, {"charged": Counter(a0=14)}, "heard 7, charged 14, sent 9"),
    ("dialled for nobody", {}, {"dials_after": 1}, "1 dials after all had left"),
    ("an audit that fails", {}, {"is_audit_ok": False}, "audit failed"),
]


@pytest.mark.parametrize(("_case", "seen", "facts", "expected"), CASES)
def test_the_oracle(_case: str, seen: dict[str, Any], facts: dict[str, Any], expected: str) -> None:
    """What a client saw, what the books say, and what is reported; nothing where all is well."""
    talker = Talker(0, is_written=True, **{"tokens": 7, **seen})
    given = {"charged": Counter(a0=7), "sent": Counter(a0=9), "is_audit_ok": True, **facts}
    problems = Found([talker], **given).problems()
    assert (len(problems) == 1) is bool(expected)
    assert expected in "".join(problems)


@pytest.mark.parametrize(
    ("recalled", "unheard", "is_mistaken"),
    [
        (SAID, set(), False),
        (SAID, {"210"}, False),
        (["1", "2"], {"210"}, False),
        (["1", "2"], set(), True),
        (["1", "210"], set(), True),
        (["1", "1", "210", "2"], set(), True),
        (["2", "210", "1"], set(), True),
    ],
)
def test_a_conversation_is_compared(
    recalled: list[str], unheard: set[str], is_mistaken: bool
) -> None:
    """Everything once and in order; speech that was not transcribed may be missing."""
    talker = Talker(0, is_written=True, said=SAID, unheard=unheard)
    talker.compare(recalled)
    assert bool(talker.mistaken) is is_mistaken
