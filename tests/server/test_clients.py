"""Clients that people use, as they come from PyPI, against a live server on the embedded base."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from live_server import live
from running_server import Running

from tramontane.cli.parts import Parts
from tramontane.engine.request import Request

openai = pytest.importorskip("openai", reason="the extra `clients` is not installed")

HELLO = [{"role": "user", "content": "Say hello in five words."}]
PERSON = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 12},
        "age": {"type": "integer", "minimum": 0, "maximum": 99},
    },
    "required": ["name", "age"],
    "additionalProperties": False,
}
WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather of a city",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string", "enum": ["Oslo", "Rome", "Paris"]}},
            "required": ["city"],
        },
    },
}


@pytest.fixture(scope="module")
def served(tmp_path_factory, smollm2_path: Path, garden: Path) -> Iterator[tuple[Running, Parts]]:
    with live(tmp_path_factory.mktemp("home"), smollm2_path) as (server, parts):
        parts.library.add_collection("garden", garden)
        parts.library.sync("garden")
        yield server, parts


@pytest.fixture(scope="module")
def address(served) -> str:
    return f"{served[0].address}v1"


@pytest.fixture(scope="module")
def client(address: str):
    with openai.OpenAI(base_url=address, api_key="none", max_retries=0) as client:
        yield client


@pytest.fixture(scope="module")
def model(client) -> str:
    return client.models.list().data[0].id


@pytest.fixture(scope="module")
def hello(served) -> str:
    """What the engine itself answers, without a server."""
    _, parts = served
    tokenizer = parts.tokenizer
    asked = Request(tuple(tokenizer.encode_chat(HELLO)), 24, end_ids=tokenizer.eos_ids)
    ids = [token.token_id for token in parts.engine.generate(asked)]
    return tokenizer.decode(ids)


def test_openai_sync(client, model: str, hello: str):
    reply = client.chat.completions.create(
        model=model, messages=HELLO, temperature=0, max_tokens=24
    )
    assert reply.choices[0].message.content == hello
    assert reply.choices[0].finish_reason == "stop"
    assert reply.usage.total_tokens == reply.usage.prompt_tokens + reply.usage.completion_tokens


def test_openai_streaming_with_usage(client, model: str, hello: str):
    stream = client.chat.completions.create(
        model=model,
        messages=HELLO,
        temperature=0,
        max_tokens=24,
        stream=True,
        stream_options={"include_usage": True},
    )
    chunks = list(stream)
    text = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    assert text == hello
    assert chunks[-1].usage.completion_tokens > 0


def test_openai_async_many_at_once(address: str, model: str, hello: str):
    async def ask() -> list[str]:
        async with openai.AsyncOpenAI(base_url=address, api_key="none") as client:
            replies = await asyncio.gather(
                *(
                    client.chat.completions.create(
                        model=model, messages=HELLO, temperature=0, max_tokens=24
                    )
                    for _ in range(6)
                )
            )
        return [reply.choices[0].message.content for reply in replies]

    assert asyncio.run(ask()) == [hello] * 6


def test_openai_logprobs_are_the_engines(client, model: str, served):
    _, parts = served
    reply = client.chat.completions.create(
        model=model, messages=HELLO, temperature=0, max_tokens=8, logprobs=True, top_logprobs=3
    )
    told = reply.choices[0].logprobs.content
    ids = parts.tokenizer.encode_chat(HELLO)
    request = Request(tuple(ids), 8, end_ids=parts.tokenizer.eos_ids, top_logprobs=3)
    expected = list(parts.engine.generate(request))
    assert [entry.logprob for entry in told] == [token.logprob for token in expected]
    for entry, token in zip(told, expected, strict=True):
        assert bytes(entry.bytes) == parts.tokenizer.token_bytes(token.token_id)
        assert [top.logprob for top in entry.top_logprobs] == [p for _, p in token.top]


def test_openai_legacy_echo_scores_a_prompt_as_the_engine_does(client, model: str, served):
    _, parts = served
    prompt = "The capital of France is Paris."
    reply = client.completions.create(
        model=model, prompt=prompt, max_tokens=0, echo=True, logprobs=1, temperature=0
    )
    (choice,) = reply.choices
    scores = parts.engine.score(parts.tokenizer.encode(prompt))
    assert choice.text == prompt
    assert choice.logprobs.token_logprobs[0] is None
    assert np.array_equal(np.float32(choice.logprobs.token_logprobs[1:]), scores)
    assert "".join(choice.logprobs.tokens) == prompt


def test_openai_structured_output_is_what_the_schema_says(client, model: str):
    reply = client.chat.completions.create(
        model=model,
        messages=[{"role": "user", "content": "Invent a person."}],
        temperature=0.8,
        seed=3,
        max_tokens=80,
        response_format={
            "type": "json_schema",
            "json_schema": {"name": "person", "schema": PERSON, "strict": True},
        },
    )
    person = json.loads(reply.choices[0].message.content)
    assert person.keys() == {"name", "age"}
    assert 0 <= person["age"] <= 99
    assert len(person["name"]) <= 12


def test_openai_parses_into_a_pydantic_class(client, model: str):
    from pydantic import BaseModel

    class Answer(BaseModel):
        is_true: bool

    reply = client.chat.completions.parse(
        model=model,
        messages=[{"role": "user", "content": "Is water wet?"}],
        temperature=0,
        max_tokens=40,
        response_format=Answer,
    )
    assert isinstance(reply.choices[0].message.parsed, Answer)


@pytest.mark.parametrize("streams", [False, True])
def test_openai_tools_with_parallel_calls(client, model: str, streams: bool):
    asked = {
        "model": model,
        "messages": [{"role": "user", "content": "Weather in Oslo and in Rome?"}],
        "temperature": 0,
        "max_tokens": 90,
        "tools": [WEATHER],
        "tool_choice": "required",
    }
    if streams:
        calls: dict[int, dict] = {}
        for chunk in client.chat.completions.create(stream=True, **asked):
            for choice in chunk.choices:
                for call in choice.delta.tool_calls or ():
                    calls[call.index] = {
                        "name": call.function.name,
                        "arguments": call.function.arguments,
                    }
        found = [calls[index] for index in sorted(calls)]
    else:
        reply = client.chat.completions.create(**asked)
        found = [
            {"name": call.function.name, "arguments": call.function.arguments}
            for call in reply.choices[0].message.tool_calls
        ]
    assert len(found) >= 2
    assert [call["name"] for call in found] == ["weather"] * len(found)
    assert {json.loads(call["arguments"])["city"] for call in found} <= {"Oslo", "Rome", "Paris"}


def test_openai_one_call_where_parallel_ones_are_not_wanted(client, model: str):
    reply = client.chat.completions.create(
        model=model,
        messages=[{"role": "user", "content": "Weather in Oslo and in Rome?"}],
        temperature=0,
        max_tokens=90,
        tools=[WEATHER],
        tool_choice={"type": "function", "function": {"name": "weather"}},
        parallel_tool_calls=False,
    )
    (call,) = reply.choices[0].message.tool_calls
    assert reply.choices[0].finish_reason == "tool_calls"
    again = client.chat.completions.create(
        model=model,
        messages=[
            {"role": "user", "content": "Weather in Oslo?"},
            reply.choices[0].message,
            {"role": "tool", "tool_call_id": call.id, "content": "rain"},
        ],
        tools=[WEATHER],
        tool_choice="none",
        temperature=0,
        max_tokens=12,
    )
    assert again.choices[0].message.content
    assert not again.choices[0].message.tool_calls


def test_openai_embeddings_are_the_librarys(client, served):
    _, parts = served
    texts = ["garlic in the long bed", "the ferry in fog"]
    reply = client.embeddings.create(model=parts.embed.name, input=texts)
    told = np.array([row.embedding for row in reply.data], np.float32)
    assert np.array_equal(told, parts.embed(texts))


def test_openai_errors_are_its_own_classes(client, model: str):
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(
            model=model, messages=[{"role": "user", "content": "a " * 9000}]
        )
    assert caught.value.code == "context_length_exceeded"
    with pytest.raises(openai.NotFoundError):
        client.chat.completions.create(model="gpt-9", messages=HELLO)


def test_openai_answers_from_notes_with_their_sources(client, model: str):
    reply = client.chat.completions.create(
        model=model,
        messages=[{"role": "user", "content": "What depth of hole does each leek drop into?"}],
        extra_body={"tramontane": {"collections": ["garden"]}},
    )
    assert "18 cm" in reply.choices[0].message.content
    assert "leek-transplanting.md" in [s["path"] for s in reply.tramontane["sources"]]


# The others


def test_langchains_chat_and_embeddings(address: str, model: str, hello: str):
    langchain = pytest.importorskip("langchain_openai", reason="`clients` is not installed")
    chat = langchain.ChatOpenAI(
        base_url=address, api_key="none", model=model, temperature=0, max_tokens=24
    )
    assert chat.invoke(HELLO[0]["content"]).content == hello
    assert "".join(part.content for part in chat.stream(HELLO[0]["content"])) == hello
    tooled = (
        chat.model_copy(update={"max_tokens": 80})
        .bind_tools([WEATHER], tool_choice="weather")
        .invoke("Weather in Oslo?")
    )
    assert tooled.tool_calls[0]["name"] == "weather"
    # Without this it counts tokens by OpenAI's vocabulary and sends numbers for texts.
    embeddings = langchain.OpenAIEmbeddings(
        base_url=address, api_key="none", check_embedding_ctx_length=False
    )
    assert len(embeddings.embed_query("garlic")) == 256


def test_the_llm_command(address: str, model: str, hello: str, tmp_path: Path):
    pytest.importorskip("llm", reason="the extra `clients` is not installed")
    (tmp_path / "extra-openai-models.yaml").write_text(
        f"- model_id: notes\n  model_name: {model}\n  api_base: {address}\n"
    )
    done = subprocess.run(
        [
            *(sys.executable, "-m", "llm"),
            *("-m", "notes", "-o", "temperature", "0", "-o", "max_tokens", "24"),
            HELLO[0]["content"],
        ],
        env=os.environ | {"LLM_USER_PATH": str(tmp_path), "OPENAI_API_KEY": "none"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == hello.strip()
