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


@pytest.mark.parametrize("base", [830_000, 830_208, 1_000_189, 4_095, 256])
def test_every_id_has_a_table_of_its_own_beyond_those_of_the_system(base: int) -> None:
    """And in none of the lists of them, by the lowest byte, in which the kernel looks for every packet's tables."""
    settings = Settings(table_base=base)
    tables = [settings.table(number) for number in range(1, settings.nowhere_id + 1)]
    assert tables == sorted(set(tables))
    assert tables[0] > base
    assert not {253, 254, 255} & {table % 256 for table in tables}


def test_the_first_exits_have_tables_that_a_reader_can_number() -> None:
    assert [Settings().table(number) for number in (1, 2, 204)] == [830_001, 830_002, 830_204]


def test_a_device_is_named_after_its_outer_family() -> None:
    names = [Settings().device(family) for family in (4, 6)]
    assert names == ["sp-vx4", "sp-vx6"]
    assert all(len(name) <= 15 for name in names)
