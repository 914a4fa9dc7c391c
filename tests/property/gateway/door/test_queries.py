"""The parameters of a target are what the standard library decodes."""

from urllib.parse import parse_qsl

from hypothesis import given
from hypothesis import strategies as st

from gateway.door.queries import split_target


@given(query=st.text("ab=&;+%2B5_[]?é", max_size=20))
def test_a_query_without_escapes_is_read_in_the_same_way(query: str) -> None:
    """The short way for those ends as the long one does."""
    expected = parse_qsl(query, keep_blank_values=True)
    assert split_target(f"/v1/realtime?{query}") == ("/v1/realtime", expected, query)
