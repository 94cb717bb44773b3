"""Chat templates: text as transformers renders it; no way out of the sandbox, none to stall it."""

import re
import tracemalloc

import jinja2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_vocabularies import TEMPLATE, byte_level_metadata

from tramontane.errors import TokenizerError
from tramontane.tokenizer import sandbox
from tramontane.tokenizer.chat_template import MAX_TEMPLATE_CHARACTERS, render
from tramontane.tokenizer.tokenizer import Tokenizer

USER = [{"role": "user", "content": "When do I sow kale?"}]
TALK = [
    {"role": "system", "content": "Be brief.\n"},
    {"role": "user", "content": "  When do I sow kale?\n"},
    {"role": "assistant", "content": "<think>April?</think>In April. é日🌾"},
    {"role": "user", "content": ""},
    {"role": "assistant", "content": "Anything else?"},
    {"role": "user", "content": '{"a": "<b>&\'"}'},
]

# After the templates that people meet: one per way of writing them.
TEMPLATES = {
    "chatml": TEMPLATE,
    "mistral": """{{ bos_token }}{% for message in messages %}\
{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}\
{{ raise_exception('Conversation roles must alternate user/assistant/...') }}{% endif %}\
{% if message['role'] == 'user' %}{{ '[INST] ' + message['content'] + ' [/INST]' }}\
{% elif message['role'] == 'assistant' %}{{ message['content'] + eos_token + ' ' }}\
{% else %}{{ raise_exception('Only user and assistant roles are supported!') }}{% endif %}\
{% endfor %}""",
    "llama 2": """{% if messages[0]['role'] == 'system' %}{% set loop_messages = messages[1:] %}\
{% set system_message = messages[0]['content'] %}{% else %}{% set loop_messages = messages %}\
{% set system_message = false %}{% endif %}{% for message in loop_messages %}\
{% if loop.index0 == 0 and system_message != false %}\
{% set content = '<<SYS>>\\n' + system_message + '\\n<</SYS>>\\n\\n' + message['content'] %}\
{% else %}{% set content = message['content'] %}{% endif %}\
{% if message['role'] == 'user' %}{{ bos_token + '[INST] ' + content.strip() + ' [/INST]' }}\
{% elif message['role'] == 'assistant' %}{{ ' '  + content.strip() + ' ' + eos_token }}\
{% endif %}{% endfor %}""",
    "llama 3": """{%- if not tools_in_user_message is defined %}
    {%- set tools_in_user_message = true %}
{%- endif %}
{%- if tools is not none and tools_in_user_message %}{{ tools | tojson(indent=4) }}{%- endif %}
{%- set loop_messages = messages %}
{%- for message in loop_messages %}
    {%- set content = '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n'
        + message['content'] | trim + '<|eot_id|>' %}
    {%- if loop.index0 == 0 %}
        {%- set content = bos_token + content %}
    {%- endif %}
    {{- content }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}
{%- endif %}""",
    "with a namespace, macros and slices": """
{%- macro turn(message, marks=['<', '>']) -%}
{{ marks[0] ~ message.role | upper ~ marks[1] }}: {{ message.content | trim | replace('\\n', ' ') }}
{% endmacro -%}
{%- set ns = namespace(last=-1, seen=[]) -%}
{%- for message in messages[::-1] -%}
{%- if ns.last < 0 and message.role == 'user' %}{% set ns.last = loop.index0 %}{% endif -%}
{%- set ns.seen = ns.seen + [message.role] -%}
{%- endfor -%}
{%- for message in messages if message.content -%}
{%- if '</think>' in message.content -%}
{%- set message = {'role': message.role, 'content': message.content.split('</think>')[-1]} -%}
{%- endif -%}
{{ turn(message) }}{% if not loop.last %}--{{ loop.index }}/{{ loop.length }}
{% endif %}
{%- if loop.index > 3 %}{% break %}{% endif -%}
{%- endfor %}
{{ ns.last }} {{ ns.seen | join(', ') }} {{ ns.seen | unique | list }} {{ messages | tojson }}
{{ messages | map(attribute='role') | list | length }} {{ (messages | first)['role'] | title }}
{{ messages | selectattr('role', 'equalto', 'user') | map(attribute='content') | list }}
{% generation %}{{ eos_token }}{% endgeneration %}
{{ 2 * 3 }} {{ 'ab' * 2 }} {{ '%s-%d' % ('a', 5) }}
{% filter upper %}shout{% endfilter %} {{ documents is none }} {{ nothing is defined }}
""",
}


