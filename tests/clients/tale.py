"""A conversation whose turns depend on each other, as each client tells it to its provider.

In this order: a spoken turn, NAME, ASK_TOOL with the tool's answer, other instructions, ASK_STORY
whose answer is cut, LAST. The simulator's answers say what has reached it (``recall``); the answer
to the story waits to be cut (``held``).
"""

import re

from clients.outcome import ASK_STORY, ASK_TOOL, TOOL, Outcome

ASKED = "sim-recall,held"  # of the simulator
BRIEF = "Be brief."
FRENCH = "Answer in French."
NAME = "My name is Ada."
LAST = "What do you know of me?"
SPEECH = "user (speech)"
_SPEECH = re.compile(r"user (?:Speech of|This was speech of) \d+ (?:milliseconds|ms)\.")
_OUTPUT = re.compile(r"tool .*\bcelsius\W+21\b.*")

AT_FIRST = [f"told {BRIEF}", SPEECH]
BY_THEN = [*AT_FIRST, "model", f"user {NAME}"]
WITH_TOOL = [*BY_THEN, "model", f"user {ASK_TOOL}", f"call {TOOL}", "tool 21"]
STORY = ["model", f"user {ASK_STORY}", "model"]
IN_THE_END = [f"told {FRENCH}", *WITH_TOOL[1:], *STORY, f"user {LAST}"]
# Whoever cuts the story by voice is answered before LAST.
CUT_BY_VOICE = [*IN_THE_END[:-1], SPEECH, "model", IN_THE_END[-1]]


def lines(answer: str) -> list[str]:
    """What an answer says, line by line; speech and a tool's output have one spelling."""
    head, *found = answer.split(" | ")
    assert head == "Recalled", answer
    return [_OUTPUT.sub("tool 21", _SPEECH.sub(SPEECH, line)) for line in found]


def assert_told(outcome: Outcome, *, end: list[str]) -> None:
    """The provider knew at each turn what was said before, and ``end`` in the last one."""
    first, second, third, last = map(lines, outcome.answers)
    assert first == AT_FIRST
    assert second == BY_THEN
    assert third == WITH_TOOL
    assert last == end
    assert outcome.tool == TOOL
    assert outcome.interrupted in ("cancelled", "interrupted")
