"""Text in columns."""

from collections.abc import Sequence


def aligned(rows: Sequence[Sequence[str]], indent: str = "") -> list[str]:
    """A line per row, columns as wide as their longest cell; the last cell of a row runs on."""
    columns = max((len(row) for row in rows), default=0)
    widths = [max((len(row[column]) for row in rows if column < len(row) - 1), default=0) for column in range(columns)]
    return [indent + "  ".join(cell.ljust(widths[column]) for column, cell in enumerate(row)).rstrip() for row in rows]
