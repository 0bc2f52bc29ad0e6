"""What a process remembers of ever more keys."""

from __future__ import annotations

from atlas_invites.atlas.lru import LruCache


def test_a_cache_forgets_what_was_used_least_recently() -> None:
    """Rotated credentials do not pile up."""
    cache: LruCache[int, list[int]] = LruCache(3)
    first = cache.get(1, lambda: [1])
    for number in (2, 3):
        cache.get(number, list)
    assert cache.get(1, list) is first
    cache.get(4, list)
    assert cache.get(1, list) is first
    made = cache.get(2, lambda: [2])
    assert made == [2]
    assert len(list(cache)) == 3
