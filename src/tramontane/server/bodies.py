"""The bodies of requests, read within bounds: of size, of time, and of memory over all together."""

import asyncio

from starlette.requests import ClientDisconnect, Request

from tramontane.server.guard import too_large
from tramontane.server.limits import Limits
from tramontane.server.refusal import Refusal


class Bodies:
    def __init__(self, limits: Limits):
        self.limits = limits
        self.num_bytes = 0

    async def of(self, http: Request, most_bytes: int | None = None) -> bytes:
        """Returns a request's body, read no further than the bound whatever its header claimed."""
        most_bytes = most_bytes or self.limits.most_body_bytes
        data = bytearray()
        try:
            async with asyncio.timeout(self.limits.body_seconds):
                async for chunk in http.stream():
                    data += chunk
                    self.num_bytes += len(chunk)
                    if len(data) > most_bytes:
                        raise too_large(most_bytes)
                    if self.num_bytes > self.limits.most_bodies_bytes:
                        raise Refusal(
                            503,
                            "Busy",
                            "too many large requests at once; try again in a moment",
                            headers={"retry-after": "2"},
                        )
        except TimeoutError:
            raise Refusal(
                408,
                "TooSlow",
                f"the body did not come within {self.limits.body_seconds:.0f} seconds",
                headers={"connection": "close"},
            ) from None
        except ClientDisconnect:
            raise Refusal(400, "Gone", "the request ended before its body did") from None
        finally:
            self.num_bytes -= len(data)
        return bytes(data)
