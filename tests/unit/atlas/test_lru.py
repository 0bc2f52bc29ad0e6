"""What a process remembers of ever more keys."""

from __future__ import annotations

from atlas_invites.atlas.lru import LruCache


def test_a_cache_forgets_what_was_used_least_recently() -> None:
    """Rotated credentials do not pile up."""
    made: list[int] = []

    def make(key: int) -> list[int]:
        made.append(key)
        return [key]

    cache: LruCache[int, list[int]] = LruCache(3, make)
    first = cache[1]
    assert (cache[2], cache[3]) == ([2], [3])
    assert cache[1] is first
    assert cache[4] == [4]
    assert cache[1] is first
    assert cache[2] == [2]
    assert made == [1, 2, 3, 4, 2]
    assert len(list(cache)) == 3
