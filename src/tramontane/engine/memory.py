"""How many keys and values are kept: planned before the first token, refused when it can't be."""

import logging
from pathlib import Path

from tramontane.engine.runtime import Runtime
from tramontane.errors import NotEnoughMemory

log = logging.getLogger(__name__)
# What isn't asked for by number takes at most this share of the memory that is left.
SHARE_BY_DEFAULT = 0.5
LEAST_TOKENS_BY_DEFAULT = 8192
MEGABYTE = 1e6


def plan_pages(runtime: Runtime, max_tokens: int | None, available_bytes: int | None) -> int:
    """Returns the number of pages to make room for.

    Without `max_tokens`, a whole context or 8,192 tokens, or fewer where memory is short.
    `available_bytes` None: nobody knows. Raises NotEnoughMemory.
    """
    page_tokens, page_bytes = runtime.page_tokens, runtime.page_bytes
    context = runtime.config.max_context_tokens
    wanted = max_tokens or max(context, LEAST_TOKENS_BY_DEFAULT)
    num_pages = -(-wanted // page_tokens)
    if available_bytes is None:
        return num_pages
    if max_tokens is None:
        num_fitting = int(SHARE_BY_DEFAULT * available_bytes) // max(page_bytes, 1)
        if 0 < num_fitting < num_pages:
            log.warning(
                "memory is planned for %d tokens of keys and values, not %d: %.0f MB are left",
                num_fitting * page_tokens,
                wanted,
                available_bytes / MEGABYTE,
            )
            num_pages = num_fitting
    if num_pages * page_bytes > available_bytes:
        fitting = available_bytes // page_bytes * page_tokens
        raise NotEnoughMemory(
            f"keys and values of {num_pages * page_tokens} tokens need "
            f"{num_pages * page_bytes / MEGABYTE:.0f} MB, {available_bytes / MEGABYTE:.0f} MB of "
            "memory are left"
            + (
                f"; ask for at most {fitting} tokens (setting kv_tokens), or end other programs"
                if fitting
                else "; end other programs, or take a smaller model"
            )
        )
    return num_pages


def available_memory(
    meminfo: Path = Path("/proc/meminfo"), group: Path = Path("/sys/fs/cgroup")
) -> int | None:
    """Returns the bytes that programs can still have, or None where the system doesn't say.

    Linux: what the kernel could free, or what is left of a container's own limit if that is less.
    """
    try:
        lines = dict(line.split(":", 1) for line in meminfo.read_text().splitlines())
        available = int(lines["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError, ValueError):
        return None
    try:
        limit = int((group / "memory.max").read_text())
        used = int((group / "memory.current").read_text())
        # Pages of files can be dropped whenever memory is short.
        stat = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
        droppable = int(stat.get("inactive_file", 0)) + int(stat.get("active_file", 0))
    except (OSError, ValueError):  # no limit says "max"
        return available
    return max(0, min(available, limit - used + droppable))
