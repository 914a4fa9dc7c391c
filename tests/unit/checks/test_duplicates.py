"""The check that no code stands in two places."""

import pytest

from checks.duplicates import LINES_MIN, duplicates, lines_of

SAME = [f"step({n})" for n in range(LINES_MIN)]


def text(*lines: str) -> str:
    """A file of these lines."""
    return "\n".join(lines) + "\n"


REPEATED = [
    # the other file; its lines that repeat lines 1 to 8 of the first
    (text(*SAME), "1-8"),
    (text("def f():", *(f"    {line}" for line in SAME)), "2-9"),
    (text("before()", "", *SAME, "after()"), "3-10"),
    (text(*SAME[:4], "", "# A comment.", *SAME[4:]), "1-10"),
    (text(*SAME[:4], "import ast", "from os import (", "    path,", ")", *SAME[4:]), "1-12"),
    (text(*SAME[:4], '"""A sentence."""', *SAME[4:]), "1-9"),
    (text(*SAME[:4], '    """Two', "    lines.", '    """', *SAME[4:]), "1-11"),
]


@pytest.mark.parametrize(("other", "lines"), REPEATED)
def test_a_repetition_is_named_with_both_places(other: str, lines: str) -> None:
    """However it is indented, and whatever stands between its lines that does not count."""
    (told,) = duplicates({"a.py": text(*SAME), "b.py": other})
    assert told.startswith(f"a.py:1-8 and b.py:{lines}: 8 lines are the same")


@pytest.mark.parametrize(
    "other",
    [
        text(*SAME[1:]),
        text(*SAME[:4], "other()", *SAME[4:]),
        text(*reversed(SAME)),
        text(*(f"import {line}" for line in "abcdefgh")),
    ],
)
def test_what_is_shorter_or_another_thing_is_none(other: str) -> None:
    """Seven lines are no eight, and imports are none at all."""
    assert not list(duplicates({"a.py": text(*SAME, *other.splitlines()[:1]), "b.py": other}))


def test_a_long_repetition_is_told_once_and_whole() -> None:
    """Its eight-line windows are many."""
    lines = [f"step({n})" for n in range(30)]
    (told,) = duplicates({"a.py": text(*lines), "b.py": text("first()", *lines)})
    assert told.startswith("a.py:1-30 and b.py:2-31: 30 lines")


def test_a_file_may_repeat_itself() -> None:
    """Its two places do not overlap: a row of equal lines is one place until it is long enough."""
    (told,) = duplicates({"a.py": text(*SAME, "between()", *SAME)})
    assert told.startswith("a.py:1-8 and a.py:10-17: 8 lines")
    assert not list(duplicates({"a.py": text(*["0,"] * (2 * LINES_MIN - 1))}))


def test_three_places_are_two_repetitions() -> None:
    """Both of the first."""
    told = list(duplicates(dict.fromkeys(("a.py", "b.py", "c.py"), text(*SAME))))
    assert [line.partition(":1-8:")[0] for line in told] == [
        "a.py:1-8 and b.py",
        "a.py:1-8 and c.py",
    ]


def test_javascript_has_comments_and_imports_of_its_own() -> None:
    """Imports may have several lines."""
    script = "// Why.\nimport {\n  one,\n} from './one.js';\n/* More\n * why. */\nstart();\n"
    assert lines_of("a.js", script) == [(7, "start();")]
