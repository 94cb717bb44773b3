"""Which pages hold which beginnings of texts, so that a later request needn't read them again.

A tree: below each set of experts in place, a page's 64 tokens lead on to the pages that followed
it. Tokens and hashes are compared, not digests of them, so no two beginnings are ever taken for one
another. The base and the format of keys and values are those of the runtime whose pages these are;
the tree lives and dies with them.
"""

import heapq
from collections.abc import Sequence
from dataclasses import dataclass, field

Tokens = tuple[int, ...]


@dataclass(slots=True, eq=False)
class CachedPage:
    """A whole page of keys and values, kept for whoever begins with the same tokens."""

    tokens: Tokens
    page: int
    parent: "CachedPage | None"
    following: dict[Tokens, "CachedPage"] = field(default_factory=dict)
    num_holders: int = 0
    last_used: int = 0


class PrefixCache:
    """Whoever holds a page holds all that come before it: what nobody holds ends a branch."""

    def __init__(self, page_tokens: int):
        self.page_tokens = page_tokens
        self.beginnings: dict[tuple[str, ...], CachedPage] = {}
        # Pages that no request holds: kept until they are needed.
        self.num_idle = 0
        self.num_uses = 0

    def beginning(self, experts: tuple[str, ...]) -> CachedPage:
        """Returns where texts read with these experts in place begin: a page of no tokens."""
        if experts not in self.beginnings:
            self.beginnings[experts] = CachedPage((), -1, None)
        return self.beginnings[experts]

    def pages(self, below: CachedPage | None = None) -> list[CachedPage]:
        """Returns all cached pages, or those that follow one."""
        left = [below] if below is not None else list(self.beginnings.values())
        found: list[CachedPage] = []
        while left:
            here = left.pop()
            found += here.following.values()
            left += here.following.values()
        return found

    def match(self, experts: tuple[str, ...], token_ids: Sequence[int]) -> list[CachedPage]:
        """Returns the cached pages that a text begins with, in order of position."""
        here, found = self.beginnings.get(experts), []
        while here is not None:
            begin = len(found) * self.page_tokens
            here = here.following.get(tuple(token_ids[begin : begin + self.page_tokens]))
            if here is not None:
                found.append(here)
        return found

    def add(self, parent: CachedPage, tokens: Tokens, page: int) -> CachedPage:
        """Keeps a page that was read after `parent`; nobody holds it yet."""
        assert len(tokens) == self.page_tokens, "only whole pages are shared"
        assert tokens not in parent.following, "this beginning is kept already"
        added = parent.following[tokens] = CachedPage(tokens, page, parent)
        self.num_idle += 1
        return added

    def hold(self, cached: CachedPage) -> None:
        self.num_idle -= cached.num_holders == 0
        cached.num_holders += 1
        self.note_use(cached)

    def let_go(self, cached: CachedPage) -> None:
        assert cached.num_holders > 0, f"page {cached.page} is held by nobody"
        cached.num_holders -= 1
        self.num_idle += cached.num_holders == 0
        self.note_use(cached)

    def note_use(self, cached: CachedPage) -> None:
        self.num_uses += 1
        cached.last_used = self.num_uses

    def evict(self, num_pages: int) -> list[int]:
        """Forgets the pages used least recently that nobody holds; returns their numbers."""
        assert num_pages <= self.num_idle, f"{num_pages} pages wanted, {self.num_idle} are idle"
        ends = [
            (cached.last_used, cached.page, cached)
            for cached in self.pages()
            if not cached.num_holders and not cached.following
        ]
        heapq.heapify(ends)
        evicted: list[int] = []
        while len(evicted) < num_pages:
            _, page, cached = heapq.heappop(ends)
            parent = cached.parent
            del parent.following[cached.tokens]
            evicted.append(page)
            if parent.parent is not None and not parent.following and not parent.num_holders:
                heapq.heappush(ends, (parent.last_used, parent.page, parent))
        self.num_idle -= num_pages
        return evicted

    def forget(self, expert_hash: str) -> list[int]:
        """Forgets every page that was made with an expert in place; returns their numbers."""
        evicted: list[int] = []
        for experts in [experts for experts in self.beginnings if expert_hash in experts]:
            pages = self.pages(self.beginnings.pop(experts))
            assert not any(cached.num_holders for cached in pages), "a request still reads them"
            evicted += [cached.page for cached in pages]
        self.num_idle -= len(evicted)
        return evicted
