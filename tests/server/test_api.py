"""The interface for programs on a base whose tokens are known beforehand."""

import base64
import json
import re
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import replace

import httpx
import numpy as np
import pytest
from fake_desk import FakeDesk
from fake_model import FakeEmbedder, FakeModel
from running_server import Running, running

from fakes import CountingRuntime, HeldRuntime, continued
from tramontane.engine.engine import Engine
from tramontane.engine.runtime import SpanResult
from tramontane.errors import NotEnoughMemory
from tramontane.server.limits import Limits
from tramontane.writing.speak import ExpertInPlace

PATIENCE_SECONDS = 20


def words(ids: list[int]) -> str:
    return "".join(f"{i} " for i in ids)


def served(model: FakeModel | None = None, desk: FakeDesk | None = None, **limits):
    model = model or FakeModel()
    return running(
        desk or FakeDesk(),
        open_model=lambda: model,
        embedder=FakeEmbedder(),
        limits=Limits(**limits),
    )


@pytest.fixture(scope="module")
def numbers() -> Iterator[Running]:
    with served() as server:
        until_open(server)
        yield server


def until_open(server: Running) -> None:
    for _ in range(500):
        if httpx.get(f"{server.address}health").status_code == 200:
            return
        time.sleep(0.02)
    raise AssertionError("the model was never open")


def post(server: Running, path: str, **body) -> httpx.Response:
    return httpx.post(f"{server.address}{path}", json=body, timeout=PATIENCE_SECONDS)


def complete(server: Running, prompt, **body) -> dict:
    answer = post(server, "v1/completions", prompt=prompt, temperature=0, **body)
    assert answer.status_code == 200, answer.text
    return answer.json()


def chat(server: Running, content: str, **body) -> httpx.Response:
    messages = [{"role": "user", "content": content}]
    return post(server, "v1/chat/completions", messages=messages, temperature=0, **body)


def events(server: Running, path: str, **body) -> list[dict]:
    """Returns the chunks of a stream, which must end with [DONE]."""
    url = f"{server.address}{path}"
    with httpx.stream("POST", url, json=body | {"stream": True}, timeout=PATIENCE_SECONDS) as told:
        assert told.status_code == 200
        assert told.headers["content-type"].startswith("text/event-stream")
        data = [line.removeprefix("data: ") for line in told.iter_lines() if line[:5] == "data:"]
    assert data[-1] == "[DONE]"
    return [json.loads(one) for one in data[:-1]]


# Completions


def test_a_completion_is_what_the_engine_says(numbers: Running):
    reply = complete(numbers, "3 1 4", max_tokens=5)
    (choice,) = reply["choices"]
    assert choice["text"] == words(continued([3, 1, 4], 5))
    assert choice["finish_reason"] == "length"
    assert reply["usage"]["prompt_tokens"] == 3
    assert reply["usage"]["completion_tokens"] == 5
    assert "tramontane" not in reply


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ([3, 1, 4], [[3, 1, 4]]),
        ("3 1 4", [[3, 1, 4]]),
        (["3 1", "9"], [[3, 1], [9]]),
        ([[3, 1], [9]], [[3, 1], [9]]),
    ],
)
def test_each_form_of_a_prompt(numbers: Running, prompt, expected):
    reply = complete(numbers, prompt, max_tokens=4, n=2)
    told = [(choice["index"], choice["text"]) for choice in reply["choices"]]
    asked = [ids for ids in expected for _ in range(2)]
    assert told == [(place, words(continued(ids, 4))) for place, ids in enumerate(asked)]


def test_echo_gives_the_prompts_own_logprobs_as_openai_did(numbers: Running):
    """A prompt that goes on as the model would has its own tokens as the likeliest."""
    prompt = [3, *continued([3], 5)]
    (choice,) = complete(numbers, prompt, max_tokens=0, echo=True, logprobs=2)["choices"]
    told = choice["logprobs"]
    assert choice["text"] == words(prompt)
    assert told["tokens"] == [f"{i} " for i in prompt]
    assert told["token_logprobs"][0] is None
    assert told["top_logprobs"][0] is None
    for token, logprob, top in zip(
        told["tokens"][1:], told["token_logprobs"][1:], told["top_logprobs"][1:], strict=True
    ):
        assert len(top) == 2
        assert max(top, key=top.get) == token
        assert top[token] == logprob
    starts = [sum(len(f"{i} ") for i in prompt[:place]) for place in range(len(prompt))]
    assert told["text_offset"] == starts


