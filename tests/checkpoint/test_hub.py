"""`pull hf:owner/name[:quantisation]` against a hub on this machine."""

import errno
import hashlib
import json
import shutil
from pathlib import Path

import pytest
from hub_server import COMMIT, Hub, Repository
from test_hf_tokenizer import save_byte_level
from tiny_files import alphabet, write_gguf

from tramontane.checkpoint import hub_download
from tramontane.checkpoint.pull import pull
from tramontane.checkpoint.store import Store
from tramontane.errors import (
    CheckpointError,
    DiskFull,
    HashMismatch,
    ModelGated,
    ModelNotFound,
    PullError,
)

huggingface_hub = pytest.importorskip("huggingface_hub")


@pytest.fixture(scope="module")
def served():
    hub = Hub()
    yield hub
    hub.close()


@pytest.fixture
def cache(tmp_path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def hub(served, cache, monkeypatch) -> Hub:
    """The hub, empty and well-behaved; huggingface_hub knows no other and no token."""
    served.repositories, served.asked, served.cuts, served.lies = {}, [], {}, {}
    served.faults, served.knows_ranges = [], True
    monkeypatch.setenv("HF_ENDPOINT", served.address)
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.delenv("HUGGING_FACE_HUB_TOKEN", raising=False)
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, "127.0.0.1,localhost")
    constants = huggingface_hub.constants
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(cache / "no-token"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(hub_download, "FIRST_WAIT_SECONDS", 0.001)
    monkeypatch.setattr(hub_download, "CHUNK_BYTES", 1 << 10)
    huggingface_hub.close_session()
    yield served
    huggingface_hub.close_session()


@pytest.fixture
def store(tmp_path) -> Store:
    return Store(tmp_path / "models")


@pytest.fixture(scope="module")
def ggufs(tmp_path_factory) -> dict[str, bytes]:
    """A repository's files in several quantisations, as people publish them."""
    folder = tmp_path_factory.mktemp("published")
    files = {
        f"tiny.{quantisation}.gguf": write_gguf(folder / "tiny.gguf", quantisation).read_bytes()
        for quantisation in ("Q4_0", "Q8_0", "F16")
    }
    # One that isn't supported, and files that are no model.
    return files | {"tiny.Q3_K_M.gguf": b"GGUF", "README.md": b"# tiny", "mmproj-F16.gguf": b"GGUF"}


@pytest.fixture(scope="module")
def shards(tmp_path_factory) -> dict[str, bytes]:
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    folder = tmp_path_factory.mktemp("published")
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=len(alphabet()),
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=1,
        num_attention_heads=4,
        max_position_embeddings=128,
    )
    transformers.LlamaForCausalLM(config).save_pretrained(folder, max_shard_size="20KB")
    save_byte_level(folder)
    files = {file.name: file.read_bytes() for file in folder.iterdir()}
    return files | {"pytorch_model.bin": b"\x80\x04", "README.md": b"# tiny"}


def files_of(cache: Path) -> set[str]:
    """Returns the names of models' files in the cache, whole or partial."""
    there = (file for file in cache.rglob("*") if file.is_file() or file.is_symlink())
    return {file.name for file in there if "blobs" in file.parts or "snapshots" in file.parts}


def test_a_quantisation_is_fetched_proved_and_recorded(hub, store, ggufs, cache):
    hub.repositories["ada/tiny-GGUF"] = Repository(ggufs)
    said = []
    record = pull("hf:ada/tiny-GGUF:Q8_0", store, lambda *progress: said.append(progress))
    raw = ggufs["tiny.Q8_0.gguf"]
    assert (record.name, record.source) == ("tiny-GGUF-Q8_0", "hf:ada/tiny-GGUF:Q8_0")
    assert (record.licence, record.family) == ("apache-2.0", "llama")
    assert record.sha256 == hashlib.sha256(raw).hexdigest()
    assert record.path.read_bytes() == raw
    assert record.path.is_relative_to(cache / "models--ada--tiny-GGUF" / "snapshots")
    assert said[-1] == ("pulling ada/tiny-GGUF", len(raw), len(raw))
    assert sum(one.num_bytes for one in hub.sent()) == len(raw)
    assert store.open(record.name).config.vocab_size == len(alphabet())
    # Again: nothing is asked of the hub.
    hub.asked.clear()
    assert pull("hf:ada/tiny-GGUF:Q8_0", store) == record
    assert hub.asked == []


