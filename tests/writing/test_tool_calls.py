"""Calls in text: whole ones come out, everything else stays the text it was, however it is cut."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tramontane.checkpoint.checkpoint import Checkpoint
from tramontane.errors import RequestError
from tramontane.writing.grammar import Grammars
from tramontane.writing.tool_calls import (
    FORMS,
    OWN_FORM,
    Tool,
    ToolCall,
    ToolStream,
    form_of,
    grammar_of_calls,
    messages_with_tools,
)

LIST_FORM = FORMS["[TOOL_CALLS]"]
WEATHER = Tool(
    "weather",
    "The weather of a city",
    {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
)
ADD = Tool("add", "", {"type": "object", "properties": {"a": {"type": "integer"}}})

names = st.text("abc_", min_size=1, max_size=5)
# Arguments that hold the very marks a call is known by.
pieces = st.sampled_from([*'ab{}[]"\\<>/ \n', "</tool_call>", "<tool_call>"])
values = st.lists(pieces, max_size=8).map("".join)
calls = st.builds(ToolCall, names, st.dictionaries(names, values | st.integers(), max_size=3))
plain = st.text("xy z.\n", max_size=10)


def read(form, text: str, cuts: list[int]) -> tuple[str, list[ToolCall]]:
    stream, places = ToolStream(form), sorted({0, len(text), *(c % (len(text) + 1) for c in cuts)})
    found = [
        one
        for begin, end in zip(places, places[1:], strict=False)
        for one in stream.push(text[begin:end])
    ]
    found += stream.finish()
    said = "".join(one for one in found if isinstance(one, str))
    return said, [one for one in found if isinstance(one, ToolCall)]


@settings(max_examples=300, deadline=None)
@given(before=plain, made=st.lists(calls, max_size=3), cuts=st.lists(st.integers(0, 400)))
def test_calls_come_out_whole_however_the_text_is_cut(before, made, cuts):
    text = before + "".join(f"<tool_call>\n{call.as_text()}\n</tool_call>\n" for call in made)
    said, found = read(OWN_FORM, text, cuts)
    assert found == made
    assert said.strip() == before.strip()


@settings(max_examples=100, deadline=None)
@given(made=st.lists(calls, min_size=1, max_size=3), cuts=st.lists(st.integers(0, 400)))
def test_a_list_of_calls_is_read_as_well(made, cuts):
    listed = json.dumps([json.loads(call.as_text()) for call in made])
    assert read(LIST_FORM, f"[TOOL_CALLS] {listed}", cuts) == ("", made)


@pytest.mark.parametrize(
    "text",
    [
        "a < b",
        "<tool_",
        "<tool_call>",
        '<tool_call>{"name": "weather"',
        "<tool_call>nothing</tool_call>",
        '<tool_call>{"name": 3}</tool_call>',
        '<tool_call>{"name": "a", "arguments": 3}</tool_call>',
        "<tool_call>" + "[" * 5_000,
    ],
)
def test_what_is_no_call_stays_text(text: str):
    for cuts in ([], [3], list(range(len(text)))[:200]):
        assert read(OWN_FORM, text, cuts) == (text, [])


def test_a_base_without_tools_in_its_template_reads_them_in_the_system_message(smollm2: Checkpoint):
    form = form_of(smollm2.tokenizer())
    assert form == OWN_FORM
    history = [
        {"role": "system", "content": "Be short."},
        {"role": "user", "content": "Oslo?"},
        {
            "role": "assistant",
            "content": "",
            "tool_calls": [{"function": {"name": "weather", "arguments": {"city": "Oslo"}}}],
        },
        {"role": "tool", "content": "rain"},
    ]
    told = messages_with_tools(history, [WEATHER], form)
    assert told[0]["content"].startswith("Be short.\n\n")
    assert '"weather"' in told[0]["content"]
    said, found = read(form, told[2]["content"], [])
    assert (said, found) == ("", [ToolCall("weather", {"city": "Oslo"})])
    assert told[3] == {"role": "user", "content": "<tool_response>\nrain\n</tool_response>"}
    assert messages_with_tools(history[1:2], [WEATHER], form)[0]["role"] == "system"


def accepts(grammars: Grammars, grammar: str, text: str) -> bool:
    """Whether a grammar allows a text, whole."""
    guide = grammars.guide(grammar)
    ids = grammars.tokenizer.encode(text)
    for place, token_id in enumerate(ids):
        step = guide(ids[:place])
        if step.is_finished or not step.mask_V[token_id]:
            return False
    step = guide(ids)
    return step.is_finished or any(step.mask_V[end] for end in grammars.tokenizer.eos_ids)


@pytest.fixture(scope="module")
def grammars(smollm2: Checkpoint) -> Grammars:
    return Grammars(smollm2.tokenizer(), smollm2.config.vocab_size)


WEATHER_CALL = '<tool_call>\n{"name": "weather", "arguments": {"city": "Oslo"}}\n</tool_call>'
ADD_CALL = '<tool_call>\n{"name": "add", "arguments": {"a": 3}}\n</tool_call>'
WRONG_CALL = '<tool_call>\n{"name": "weather", "arguments": {"town": "Oslo"}}\n</tool_call>'


@pytest.mark.parametrize(
    ("is_required", "may_be_many", "text", "expected"),
    [
        (True, True, WEATHER_CALL, True),
        (True, True, f"{WEATHER_CALL}\n{ADD_CALL}", True),
        (True, False, f"{WEATHER_CALL}\n{ADD_CALL}", False),
        (True, True, "no call", False),
        (True, True, WRONG_CALL, False),
        (False, True, "no call", True),
        (False, True, f"Let me see. {WEATHER_CALL}\n{ADD_CALL}", True),
        (False, True, WRONG_CALL, False),
        (False, False, WEATHER_CALL, True),
    ],
)
def test_the_grammar_allows_calls_of_these_tools_alone(
    grammars, is_required, may_be_many, text, expected
):
    grammar = grammar_of_calls(
        grammars,
        grammars.tokenizer,
        [WEATHER, ADD],
        OWN_FORM,
        is_required=is_required,
        may_be_many=may_be_many,
    )
    assert accepts(grammars, grammar, text) == expected


def test_a_list_form_has_a_grammar_too(grammars):
    grammar = grammar_of_calls(
        grammars,
        grammars.tokenizer,
        [WEATHER, ADD],
        LIST_FORM,
        is_required=True,
        may_be_many=True,
    )
    both = '[{"name": "add", "arguments": {"a": 3}}, {"name": "add", "arguments": {}}]'
    assert accepts(grammars, grammar, f"[TOOL_CALLS]{both}")
    assert not accepts(grammars, grammar, "[TOOL_CALLS][]")


def test_a_tool_whose_schema_cannot_be_followed_is_named(grammars):
    tool = Tool("broken", "", {"type": "nonsense"})
    with pytest.raises(RequestError, match="'broken'"):
        grammar_of_calls(
            grammars,
            grammars.tokenizer,
            [tool],
            OWN_FORM,
            is_required=False,
            may_be_many=True,
        )


# Grammars themselves


@pytest.mark.parametrize(
    ("make", "text", "right", "wrong"),
    [
        ("of_regex", "[ab]+c", "abac", "abad"),
        ("of_lark", 'start: "yes" | "no"', "yes", "maybe"),
        ("of_gbnf", 'root ::= "yes" | "no"', "no", "maybe"),
    ],
)
def test_each_kind_of_grammar_is_followed(grammars, make, text, right, wrong):
    grammar = getattr(grammars, make)(text)
    assert accepts(grammars, grammar, right)
    assert not accepts(grammars, grammar, wrong)


@pytest.mark.parametrize(
    ("make", "text"),
    [("of_regex", "[ab"), ("of_lark", "start: nothing"), ("of_gbnf", "root ::= nothing")],
)
def test_a_grammar_that_cannot_be_read_is_told_so(grammars, make, text):
    with pytest.raises(RequestError, match="cannot be"):
        getattr(grammars, make)(text)


def test_a_schemas_values_and_no_others(grammars):
    schema = {
        "type": "object",
        "properties": {"age": {"type": "integer"}},
        "required": ["age"],
        "additionalProperties": False,
    }
    grammar = grammars.of_schema(schema)
    assert accepts(grammars, grammar, '{"age": 3}')
    assert not accepts(grammars, grammar, '{"age": "3"}')
    assert not accepts(grammars, grammar, '{"age": 3, "b": 1}')
