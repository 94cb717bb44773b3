"""Which request holds which pages of keys and values."""

from collections.abc import Sequence

from tramontane.engine.prefix_cache import CachedPage, PrefixCache


class KVPages:
    """`num_pages` pages; each is free, held by one request alone, or in the prefix cache.

    Those in the cache are held by any number of requests, or idle; idle ones are taken back, least
    recently used first, when free ones don't suffice.
    """

    def __init__(self, num_pages: int, page_tokens: int = 64):
        self.free: list[int] = list(range(num_pages - 1, -1, -1))
        self.held: dict[int, list[int]] = {}
        self.cache = PrefixCache(page_tokens)
        # The cached pages that a request's text begins with: the first of those it holds.
        self.shared: dict[int, list[CachedPage]] = {}

    @property
    def num_free(self) -> int:
        """How many can be taken: those that are idle in the cache too."""
        return len(self.free) + self.cache.num_idle

    def can_take(self, num_pages: int, cached: Sequence[CachedPage] = ()) -> bool:
        """Whether a request can have `num_pages`, the first of them these."""
        num_idle = sum(not page.num_holders for page in cached)
        return num_pages - len(cached) <= self.num_free - num_idle

    def take(self, request_id: int, num_pages: int, cached: Sequence[CachedPage] = ()) -> list[int]:
        """Gives a request further pages and returns all it holds, in order of position.

        Of a new request's pages the first may be cached ones, which are then held together.
        """
        assert self.can_take(num_pages, cached), f"{num_pages} wanted, {self.num_free} free"
        assert not cached or request_id not in self.held, "a text begins with its cached pages"
        held = self.held.setdefault(request_id, [])
        self.shared.setdefault(request_id, []).extend(cached)
        for page in cached:
            self.cache.hold(page)
        held += [page.page for page in cached]
        num_new = num_pages - len(cached)
        if num_new > len(self.free):
            self.free += self.cache.evict(num_new - len(self.free))
        held += [self.free.pop() for _ in range(num_new)]
        return held

    def share(self, request_id: int, experts: tuple[str, ...], tokens: tuple[int, ...]) -> None:
        """Puts the next page of a request, read whole, into the cache.

        Where another request was first, its page is taken instead: their bits are the same.
        """
        if self.find_next(request_id, experts, tokens):
            return
        shared, held = self.shared[request_id], self.held[request_id]
        parent = shared[-1] if shared else self.cache.beginning(experts)
        shared.append(self.cache.add(parent, tokens, held[len(shared)]))
        self.cache.hold(shared[-1])

    def find_next(self, request_id: int, experts: tuple[str, ...], tokens: tuple[int, ...]) -> bool:
        """Takes the next page from the cache if it is there by now; returns whether it was."""
        shared = self.shared[request_id]
        parent = shared[-1] if shared else self.cache.beginning(experts)
        if tokens not in parent.following:
            return False
        held, cached = self.held[request_id], parent.following[tokens]
        self.free.append(held[len(shared)])
        held[len(shared)] = cached.page
        shared.append(cached)
        self.cache.hold(cached)
        return True

    def release(self, request_id: int) -> None:
        """Frees what a request holds; one that holds nothing may be released too."""
        shared = self.shared.pop(request_id, [])
        # The last first: among pages last used together, a branch is cut from its end.
        for cached in reversed(shared):
            self.cache.let_go(cached)
        self.free += reversed(self.held.pop(request_id, [])[len(shared) :])

    def forget(self, expert_hash: str) -> None:
        """Frees every cached page that was made with an expert in place."""
        self.free += self.cache.forget(expert_hash)