@pytest.mark.parametrize("is_greedy", [True, False])
def test_a_harness_reads_a_continuations_score_as_lm_eval_does(numbers: Running, is_greedy: bool):
    """Its payload, and its arithmetic: what lies after the context, without the one new token."""
    context, continuation = [3, 1], continued([3, 1], 3)
    if not is_greedy:
        continuation[1] = (continuation[1] + 1) % 50
    asked = {"max_tokens": 1, "logprobs": 1, "seed": 1234, "echo": True}
    told = complete(numbers, [[*context, *continuation]], **asked)["choices"][0]["logprobs"]
    logprobs = told["token_logprobs"][len(context) : -1]
    tops = told["top_logprobs"][len(context) : -1]
    expected = FakeModel().engine.score([*context, *continuation], start=len(context))
    assert np.array_equal(np.float32(logprobs), expected)
    found = all(max(top.values()) == own for own, top in zip(logprobs, tops, strict=True))
    assert found is is_greedy


def test_echo_with_new_tokens_tells_of_both(numbers: Running):
    (choice,) = complete(numbers, [3, 1], max_tokens=2, echo=True, logprobs=0)["choices"]
    new = continued([3, 1], 2)
    assert choice["text"] == words([3, 1, *new])
    assert choice["logprobs"]["tokens"] == [f"{i} " for i in [3, 1, *new]]
    assert choice["logprobs"]["top_logprobs"] is None
    (plain,) = complete(numbers, [3, 1], max_tokens=2, echo=True)["choices"]
    assert plain["logprobs"] is None


def test_streamed_pieces_are_the_whole(numbers: Running):
    asked = {"prompt": [3, 1], "temperature": 0, "max_tokens": 6, "echo": True, "logprobs": 1}
    chunks = events(numbers, "v1/completions", stream_options={"include_usage": True}, **asked)
    (whole,) = complete(numbers, [3, 1], max_tokens=6, echo=True, logprobs=1)["choices"]
    choices = [chunk["choices"][0] for chunk in chunks if chunk["choices"]]
    assert "".join(choice["text"] for choice in choices) == whole["text"]
    for key in ("tokens", "token_logprobs", "text_offset", "top_logprobs"):
        assert [x for c in choices for x in c["logprobs"][key]] == whole["logprobs"][key]
    assert [c["finish_reason"] for c in choices][-1] == "length"
    assert chunks[-1]["usage"]["completion_tokens"] == 6


def test_a_stop_string_ends_it_and_never_shows(numbers: Running):
    expected = continued([3], 30)
    stop = f"{expected[4]} "
    (choice,) = complete(numbers, [3], max_tokens=30, stop=[stop])["choices"]
    assert choice["text"] == words(expected[: expected.index(expected[4])])
    assert choice["finish_reason"] == "stop"


# Chat


def test_a_chat_reply_and_its_stream_say_the_same(numbers: Running):
    whole = chat(numbers, "3 1", max_tokens=5, logprobs=True, top_logprobs=1).json()
    message = whole["choices"][0]["message"]
    assert message["content"] == words(continued([3, 1], 5))
    chunks = events(
        numbers,
        "v1/chat/completions",
        messages=[{"role": "user", "content": "3 1"}],
        temperature=0,
        max_tokens=5,
        logprobs=True,
        top_logprobs=1,
    )
    deltas = [chunk["choices"][0]["delta"] for chunk in chunks]
    assert deltas[0] == {"role": "assistant", "content": ""}
    assert "".join(d.get("content", "") for d in deltas) == message["content"]
    told = [c["choices"][0]["logprobs"] for c in chunks]
    streamed = [entry for one in told if one for entry in one["content"]]
    assert streamed == whole["choices"][0]["logprobs"]["content"]


