"""Tokenizers of Hugging Face folders: ids and chats as transformers has them."""

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_files import CONTROL, TEMPLATE, byte_level, save_byte_level
from tokenizers import (
    AddedToken,
    Tokenizer,
    decoders,
    models,
    normalizers,
    processors,
)

from tramontane.checkpoint import hf_tokenizer
from tramontane.checkpoint.hf_tokenizer import tokenizer_in
from tramontane.errors import TokenizerError

transformers = pytest.importorskip("transformers")

TALK = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "the éclair <note> 日"},
    {"role": "assistant", "content": "the the"},
]


def sentence_piece() -> Tokenizer:
    pieces = ["▁", "t", "h", "e", "a", "n", "▁t", "he", "▁the"]
    tokens = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), *pieces]
    merges = [("▁", "t"), ("h", "e"), ("▁t", "he")]
    vocabulary = {token: index for index, token in enumerate(tokens)}
    tokenizer = Tokenizer(
        models.BPE(vocabulary, merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True)
    )
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
    )
    tokenizer.decoder = decoders.Sequence(
        [
            decoders.Replace("▁", " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(" ", 1, 0),
        ]
    )
    tokenizer.add_special_tokens([AddedToken(token, special=True) for token in tokens[:3]])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A <s> $B", special_tokens=[("<s>", 1)]
    )
    return tokenizer


def save_sentence_piece(folder: Path):
    theirs = transformers.PreTrainedTokenizerFast(
        tokenizer_object=sentence_piece(),
        bos_token="<s>",
        eos_token="</s>",
        unk_token="<unk>",
        chat_template="{{ bos_token }}" + TEMPLATE.replace("<|im_end|>", "{{ eos_token }}"),
    )
    theirs.save_pretrained(folder)
    return theirs


def put(folder: Path, name: str, **values: object) -> None:
    """Writes the values into a JSON file of the folder, beside those there."""
    file = folder / name
    there = json.loads(file.read_bytes()) if file.exists() else {}
    file.write_text(json.dumps(there | values))


