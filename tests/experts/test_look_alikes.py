"""Look-alike pairs on disk: what is written is read, and nothing of a withdrawn expert stays."""

import pytest
from expert_makers import BASE_SHA256, random_expert

from tramontane.errors import ExpertError
from tramontane.experts.look_alikes import (
    FILE,
    forget_look_alikes,
    read_look_alikes,
    write_look_alikes,
)
from tramontane.experts.shelf import Shelf

A, B, C = (digit * 64 for digit in "abc")


def test_what_is_written_is_read_and_order_does_not_matter(tmp_path):
    assert read_look_alikes(tmp_path) == set()
    pairs = [frozenset((A, B)), frozenset((C, A))]
    write_look_alikes(tmp_path, pairs)
    before = (tmp_path / FILE).read_bytes()
    assert read_look_alikes(tmp_path) == set(pairs)
    write_look_alikes(tmp_path, [*reversed(pairs), pairs[0]])
    assert (tmp_path / FILE).read_bytes() == before


def test_forgetting_one_leaves_no_byte_of_it(tmp_path):
    write_look_alikes(tmp_path, [frozenset((A, B)), frozenset((A, C)), frozenset((B, C))])
    forget_look_alikes(tmp_path, A)
    assert read_look_alikes(tmp_path) == {frozenset((B, C))}
    assert A not in (tmp_path / FILE).read_text()
    forget_look_alikes(tmp_path, C)
    assert not (tmp_path / FILE).exists()
    forget_look_alikes(tmp_path, C)


@pytest.mark.parametrize(
    "content",
    ["{", "{}", "[1]", '[["a", "b"]]', f'[["{A}"]]', f'[["{A}", "{A}"]]', "[" * 100_000, "\x00"],
    ids=["cut", "object", "number", "no hashes", "one", "the same twice", "deep", "null"],
)
def test_a_damaged_file_is_told_with_its_name(tmp_path, content):
    (tmp_path / FILE).write_text(content)
    with pytest.raises(ExpertError, match=r"look-alikes\.json.*delete it"):
        read_look_alikes(tmp_path)


@pytest.mark.parametrize("leaves", ["withdrawn", "replaced"])
def test_whoever_leaves_the_shelf_leaves_the_pairs(tmp_path, leaves):
    shelf = Shelf(tmp_path / "experts", tmp_path / "mixtures")
    one, two, three = (shelf.add(random_expert(name, n)) for n, name in enumerate("abc"))
    mixture = shelf.mixture("default", BASE_SHA256)
    for record in (one, two, three):
        mixture = shelf.put_in_place(record, mixture)
    kept = frozenset((two.hash, three.hash))
    write_look_alikes(shelf.mixtures_folder, [frozenset((one.hash, two.hash)), kept])
    if leaves == "withdrawn":
        shelf.withdraw("a")
    else:
        shelf.add(random_expert("a", 9))
    assert read_look_alikes(shelf.mixtures_folder) == {kept}
    assert {m.name for m in shelf.mixtures()} == {"default"}, "no mixture is made of the pairs"