def test_what_was_clipped_by_us_is_told(numbers: Running):
    with served(default_new_tokens=3) as server:
        until_open(server)
        reply = chat(server, "3 1").json()
    assert reply["usage"]["completion_tokens"] == 3
    assert "clipped at 3 tokens" in reply["tramontane"]["warnings"][0]
    assert "tramontane" not in chat(numbers, "3 1", max_tokens=3).json()


def test_a_prompt_that_does_not_fit_is_refused_with_counts(numbers: Running):
    answer = chat(numbers, "1 " * 1020, max_tokens=10)
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert error["code"] == "context_length_exceeded"
    assert "1020 tokens and 10 may follow; the model holds 1024" in error["message"]


@pytest.mark.parametrize("path", ["v1/completions", "v1/chat/completions", "tokenize"])
def test_a_text_that_cannot_fit_is_refused_before_it_is_read(numbers: Running, path: str):
    text = "1 " * 20_000
    body = {"messages": [{"role": "user", "content": text}]} if "chat" in path else {"prompt": text}
    answer = post(numbers, path, **body)
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == "context_length_exceeded"
    assert "40000 characters" in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    ("field", "value"),
    [("suffix", "x"), ("best_of", 3), ("functions", []), ("reasoning_effort", "high")],
)
def test_what_would_change_the_answer_is_refused_by_name(numbers: Running, field, value):
    answer = chat(numbers, "3", max_tokens=1, **{field: value})
    assert answer.status_code == 400
    assert field in answer.json()["error"]["message"]


def test_what_changes_nothing_is_passed_over_and_the_unknown_with_a_warning(numbers: Running):
    quiet = chat(numbers, "3", max_tokens=1, user="ada", metadata={}, best_of=1)
    assert "tramontane" not in quiet.json()
    told = chat(numbers, "3", max_tokens=1, flavour="mint").json()
    assert "'flavour'" in told["tramontane"]["warnings"][0]


@pytest.mark.parametrize(
    "body",
    [
        {"temperature": "0"},
        {"n": 0},
        {"top_p": 0},
        {"stop": [""]},
        {"logit_bias": {"x": 1}},
        {"logit_bias": {"99": 1}},
        {"top_logprobs": 3},
        {"messages": []},
        {"messages": [{"role": "pirate", "content": "3"}]},
        {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}]},
        {"response_format": {"type": "json_schema", "json_schema": {"schema": {"type": "x"}}}},
        {"tramontane": {"unheard": 1}},
    ],
)
def test_wrong_fields_are_400_in_openais_form(numbers: Running, body):
    whole = {"messages": [{"role": "user", "content": "3"}]} | body
    answer = post(numbers, "v1/chat/completions", **whole)
    assert answer.status_code == 400, answer.text
    error = answer.json()["error"]
    assert error["type"] == "invalid_request_error"
    assert error["message"]


def test_another_models_name_is_404(numbers: Running):
    answer = chat(numbers, "3", model="gpt-9")
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "model_not_found")


def test_bias_and_penalties_reach_the_sampler(numbers: Running):
    first = continued([3], 1)[0]
    banned = complete(numbers, [3], max_tokens=1, logit_bias={str(first): -100})
    assert banned["choices"][0]["text"] != f"{first} "
    forced = complete(numbers, [3], max_tokens=1, logit_bias={"17": 100})
    assert forced["choices"][0]["text"] == "17 "


def test_a_seed_repeats_and_choices_differ(numbers: Running):
    asked = {"prompt": [3], "max_tokens": 12, "n": 3, "seed": 5, "temperature": 3.0}
    one, two = (post(numbers, "v1/completions", **asked).json()["choices"] for _ in range(2))
    assert one == two
    assert len({choice["text"] for choice in one}) == 3


def test_cached_tokens_are_counted(numbers: Running):
    prompt = [9, 8, 7, 6, 5, 4, 3, 2, 1]
    complete(numbers, prompt, max_tokens=1)
    usage = complete(numbers, prompt, max_tokens=1)["usage"]
    assert usage["prompt_tokens_details"] == {"cached_tokens": 8}


