"""More than 20,000 variants of the golden sessions: the same charge, or a quarantine.

Plain seeded random: a failure names the variant, and ``RTS_VARIANTS=SEED:NUMBER`` runs it alone.
"""

import json
import os
import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest

from gateway.metering.base import Metered, MeterResult
from shared.usage import Kind, Usage
from tests.support import golden_gemini, golden_openai
from tests.support.golden import Script, Step, normal, play
from tests.support.metering import survives_the_wire
from tests.support.mutations import (
    count_places,
    damaged,
    grown,
    harmless,
    quoting,
    repeated,
    spelled,
    with_nonsense,
)

SCRIPTS = golden_openai.SCRIPTS + golden_gemini.SCRIPTS
VARIANTS = 5_200  # of each of the four tests
SEED, _, ONLY = os.environ.get("RTS_VARIANTS", "1:").partition(":")
NUMBERS = [int(ONLY)] if ONLY else range(VARIANTS)


def each_variant(
    name: str,
    check: Callable[[Script, random.Random], None],
    scripts: Sequence[Script] = SCRIPTS,
) -> None:
    """Run ``check`` on every variant, and name the one that fails."""
    print(f"RTS_VARIANTS={SEED}: {name}")
    for number in NUMBERS:
        rng = random.Random(f"{name}:{SEED}:{number}")
        script = scripts[number % len(scripts)]
        try:
            check(script, rng)
        except Exception as exc:
            exc.add_note(f"{script.name!r}; once more: RTS_VARIANTS={SEED}:{number}")
            raise


def cutter(rng: random.Random) -> Callable[[bytes], Sequence[int]]:
    """Cuts most messages not at all, others into up to five fragments."""

    def cut(message: bytes) -> Sequence[int]:
        pieces = rng.choice([0, 0, 0, 1, 4])
        return [rng.randrange(len(message) + 1) for _ in range(pieces)]

    return cut


def respelled(
    script: Script, steps: Sequence[Step], rng: random.Random, *, quotes: float
) -> list[MeterResult]:
    """What a meter finds in ``steps`` written otherwise and cut into fragments; with a probability
    of ``quotes`` there are quotations between them.
    """
    if rng.random() < quotes:
        steps = quoting(script, steps, rng)
    return play(script, steps=steps, spell=lambda e: spelled(e, rng), cut=cutter(rng))


def test_other_spellings_cost_the_same() -> None:
    """Order, spaces, escapes, fragments, quotations between them: every field is as it was."""

    def check(script: Script, rng: random.Random) -> None:
        found = respelled(script, script.steps, rng, quotes=0.5)
        assert normal(found) == normal(script.expected)
        survives_the_wire(found)

    each_variant("spellings", check)


def test_repeated_and_grown_events_cost_the_same() -> None:
    """Events that come twice and fields of the future change no count; they are kept raw."""

    def check(script: Script, rng: random.Random) -> None:
        found = respelled(script, repeated(grown(script.steps, rng), rng), rng, quotes=0.2)
        assert without_raw(found) == without_raw(script.expected)
        survives_the_wire(found)

    each_variant("repeated and grown", check)


def test_nonsense_in_a_count_is_quarantined_and_nothing_else_changes() -> None:
    """A count that is no integer is neither clamped nor guessed at."""

    def check(script: Script, rng: random.Random) -> None:
        steps = with_nonsense(script.steps, rng)
        found = play(script, steps=steps, spell=lambda e: spelled(e, rng))
        lost = counted(script.expected) - counted(found)
        assert not counted(found) - counted(script.expected)
        strange = sum(not isinstance(one, Metered) for one in found)
        assert strange >= (1 if lost else 0)
        survives_the_wire(found)

    each_variant("nonsense", check, [one for one in SCRIPTS if count_places(one.steps)])


def test_damage_costs_no_more_and_never_crashes() -> None:
    """A BOM is read past; what is cut off, too deep or not JSON costs nothing."""

    def check(script: Script, rng: random.Random) -> None:
        steps, at = list(script.steps), rng.randrange(len(script.steps))
        whole = steps[at].text(lambda e: spelled(e, rng))
        is_harmless = rng.random() < 0.4 and steps[at].raw is None
        steps[at] = replace(steps[at], raw=(harmless if is_harmless else damaged)(whole, rng))
        found = play(script, steps=steps, cut=cutter(rng))
        if is_harmless:
            assert normal(found) == normal(script.expected)
        most, left = spent(script.expected), spent(found)
        assert left.total_tokens <= most.total_tokens
        assert left.billed_ms <= most.billed_ms
        survives_the_wire(found)

    each_variant("damage", check)


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.name)
def test_a_broken_report_of_usage_is_quarantined(script: Script) -> None:
    """Each message that is charged when whole is kept for a person when its end is cut off."""
    for at, step in enumerate(script.steps):
        if step.raw is not None or step.is_client or not is_charged_for(script, step):
            continue
        cut_off = step.text(lambda e: json.dumps(e, indent=1).encode())[:-3]
        found = play(script, steps=[Step(raw=cut_off, is_binary=step.is_binary)], finish=False)
        assert [type(one) for one in found] != [Metered], at
        assert len(found) == 1, at


# --- helpers --------------------------------------------------------------------------------------


def is_charged_for(script: Script, step: Step) -> bool:
    """Whether the message by itself, at the end of a session, is charged."""
    return any(isinstance(one, Metered) for one in play(script, steps=[step], finish=False))


def without_raw(found: Sequence[MeterResult]) -> list[tuple[object, ...]]:
    """As ``normal``, without the raw rests."""
    return [one[:3] + one[4:] for one in normal(found)]


def counted(found: Sequence[MeterResult]) -> Counter[Usage]:
    """The reported charges in tokens, and how often each was found."""
    return Counter(
        one.usage
        for one in found
        if isinstance(one, Metered) and one.kind not in (Kind.ESTIMATE, Kind.DURATION)
    )


def spent(found: Sequence[MeterResult]) -> Usage:
    """All tokens that were reported, and all milliseconds."""
    usages = [one.usage for one in found if isinstance(one, Metered) and one.kind != Kind.ESTIMATE]
    return sum(usages, start=Usage())