@pytest.mark.parametrize(
    ("wanted", "taken"),
    [
        ("", "tiny.Q4_0.gguf"),
        (":q8_0", "tiny.Q8_0.gguf"),
        (":F16", "tiny.F16.gguf"),
        (":tiny.Q8_0.gguf", "tiny.Q8_0.gguf"),
    ],
)
def test_the_choice_among_quantisations(hub, store, ggufs, wanted, taken):
    hub.repositories["ada/tiny"] = Repository(ggufs)
    said = []
    record = pull(f"hf:ada/tiny{wanted}", store, lambda what, *_: said.append(what))
    assert record.path.name == taken
    # What is chosen for someone is said, with what else there is.
    assert ("taking Q4_0; there are also F16, Q3_K_M, Q8_0" in said) == (not wanted)


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        (":Q5_0", r"has no 'Q5_0'; there are: F16, Q3_K_M, Q4_0, Q8_0"),
        (":Q3_K_M", r"Q3_K_M holds blocks that aren't supported; supported are .*there are: F16"),
        (":nothing.gguf", r"has no 'nothing.gguf'; there are"),
    ],
)
def test_a_quantisation_that_is_missing_lists_those_there(hub, store, ggufs, wanted, message):
    hub.repositories["ada/tiny"] = Repository(ggufs)
    with pytest.raises(ModelNotFound, match=message):
        pull(f"hf:ada/tiny{wanted}", store)
    assert hub.sent() == []
    assert store.ls() == []


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"README.md": b""}, "no GGUF and no config.json with safetensors"),
        ({"pytorch_model.bin": b"", "config.json": b"{}"}, "only pickled weights"),
        (
            {"a.Q3_K_M.gguf": b"", "b.IQ2_XS.gguf": b""},
            "nothing in it is supported.*IQ2_XS, Q3_K_M",
        ),
        ({"a.Q4_0.gguf": b"", "b.Q4_0.gguf": b""}, "several Q4_0 models: a.Q4_0.gguf, b.Q4_0.gguf"),
    ],
)
def test_a_repository_without_a_model_says_what_it_has(hub, store, files, message):
    hub.repositories["ada/other"] = Repository(files)
    with pytest.raises(ModelNotFound, match=message):
        pull("hf:ada/other", store)


def test_a_cut_connection_is_resumed_where_it_broke(hub, store, ggufs):
    hub.repositories["ada/tiny"] = Repository(ggufs)
    name = "tiny.F16.gguf"
    raw = ggufs[name]
    hub.cuts[name] = [10_000, 12_000]
    record = pull("hf:ada/tiny:F16", store)
    assert record.path.read_bytes() == raw
    first, second, third = hub.sent()
    last = len(raw) - 1
    starts = [int(one.range.removeprefix("bytes=").partition("-")[0]) for one in hub.sent()]
    assert first.range == f"bytes=0-{last}"
    # Only what was in a chunk under way comes twice.
    assert 10_000 - 1024 < starts[1] <= 10_000
    assert starts[1] + 12_000 - 1024 < starts[2] <= starts[1] + 12_000
    assert second.num_bytes == 12_000
    assert third.num_bytes == len(raw) - starts[2]


def test_a_pull_that_was_stopped_goes_on_in_the_next(hub, store, ggufs):
    hub.repositories["ada/tiny"] = Repository(ggufs)
    raw = ggufs["tiny.F16.gguf"]

    def stop(what: str, done: int, total: int) -> None:
        if done > 20_000:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pull("hf:ada/tiny:F16", store, stop)
    assert store.ls() == []
    hub.asked.clear()
    record = pull("hf:ada/tiny:F16", store)
    assert record.path.read_bytes() == raw
    (rest,) = hub.sent()
    assert rest.range == f"bytes={len(raw) - rest.num_bytes}-{len(raw) - 1}"
    assert rest.num_bytes < len(raw) - 20_000 + 1
    # It was brought by us, before the stop as after it: removing takes it away.
    assert store.remove(record.name) == [record.path]