# Experts


class SharingRuntime(CountingRuntime):
    """Tells a share of 0.5 for the first expert of a span, 0.25 for the second."""

    def forward(self, spans, *, with_shares=False):
        results = super().forward(spans, with_shares=with_shares)
        if not with_shares:
            return results
        return [
            SpanResult(
                result.logits_LV,
                np.tile([0.5, 0.25][: len(span.experts)], (len(span.token_ids), 1)),
                np.ones((len(span.token_ids), len(span.experts))),
            )
            for span, result in zip(spans, results, strict=True)
        ]


class RoutingRuntime(CountingRuntime):
    """A mixture of two layers: position p goes to base experts p and p+1, then p+2 and p+3."""

    tells_routes = True

    def __init__(self):
        super().__init__()
        self.config.is_mixture = True

    def forward(self, spans, *, with_shares=False):
        return [
            replace(result, routes_TNK=self.routes(span)) if span.with_routes else result
            for span, result in zip(spans, super().forward(spans), strict=True)
        ]

    def routes(self, span) -> np.ndarray:
        positions_T = span.start + np.arange(len(span.token_ids))
        return positions_T[:, None, None] + np.array([[0, 1], [2, 3]])


def test_the_bases_own_routes_are_told_as_vllm_does():
    asked = {"prompt": [5, 6, 7], "max_tokens": 3, "tramontane": {"routes": True}}
    rows = [[[place, place + 1], [place + 2, place + 3]] for place in range(5)]
    of_prompt, of_new = rows[:3], rows[3:]
    with served(FakeModel(RoutingRuntime())) as server:
        until_open(server)
        told = post(server, "v1/completions", **asked).json()
        assert told["prompt_routed_experts"] == of_prompt
        assert told["choices"][0]["routed_experts"] == of_new
        # Asked again, the prompt is in the cache; its routes are told all the same.
        assert post(server, "v1/completions", **asked).json()["prompt_routed_experts"] == of_prompt
        pieces = events(server, "v1/completions", **asked)
        told_once = [p["prompt_routed_experts"] for p in pieces if "prompt_routed_experts" in p]
        assert told_once == [of_prompt]
        streamed = [row for p in pieces for c in p["choices"] for row in c["routed_experts"]]
        assert streamed == of_new
        spoken = chat(server, "3", max_tokens=2, tramontane={"routes": True}).json()
        assert len(spoken["choices"][0]["routed_experts"]) == 1
        plain = post(server, "v1/completions", prompt=[5], max_tokens=1).json()
        assert "prompt_routed_experts" not in plain
        assert "routed_experts" not in plain["choices"][0]


def test_routes_of_a_dense_base_are_refused(numbers: Running):
    told = post(numbers, "v1/completions", prompt=[5], tramontane={"routes": True})
    assert told.status_code == 400
    assert "this base is dense" in told.json()["error"]["message"]


def test_experts_are_switched_per_request_and_their_shares_told():
    experts = [ExpertInPlace("garden", "b" * 64), ExpertInPlace("recipes", "a" * 64)]
    with served(FakeModel(SharingRuntime(max_context_tokens=64), experts)) as server:
        until_open(server)
        told = chat(server, "3", max_tokens=2, tramontane={"voice": True}).json()
        voice = told["choices"][0]["tramontane"]["voice"]
        assert voice["experts"] == ["recipes", "garden"]  # as the engine has them, by hash
        assert voice["shares"] == [[0.5, 0.25]] * 2
        assert voice["gates"] == [[1.0, 1.0]] * 2
        alone = chat(
            server, "3", max_tokens=1, tramontane={"voice": True, "experts": ["garden"]}
        ).json()
        assert alone["choices"][0]["tramontane"]["voice"]["shares"] == [[0.5]]
        none = chat(server, "3", max_tokens=1, tramontane={"voice": True, "experts": []}).json()
        assert none["choices"][0]["tramontane"]["voice"]["shares"] == []
        unknown = chat(server, "3", tramontane={"experts": ["nobody"]})
        assert unknown.status_code == 404
        assert "garden" in unknown.json()["error"]["message"]


