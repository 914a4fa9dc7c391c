"""Right bytes that are wrong in a few places, for generated cases."""

from collections.abc import Sequence

from hypothesis import strategies as st

Edit = tuple[float, int, bytes]  # where, how much is taken out there, and what is put in


def mutated(seeds: Sequence[bytes], words: Sequence[bytes]) -> st.SearchStrategy[bytes]:
    """One of ``seeds`` with a few edits, in which ``words`` are put in as well, or any bytes."""
    put_in = st.one_of(st.binary(max_size=6), st.sampled_from(words))
    edits = st.tuples(st.floats(0, 1), st.sampled_from([0, 0, 1, 2, 8, 40]), put_in)
    edited = st.builds(_edited, st.sampled_from(seeds), st.lists(edits, max_size=4))
    return st.one_of(edited, edited, edited, st.binary(max_size=300))


def _edited(data: bytes, edits: Sequence[Edit]) -> bytes:
    for where, taken, put_in in edits:
        at = round(where * len(data))
        data = data[:at] + put_in + data[at + taken :]
    return data
