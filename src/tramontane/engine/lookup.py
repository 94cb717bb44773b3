"""Drafts copied from the context: what followed the last few tokens when they stood there before.

Models quote their prompts and repeat themselves; what is copied is verified in one pass by equality
with the token that is drawn at each position, so a draft changes when tokens come, never which
(prompt lookup: Saxena 2023; Leviathan et al. 2023 for drafts in general).
"""

from collections.abc import Sequence

# How many tokens must have stood before alike, tried in this order.
GRAM_LENGTHS = (6, 3, 2)
FIRST_LENGTH, LONGEST = 3, 15
# After drafts of which nothing came true, short runs aren't looked up for this many tokens at most.
LONGEST_PAUSE = 32


class Drafts:
    """One request's drafts: longer while they come true, fewer while they don't."""

    def __init__(self, token_ids: Sequence[int]):
        self.tokens: list[int] = []
        # Where a run of tokens last ended, by the run.
        self.ends: dict[tuple[int, ...], int] = {}
        self.length = FIRST_LENGTH
        self.num_misses = 0
        self.pause_until = 0
        # While a copy comes true, the place it goes on from.
        self.source: int | None = None
        self.extend(token_ids)

    def extend(self, token_ids: Sequence[int]) -> None:
        """Takes in what the request has come to know."""
        for token in token_ids:
            # The run that ends here is entered once another token follows: none finds itself.
            for length in GRAM_LENGTHS:
                if len(self.tokens) >= length:
                    self.ends[tuple(self.tokens[-length:])] = len(self.tokens)
            self.tokens.append(token)

    def draft(self, most: int) -> list[int]:
        """Returns at most `most` tokens that may follow, or none."""
        length = min(most, self.length)
        if length < 1:
            return []
        if self.source is None:
            self.source = self.find()
        if self.source is None:
            return []
        # A copy that reaches its own end goes on with what it copied.
        source, known = self.source, len(self.tokens)
        copied = self.tokens[source : source + length]
        while len(copied) < length:
            copied.append(copied[source + len(copied) - known])
        return copied

    def find(self) -> int | None:
        # In a pause only a long run is trusted.
        is_paused = len(self.tokens) < self.pause_until
        for length in GRAM_LENGTHS[:1] if is_paused else GRAM_LENGTHS:
            if (end := self.ends.get(tuple(self.tokens[-length:]))) is not None:
                return end
        return None

    def learn(self, draft: Sequence[int], drawn: Sequence[int]) -> None:
        """Takes in the tokens drawn after a draft, those that confirmed it and the one after."""
        num_right = 0
        while num_right < min(len(draft), len(drawn)) and draft[num_right] == drawn[num_right]:
            num_right += 1
        if draft:
            self.judge(len(draft), num_right)
        source = self.source
        self.extend(drawn)
        self.source = None
        if source is not None and num_right == len(draft):
            # All came true: the copy goes on if the token after it fits, too.
            at = source + len(drawn) - 1
            if at < len(self.tokens) - 1 and self.tokens[at] == drawn[-1]:
                self.source = at + 1

    def judge(self, num_drafted: int, num_right: int) -> None:
        if num_right == num_drafted:
            self.length = min(LONGEST, max(2 * num_drafted + 1, FIRST_LENGTH))
        else:
            self.length = max(1, num_right)
        if num_right:
            self.num_misses = 0
            return
        self.num_misses += 1
        pause = min(LONGEST_PAUSE, 2**self.num_misses)
        self.pause_until = len(self.tokens) + pause