# From notes


def test_an_answer_from_notes_carries_what_it_rests_on(numbers: Running):
    reply = chat_from_notes(numbers, "How many cloves of garlic bulbs?").json()
    content = reply["choices"][0]["message"]["content"]
    told = reply["tramontane"]
    assert "41 cloves" in content
    assert told["abstained"] is False
    first = told["support"][0]
    assert content[first["begin"] : first["end"]].startswith("“Planted in Long Bed")
    assert first["mark"] == "supported"
    assert told["sources"][first["source"] - 1]["path"] == "garlic.md"


def test_notes_that_do_not_say_are_told_so(numbers: Running):
    told = chat_from_notes(numbers, "Who slew the dragon?").json()
    assert told["tramontane"]["abstained"] is True
    assert told["tramontane"]["closest"]["path"] == "heap/compost.md"


def test_a_reply_from_notes_names_the_expert_whose_memory_a_sentence_is():
    desk = FakeDesk()
    with served(desk=desk) as server:
        until_open(server)
        plain = chat_from_notes(server, "prose about garlic").json()["tramontane"]["support"]
        assert all("memory" not in sentence for sentence in plain)
        desk.remembers = True
        told = chat_from_notes(server, "prose about garlic").json()["tramontane"]["support"]
    assert told[2].pop("memory") == {"expert": "garden", "effect": 2.1}
    assert told == plain


def chat_from_notes(server: Running, question: str, **body) -> httpx.Response:
    messages = [{"role": "user", "content": question}]
    asked = {"messages": messages, "tramontane": {"collections": ["garden"]}} | body
    return post(server, "v1/chat/completions", **asked)


def test_a_reply_from_notes_tells_who_speaks_where_voices_are_asked_for(numbers: Running):
    question, voice = "prose about garlic alike", {"collections": ["garden"], "voice": True}
    told = chat_from_notes(numbers, question, tramontane=voice).json()["tramontane"]["support"]
    assert [sentence.pop("named") for sentence in told] == [["garden", "recipes"]] * 3
    assert [sentence.pop("shares") for sentence in told] == [{"garden": 0.31, "recipes": 0.04}] * 3
    plain = chat_from_notes(numbers, question).json()["tramontane"]["support"]
    for sentence in told:
        del sentence["effects"], sentence["behind"]
    assert told == plain


def test_a_stream_from_notes_says_the_same(numbers: Running):
    question = "How many cloves of garlic bulbs?"
    chunks = events(
        numbers,
        "v1/chat/completions",
        messages=[{"role": "user", "content": question}],
        tramontane={"collections": []},
    )
    text = "".join(c["choices"][0]["delta"].get("content", "") for c in chunks)
    whole = chat_from_notes(numbers, question).json()
    assert text == whole["choices"][0]["message"]["content"]
    assert chunks[-1]["tramontane"]["sources"] == whole["tramontane"]["sources"]


def test_what_notes_cannot_follow_is_refused_by_name(numbers: Running):
    answer = chat_from_notes(numbers, "garlic", temperature=0.5, seed=1)
    assert answer.status_code == 400
    assert "temperature, seed" in answer.json()["error"]["message"]
    assert chat_from_notes(numbers, "", max_tokens=None).status_code == 400


# Embeddings, tokens, models, monitors


def test_embeddings_in_both_forms_and_fewer_dimensions(numbers: Running):
    texts = ["abba", "cd d"]
    rows = FakeEmbedder()(texts)
    plain = post(numbers, "v1/embeddings", input=texts, model="letters").json()
    assert [row["embedding"] for row in plain["data"]] == rows.tolist()
    assert plain["usage"]["prompt_tokens"] == 3
    coded = post(numbers, "v1/embeddings", input=texts, encoding_format="base64").json()
    decoded = [np.frombuffer(base64.b64decode(r["embedding"]), "<f4") for r in coded["data"]]
    assert np.array_equal(decoded, rows)
    (short,) = post(numbers, "v1/embeddings", input="abba", dimensions=2).json()["data"]
    assert np.linalg.norm(short["embedding"]) == pytest.approx(1)
    assert post(numbers, "v1/embeddings", input="a", dimensions=5).status_code == 400
    assert post(numbers, "v1/embeddings", input=["a", " "]).status_code == 400


