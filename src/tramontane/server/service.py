"""The model behind the interface: opened in the background, driven by one thread, shared by all.

Requests are prepared in a few threads, their tokens come back to the server's loop; no answer has
a thread of its own, so those who read slowly hold nobody.
"""

import asyncio
import logging
import math
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from typing import TypeVar

from tramontane.engine.request import NewToken, Request
from tramontane.errors import TramontaneError
from tramontane.server.limits import Limits
from tramontane.server.metrics import Metrics
from tramontane.server.model import Model
from tramontane.server.refusal import Refusal
from tramontane.writing.grammar import Grammars

log = logging.getLogger(__name__)

NUM_PREPARING = 4
LOADING_RETRY_SECONDS = 2
T = TypeVar("T")


class Service:
    def __init__(self, open_model: Callable[[], Model], limits: Limits, metrics: Metrics):
        self.open_model, self.limits, self.metrics = open_model, limits, metrics
        self.opened: Model | None = None
        self.failure: TramontaneError | None = None
        self.num_answers = 0
        self.is_over = threading.Event()
        self.preparing = ThreadPoolExecutor(NUM_PREPARING, thread_name_prefix="prepare")
        # Seconds that the latest answers took.
        self.latest_seconds: deque[float] = deque(maxlen=32)

    def start(self) -> None:
        """Opens the model in the background; called in the server's loop."""
        self.mailbox = Mailbox(asyncio.get_running_loop())
        threading.Thread(target=self.run, name="engine", daemon=True).start()

    def run(self) -> None:
        try:
            model = self.open_model()
            engine = model.engine
        except TramontaneError as error:
            log.error("the model could not be opened: %s", error)
            self.failure = error
            return
        self.opened = model
        self.metrics.watch(engine)
        log.info("%s is open", model.name)
        while not self.is_over.is_set():
            try:
                engine.drive(self.is_over)
            except Exception:
                log.exception("a step failed outside of the forward pass")

    def stop(self) -> None:
        self.is_over.set()
        self.preparing.shutdown(wait=False, cancel_futures=True)

    @property
    def state(self) -> str:
        if self.failure is not None:
            return "failed"
        return "ok" if self.opened is not None else "loading"

    @property
    def model(self) -> Model:
        """The open model; Refusal 503 while there is none."""
        if self.opened is not None:
            return self.opened
        if self.failure is not None:
            raise Refusal(503, type(self.failure).__name__, str(self.failure))
        raise Refusal(
            503,
            "Loading",
            "the model is being opened; try again in a moment",
            headers={"retry-after": str(LOADING_RETRY_SECONDS)},
        )

    @cached_property
    def grammars(self) -> Grammars:
        model = self.model
        return Grammars(model.tokenizer, model.engine.runtime.config.vocab_size)

    async def prepare(self, work: Callable[[], T]) -> T:
        """Runs what may take a moment away from the loop."""
        return await asyncio.get_running_loop().run_in_executor(self.preparing, work)

    # How many at once

    def enter(self, num_answers: int) -> None:
        """Counts answers in, or refuses them all with the time after which to try again."""
        if self.num_answers + num_answers > self.limits.most_answers:
            self.metrics.refused.inc()
            seconds = self.retry_after()
            raise Refusal(
                429,
                "Busy",
                f"{self.num_answers} answers are under way or waiting, "
                f"{self.limits.most_answers} is the most; try again in {seconds} s",
                code="rate_limit_exceeded",
                headers={"retry-after": str(seconds)},
            )
        self.num_answers += num_answers

    def leave(self, num_answers: int) -> None:
        self.num_answers -= num_answers

    def retry_after(self) -> int:
        """Returns the whole seconds after which one of the answers under way has probably ended."""
        if not self.latest_seconds:
            return 1
        mean = sum(self.latest_seconds) / len(self.latest_seconds)
        return max(1, min(60, math.ceil(mean / max(1, self.num_answers) * 4)))


class Answering:
    """One request under way: its tokens, as they come, in the server's loop."""

    def __init__(self, service: Service, request: Request):
        self.service, self.request = service, request
        self.tokens: list[NewToken] = []
        self.has_new = asyncio.Event()
        self.has_ended = False
        self.began = time.monotonic()
        self.request_id: int | None = None

    def submit(self) -> None:
        """Hands the request to the engine; raises what it says against it."""
        mailbox = self.service.mailbox
        engine = self.service.model.engine
        self.request_id = engine.submit(self.request, lambda token: mailbox.put(self, token))

    def take_in(self, token: NewToken) -> None:
        self.tokens.append(token)
        self.has_new.set()
        if token.finish:
            self.has_ended = True
            self.service.latest_seconds.append(time.monotonic() - self.began)

    async def new_tokens(self, timeout: float | None = None) -> list[NewToken]:
        """Returns all tokens that have come since the last call, at least one, or none if none
        comes in `timeout` seconds."""
        if not self.tokens:
            self.has_new.clear()
            try:
                async with asyncio.timeout(timeout):
                    await self.has_new.wait()
            except TimeoutError:
                return []
        taken, self.tokens = self.tokens, []
        return taken

    def cancel(self) -> None:
        """Ends the request where it stands; the engine's lock is waited for elsewhere."""
        if self.request_id is not None and not self.has_ended and not self.service.is_over.is_set():
            self.has_ended = True
            self.service.preparing.submit(self.service.model.engine.cancel, self.request_id)


class Mailbox:
    """Carries tokens from the thread that computes to the loop, many with one call."""

    def __init__(self, loop: asyncio.AbstractEventLoop):
        self.loop = loop
        self.waiting: deque[tuple[Answering, NewToken]] = deque()
        self.is_called = False
        self.lock = threading.Lock()

    def put(self, answering: Answering, token: NewToken) -> None:
        with self.lock:
            self.waiting.append((answering, token))
            if self.is_called:
                return
            self.is_called = True
        try:
            self.loop.call_soon_threadsafe(self.hand_out)
        except RuntimeError:
            log.debug("the server's loop has closed; nobody reads any more")

    def hand_out(self) -> None:
        with self.lock:
            waiting, self.waiting = self.waiting, deque()
            self.is_called = False
        for answering, token in waiting:
            answering.take_in(token)
