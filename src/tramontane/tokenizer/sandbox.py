"""Where strangers' chat templates run: Jinja's sandbox, which keeps them from reaching Python, and
a limit on their work, since a loop in a loop or a text that doubles needs no forbidden call.

A template has no way to make a value or to repeat itself but these, and each is counted: loops,
calls (macros too), filters, operators, literals, slices, and what it writes, into blocks as well.
The unit is one character. What could grow beyond what it was made from
is counted before it is made; functions that no chat template needs are not there. Where counting
misses something, the time still ends.
"""

import re
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jinja2
import jinja2.ext
import jinja2.sandbox
import jinja2.utils
import jinja2.visitor
from jinja2 import nodes

from tramontane.errors import TokenizerError

MAX_UNITS = 50_000_000
MAX_SECONDS = 10.0
MAX_INTEGER_BITS = 1 << 12
MAX_WIDTH = 100
# A step of a loop or an item of a list, and a call: in time and memory about so many characters.
STEP_UNITS, CALL_UNITS = 50, 200

# Under a name that no template can spell, beside the messages.
WORK = "the work that is left"

FILTERS = frozenset(
    "abs attr capitalize count d default dictsort e escape first float groupby indent int items "
    "join last length list lower map max min reject rejectattr replace reverse round safe select "
    "selectattr sort string title tojson trim truncate unique upper".split()
)
TEXT_METHODS = frozenset(
    "capitalize casefold count endswith find index isalnum isalpha isascii isdecimal isdigit "
    "isidentifier islower isnumeric isprintable isspace istitle isupper join lower lstrip "
    "partition removeprefix removesuffix replace rfind rindex rpartition rsplit rstrip split "
    "splitlines startswith strip swapcase title upper".split()
)


class Namespace(jinja2.utils.Namespace):
    """What `namespace()` makes. One may hold another twice: spelling it out could take for ever."""

    def __repr__(self) -> str:
        return "<namespace>"


class Work:
    """What one rendering may still do."""

    def __init__(self):
        self.units_left = MAX_UNITS
        self.deadline = time.monotonic() + MAX_SECONDS

    def spend(self, units: int = STEP_UNITS) -> None:
        self.units_left -= units
        if self.units_left < 0:
            raise TokenizerError(
                f"the chat template is too much work: over {MAX_UNITS} steps and characters; "
                "is it from a source that you trust?"
            )
        if time.monotonic() > self.deadline:
            raise TokenizerError(f"the chat template took longer than {MAX_SECONDS:.0f} seconds")

    def made(self, value: Any) -> Any:
        """Returns the value, counted without what is in its items."""
        if type(value) is int and value.bit_length() > MAX_INTEGER_BITS:
            raise TokenizerError("the chat template computes with numbers that are too large")
        if isinstance(value, str):
            self.spend(1 + len(value))
        elif isinstance(value, (bytes, bytearray)):
            raise TokenizerError("the chat template makes bytes; only text is supported")
        else:
            self.spend(1 + STEP_UNITS * len(value) if isinstance(value, (list, tuple, dict)) else 1)
        return value

    def spelt(self, value: Any) -> Any:
        """Returns the value, counted as often as it would be written out."""
        waiting = [value]
        while waiting:
            one = waiting.pop()
            self.made(one)
            if isinstance(one, dict):
                waiting += [*one.keys(), *one.values()]
            elif isinstance(one, (list, tuple, set, frozenset)):
                waiting += one
        return value


class CountEverything(jinja2.visitor.NodeTransformer):
    """Has a template's loops, literals, slices, joined and plain texts counted."""

    def generic_visit(self, node: nodes.Node, *args: Any, **kwargs: Any) -> nodes.Node:
        super().generic_visit(node, *args, **kwargs)
        if isinstance(node, nodes.For):
            node.iter = asked("steps_of", node.iter)
        elif isinstance(node, nodes.Output):
            # As constants they pass `finalize` like everything that is written.
            plain = nodes.TemplateData
            node.nodes = [
                nodes.Const(one.data, lineno=one.lineno) if isinstance(one, plain) else one
                for one in node.nodes
            ]
        elif isinstance(node, nodes.Concat):
            return asked("joined", *node.nodes)
        elif isinstance(node, (nodes.List, nodes.Dict)) or (
            isinstance(node, nodes.Tuple) and node.ctx == "load"
        ):
            return asked("spelt", node)
        elif isinstance(node, nodes.Getitem) and isinstance(node.arg, nodes.Slice):
            return asked("made", node)
        return node


def asked(name: str, *arguments: nodes.Expr) -> nodes.Call:
    """Returns a call of the environment's own method, which a template can't put another for."""
    line = arguments[0].lineno if arguments else 1
    method = nodes.EnvironmentAttribute(name, lineno=line)
    context = nodes.ContextReference(lineno=line)
    return nodes.Call(method, [context, *arguments], [], None, None, lineno=line)


class Generation(jinja2.ext.Extension):
    """{% generation %}: marks the assistant's words for training; here it only lets them pass."""

    tags = {"generation"}

    def parse(self, parser: jinja2.parser.Parser) -> nodes.Node:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return nodes.Scope(body, lineno=line)