@pytest.fixture(scope="module")
def reference():
    """Returns transformers' own rendering of (template, messages, add_generation_prompt)."""
    pytest.importorskip("transformers")
    from transformers.utils.chat_template_utils import render_jinja_template

    def rendered(template, messages, add_generation_prompt=True):
        (text,), _ = render_jinja_template(
            conversations=[messages],
            chat_template=template,
            add_generation_prompt=add_generation_prompt,
            bos_token="<s>",
            eos_token="</s>",
        )
        return text

    return rendered


def rendered(template, messages=USER, **more):
    return render(template, messages, bos="<s>", eos="</s>", **more)


@pytest.mark.parametrize("name", TEMPLATES)
@pytest.mark.parametrize("messages", [USER, TALK, TALK[1:], TALK[1:2] * 2], ids=len)
def test_renders_as_transformers_does(reference, name, messages):
    for add_generation_prompt in (True, False):
        prompted = {"add_generation_prompt": add_generation_prompt}
        try:
            wanted = reference(TEMPLATES[name], messages, **prompted)
        except jinja2.TemplateError as refusal:
            with pytest.raises(TokenizerError, match=re.escape(str(refusal))):
                rendered(TEMPLATES[name], messages, **prompted)
        else:
            assert rendered(TEMPLATES[name], messages, **prompted) == wanted


@settings(max_examples=60, deadline=None)
@given(contents=st.lists(st.text(max_size=30), min_size=1, max_size=4))
def test_any_contents_render_as_in_transformers(reference, contents):
    roles = ("user", "assistant", "user", "assistant")
    messages = [
        {"role": role, "content": content} for role, content in zip(roles, contents, strict=False)
    ]
    for template in TEMPLATES.values():
        assert rendered(template, messages) == reference(template, messages)


@pytest.mark.parametrize(
    "template",
    [
        "{{ ''.__class__.__mro__ }}",
        "{{ ''['__class__'].__mro__ }}",
        "{{ (''|attr('__class__')).__mro__ }}",
        "{{ messages|attr('__init__') | attr('__globals__')['os'] }}",
        "{{ namespace.__init__.__globals__['re'] }}",
        "{{ range.__self__.open('/etc/passwd') }}",
        "{{ self.__init__.__globals__ }}",
        "{{ raise_exception.__globals__['json'] }}",
        "{{ render.__code__.co_code }}",
        "{{ (messages|map(attribute='__class__')|list)[0].__mro__ }}",
        "{{ (messages|groupby('__class__'))[0].grouper.__mro__ }}",
        "{{ '{0.__class__.__mro__}'.format(messages) }}",
        "{{ ('{0.__class__}'|attr('format'))(messages) }}",
        "{{ '%(a.__class__)s' % messages }}",
        "{{ messages.append('x') }}",
        "{{ messages[0].update({'role': 'system'}) }}",
        "{{ messages[0].pop('role') }}",
        "{% set messages[0]['role'] = 'system' %}",
        "{% include '/etc/passwd' %}",
        "{% import 'os' as os %}{{ os }}",
        "{% extends 'base' %}",
        "{{ cycler('a').next() }}",
        "{{ lipsum(5) }}",
        "{{ environment.loader.x }}",
        "{{ ''.encode().hex() }}",
        "{{ (1).to_bytes(9, 'big') }}",
    ],
)
def test_no_way_leads_out_of_the_sandbox(template):
    messages = [dict(message) for message in USER]
    with pytest.raises(TokenizerError):
        rendered(template, messages)
    assert messages == USER


@pytest.mark.parametrize("name", ["__class__", "__init__", "__globals__", "__subclasses__"])
def test_a_forbidden_attribute_shows_nothing(name):
    assert rendered("[{{ ''." + name + " }}{{ messages." + name + " }}]") == "[]"