def test_tokens_there_and_back(numbers: Running):
    told = post(numbers, "tokenize", prompt="3 1 4").json()
    assert told == {"tokens": [3, 1, 4], "count": 3, "max_model_len": 1024}
    assert post(numbers, "tokenize", content="3 1 4").json()["tokens"] == [3, 1, 4]
    pieces = post(numbers, "tokenize", content="3", with_pieces=True).json()["tokens"]
    assert pieces == [{"id": 3, "piece": "3 "}]
    assert post(numbers, "detokenize", tokens=[3, 1]).json()["content"] == "3 1 "
    assert post(numbers, "tokenize", prompt="3", content="3").status_code == 400
    assert httpx.get(f"{numbers.address}tokenizer_info").json()["vocab_size"] == 50


def test_the_models_are_listed(numbers: Running):
    names = [card["id"] for card in httpx.get(f"{numbers.address}v1/models").json()["data"]]
    assert names == ["numbers", "letters"]
    for name in names:
        assert httpx.get(f"{numbers.address}v1/models/{name}").json()["id"] == name
    assert httpx.get(f"{numbers.address}v1/models/other").status_code == 404


def test_metrics_count_tokens_and_requests(numbers: Running):
    def count(name: str) -> float:
        text = httpx.get(f"{numbers.address}metrics").text
        return sum(float(line.split()[-1]) for line in text.splitlines() if line.startswith(name))

    before = count("tramontane_new_tokens_total")
    complete(numbers, [3], max_tokens=7)
    assert count("tramontane_new_tokens_total") == before + 7
    assert count('tramontane_requests_total{path="/v1/completions",status="200"}') > 0
    assert count("tramontane_kv_pages_free ") > 0


def test_health_is_503_until_the_model_is_open_and_when_it_fails():
    may_open = threading.Event()

    def slowly() -> FakeModel:
        assert may_open.wait(PATIENCE_SECONDS)
        return FakeModel()

    with running(FakeDesk(), open_model=slowly, embedder=FakeEmbedder()) as server:
        health = httpx.get(f"{server.address}health")
        assert (health.status_code, health.json()) == (503, {"status": "loading"})
        refused = chat(server, "3")
        assert refused.status_code == 503
        assert int(refused.headers["retry-after"]) > 0
        assert httpx.get(server.address).status_code == 200  # the page is there meanwhile
        may_open.set()
        until_open(server)
        assert chat(server, "3", max_tokens=1).status_code == 200

    def never() -> FakeModel:
        raise NotEnoughMemory("the model needs more than there is")

    with running(FakeDesk(), open_model=never, embedder=FakeEmbedder()) as server:
        while httpx.get(f"{server.address}health").json()["status"] == "loading":
            time.sleep(0.02)
        assert "more than there is" in chat(server, "3").json()["error"]["message"]


# Many at once


def num_answers(server: Running) -> int:
    counts = re.findall(
        r"^tramontane_(?:running|waiting) (\d+)",
        httpx.get(f"{server.address}metrics").text,
        re.MULTILINE,
    )
    return sum(map(int, counts))


def test_a_full_queue_says_when_to_come_again():
    runtime = HeldRuntime(max_context_tokens=64)
    with served(FakeModel(runtime), most_answers=3) as server:
        until_open(server)
        replies: list[httpx.Response] = []
        threads = [
            threading.Thread(target=lambda: replies.append(chat(server, "3", max_tokens=2)))
            for _ in range(3)
        ]
        for thread in threads:
            thread.start()
        for _ in range(500):
            if num_answers(server) == 3:
                break
            time.sleep(0.02)
        assert runtime.is_inside.wait(PATIENCE_SECONDS)
        refused = chat(server, "3")
        assert refused.status_code == 429
        assert int(refused.headers["retry-after"]) >= 1
        assert refused.json()["error"]["type"] == "rate_limit_error"
        assert post(server, "v1/completions", prompt="3", n=4).status_code == 429
        runtime.may_go_on.set()
        for thread in threads:
            thread.join(PATIENCE_SECONDS)
        assert [reply.status_code for reply in replies] == [200] * 3
        assert chat(server, "3", max_tokens=1).status_code == 200


