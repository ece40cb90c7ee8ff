"""BGP filters in BIRD's language."""

from collections.abc import Sequence

from sallyport.model.state import Family, RouteFilter


def render_filters(filters: Sequence[RouteFilter]) -> tuple[tuple[str, Family, str], ...]:
    """The filters of a session by direction (`import`, `export`) and family."""
    return ()
