"""The real ``rts-gateway serve`` for which an answer is late after ``DRAIN_S``, which is short.

Late answers are heard for as long as ever.
"""

from typing import Final

DRAIN_S: Final = 4.0  # longer than ``ANSWER_S``, as it has to be

if __name__ == "__main__":
    from gateway import limits

    limits.DRAIN_S = DRAIN_S  # type: ignore[misc]

    from gateway import cli  # what it imports takes its limits then

    cli.main()
