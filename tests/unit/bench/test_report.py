"""What a bench says about its figures."""

import json

import pytest

from bench.report import (
    Bar,
    Cell,
    Check,
    Curve,
    Outcome,
    Table,
    at_least,
    at_most,
    json_of,
    markdown_of,
    shown,
    text_of,
    unmeasured,
)


@pytest.mark.parametrize(
    ("bar", "is_met"),
    [
        (at_most("x", 1.25, 1.25), True),
        (at_most("x", 1.26, 1.25), False),
        (at_least("x", 100, 100), True),
        (at_least("x", 99, 100), False),
        (unmeasured("x", 1.25, "no haproxy"), None),
    ],
)
def test_a_bar_knows_on_which_side_its_figure_must_be(bar: Bar, is_met: bool | None) -> None:
    """The bound itself is kept; what was not measured is neither met nor missed."""
    assert bar.is_met is is_met


def test_a_bar_without_a_figure_says_why() -> None:
    """A gap without a reason is a mistake of the bench."""
    with pytest.raises(AssertionError):
        unmeasured("x", 1.25, "")


def test_a_row_has_as_many_cells_as_there_are_columns() -> None:
    """Figures below another head would be wrong and look right."""
    with pytest.raises(AssertionError):
        Table("t", ("a", "b"), ((1,),))


@pytest.mark.parametrize(
    ("cell", "text"),
    [
        (None, "-"), ("nginx", "nginx"), (1234567, "1,234,567"), (0.034, "0.03"), (12.345, "12.3"),
        (1234.5, "1,234"), (-0.5, "-0.50"),
    ],
)  # fmt: skip
def test_a_figure_has_the_digits_that_it_is_worth(cell: Cell, text: str) -> None:
    """A count has all of its digits, a measurement three or so."""
    assert shown(cell) == text


def test_a_table_is_aligned_markdown() -> None:
    """It reads well on a terminal and in a page; figures stand to the right."""
    table = Table("t", ("relay", "µs"), (("gateway", 25.12), ("haproxy", None)))
    assert markdown_of(table).splitlines() == [
        "| relay   |   µs |",
        "| ------- | ---: |",
        "| gateway | 25.1 |",
        "| haproxy |    - |",
    ]


def test_the_text_has_verdicts() -> None:
    """Met, NOT met, not measured; and a wrong count stands out."""
    text = text_of(
        Outcome(
            bars=(at_most("a", 2, 1), at_least("b", 2, 1), unmeasured("c", 1, "no nginx")),
            checks=(Check("tokens", 5, 5), Check("frames", 4, 5)),
        )
    )
    assert text.splitlines() == [
        "bar: a: 2 (at most 1): NOT met",
        "bar: b: 2 (at least 1): met",
        "bar: c: not measured, no nginx (at most 1)",
        "check: tokens: 5",
        "check: frames: 4, WRONG, expected 5",
    ]


def test_the_json_has_everything() -> None:
    """A program reads what a person reads."""
    table, curve = Table("t", ("a",), ((1.5,),)), Curve("c", "rows", "1/s", {"s": ((0, 1.0),)})
    outcome = Outcome((table,), (curve,), (at_most("b", 2, 1),), (Check("n", 1, 1),))
    assert json.loads(json.dumps(json_of(outcome))) == {
        "tables": [{"title": "t", "columns": ["a"], "rows": [[1.5]]}],
        "curves": [
            {
                "title": "c", "x_label": "rows", "y_label": "1/s",
                "points_by_series": {"s": [[0, 1.0]]}, "is_x_log": False,
            }
        ],
        "bars": [
            {
                "name": "b", "found": 2, "side": "at most", "bound": 1, "why": "",
                "verdict": "NOT met",
            }
        ],
        "checks": [{"name": "n", "found": 1, "expected": 1, "is_right": True}],
    }  # fmt: skip
    assert (outcome.is_right, outcome.is_met) == (True, False)
