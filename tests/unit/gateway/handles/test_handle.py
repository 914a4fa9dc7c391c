"""The digest that stands for a handle outside of the gateway."""

from gateway.handles.handle import Handle, HandleKind

HANDLE = Handle("gemini", HandleKind.SESSION, "h1")
HANDLES = [
    HANDLE,
    Handle("gemini", HandleKind.SESSION, "h2"),
    Handle("xai", HandleKind.SESSION, "h1"),
    Handle("gemini", HandleKind.CALL, "h1"),
    Handle("gemini", HandleKind.SESSION, "\ud800"),
    Handle("gemini", HandleKind.SESSION, "h" * 100_000),
]


def test_a_handle_leaves_the_gateway_as_a_short_digest_of_its_own() -> None:
    """The same always, another one for every provider, kind and value, whatever a peer wrote."""
    digests = [handle.digest for handle in HANDLES]
    assert {len(digest) for digest in digests} == {16}
    assert len(set(digests)) == len(HANDLES)
    assert Handle(*HANDLE).digest == HANDLE.digest
