"""One target under `atheris`: ``python -m tests.chaos.fuzz_worker TARGET ARGUMENTS-OF-LIBFUZZER``.

``fuzz`` starts it. The gateway's own modules are instrumented: what leads to new branches is kept.
"""

import sys
from collections.abc import Callable

import atheris


@atheris.instrument_func
def planted(data: bytes) -> None:
    """Refuses one input in 16 million, byte by byte: for the test that a search finds it."""
    if data[:1] != b"r":
        return
    if data[1:2] != b"t":
        return
    assert data[2:3] != b"s", "found"


def target_of(name: str) -> Callable[[bytes], None]:
    """A target; what it needs of the gateway is imported for it, and instrumented."""
    if name == planted.__name__:
        return planted
    with atheris.instrument_imports(include=["gateway", "shared"]):
        if name in ("door", "relay"):
            from tests.support.fuzz_gateway import Gateways  # noqa: PLC0415

            return getattr(Gateways(), name)
        from tests.support import fuzz_parts  # noqa: PLC0415

        return getattr(fuzz_parts, name)


def main() -> None:
    """Run until the time is over, or an input that the target refuses was found."""
    target = target_of(sys.argv.pop(1))
    atheris.Setup(sys.argv, target)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
