"""The shared Hugging Face cache: where files lie in it, and how they leave it.

Other programs use the same cache. So nothing is deleted there but through huggingface_hub's own
strategies, which keep what another revision needs, and nothing that we didn't fetch.
"""

from collections.abc import Sequence
from pathlib import Path

from tramontane.checkpoint.removal import Removal


def cache_folder() -> Path:
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE)


def hub_removal(paths: Sequence[Path]) -> Removal:
    """Returns the deletion of these files of snapshots from the cache they lie in.

    Where they are all that a revision has, the revision goes; otherwise only they go.
    """
    from huggingface_hub import scan_cache_dir

    there = {path for path in paths if path.is_symlink() or path.exists()}
    if not there:
        return Removal((), 0, "its files are used by others or gone already; it is only forgotten")
    # <cache>/models--owner--name/snapshots/<revision>/<file>
    folders = {parent for parent in next(iter(there)).parents if parent.name == "snapshots"}
    cache = scan_cache_dir(folders.pop().parent.parent)
    revisions = [
        revision
        for repo in cache.repos
        for revision in repo.revisions
        if any(file.file_path in there for file in revision.files)
    ]
    files = [file for one in revisions for file in one.files if file.file_path in there]
    if all(file.file_path in there for one in revisions for file in one.files):
        strategy = cache.delete_revisions(*(revision.commit_hash for revision in revisions))
        stays = ""
    else:
        strategy = cache.delete_files(*files)
        stays = "other files of that revision in the Hugging Face cache stay: they are not ours"
    return Removal(
        tuple(sorted(file.file_path for file in files)),
        strategy.expected_freed_size,
        stays,
        strategy.execute,
    )
