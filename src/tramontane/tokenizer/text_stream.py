"""Token ids in, text pieces out: no piece ends inside a character, no stop string ever shows."""

import codecs
from collections.abc import Sequence

from tramontane.tokenizer.tokenizer import Tokenizer


class TextStream:
    """The pieces concatenate to the ids' decoded text, cut before the stop string that ends first.

    That one, and not the one that begins first: it doesn't depend on how tokens cut the text.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        stop_strings: Sequence[str] = (),
        *,
        shows: frozenset[int] = frozenset(),
    ):
        """Control tokens are left out, but for those that `shows` names."""
        self._tokenizer, self._shows = tokenizer, shows
        self._stops = [stop for stop in stop_strings if stop]
        self._characters = codecs.getincrementaldecoder("utf-8")("replace")
        self._held = ""
        self._is_first = tokenizer.strips_first_space
        self.is_stopped = False

    def push(self, token_id: int) -> str:
        """Returns text that is safe to show; "" inside a character or a possible stop string."""
        if self.is_stopped:
            return ""
        if token_id not in self._shows and self._tokenizer.is_special(token_id):
            return ""
        return self._take(self._characters.decode(self._tokenizer.token_bytes(token_id)))

    def finish(self) -> str:
        """Returns the rest; an unfinished character becomes U+FFFD."""
        if self.is_stopped:
            return ""
        shown = self._take(self._characters.decode(b"", final=True))
        rest, self._held = self._held, ""
        return shown if self.is_stopped else shown + rest

    def _take(self, text: str) -> str:
        if self._is_first and text:
            self._is_first = False
            text = text.removeprefix(" ")
        self._held += text
        found = [
            (place + len(stop), place)
            for stop in self._stops
            if (place := self._held.find(stop)) >= 0
        ]
        if found:
            self.is_stopped = True
            shown, self._held = self._held[: min(found)[1]], ""
            return shown
        keep = self._beginning_of_a_stop()
        shown, self._held = (
            self._held[: len(self._held) - keep],
            self._held[len(self._held) - keep :],
        )
        return shown

    def _beginning_of_a_stop(self) -> int:
        """Returns how many held characters at the end might be the start of a stop string."""
        longest = 0
        for stop in self._stops:
            for length in range(min(len(stop) - 1, len(self._held)), longest, -1):
                if self._held.endswith(stop[:length]):
                    longest = length
                    break
        return longest
