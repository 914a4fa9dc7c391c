"""One event, one line: a fixed phrase plus fields, on stderr.

``configure`` is called once per process; modules take their logger with ``structlog.get_logger()``.
Keys, provider keys, transcripts and audio are never passed as fields.
"""

import functools
import logging
import sys
import time
from collections.abc import MutableMapping
from typing import Any, Final

import structlog

_LOGFMT: Final = structlog.processors.LogfmtRenderer(
    key_order=["timestamp", "level", "service", "event"], bool_as_flag=False
)


def configure(*, service: str, level: str = "INFO", as_json: bool = False) -> None:
    """Send events of this process to stderr as logfmt, or as JSON lines with ``as_json``.

    ``level`` is a name of the standard ``logging`` module. Libraries that use ``logging`` are
    heard from WARNING on, in the same format.
    """
    threshold = logging.getLevelNamesMapping()[level.upper()]
    renderer: Any = structlog.processors.JSONRenderer() if as_json else to_logfmt

    def name_service(
        _logger: object, _name: str, event: MutableMapping[str, Any]
    ) -> MutableMapping[str, Any]:
        event["service"] = service
        return event

    shared: list[Any] = [
        structlog.processors.add_log_level,
        add_timestamp,
        name_service,
    ]
    structlog.configure(
        processors=[*shared, structlog.processors.format_exc_info, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(threshold),
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                renderer,
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(max(threshold, logging.WARNING))


def to_logfmt(logger: Any, name: str, event: MutableMapping[str, Any]) -> str:
    """The line of an event. A peer chose some of the words (why it closes): what could move a
    terminal's cursor, or turn its text around, is spelled out, as JSON does.
    """
    line = _LOGFMT(logger, name, event)
    return line if line.isprintable() else "".join(map(_spelled, line))


def _spelled(character: str) -> str:
    if character.isprintable():
        return character
    return character.encode("unicode_escape").decode("ascii")


def add_timestamp(
    _logger: object, _name: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """UTC to the microsecond, as ``structlog.processors.TimeStamper(fmt="iso")`` writes it: that
    formats the date anew for each line.
    """
    second, microseconds = divmod(time.time_ns() // 1_000, 1_000_000)
    event["timestamp"] = f"{_iso(second)}.{microseconds:06d}Z"
    return event


@functools.lru_cache(maxsize=1)
def _iso(second: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
