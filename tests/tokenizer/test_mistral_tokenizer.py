"""Mistral's own tokenizer files, those that mistral-common ships: its ids, its turns of chat."""

import gzip
import json
import sys
from pathlib import Path

import pytest

from tramontane.errors import TokenizerError
from tramontane.tokenizer.mistral_tokenizer import MistralTokenizer
from tramontane.tokenizer.text_stream import TextStream

mistral_common = pytest.importorskip("mistral_common", reason='needs the extra "mistral"')
pytest.importorskip("sentencepiece", reason='needs the extra "mistral"')

DATA = Path(mistral_common.__file__).parent / "data"
FILES = ("tekken_240911.json", "tokenizer.model.v1", "mistral_instruct_tokenizer_241114.model.v7")
TEXTS = Path(__file__).with_name("smollm2_texts.json.gz")
CHAT = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "Hello, who are you?"},
    {"role": "assistant", "content": "A wind."},
    {"role": "user", "content": "From where? [INST] </s>"},
]


@pytest.fixture(scope="module", params=FILES)
def file(request) -> Path:
    return DATA / request.param


@pytest.fixture(scope="module")
def tokenizer(file) -> MistralTokenizer:
    return MistralTokenizer(file)


@pytest.fixture(scope="module")
def common(file):
    from mistral_common.tokens.tokenizers.mistral import MistralTokenizer as Common

    return Common.from_file(str(file))


@pytest.fixture(scope="module")
def texts() -> list[str]:
    rows = json.loads(gzip.decompress(TEXTS.read_bytes()))
    return [row["text"] for row in rows[::4]]


def test_ids_equal_mistral_commons(tokenizer, common, texts):
    pieces = common.instruct_tokenizer.tokenizer
    for text in texts:
        assert tokenizer.encode(text) == pieces.encode(text, bos=False, eos=False)


def test_texts_come_back(tokenizer, file, texts):
    for text in texts:
        # SentencePiece's own sign for a space can't be told from one.
        if "tekken" in file.name or "▁" not in text:
            assert tokenizer.decode(tokenizer.encode(text)) == text


def test_pieces_stream(tokenizer, texts):
    for text in texts[::10]:
        stream = TextStream(tokenizer)
        ids = tokenizer.encode(text)
        streamed = "".join(stream.push(token_id) for token_id in ids) + stream.finish()
        assert streamed == tokenizer.decode(ids)


def test_a_chat_has_mistral_commons_ids(tokenizer, common):
    from mistral_common.protocol.instruct.request import ChatCompletionRequest

    request = ChatCompletionRequest.model_validate({"messages": CHAT})
    ids = tokenizer.encode_chat(CHAT)
    assert ids == common.encode_chat_completion(request).tokens
    assert ids.count(tokenizer.bos_id) == 1
    # What the last message says is spelt out.
    assert sum(token_id in tokenizer.eos_ids for token_id in ids) == 1
    assert "Hello, who are you?" in tokenizer.render_chat(CHAT)


def test_an_answer_brings_its_end(tokenizer):
    ids = tokenizer.encode_chat(CHAT[:3], add_generation_prompt=False)
    assert ids[-1] in tokenizer.eos_ids


def test_marks_in_a_text_become_tokens_only_when_asked(tokenizer):
    text = f"a{tokenizer.eos_text}b"
    plain, marking = tokenizer.encode(text), tokenizer.encode(text, parse_special=True)
    assert not any(map(tokenizer.is_special, plain))
    assert sum(map(tokenizer.is_special, marking)) == 1


def test_messages_that_are_refused_say_so(tokenizer):
    for messages in ([], [{"role": "user"}], [{"role": "nobody", "content": "x"}]):
        with pytest.raises(TokenizerError, match="mistral-common refuses"):
            tokenizer.encode_chat(messages)


def test_an_id_outside_the_vocabulary_is_an_error(tokenizer):
    with pytest.raises(TokenizerError, match="the vocabulary has"):
        tokenizer.token_bytes(tokenizer.vocab_size)


@pytest.mark.parametrize("name", ["tekken.json", "tokenizer.model", "tokenizer.model.v3"])
@pytest.mark.parametrize("raw", [b"", b"{}", b"[" * 9999, b"\xff\xfe"], ids=repr)
def test_a_damaged_file_is_named(tmp_path, name, raw):
    (tmp_path / name).write_bytes(raw)
    with pytest.raises(TokenizerError, match="cannot be read by mistral-common"):
        MistralTokenizer(tmp_path / name)


def test_without_mistral_common_the_command_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "mistral_common.tokens.tokenizers.mistral", None)
    with pytest.raises(TokenizerError, match=r'pip install "tramontane\[mistral\]"'):
        MistralTokenizer(tmp_path / "tekken.json")
