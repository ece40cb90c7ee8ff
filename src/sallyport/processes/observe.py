"""Logs of the processes: one JSON object a line."""

import sys

import structlog


def configure_logging() -> None:
    """Lines on standard error with time, level and event; flushed at once, so that a crash loses none."""
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
