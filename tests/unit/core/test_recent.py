import pytest

from core.recent import Recent


def kept(recent: Recent[str, bytes], names: str = "abcd") -> str:
    return "".join(name for name in names if recent.get(name) is not None)


def test_what_was_not_used_for_longest_goes_first() -> None:
    recent: Recent[str, bytes] = Recent(room=30, size_of=len)
    for name in "abc":
        recent.put(name, bytes(10))
    assert recent.get("a") == bytes(10)  # which makes b the oldest
    recent.put("d", bytes(10))

    assert kept(recent) == "acd"
    assert len(recent) == 3


def test_room_is_made_for_a_large_value_and_one_that_fits_nowhere_is_not_kept() -> None:
    recent: Recent[str, bytes] = Recent(room=30, size_of=len)
    for name in "abc":
        recent.put(name, bytes(10))
    recent.put("d", bytes(25))
    assert kept(recent) == "d"
    recent.put("e", bytes(31))

    assert recent.get("e") is None
    assert kept(recent) == "d"


def test_another_value_of_the_same_key_takes_the_place_of_the_first() -> None:
    recent: Recent[str, bytes] = Recent(room=30, size_of=len)
    for size in (30, 10, 20):
        recent.put("a", bytes(size))
    recent.put("b", bytes(10))

    assert (recent.get("a"), recent.get("b")) == (bytes(20), bytes(10))


@pytest.mark.parametrize("size", [1, 1000])
def test_without_room_nothing_is_kept(size: int) -> None:
    recent: Recent[str, bytes] = Recent(room=0, size_of=len)
    recent.put("a", bytes(size))

    assert (recent.get("a"), len(recent)) == (None, 0)