class Environment(jinja2.sandbox.ImmutableSandboxedEnvironment):
    """The environment of chat templates; a context holds its rendering's `Work` under WORK."""

    intercepted_binops = frozenset(("+", "*", "**", "%"))

    def __init__(
        self,
        filters: Mapping[str, Callable[..., Any]],
        functions: Mapping[str, Callable[..., Any]],
    ):
        super().__init__(
            trim_blocks=True,
            lstrip_blocks=True,
            extensions=[Generation, jinja2.ext.loopcontrols],
            finalize=write,
        )
        of_jinja = {"dict": dict, "range": self.globals["range"], "namespace": Namespace}
        self.globals = of_jinja | dict(functions)
        there = self.filters | dict(filters)
        self.filters = {name: counted(name, there[name]) for name in FILTERS}

    def _parse(self, source: str, name: str | None, filename: str | None) -> nodes.Template:
        return CountEverything().visit(super()._parse(source, name, filename))

    def is_safe_attribute(self, owner: Any, name: str, value: Any) -> bool:
        if isinstance(owner, str):
            return name in TEXT_METHODS
        if isinstance(owner, (int, float, bytes)):
            return False
        return super().is_safe_attribute(owner, name, value)

    def wrap_str_format(self, value: Any) -> None:
        """Keeps `format` out, as the rule for attributes of a text has it."""

    def call(__self, __context, __function, *arguments, **named):  # noqa: B902, N805  as Jinja has it
        work = __context.parent[WORK]
        owner = getattr(__function, "__self__", None)
        work.spend(CALL_UNITS if owner is not __self else STEP_UNITS)
        if isinstance(owner, str):
            if __function.__name__ == "join" and arguments:
                arguments = (list(arguments[0]), *arguments[1:])
            work.spend(most_units(work, __function.__name__, owner, arguments, named))
        value = super().call(__context, __function, *arguments, **named)
        if __function is dict:
            return work.spelt(value)
        return value if owner is __self else work.made(value)

    def call_binop(self, context: jinja2.runtime.Context, operator: str, left: Any, right: Any):
        work = context.parent[WORK]
        if operator == "*":
            for one, times in ((left, right), (right, left)):
                if isinstance(one, (str, list, tuple)) and isinstance(times, int):
                    work.spend(STEP_UNITS * len(one) * max(times, 0))
        elif operator == "**" and isinstance(left, int) and isinstance(right, int):
            if abs(right) * left.bit_length() > MAX_INTEGER_BITS:
                raise TokenizerError("the chat template computes with numbers that are too large")
        elif operator == "%" and isinstance(left, str):
            if re.search(r"\*|\d{3}", left):
                raise TokenizerError("the chat template pads texts to a width that is too large")
            work.spend(MAX_WIDTH * left.count("%"))
            work.spelt(right)
        elif operator == "+":
            work.spend(
                sum(len(one) for one in (left, right) if isinstance(one, (str, list, tuple)))
            )
        return work.made(super().call_binop(context, operator, left, right))

    def steps_of(self, context: jinja2.runtime.Context, iterable: Any) -> Iterator[Any]:
        work = context.parent[WORK]
        for item in iterable:
            work.spend()
            yield item

    def joined(self, context: jinja2.runtime.Context, *parts: Any) -> str:
        work = context.parent[WORK]
        return work.made("".join(str(work.spelt(part)) for part in parts))

    def spelt(self, context: jinja2.runtime.Context, value: Any) -> Any:
        return context.parent[WORK].spelt(value)

    def made(self, context: jinja2.runtime.Context, value: Any) -> Any:
        return context.parent[WORK].made(value)


@jinja2.pass_context
def write(context: jinja2.runtime.Context, value: Any) -> Any:
    """Counts what is written, be it into a block, a macro or the text itself."""
    return context.parent[WORK].spelt(value)


def counted(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """Returns the filter, counted; what it does stays the same."""
    wanted = jinja2.utils._PassArg.from_obj(function)

    @jinja2.pass_context
    def run(context: jinja2.runtime.Context, value: Any, *arguments: Any, **named: Any) -> Any:
        work = context.parent[WORK]
        if name == "join":
            value = list(value)
        work.spend(STEP_UNITS + most_units(work, name, value, arguments, named))
        before = {
            None: (),
            jinja2.utils._PassArg.context: (context,),
            jinja2.utils._PassArg.eval_context: (context.eval_ctx,),
            jinja2.utils._PassArg.environment: (context.environment,),
        }[wanted]
        return work.made(function(*before, value, *arguments, **named))

    return run


def most_units(work: Work, name: str, value: Any, arguments: tuple, named: dict) -> int:
    """Returns how large the result of a filter or of a text's method may be, where it may grow."""
    given = [*arguments, *named.values()]
    longest = max([0, *(len(one) for one in given if isinstance(one, str))])
    match name:
        case "indent" | "round" | "tojson":
            if any(type(one) is int and abs(one) > MAX_WIDTH for one in given):
                raise TokenizerError(f"the chat template asks {name} for more than {MAX_WIDTH}")
            if name == "indent":
                return len(value) + len(value.splitlines()) * max(longest, MAX_WIDTH)
            before = work.units_left
            work.spelt(value)
            return (before - work.units_left) * (MAX_WIDTH if given and name == "tojson" else 1)
        case "replace":
            text, times = str(work.spelt(value)), len(value) + 1
            if arguments and isinstance(arguments[0], str) and arguments[0]:
                times = text.count(arguments[0])
            return len(text) + times * longest
        case "join" if isinstance(value, str):
            return len(value) * len(arguments[0]) if arguments else 0
        case "join":
            work.spelt(value)
            return len(value) * longest
        case "split" | "rsplit" if arguments and arguments[0]:
            return STEP_UNITS * value.count(arguments[0])
        case "split" | "rsplit" | "splitlines":
            return STEP_UNITS * len(value)
        case "list" if isinstance(value, str):
            return STEP_UNITS * len(value)
        case "string" | "e" | "escape" | "title" | "upper" | "lower" | "capitalize" | "trim":
            work.spelt(value)
    return 0
