"""What a count of zero deviations means."""

from dataclasses import fields, replace

from benchmarks.faults.truth import CENSUS, Count

CLEAN = Count(**{field.name: 0 for field in fields(Count)})


def test_what_is_there_is_no_deviation() -> None:
    there = replace(CLEAN, images=2000, vectors=2000, blobs=2000, objects=4000)
    assert there.deviations() == {}
    assert (there.lost, there.duplicated, there.stuck) == (0, 0, 0)


def test_every_deviation_is_lost_double_or_stuck() -> None:
    for field in fields(Count):
        if field.name not in CENSUS:
            off = replace(CLEAN, **{field.name: 3})
            assert off.deviations() == {field.name: 3}
            assert sorted((off.lost, off.duplicated, off.stuck)) == [0, 0, 3]