def test_a_server_without_ranges_starts_again(hub, store, ggufs):
    hub.repositories["ada/tiny"] = Repository(ggufs)
    hub.knows_ranges, hub.cuts = False, {"tiny.Q4_0.gguf": [5_000]}
    record = pull("hf:ada/tiny", store)
    assert record.path.read_bytes() == ggufs["tiny.Q4_0.gguf"]
    assert [one.num_bytes for one in hub.sent()] == [5_000, record.num_bytes]


def test_a_server_that_stumbles_is_asked_again(hub, store, ggufs):
    hub.repositories["ada/tiny"] = Repository(ggufs)
    hub.faults = [503, 429, 500]
    assert pull("hf:ada/tiny", store).path.read_bytes() == ggufs["tiny.Q4_0.gguf"]


def test_a_server_that_stays_down_keeps_what_came(hub, store, ggufs, cache):
    hub.repositories["ada/tiny"] = Repository(ggufs)
    hub.cuts = {"tiny.Q4_0.gguf": [5_000] + [0] * 50}
    with pytest.raises(PullError, match=r"broke off at .*what came is kept, pull again"):
        pull("hf:ada/tiny", store)
    assert any(name.endswith(".incomplete") for name in files_of(cache))
    assert store.ls() == []
    hub.cuts = {}
    hub.asked.clear()
    assert pull("hf:ada/tiny", store).path.read_bytes() == ggufs["tiny.Q4_0.gguf"]
    assert hub.sent()[0].num_bytes < len(ggufs["tiny.Q4_0.gguf"])


def other_bytes(raw: bytes) -> bytes:
    return raw[:-1] + bytes([raw[-1] ^ 1])


@pytest.mark.parametrize(
    ("lie", "error", "message"),
    [
        (other_bytes, HashMismatch, "came with the hash .* the file was deleted.*don't trust"),
        (lambda raw: raw + b"more", PullError, "longer than the .* bytes .*deleted"),
    ],
    ids=["a bit", "longer"],
)
def test_wrong_bytes_are_not_kept(hub, store, ggufs, cache, lie, error, message):
    hub.repositories["ada/tiny"] = Repository(ggufs)
    hub.lies = {"tiny.Q4_0.gguf": lie(ggufs["tiny.Q4_0.gguf"])}
    hub.knows_ranges = False  # so that all of what is longer is sent
    with pytest.raises(error, match=message):
        pull("hf:ada/tiny", store)
    kept = [file for file in cache.rglob("*") if file.is_file() and file.suffix != ".lock"]
    assert sum(file.stat().st_size for file in kept) == 0
    assert store.ls() == []
    hub.lies = {}
    assert pull("hf:ada/tiny", store).path.read_bytes() == ggufs["tiny.Q4_0.gguf"]


def test_small_files_are_proved_too(hub, store, shards, cache):
    hub.repositories["ada/tiny"] = Repository(shards)
    hub.lies = {"config.json": other_bytes(shards["config.json"])}
    with pytest.raises(HashMismatch, match="config.json came with the hash"):
        pull("hf:ada/tiny", store)
    assert "config.json" not in files_of(cache)
    assert hub.sent() == []


def test_a_file_that_was_in_the_cache_already_is_proved(hub, store, ggufs):
    hub.repositories["ada/tiny"] = Repository(ggufs)
    record = pull("hf:ada/tiny", store)
    store.remove(record.name)
    pull("hf:ada/tiny", store)
    store.record_file(record.name).unlink()
    blob = record.path.resolve()
    blob.write_bytes(other_bytes(blob.read_bytes()))
    with pytest.raises(HashMismatch, match="the hub announces .*delete it from the Hugging Face"):
        pull("hf:ada/tiny", store)
    assert store.ls() == []


