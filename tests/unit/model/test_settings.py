"""The numbers by which an agent recognises its own kernel objects."""

import pytest

from sallyport.model.settings import Settings

CARRIED = 0xFFFF
KUBE_PROXY = 0x4000 | 0x8000


def test_marks_keep_clear_of_other_programs_bits_and_fit_the_tunnels_header() -> None:
    mask = Settings().mark_mask
    assert mask & KUBE_PROXY == 0
    assert mask | CARRIED == CARRIED


@pytest.mark.parametrize("mask", [0x3FFF, 0xFFFF, 0x3FF0, 0x0F00])
def test_every_id_has_a_mark_of_its_own_within_the_mask(mask: int) -> None:
    settings = Settings(mark_mask=mask)
    marks = {settings.mark(number) for number in range(1, settings.nowhere_id + 1)}
    assert len(marks) == settings.nowhere_id
    assert all(mark and mark & mask == mark for mark in marks)


def test_the_last_id_is_nobodys() -> None:
    settings = Settings()
    assert settings.mark(settings.nowhere_id) == settings.mark_mask
    assert settings.highest_id == settings.nowhere_id - 1


def test_tables_of_ids_lie_beyond_those_of_the_system() -> None:
    settings = Settings()
    tables = [settings.table(number) for number in (1, settings.nowhere_id)]
    assert tables[0] > 255
    assert tables[1] - tables[0] == settings.nowhere_id - 1


def test_a_device_is_named_after_its_outer_family() -> None:
    names = [Settings().device(family) for family in (4, 6)]
    assert names == ["sp-vx4", "sp-vx6"]
    assert all(len(name) <= 15 for name in names)
