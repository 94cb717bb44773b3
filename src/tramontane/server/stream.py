"""WORK → EVENTS: blocking work in one thread, its events as server-sent events.

The work runs from start to end in the same thread. When the reader goes away, its next `emit`
raises ReaderGone there, so that the work ends where it stands and closes what it opened.
"""

import asyncio
import logging
import threading
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from sse_starlette import EventSourceResponse, ServerSentEvent
from starlette.requests import Request
from starlette.responses import Response

from tramontane.errors import TramontaneError
from tramontane.server.desk import Report
from tramontane.server.refusal import error_of, not_ours
from tramontane.server.wire import to_json

log = logging.getLogger(__name__)

Emit = Callable[[str, Any], None]
Work = Callable[[Emit], None]

SECONDS_BETWEEN_REPORTS = 0.1
# A reader who takes nothing for so long has gone.
READER_SECONDS = 60


class ReaderGone(Exception):
    """Nobody reads on; raised inside the work at its next event."""


class Stream:
    """One piece of work and its events; at most as many at once as the pool has threads."""

    def __init__(self, work: Work, pool: ThreadPoolExecutor):
        self.loop = asyncio.get_running_loop()
        self.events: asyncio.Queue[ServerSentEvent | TramontaneError | None] = asyncio.Queue()
        self.is_stopped = threading.Event()
        self.work = work
        self.future = pool.submit(self.run)

    def run(self) -> None:
        try:
            if not self.is_stopped.is_set():
                self.work(self.emit)
        except ReaderGone:
            log.debug("the reader left; the work was ended")
        except TramontaneError as error:
            self.put(error)
        except BaseException:
            log.exception("a stream failed")
            self.put(ServerSentEvent(to_json(not_ours()), event="error"))
            raise
        finally:
            self.put(None)

    def emit(self, name: str, data: Any) -> None:
        """Called by the work for each event; raises ReaderGone once nobody reads."""
        if self.is_stopped.is_set():
            raise ReaderGone
        self.put(ServerSentEvent(to_json(data), event=name))

    def put(self, item: ServerSentEvent | TramontaneError | None) -> None:
        try:
            self.loop.call_soon_threadsafe(self.events.put_nowait, item)
        except RuntimeError:  # the server's loop has closed
            self.is_stopped.set()

    def stop(self) -> None:
        self.is_stopped.set()
        self.future.cancel()

    async def rest(
        self, first: ServerSentEvent | TramontaneError | None
    ) -> AsyncIterator[ServerSentEvent]:
        item = first
        try:
            while item is not None:
                if isinstance(item, TramontaneError):
                    item = ServerSentEvent(to_json(error_of(item)), event="error")
                yield item
                item = await self.events.get()
        finally:
            self.stop()


def progress_to(emit: Emit) -> Report:
    """Returns a report that sends progress, ten times a second at most and always the last."""
    sent_at = float("-inf")

    def report(what: str, done: int, total: int) -> None:
        nonlocal sent_at
        now = time.monotonic()
        if now - sent_at >= SECONDS_BETWEEN_REPORTS or done == total:
            sent_at = now
            emit("progress", {"what": what, "done": done, "total": total})

    return report


async def stream(request: Request, work: Work, pool: ThreadPoolExecutor) -> Response:
    """Returns the work's events as a response.

    An error before the first event is raised here and becomes an ordinary answer with a status; a
    later one is the stream's last event, named "error".
    """
    running = Stream(work, pool)
    first = await first_of(request, running)
    if first is None:
        return Response(status_code=499)  # nobody reads this

    async def stop(_message: object) -> None:
        running.stop()

    # A reader who leaves before the first event is sent never starts `rest`.
    return EventSourceResponse(
        running.rest(first),
        ping=15,
        send_timeout=READER_SECONDS,
        client_close_handler_callable=stop,
    )


async def first_of(request: Request, running: Stream) -> ServerSentEvent | None:
    """Returns the first event, or None when the reader left before it; raises what the work did."""
    first = asyncio.ensure_future(running.events.get())
    gone = asyncio.ensure_future(until_gone(request))
    try:
        await asyncio.wait({first, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not first.done():
            running.stop()
            return None
        if isinstance(item := first.result(), TramontaneError):
            raise item
        return item
    except asyncio.CancelledError:
        running.stop()
        raise
    finally:
        first.cancel()
        gone.cancel()


async def until_gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