def test_sharded_safetensors_with_their_tokenizer(hub, store, shards):
    hub.repositories["ada/tiny"] = Repository(shards, licence="mit")
    record = pull("hf:ada/tiny", store)
    assert (record.name, record.licence) == ("tiny", "mit")
    names = {file.path.name for file in record.files}
    assert names == shards.keys() - {"README.md", "pytorch_model.bin"}
    assert "generation_config.json" in names
    assert sum(name.endswith(".safetensors") for name in names) > 1
    checkpoint = store.open("tiny")
    assert checkpoint.config.model_width == 32
    tokenizer = checkpoint.tokenizer()
    assert tokenizer.decode(tokenizer.encode("the é")) == "the é"
    for file in record.files:
        assert file.path.read_bytes() == shards[file.path.name]


def test_an_unknown_architecture_is_refused_before_the_weights(hub, store, shards):
    config = json.dumps(json.loads(shards["config.json"]) | {"model_type": "gpt2"}).encode()
    hub.repositories["ada/tiny"] = Repository(shards | {"config.json": config})
    with pytest.raises(CheckpointError, match="'gpt2' is not supported"):
        pull("hf:ada/tiny", store)
    hub.repositories["ada/tiny"] = Repository({"a.Q4_0.gguf": b"x"})
    hub.repositories["ada/tiny"].retell = {"gguf": {"architecture": "mamba"}}
    with pytest.raises(CheckpointError, match="'mamba' is not supported.*Nothing was fetched"):
        pull("hf:ada/tiny:Q4_0", store)
    assert hub.sent() == []


def test_a_split_gguf_is_fetched_whole(hub, store, tmp_path):
    write_gguf(tmp_path / "tiny.Q8_0.gguf", "Q8_0", split_max_tensors=6)
    parts = {f"Q8_0/{file.name}": file.read_bytes() for file in tmp_path.glob("*.gguf")}
    assert len(parts) > 2
    hub.repositories["ada/tiny"] = Repository(parts)
    record = pull("hf:ada/tiny", store)
    assert len(record.files) == len(parts)
    assert store.open("tiny-Q8_0").config.num_layers == 2
    del parts[max(parts)]
    hub.repositories["ada/half"] = Repository(parts)
    with pytest.raises(CheckpointError, match="this part of the split model is missing"):
        pull("hf:ada/half", store)
    assert [one.name for one in store.ls()] == ["tiny-Q8_0"]


def test_a_gated_model_says_how_to_get_in(hub, store, ggufs, monkeypatch):
    hub.repositories["ada/tiny"] = Repository(ggufs, is_gated=True)
    with pytest.raises(ModelGated) as error:
        pull("hf:ada/tiny", store)
    for words in (f"{hub.address}/ada/tiny", "accept its licence", "HF_TOKEN", "pull again"):
        assert words in str(error.value)
    assert store.ls() == []
    monkeypatch.setenv("HF_TOKEN", "hf_" + "x" * 34)
    assert pull("hf:ada/tiny", store).path.read_bytes() == ggufs["tiny.Q4_0.gguf"]
    # The token is for the hub alone, not for where it sends us.
    assert any(one.has_token for one in hub.asked)
    assert not any(one.has_token for one in hub.sent())


def test_no_token_stands_in_an_error(hub, store, monkeypatch):
    token = "hf_" + "s" * 34
    monkeypatch.setenv("HF_TOKEN", token)
    with pytest.raises(ModelNotFound) as error:
        pull("hf:ada/nothing", store)
    assert token not in str(error.value)


def test_a_model_that_is_not_there_says_so(hub, store):
    with pytest.raises(ModelNotFound, match=r"the hub has no ada/nothing .*HF_TOKEN"):
        pull("hf:ada/nothing", store)
    for wrong in ("hf:", "hf:ada", "hf:a/b/c", "hf:ada/tiny:Q4:0", "hf:ada/ti ny"):
        with pytest.raises(ModelNotFound, match="hf:owner/name or hf:owner/name:quantisation"):
            pull(wrong, store)
    with pytest.raises(ModelNotFound, match="is no hub name"):
        pull("hf:ada/--", store)


