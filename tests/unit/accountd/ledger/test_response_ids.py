"""The stored form of response ids."""

import json
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accountd.ledger.response_ids import pack, unpack

LETTERS = string.ascii_letters + string.digits + "-_"
alike = st.integers(1, 300).flatmap(
    lambda size: st.lists(st.text(LETTERS, min_size=size, max_size=size), max_size=12)
)


@given(alike | st.lists(st.text(LETTERS + "+/= é", max_size=12), max_size=6))
def test_what_is_packed_is_unpacked(ids: list[str]) -> None:
    """Whatever the provider calls its responses."""
    stored = pack(tuple(ids))
    assert isinstance(stored, (str, bytearray))
    assert unpack(bytes(stored) if isinstance(stored, bytearray) else stored) == ids


@pytest.mark.parametrize("length", [4, 5, 6, 7, 26, 255])
@pytest.mark.parametrize("count", [1, 2, 3, 4, 5])
def test_ids_of_one_length_take_six_bits_a_character(length: int, count: int) -> None:
    """And a byte for the length."""
    ids = [("resp_" + string.ascii_letters * 5)[n : n + length] for n in range(count)]
    stored = pack(ids)
    assert isinstance(stored, bytearray)
    assert len(stored) <= 1 + (length * count * 6 + 23) // 8
    assert unpack(bytes(stored)) == ids


@pytest.mark.parametrize(
    "ids",
    [[], [""], ["abc"], ["a" * 256], ["four", "fives"], ["a+b/"], ["a b c"], ["ab=="], ["éééé"]],
)
def test_other_ids_are_a_json_list(ids: list[str]) -> None:
    """Nothing is changed by packing."""
    assert pack(ids) == json.dumps(ids)


def test_a_list_of_before_is_read() -> None:
    """Rows that were moved by a migration keep their text."""
    assert unpack('["resp_1", "resp_2"]') == ["resp_1", "resp_2"]
