"""Ids sort by time: `older job` is `smaller id`."""

from core.ids import new_id


def test_later_ids_are_greater() -> None:
    ids = [new_id() for _ in range(1000)]
    assert ids == sorted(set(ids))
    assert {one.version for one in ids} == {7}