@pytest.mark.parametrize("streams", [True, False])
def test_a_client_that_leaves_ends_its_request(streams: bool):
    runtime = HeldRuntime(max_context_tokens=1024)
    model = FakeModel(runtime)
    with served(model) as server:
        until_open(server)
        body = {"prompt": [3], "max_tokens": 1000, "stream": streams}
        with pytest.raises(httpx.TimeoutException):
            httpx.post(f"{server.address}v1/completions", json=body, timeout=1)
        assert server.until_no_streams(PATIENCE_SECONDS)
        runtime.may_go_on.set()
        for _ in range(500):
            if not model.engine.has_work:
                break
            time.sleep(0.02)
        assert not model.engine.has_work
        # One step was under way; whatever it gave, the thousand never came.
        assert sum(len(batch) for batch in runtime.batches) < 50
        assert model.engine.pages.num_free == model.engine.num_pages


@pytest.mark.slow
def test_a_slow_reader_holds_nobody_and_is_given_up():
    """The answer is larger than what the system keeps for a reader who takes nothing."""
    body = {"prompt": [3], "max_tokens": 4000, "n": 8, "stream": True, "logprobs": 20}
    data = json.dumps(body).encode()
    model = FakeModel(CountingRuntime(max_context_tokens=8_000))
    model.engine = Engine(model.engine.runtime, max_tokens=64_000)
    with served(model, reader_seconds=1.0) as server, socket.socket() as reader:
        until_open(server)
        reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        reader.connect(("127.0.0.1", server.port))
        reader.sendall(
            f"POST /v1/completions HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(data)}\r\n\r\n".encode()
            + data
        )
        for _ in range(5):
            assert chat(server, "3", max_tokens=3).status_code == 200
        assert server.until_no_streams(3 * PATIENCE_SECONDS)
        told = b""
        while piece := reader.recv(1 << 16):
            told += piece
        assert b"200 OK" in told
        assert b"[DONE]" not in told
        assert not model.engine.has_work


def test_an_answer_has_its_time_and_says_when_it_ended_it():
    class SlowRuntime(CountingRuntime):
        def forward(self, spans, *, with_shares=False):
            time.sleep(0.02)
            return super().forward(spans, with_shares=with_shares)

    with served(FakeModel(SlowRuntime(max_context_tokens=4000)), answer_seconds=0.5) as server:
        until_open(server)
        reply = chat(server, "3", max_tokens=3000).json()
        assert reply["choices"][0]["finish_reason"] == "length"
        assert "ended after" in reply["tramontane"]["warnings"][0]


def test_a_step_that_fails_is_told_and_the_next_request_served():
    runtime = CountingRuntime(max_context_tokens=64)
    with served(FakeModel(runtime)) as server:
        until_open(server)
        runtime.failures.append(MemoryError("no room for this step"))
        failed = chat(server, "3", max_tokens=2)
        assert failed.status_code == 500
        assert "no room for this step" in failed.json()["error"]["message"]
        assert chat(server, "3", max_tokens=2).status_code == 200


def test_progress_of_a_long_prompt_is_told():
    class SlowRuntime(CountingRuntime):
        def forward(self, spans, *, with_shares=False):
            time.sleep(0.15)
            return super().forward(spans, with_shares=with_shares)

    model = FakeModel(SlowRuntime(max_context_tokens=4000))
    with served(model) as server:
        until_open(server)
        prompt = [n % 50 for n in range(3000)]
        asked = {"prompt": prompt, "max_tokens": 1, "temperature": 0, "return_progress": True}
        chunks = events(server, "v1/completions", **asked)
        told = [c["prompt_progress"] for c in chunks if "prompt_progress" in c]
        assert told
        assert all(p["total"] == 3000 and 0 <= p["processed"] <= 3000 for p in told)
        assert [p["processed"] for p in told] == sorted(p["processed"] for p in told)
