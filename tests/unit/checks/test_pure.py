"""The contract about pure modules finds what reaches outside, and nothing else."""

import ast

import pytest

from checks.pure import impurity_of, is_marked

SUBMODULES = {"urllib.request", "http.client"}


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("async def ask(): ...", "ask is a coroutine"),
        ("def f(): return datetime.now(UTC)", "calls .now() in line 1"),
        ("def f(path):\n    return path.read_text()", "calls .read_text() in line 2"),
        ("with open('x') as file: ...", "calls open() in line 1"),
        ("print('x')", "calls print() in line 1"),
        ("import urllib.request", "imports urllib.request"),
        ("from urllib import request", "imports urllib.request"),
        ("from http.client import HTTPConnection", "imports http.client"),
    ],
)
def test_what_a_module_does_itself_makes_it_impure(code: str, reason: str) -> None:
    """Whatever it imports beside."""
    assert impurity_of(ast.parse(code), SUBMODULES).startswith(reason)


@pytest.mark.parametrize(
    "code",
    [
        "from urllib.parse import quote\nquote('x')",
        "from http import HTTPStatus\nHTTPStatus(200)",
        "def f(now: float) -> float: return now + 1",
        "def f(spool): return spool.read(1)",
    ],
)
def test_what_only_computes_is_pure(code: str) -> None:
    """Names that look alike are no reason."""
    assert impurity_of(ast.parse(code), SUBMODULES) == ""


@pytest.mark.parametrize(
    ("docstring", "marked"),
    [("Does it. Pure.", True), ("Does it. Pure.\n\nMore.", True), ("Does it.\n\nPure.", False),
     ("Purely. Impure.", False)],
)  # fmt: skip
def test_the_marker_is_a_sentence_of_the_first_paragraph(docstring: str, marked: bool) -> None:
    """What a reader sees first."""
    assert is_marked(ast.parse(f'"""{docstring}"""')) is marked
