"""From desired and actual to an ordered list of steps; pure."""
