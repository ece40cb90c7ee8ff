"""Logs of the processes: one JSON object a line."""

import logging
import sys

import structlog


def configure_logging(severity: int = logging.DEBUG) -> None:
    """Lines on standard error with time, level and event; flushed at once, so that a crash loses none. Those below
    `severity`, a level of `logging`, are left out."""
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(severity),
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
