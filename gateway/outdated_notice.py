"""Logs once, not for each request, that accountd is too old for something."""

import structlog

log = structlog.get_logger()


class OutdatedNotice:
    """Of one kind of request. ``event`` says what cannot be done, ``hint`` what to do."""

    __slots__ = ("_event", "_hint", "_is_given")

    def __init__(self, event: str, *, hint: str) -> None:
        self._event = event
        self._hint = hint
        self._is_given = False

    def outdated(self, reason: str) -> None:
        """accountd does not know the request."""
        if not self._is_given:
            self._is_given = True
            log.error(self._event, reason=reason, hint=self._hint)

    def answered(self) -> None:
        """It does: a later accountd that does not is news again."""
        self._is_given = False