DOUBLING = "{% set n = namespace(x='ab') %}{% for i in range(60) %}BODY{% endfor %}{{ n.x }}"
LONG = "{% set x = 'ab' * 500000 %}"


@pytest.fixture
def a_tenth(monkeypatch):
    """A tenth of the real limit: the same paths, sooner."""
    monkeypatch.setattr(sandbox, "MAX_UNITS", sandbox.MAX_UNITS // 10)


@pytest.mark.usefixtures("a_tenth")
@pytest.mark.parametrize(
    "template",
    [
        "{% for a in range(100000) %}{% for b in range(100000) %}{% endfor %}{% endfor %}",
        "{% for a in range(100001) %}{% endfor %}",
        "{% for a in range(9) recursive %}{{ loop(range(9)) }}{% endfor %}",
        "{% macro f(n) %}{% if n %}{{ f(n-1) }}{{ f(n-1) }}{% endif %}{% endmacro %}{{ f(60) }}",
        "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
        "{% set _steps = 0 %}{% set steps_of = 0 %}{% for a in range(99999) %}"
        "{% for b in range(99999) %}{% endfor %}{% endfor %}",
        "{{ 1.5 | round(10 ** 9) }}",
        "{{ '%s' | format(1) }}",
        "{{ " + "(" * 50_000 + " }}",
        "{{ 1" + " + 1" * 9_000 + " }}",
        "{% if a %}" * 20_000,
        "{{ 'a" * 30_000,
        "x" * (MAX_TEMPLATE_CHARACTERS + 1),
    ],
)
def test_no_template_stalls(template):
    """Without a limit these would take days."""
    with pytest.raises(TokenizerError):
        rendered(template)


@pytest.mark.usefixtures("a_tenth")
@pytest.mark.parametrize(
    "template",
    [
        DOUBLING.replace("BODY", "{% set n.x = n.x ~ n.x %}"),
        DOUBLING.replace("BODY", "{% set n.x = n.x + n.x %}"),
        DOUBLING.replace("BODY", "{% set n.x = n.x * 2 %}"),
        DOUBLING.replace("BODY", "{% set n.x = 2 * n.x %}"),
        DOUBLING.replace("BODY", "{% set n.x = [n.x, n.x] | join %}"),
        DOUBLING.replace("BODY", "{% set n.x = n.x.join(['', '', '']) %}"),
        DOUBLING.replace("BODY", "{% set n.x = '%s%s' % (n.x, n.x) %}"),
        DOUBLING.replace("BODY", "{% set n.x %}{{ n.x }}{{ n.x }}{% endset %}"),
        DOUBLING.replace("BODY", "{% set n.x = n.x.replace('a', n.x) %}"),
        DOUBLING.replace("BODY", "{% set n.x = [n.x, n.x] %}"),
        DOUBLING.replace("BODY", "{% set n.x = [n.x] + [n.x] %}"),
        DOUBLING.replace("BODY", "{% set n.x = (n.x, n.x) %}"),
        DOUBLING.replace("BODY", "{% set n.x = {'a': n.x, 'b': n.x} %}"),
        DOUBLING.replace("BODY", "{% set n.x = dict(a=n.x, b=n.x) %}"),
        DOUBLING.replace("'ab'", "9").replace("BODY", "{% set n.x = n.x * n.x %}"),
        "{{ 'a' * 10 ** 10 }}",
        "{{ [0] * 10 ** 10 }}",
        "{{ 10 ** (10 ** 10) }}",
        "{{ '%1000000000d' % 1 }}",
        "{{ '%*d' % (1000000000, 1) }}",
        "{{ 'a'.ljust(10 ** 10) }}",
        "{{ 'a' | center(10 ** 10) }}",
        "{{ strftime_now('%1000000000d') }}",
        LONG + "{{ x.replace('a', x) }}",
        LONG + "{{ x | replace(new=x, old='a') }}",
        LONG + "{{ x.join(x) }}",
        LONG + "{{ x.join(range(99999) | map('string')) }}",
        LONG + "{{ range(99999) | map('string') | join(x) }}",
        LONG + "{{ ([x] * 100000) | join }}",
        LONG + "{{ ([x] * 100000) | string }}",
        LONG + "{{ ([x] * 100000) | tojson }}",
        LONG + "{{ [x] * 100 }}",
        LONG + "{{ ([x] * 100) ~ '' }}",
        LONG + "{{ x | tojson(indent=x) }}",
        LONG + "{{ range(9) | list | tojson(separators=(x, x)) }}",
        LONG + "{{ x.replace('a', '\n') | indent(10 ** 5) }}",
        LONG + "{% for a in range(99999) %}{% set y = x[1:] %}{% endfor %}",
        LONG + "{% for a in range(99999) %}{{ x }}{% endfor %}",
        "{% for a in range(9999) %}" + "ab" * 50_000 + "{% endfor %}",
        "{% set x %}{% for a in range(9999) %}" + "ab" * 50_000 + "{% endfor %}{% endset %}",
    ],
)
def test_no_template_swells(template):
    """Without a limit these would take terabytes."""
    tracemalloc.start()
    try:
        with pytest.raises(TokenizerError):
            rendered(template)
        assert tracemalloc.get_traced_memory()[1] < 64 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    "template",
    [
        "{% for a in range(N) %}{% endfor %}",
        "{{ 'a' * N }}",
        "{{ 'a' ~ 'a' * (N - 1) }}",
        "{% set x = [1] * N %}",
        "{{ range(N) | list | length }}",
        "{{ range(N) | map('string') | list | length }}",
        "{% macro f() %}{% endmacro %}{% for a in range(N // 4) %}{{ f() }}{% endfor %}",
    ],
)
def test_every_way_to_work_is_counted(template, monkeypatch):
    monkeypatch.setattr(sandbox, "MAX_UNITS", 1_000_000)
    rendered(template.replace("N", "400"))
    with pytest.raises(TokenizerError, match="too much work: over 1000000 steps and characters"):
        rendered(template.replace("N", "20001"))