@pytest.fixture(scope="module", params=[save_byte_level, save_sentence_piece])
def both(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("tokenizer")
    request.param(folder)
    return tokenizer_in(folder, {}), transformers.AutoTokenizer.from_pretrained(folder)


@settings(max_examples=150, deadline=None)
@given(
    text=st.text(st.sampled_from("the an é日\n</s>") | st.characters(codec="utf-8"), max_size=30)
)
def test_ids_and_texts_equal_transformers(both, text):
    ours, theirs = both
    ids = ours.encode(text, parse_special=True)
    assert ids == theirs.encode(text, add_special_tokens=False)
    assert ours.encode(text) == theirs.encode(
        text, add_special_tokens=False, split_special_tokens=True
    )
    # A ▁ in a text is a space to SentencePiece, in both.
    assert ours.decode(ours.encode(text)) == (
        text if theirs.bos_token == CONTROL[1] else text.replace("▁", " ")
    )


@pytest.mark.parametrize("add_generation_prompt", [True, False])
@pytest.mark.parametrize("num_turns", [1, 2, 3])
def test_chats_equal_transformers(both, num_turns, add_generation_prompt):
    ours, theirs = both
    asked = {"add_generation_prompt": add_generation_prompt}
    messages = TALK[:num_turns]
    assert ours.render_chat(messages, **asked) == theirs.apply_chat_template(
        messages, tokenize=False, **asked
    )
    assert ours.encode_chat(messages, **asked) == theirs.apply_chat_template(
        messages, tokenize=True, return_dict=False, **asked
    )


def test_special_tokens_equal_transformers(both):
    ours, theirs = both
    assert ours.bos_id == theirs.bos_token_id
    assert theirs.eos_token_id in ours.eos_ids
    assert ours.vocab_size == len(theirs)
    # Without a word on it in tokenizer_config.json, the post-processing decides.
    assert ours.adds_bos == (theirs.encode("the")[0] == theirs.bos_token_id)
    assert ours.adds_bos == (theirs.bos_token == "<s>")


def test_a_stated_add_bos_token_decides(tmp_path):
    save_sentence_piece(tmp_path)
    for stated in (True, False):
        put(tmp_path, "tokenizer_config.json", add_bos_token=stated)
        assert tokenizer_in(tmp_path, {}).adds_bos == stated


def test_tokens_added_later_are_there(tmp_path):
    """tokenizer_config.json may add tokens that tokenizer.json doesn't have, as older tools did."""
    save_byte_level(tmp_path)
    size = byte_level().get_vocab_size()
    put(
        tmp_path,
        "tokenizer_config.json",
        added_tokens_decoder={
            str(size + 1): {"content": "<note>", "special": False, "normalized": False},
            str(size): {"content": "<|tool|>", "special": True, "normalized": False},
            "0": {"content": CONTROL[0], "special": True, "normalized": False},
        },
        extra_special_tokens=[],
    )
    ours, theirs = tokenizer_in(tmp_path, {}), transformers.AutoTokenizer.from_pretrained(tmp_path)
    text = "the <note> the<|tool|><|endoftext|>"
    assert ours.encode(text, parse_special=True) == theirs.encode(text, add_special_tokens=False)
    assert size in ours.encode(text, parse_special=True)
    assert ours.is_special(size)
    assert not ours.is_special(size + 1)
    assert size not in ours.encode(text)
    assert ours.decode([size + 1]) == "<note>"


def test_an_added_token_with_another_id_is_refused(tmp_path):
    save_byte_level(tmp_path)
    put(tmp_path, "tokenizer_config.json", added_tokens_decoder={"9": {"content": CONTROL[0]}})
    with pytest.raises(
        TokenizerError, match=r"should be token 9, by tokenizer.json it is 0.*differ"
    ):
        tokenizer_in(tmp_path, {})


def test_ends_of_a_turn_are_gathered_from_all_files(tmp_path):
    save_byte_level(tmp_path)
    assert tokenizer_in(tmp_path, {}).eos_ids == {0, 2}
    put(tmp_path, "generation_config.json", eos_token_id=[2, 40])
    assert tokenizer_in(tmp_path, {}).eos_ids == {0, 2, 40}
    assert tokenizer_in(tmp_path, {"eos_token_id": 41}).eos_ids == {0, 2, 40, 41}
    # Beyond the vocabulary, in a padded embedding, an end is one all the same.
    tokenizer = tokenizer_in(tmp_path, {"eos_token_id": 5000})
    assert tokenizer.eos_ids == {0, 2, 40, 5000}
    assert tokenizer.separator_id == 0


@pytest.mark.parametrize("spelt", ["<|im_end|>", {"content": "<|im_end|>", "lstrip": False}])
def test_special_tokens_stand_in_either_file(tmp_path, spelt):
    save_byte_level(tmp_path)
    (tmp_path / "tokenizer_config.json").unlink()
    assert tokenizer_in(tmp_path, {}).bos_id is None
    put(tmp_path, "special_tokens_map.json", eos_token=spelt, bos_token="<|endoftext|>")
    tokenizer = tokenizer_in(tmp_path, {})
    assert (tokenizer.bos_id, tokenizer.eos_text) == (0, "<|im_end|>")
    # tokenizer_config.json goes before it.
    put(tmp_path, "tokenizer_config.json", bos_token="<|im_start|>", eos_token=None)
    tokenizer = tokenizer_in(tmp_path, {})
    assert (tokenizer.bos_id, tokenizer.eos_text) == (1, "")


def test_the_chat_template_that_counts(tmp_path):
    save_byte_level(tmp_path)
    assert tokenizer_in(tmp_path, {}).chat_template == TEMPLATE
    (tmp_path / "chat_template.jinja").unlink(missing_ok=True)
    put(tmp_path, "tokenizer_config.json", chat_template=None)
    assert tokenizer_in(tmp_path, {}).chat_template is None
    with pytest.raises(TokenizerError, match="no chat template"):
        tokenizer_in(tmp_path, {}).render_chat(TALK)
    put(tmp_path, "tokenizer_config.json", chat_template="one")
    assert tokenizer_in(tmp_path, {}).chat_template == "one"
    several = [{"name": "tool_use", "template": "a"}, {"name": "default", "template": "b"}]
    put(tmp_path, "tokenizer_config.json", chat_template=several)
    assert tokenizer_in(tmp_path, {}).chat_template == "b"
    put(tmp_path, "tokenizer_config.json", chat_template=several[:1])
    assert tokenizer_in(tmp_path, {}).chat_template == "a"
    put(
        tmp_path,
        "tokenizer_config.json",
        chat_template=[*several[:1], {"name": "rag", "template": "c"}],
    )
    with pytest.raises(TokenizerError, match="of the chat templates rag, tool_use none is"):
        tokenizer_in(tmp_path, {})
    (tmp_path / "chat_template.jinja").write_text("file", encoding="utf-8")
    assert tokenizer_in(tmp_path, {}).chat_template == "file"


def refused(folder: Path, message: str, config: dict | None = None) -> None:
    with pytest.raises(TokenizerError, match=message) as error:
        tokenizer_in(folder, config or {})
    assert str(folder) in str(error.value)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("tokenizer.json", "", r"tokenizer.json can't be read"),
        ("tokenizer.json", "{}", r"tokenizer.json can't be read"),
        ("tokenizer.json", '{"model": {"type": "Nothing"}}', r"tokenizer.json can't be read"),
        ("tokenizer.json", "[" * 100_000, r"tokenizer.json can't be read"),
        ("tokenizer_config.json", "{", "tokenizer_config.json is no JSON"),
        ("tokenizer_config.json", "[]", "tokenizer_config.json holds list"),
        ("tokenizer_config.json", '{"bos_token": 5}', "bos_token is '5'; a token's text"),
        ("tokenizer_config.json", '{"eos_token": ["</s>"]}', "eos_token is .*; a token's text"),
        ("tokenizer_config.json", '{"bos_token": "<x>"}', "special token '<x>' is not in the voc"),
        ("tokenizer_config.json", '{"chat_template": 5}', "chat_template is neither"),
        ("tokenizer_config.json", '{"chat_template": [{"name": 1}]}', "chat_template is neither"),
        (
            "tokenizer_config.json",
            '{"added_tokens_decoder": 5}',
            "added_tokens_decoder is no table",
        ),
        ("tokenizer_config.json", '{"added_tokens_decoder": {"x": {}}}', "has 'x'"),
        ("tokenizer_config.json", '{"added_tokens_decoder": {"1": "a"}}', "has '1'"),
        ("special_tokens_map.json", "nothing", "special_tokens_map.json is no JSON"),
        (
            "generation_config.json",
            '{"eos_token_id": "</s>"}',
            "generation_config.json: eos_token_id",
        ),
        ("generation_config.json", '{"eos_token_id": [1, -1]}', "eos_token_id is .*; a token id"),
        ("generation_config.json", '{"eos_token_id": 1.5}', "eos_token_id is '1.5'; a token id"),
    ],
)
def test_damaged_files_are_named(tmp_path, name, text, message):
    save_byte_level(tmp_path)
    (tmp_path / "chat_template.jinja").unlink(missing_ok=True)
    (tmp_path / name).write_text(text, encoding="utf-8")
    refused(tmp_path, message)


def test_a_damaged_config_is_named(tmp_path):
    save_byte_level(tmp_path)
    refused(tmp_path, r"config\.json: eos_token_id is 'x'", {"eos_token_id": "x"})


def test_a_folder_without_tokenizer_json_says_what_to_try(tmp_path):
    refused(tmp_path, r"tokenizer\.json is missing; pull the model again, or save")
    (tmp_path / "tokenizer.model").write_bytes(b"sentencepiece")
    refused(tmp_path, r"there is tokenizer\.model, which isn't read here")


def test_too_large_a_file_is_refused_unread(tmp_path, monkeypatch):
    save_byte_level(tmp_path)
    monkeypatch.setattr(hf_tokenizer, "MAX_JSON_BYTES", 1000)
    refused(tmp_path, r"tokenizer\.json has more than 1000 bytes")


def test_text_that_is_no_utf_8_is_named(tmp_path):
    save_byte_level(tmp_path)
    (tmp_path / "chat_template.jinja").write_bytes(b"\xff\xfe")
    refused(tmp_path, r"chat_template\.jinja is no UTF-8")
