"""Many clients at once against any server that speaks OpenAI's interface: bare sockets, one thread,
so that what is measured is the server.
"""

import asyncio
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

END = b"data: [DONE]"


@dataclass(frozen=True)
class Told:
    """One streamed answer: its text, and seconds to the first piece and to the end."""

    text: str
    first_seconds: float
    seconds: float
    error: str | None = None


async def stream(address: str, body: dict) -> Told:
    """Asks /v1/completions for a stream; an answer that breaks off is told as an error."""
    place = urlsplit(address)
    data = json.dumps(body | {"stream": True}).encode()
    began, first, texts = time.perf_counter(), None, []
    reader, writer = await asyncio.open_connection(place.hostname, place.port, limit=1 << 20)
    try:
        writer.write(
            f"POST /v1/completions HTTP/1.1\r\nHost: {place.netloc}\r\nConnection: close\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(data)}\r\n\r\n".encode()
            + data
        )
        status = (await reader.readline()).decode().strip()
        if " 200 " not in f"{status} ":
            rest = await reader.read(2000)
            return Told("", 0, 0, f"{status} {rest[-300:]!r}")
        while line := await reader.readline():
            if not line.startswith(b"data: "):
                continue
            if line.startswith(END):
                seconds = time.perf_counter() - began
                return Told("".join(texts), first or seconds, seconds)
            chunk = json.loads(line[6:])
            if "error" in chunk:
                return Told("".join(texts), 0, 0, str(chunk["error"]))
            for choice in chunk["choices"]:
                if choice.get("text"):
                    first = first or time.perf_counter() - began
                    texts.append(choice["text"])
        return Told("".join(texts), 0, 0, "the stream broke off")
    finally:
        writer.close()


@dataclass(frozen=True)
class Load:
    """What a load gave: seconds over all, and each answer."""

    seconds: float
    told: Sequence[Told]

    @property
    def errors(self) -> list[str]:
        return [told.error for told in self.told if told.error]

    def tokens_per_second(self, num_new: int) -> float:
        if self.errors:
            raise RuntimeError(f"{len(self.errors)} answers failed: {self.errors[0]}")
        return num_new * len(self.told) / self.seconds

    def first_token(self, share: float) -> float:
        """Returns the time to first token that this share of the answers kept to."""
        ranked = sorted(told.first_seconds for told in self.told)
        return ranked[min(len(ranked) - 1, int(share * len(ranked)))]


def run_load(address: str, bodies: Sequence[Sequence[dict]]) -> Load:
    """Each client asks its bodies one after the other, all clients at once."""

    async def client(mine: Sequence[dict]) -> list[Told]:
        return [await stream(address, body) for body in mine]

    async def everyone() -> list[list[Told]]:
        return await asyncio.gather(*map(client, bodies))

    began = time.perf_counter()
    told = asyncio.run(everyone())
    return Load(time.perf_counter() - began, [one for mine in told for one in mine])