def test_the_time_ends_even_where_nothing_is_counted(monkeypatch):
    monkeypatch.setattr(sandbox, "MAX_UNITS", 1 << 60)
    monkeypatch.setattr(sandbox, "MAX_SECONDS", 0.1)
    with pytest.raises(TokenizerError, match="longer than"):
        rendered("{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}")


PARTS = (
    "{{ }} {% %} {# #} {%- -%} for in if else endif endfor set endset macro endmacro range loop . "
    "messages ( ) [ ] { } , | : = == + * ~ ' \" 1 x role join map tojson _a \n"
)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from(PARTS.split(" ")) | st.text(max_size=3), max_size=20))
def test_any_template_renders_or_says_why(parts):
    try:
        text = rendered(" ".join(parts))
    except TokenizerError as error:
        text = str(error)
    assert isinstance(text, str)


def test_a_long_conversation_fits():
    """As many words as a context of 128,000 tokens holds, and the most usual of the work."""
    turns = [USER[0] | {"content": "word " * 200}, TALK[2] | {"content": "word " * 200}] * 300
    for name in ("mistral", "llama 2", "llama 3", "chatml"):
        assert rendered(TEMPLATES[name], turns).count("word") == 200 * 600


def test_two_namespaces_in_one_print_nothing_of_each_other():
    assert rendered("{% set a = namespace(x=1) %}{{ namespace(a=a, b=a) }}") == "<namespace>"


def test_a_refusal_says_what_the_template_says():
    with pytest.raises(TokenizerError, match="refused the messages: No system, please"):
        rendered("{{ raise_exception('No system, please') }}")


def test_a_template_that_is_none_says_so():
    with pytest.raises(TokenizerError, match="not valid: .*nosuchtag"):
        rendered("{% nosuchtag %}")
    with pytest.raises(TokenizerError, match="not valid: No filter named 'nosuchfilter'"):
        rendered("{{ 1 | nosuchfilter }}")


def test_a_model_without_a_template_says_so():
    metadata = byte_level_metadata()
    del metadata["tokenizer.chat_template"]
    with pytest.raises(TokenizerError, match="no chat template"):
        Tokenizer.from_gguf(metadata).render_chat(USER)
