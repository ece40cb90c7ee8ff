"""When a Lease was renewed. Its holder writes that by the holder's own clock, which may be wrong by any amount; the API
server notes in managedFields, by its one clock, when it took the renewal."""

from datetime import datetime, timedelta

from sallyport.apis.core import Lease


def renewed(lease: Lease) -> datetime | None:
    """When it was renewed, by the API server's clock, or by the holder's where the server's note is not shown. None
    where nobody says."""
    return _written(lease) or _claimed(lease)


def ahead(lease: Lease) -> timedelta:
    """By how much the holder's clock is before the API server's, to about a second; 0 where it cannot be told."""
    written, claimed = _written(lease), _claimed(lease)
    return claimed - written if written and claimed else timedelta()


def _claimed(lease: Lease) -> datetime | None:
    return _time(lease.spec.renew_time)


def _written(lease: Lease) -> datetime | None:
    """Any entry will do: who else writes to it, as by kubectl, only makes it look younger."""
    return max((time for item in lease.metadata.managed_fields if (time := _time(item.time))), default=None)


def _time(text: str | None) -> datetime | None:
    try:
        found = datetime.fromisoformat(text or "")
    except ValueError:
        return None
    return found if found.tzinfo else None
