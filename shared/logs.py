"""One event, one line: a fixed phrase plus fields, on stderr.

``configure`` is called once per process; modules take their logger with ``structlog.get_logger()``.
Keys, provider keys, transcripts and audio are never passed as fields.
"""

import logging
import sys
from typing import Any

import structlog


def configure(*, service: str, level: str = "INFO", as_json: bool = False) -> None:
    """Send events of this process to stderr as logfmt, or as JSON lines with ``as_json``.

    ``level`` is a name of the standard ``logging`` module. Libraries that use ``logging`` are
    heard from WARNING on, in the same format.
    """
    threshold = logging.getLevelNamesMapping()[level.upper()]
    renderer: Any = (
        structlog.processors.JSONRenderer()
        if as_json
        else structlog.processors.LogfmtRenderer(
            key_order=["timestamp", "level", "service", "event"], bool_as_flag=False
        )
    )
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        lambda _logger, _name, event: {**event, "service": service},
    ]
    structlog.configure(
        processors=[*shared, structlog.processors.format_exc_info, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(threshold),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
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
