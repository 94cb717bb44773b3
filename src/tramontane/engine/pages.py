"""Which request holds which pages of keys and values."""


class KVPages:
    """`num_pages` pages; each is free or held by exactly one request."""

    def __init__(self, num_pages: int):
        self.free: list[int] = list(range(num_pages - 1, -1, -1))
        self.held: dict[int, list[int]] = {}

    @property
    def num_free(self) -> int:
        return len(self.free)

    def take(self, request_id: int, num_pages: int) -> list[int]:
        """Gives a request further pages and returns all it holds, in order of position."""
        assert num_pages <= self.num_free, f"{num_pages} pages wanted, {self.num_free} free"
        held = self.held.setdefault(request_id, [])
        held += [self.free.pop() for _ in range(num_pages)]
        return held

    def release(self, request_id: int) -> None:
        """Frees what a request holds; one that holds nothing may be released too."""
        self.free += reversed(self.held.pop(request_id, []))
