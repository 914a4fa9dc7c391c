"""Messages as earlier releases wrote them: two releases work together while one replaces the other.

The files in ``frozen/`` are by level of the protocol (``shared.wire.LEVEL``);
``tests.support.frozen`` makes one.
"""

import json
from typing import Any

import msgpack
import pytest

from shared.wire import LEVEL
from tests.support.frozen import FOLDER, read, written

FROZEN = {path.stem: json.loads(path.read_text()) for path in sorted(FOLDER.glob("*.json"))}
NAMES = [(level, name) for level, messages in FROZEN.items() for name in messages]
WRITTEN = written()


def frames_of(level: str, name: str) -> list[bytes]:
    """What travelled."""
    return [bytes.fromhex(frame) for frame in FROZEN[level][name]["frames"]]


def assert_holds(found: Any, expected: Any) -> None:
    """``found`` says what is expected; it may have fields beside that."""
    if isinstance(expected, dict):
        assert set(expected) <= set(found)
        for key, value in expected.items():
            assert_holds(found[key], value)
    elif isinstance(expected, list):
        assert len(found) == len(expected)
        for one, other in zip(found, expected, strict=True):
            assert_holds(one, other)
    else:
        assert found == expected
        assert type(found) is type(expected)


def maps(frames: list[bytes]) -> list[tuple[int, dict[str, Any]]]:
    """The frames that are maps of fields, with their places."""
    found = []
    for place, frame in enumerate(frames):
        try:
            body = msgpack.unpackb(frame)
        except ValueError:
            continue
        if isinstance(body, dict):
            found.append((place, body))
    return found


@pytest.mark.parametrize(("level", "name"), NAMES)
def test_what_an_earlier_release_wrote_is_read_as_it_was(level: str, name: str) -> None:
    """Field by field; what is new has its default."""
    assert_holds(read(name, frames_of(level, name)), FROZEN[level][name]["read"])


@pytest.mark.parametrize(("level", "name"), NAMES)
def test_an_earlier_release_finds_what_it_looks_for(level: str, name: str) -> None:
    """It reads its own fields, and they are what they were; it ignores those that it does not know,
    as the next test says.
    """
    before, now = maps(frames_of(level, name)), maps(WRITTEN[name])
    assert len(before) == len(now)
    for (_, old), (_, new) in zip(before, now, strict=True):
        assert_holds(new, old)
    if not before:
        assert frames_of(level, name) == WRITTEN[name]


@pytest.mark.parametrize("name", [name for name, frames in WRITTEN.items() if maps(frames)])
def test_fields_of_a_later_release_are_ignored(name: str) -> None:
    """In the message itself; a count that is new is one of ``usage``."""
    expected = read(name, WRITTEN[name])
    for place, body in maps(WRITTEN[name]):
        more = {**body, "of_the_future": [1, {"any": "thing"}]}
        if isinstance(body.get("usage"), dict):
            more["usage"] = {**body["usage"], "future_tokens": 5}
        frames = [*WRITTEN[name]]
        frames[place] = msgpack.packb(more)
        assert read(name, frames) == expected


def test_the_newest_form_is_frozen() -> None:
    """Byte by byte. What changes it gets another level, and a file of its own."""
    newest = max(FROZEN, key=lambda stem: int(stem.removeprefix("level-")))
    assert newest == f"level-{LEVEL}", f"run python -m tests.support.frozen level-{LEVEL}"
    frozen = {name: frames_of(newest, name) for name in FROZEN[newest]}
    assert frozen == WRITTEN