def test_no_hub_says_what_to_try(hub, store, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(PullError, match=r"cannot be reached .*is there a network\?.*pull PATH"):
        pull("hf:ada/tiny", store)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(PullError):
        pull("hf:ada/tiny", store)


def listed(name: str = "a.Q4_0.gguf", **more: object) -> dict[str, object]:
    return {"siblings": [{"rfilename": name, "size": 3, "blobId": "a" * 40} | more]}


@pytest.mark.parametrize(
    ("retell", "message"),
    [
        (listed(blobId=None), "lists a.Q4_0.gguf without a hash"),
        (listed(blobId="../../evil"), "without a hash"),
        (listed(size=None), "without a size"),
        (listed(size=-5), "without a size"),
        (listed("../../../evil.Q4_0.gguf"), "is no file name"),
        (listed("/tmp/evil.Q4_0.gguf"), "is no file name"),
        (listed("a/../../evil.Q4_0.gguf"), "is no file name"),
        (listed("..\\evil.Q4_0.gguf"), "is no file name"),
        (listed("evil\0.Q4_0.gguf"), "is no file name"),
        ({"sha": "../../../evil"}, "names no commit"),
        ({"sha": None}, "names no commit"),
        ({"siblings": None}, "no GGUF and no config.json"),
        ({"siblings": []}, "no GGUF and no config.json"),
    ],
)
def test_a_hub_that_lies_reaches_nothing_outside_the_cache(
    hub, store, ggufs, tmp_path, retell, message
):
    hub.repositories["ada/tiny"] = Repository(ggufs, retell=retell)
    with pytest.raises(PullError, match=message):
        pull("hf:ada/tiny", store)
    assert store.ls() == []
    assert hub.sent() == []
    assert not [file for file in tmp_path.rglob("*") if "evil" in file.name]


def test_a_disk_that_is_too_full_is_noticed_before(hub, store, ggufs, cache, monkeypatch):
    hub.repositories["ada/tiny"] = Repository(ggufs)
    usage = shutil.disk_usage(store.folder.parent)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=100))
    with pytest.raises(DiskFull, match=r"are to come and 0\.0 MB are free.*HF_HOME"):
        pull("hf:ada/tiny", store)
    assert hub.sent() == []
    assert files_of(cache) == set()


class FullAfter:
    """A file on a disk that has room for so many bytes more."""

    def __init__(self, file, room: int):
        self.file, self.room = file, room

    def write(self, data: bytes) -> int:
        self.room -= len(data)
        if self.room < 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        return self.file.write(data)

    def __getattr__(self, name: str):
        return getattr(self.file, name)


def test_a_disk_that_fills_up_leaves_nothing(hub, store, ggufs, cache, monkeypatch):
    hub.repositories["ada/tiny"] = Repository(ggufs)
    go_on = hub_download.continue_download
    monkeypatch.setattr(
        hub_download,
        "continue_download",
        lambda file, opened, report: go_on(file, FullAfter(opened, 10_000), report),
    )
    with pytest.raises(DiskFull, match="the disk is full; what came of tiny.Q4_0.gguf was deleted"):
        pull("hf:ada/tiny", store)
    assert not {name for name in files_of(cache) if not name.endswith(".lock")}
    assert store.ls() == []


def test_removing_takes_what_was_fetched_and_nothing_else(hub, store, ggufs, cache):
    hub.repositories["ada/tiny"] = Repository(ggufs)
    # Someone else's program fetched one file of the same revision before.
    theirs = huggingface_hub.hf_hub_download(
        "ada/tiny",
        "tiny.F16.gguf",
        cache_dir=cache,
        endpoint=hub.address,
        revision=COMMIT,
    )
    record = pull("hf:ada/tiny:Q4_0", store)
    other = pull("hf:ada/tiny:F16", store)
    assert str(other.path) == theirs
    removal = store.removal(record.name)
    assert removal.paths == (record.path,)
    assert removal.num_bytes == record.num_bytes
    assert "other files of that revision" in removal.stays
    blob = record.path.resolve()
    assert store.remove(record.name) == [record.path]
    assert not blob.exists()
    assert Path(theirs).read_bytes() == ggufs["tiny.F16.gguf"]
    # It was there before us, so it is only forgotten.
    assert store.remove(other.name) == []
    assert Path(theirs).read_bytes() == ggufs["tiny.F16.gguf"]
    assert store.ls() == []
