"""FILES OF OTHER FORMATS → READINGS, in a process of its own with limits on memory and time.

Parsers of PDF, docx and HTML meet files that strangers made. What one of them does to its process
(a crash, a hang, gigabytes) ends there and becomes the reason why one file was skipped.
"""

import json
import os
import resource
import selectors
import signal
import struct
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import asdict

from tramontane.notes.note import Passage, Reading

MAX_MEMORY_BYTES = 1_500 * 1024 * 1024
CPU_SECONDS = 30
# Only a machine too busy to give it its share reaches this before the processor's limit.
WALL_SECONDS = 240
MAX_ANSWER_BYTES = 128 * 1024 * 1024
# A process that has read this many files is followed by a fresh one: parsers leak.
FILES_PER_PROCESS = 200
REFUSED, READ = b"-", b"+"


class RefusedError(ValueError):
    """A file that gives no note; the message is the reason, ready to be shown."""

    def __init__(self, reason: str, *, is_passing: bool = False):
        super().__init__(reason)
        self.is_passing = is_passing


class Apart:
    """Reads files in one child process after the other; close it, or use it in a `with` block."""

    def __init__(self, cpu_seconds: int = CPU_SECONDS, memory_bytes: int = MAX_MEMORY_BYTES):
        self.cpu_seconds, self.memory_bytes = cpu_seconds, memory_bytes
        self._process: subprocess.Popen | None = None
        self._num_read = 0

    def __enter__(self) -> "Apart":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            # What it had not taken yet is meant for nobody now.
            with suppress(BrokenPipeError):
                self._process.stdin.close()
            self._process.stdout.close()
            self._process = None

    def read(self, kind: str, data: bytes) -> Reading:
        """Returns the reading of a file of this kind; raises RefusedError with the reason."""
        if self._num_read >= FILES_PER_PROCESS:
            self.close()
        if self._process is None:
            self._start()
        self._num_read += 1
        try:
            answer = self._ask(kind, data)
        except BaseException:
            self.close()
            raise
        if answer[:1] == REFUSED:
            raise RefusedError(answer[1:].decode())
        return reading_of(json.loads(answer[1:]))

    def _start(self) -> None:
        # -P: a file json.py in the folder at hand must not be what `import json` finds.
        program = "from tramontane.notes.apart import serve; serve()"
        limits = [str(self.cpu_seconds), str(self.memory_bytes)]
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-c", program, *limits],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C is for us, and we end it
        )
        self._num_read = 0

    def _ask(self, kind: str, data: bytes) -> bytes:
        process = self._process
        try:
            process.stdin.write(struct.pack("<8sQ", kind.encode(), len(data)) + data)
            process.stdin.flush()
            (size,) = struct.unpack("<Q", self._take(8))
            if size > MAX_ANSWER_BYTES:
                raise RefusedError("says too much to be a note; split it")
            return self._take(size)
        except (BrokenPipeError, EOFError):
            raise self._ended() from None

    def _take(self, size: int) -> bytes:
        pipe, end = self._process.stdout, time.monotonic() + WALL_SECONDS
        pieces, missing = [], size
        with selectors.DefaultSelector() as ready:
            ready.register(pipe, selectors.EVENT_READ)
            while missing:
                if not ready.select(max(0.0, end - time.monotonic())):
                    raise RefusedError(
                        f"took longer than {WALL_SECONDS} seconds to read", is_passing=True
                    )
                piece = os.read(pipe.fileno(), min(missing, 1024 * 1024))
                if not piece:
                    raise EOFError
                pieces.append(piece)
                missing -= len(piece)
        return b"".join(pieces)

    def _ended(self) -> RefusedError:
        ended = self._process.wait()
        if ended == -signal.SIGXCPU:
            return RefusedError(
                f"took more than {self.cpu_seconds} seconds to read; it may be built to do so"
            )
        if ended == -signal.SIGKILL:
            return RefusedError("the system ended its reader; is memory short?", is_passing=True)
        return RefusedError(
            f"broke its reader (which ended with {ended}); it is damaged or built to do so"
        )


def reading_of(values: dict) -> Reading:
    passages = [
        Passage(**{key: tuple(v) if isinstance(v, list) else v for key, v in passage.items()})
        for passage in values.pop("passages")
    ]
    remarks = tuple(values.pop("remarks"))
    return Reading(passages=passages, remarks=remarks, **values)


def serve() -> None:
    """The child's life: reads files from standard input until there are no more."""
    cpu_seconds, memory_bytes = int(sys.argv[1]), int(sys.argv[2])
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))  # it has nothing to write
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints must not stand between the answers
    while head := sys.stdin.buffer.read(16):
        kind, size = struct.unpack("<8sQ", head)
        data = sys.stdin.buffer.read(size)
        used = resource.getrusage(resource.RUSAGE_SELF)
        seconds = int(used.ru_utime + used.ru_stime) + cpu_seconds + 1
        resource.setrlimit(resource.RLIMIT_CPU, (seconds, resource.RLIM_INFINITY))
        answer = answer_to(kind.rstrip(b"\0").decode(), data)
        answers.write(struct.pack("<Q", len(answer)) + answer)
        answers.flush()


def answer_to(kind: str, data: bytes) -> bytes:
    try:
        return READ + json.dumps(asdict(reader_of(kind)(data))).encode()
    except MemoryError:
        return REFUSED + b"needs too much memory to be read; it may be built to do so"
    except ValueError as error:  # ours with their reasons, and what parsers say of broken files
        return REFUSED + (str(error) or type(error).__name__).encode()
    except RecursionError:
        return REFUSED + b"nested too deeply to be read"


def reader_of(kind: str):
    # One parser is loaded where one is needed.
    if kind == "pdf":
        from tramontane.notes.pdf import read_pdf

        return read_pdf
    if kind == "docx":
        from tramontane.notes.docx import read_docx

        return read_docx
    from tramontane.notes.html import read_html_bytes

    return read_html_bytes
