"""The faults: each is one edit of a module's text, planted by rule.

The ordinary ones are those of cosmic-ray; ``course_edits`` adds what goes wrong in code like ours: a
sign, a dim, two arguments exchanged, a default that acts unseen, a forgotten ``detach``.
"""

import ast
import copy
import hashlib
import random
import re
import warnings
from collections.abc import Iterator
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]

# Of cosmic-ray's exchanges those that a person would write: + for -, but not + for >>.
LIKELY = """Add_Sub Sub_Add Mul_Div Div_Mul FloorDiv_Div Mod_FloorDiv Pow_Mul BitAnd_BitOr BitOr_BitAnd
    Eq_NotEq NotEq_Eq Lt_LtE LtE_Lt Gt_GtE GtE_Gt Lt_Gt Gt_Lt LtE_GtE GtE_LtE Is_IsNot IsNot_Is"""
LEFT = "min minimum amin argmin any sum zeros zeros_like floor"
RIGHT = "max maximum amax argmax all mean ones ones_like ceil"
EXCHANGED = dict(zip(f"{LEFT} {RIGHT}".split(), f"{RIGHT} {LEFT}".split(), strict=True))
METHODS = "detach abs sqrt square exp log clamp masked_fill cumsum flip softmax"
COMMUTE = "minimum maximum min max equal allclose isclose isinstance"
UNSEEN = "strict device encoding dtype"  # keywords that change nothing in a right run


class Edit(NamedTuple):
    """Bytes ``start`` to ``end`` of a module give way to ``new``."""

    operator: str
    start: int
    end: int
    new: str


class Mutant(NamedTuple):
    id: str
    path: str
    line: int
    operator: str
    before: str
    after: str
    data: bytes


class Source:
    """A module's text and tree. All places are counted in bytes, as ``ast`` does."""

    def __init__(self, path: str) -> None:
        self.path, self.data = path, (ROOT / path).read_bytes()
        self.tree = ast.parse(self.data)
        self.meaning = ast.dump(self.tree)
        self.lines = self.data.decode().split("\n")
        self.starts = [0]
        for line in self.lines:
            self.starts.append(self.starts[-1] + len(line.encode()) + 1)
        self.types: dict[str, set[str]] = {}  # of what arguments are called, as annotated here
        for node in ast.walk(self.tree):
            if isinstance(node, ast.arg) and node.annotation:
                self.types.setdefault(node.arg, set()).add(self.text(node.annotation))

    def span(self, node: ast.AST) -> tuple[int, int]:
        first, last = self.starts[node.lineno - 1], self.starts[node.end_lineno - 1]
        return first + node.col_offset, last + node.end_col_offset

    def text(self, node: ast.AST) -> str:
        start, end = self.span(node)
        return self.data[start:end].decode()

    def replace(self, operator: str, node: ast.AST, new: str) -> Edit:
        return Edit(operator, *self.span(node), new)

    def exchange(self, operator: str, a: ast.AST, b: ast.AST) -> Iterator[Edit]:
        """``a`` and ``b``, in the order of the text, change places if they are of a kind."""
        types = [self.types.get(getattr(node, "id", "")) for node in (a, b)]
        alike = not all(types) or types[0] & types[1]  # otherwise beartype sees it
        if type(a) is type(b) and alike and self.text(a) != self.text(b):
            (start, middle), (after, end) = self.span(a), self.span(b)
            between = self.data[middle:after].decode()
            yield Edit(operator, start, end, self.text(b) + between + self.text(a))

    def mutant(self, edit: Edit) -> Mutant | None:
        """The edit as a whole module, or None when that is no Python or says the same."""
        data = self.data[: edit.start] + edit.new.encode() + self.data[edit.end :]
        with warnings.catch_warnings(action="ignore"):
            try:
                compile(data, self.path, "exec")
                if ast.dump(ast.parse(data)) == self.meaning:
                    return None
            except (SyntaxError, ValueError):
                return None
        first, last = (self.data.count(b"\n", 0, place) for place in (edit.start, edit.end))
        lines = data.decode().split("\n")
        end = last + 1 + len(lines) - len(self.lines)
        before = " ".join(" ".join(self.lines[first : last + 1]).split())
        after = " ".join(" ".join(lines[first:end]).split())
        mark = f"{before}|{after}|{edit.start - self.starts[first]}".encode()
        name = f"{self.path}:{first + 1}:{edit.operator}:{hashlib.sha256(mark).hexdigest()[:6]}"
        return Mutant(name, self.path, first + 1, edit.operator, before, after, data)


def untouched(tree: ast.Module) -> Iterator[ast.AST]:
    """What says something to a reader or a type checker and computes nothing."""
    for node in ast.walk(tree):
        match node:
            case ast.Import() | ast.ImportFrom() | ast.Raise() | ast.Expr(value=ast.Constant()):
                yield node
            case ast.FunctionDef(name="__repr__" | "__str__"):
                yield node
            case ast.FunctionDef(returns=ast.expr() as part) | ast.Assert(msg=ast.expr() as part):
                yield part
            case ast.arg(annotation=ast.expr() as part) | ast.AnnAssign(annotation=part):
                yield part
            case ast.Assign(targets=[ast.Name(id="__all__")]):
                yield node
            case ast.Assign(value=ast.Subscript()) if node in tree.body:  # BT = Float[...]
                yield node


def cosmic_edits(source: Source) -> Iterator[Edit]:
    from cosmic_ray.ast import ast_nodes, get_ast
    from cosmic_ray.operators.provider import OperatorProvider

    def place(line: int, column: int) -> int:
        return source.starts[line - 1] + len(source.lines[line - 1][:column].encode())

    wanted = {*LIKELY.split(), "Delete_USub", "Delete_Not", "Delete_Invert"}
    kinds = {
        name: OperatorProvider()[name]()
        for name in OperatorProvider()
        if name.split("_", 1)[-1] in wanted or ("_" not in name and "Variable" not in name)
    }
    for node in list(ast_nodes(get_ast(source.data.decode()))):
        for name, kind in kinds.items():
            for index, _ in enumerate(kind.mutation_positions(node)):
                own = copy.deepcopy(node, {id(node.parent): node.parent})  # of the branch alone
                try:
                    changed = kind.mutate(own, index)
                except AttributeError:  # it knows no ``except module.Error``
                    continue
                code = changed.get_code() if changed else ""
                start, end = place(*node.get_start_pos_of_prefix()), place(*node.end_pos)
                if name == "NumberReplacer":  # it puts a space before the number
                    start, code = place(*node.start_pos), code.strip()
                edit = trimmed(source, Edit(name.removeprefix("Replace"), start, end, code))
                doubled = name == "AddNot" and source.data[: edit.start].endswith(b"not ")
                lone = "_" in name and source.data[edit.end :].startswith(b",")  # def f(*, a)
                if not doubled and not lone:
                    yield edit


def trimmed(source: Source, edit: Edit) -> Edit:
    """The same edit without what stays as it was on both sides."""
    old, new = source.data[edit.start : edit.end], edit.new.encode()
    least = min(len(old), len(new))
    head = next((i for i in range(least) if old[i] != new[i]), least)
    tail = next((i for i in range(least - head) if old[-1 - i] != new[-1 - i]), least - head)
    kept = new[head : len(new) - tail].decode()
    return Edit(edit.operator, edit.start + head, edit.end - tail, kept)


def course_edits(source: Source) -> Iterator[Edit]:
    text, replace = source.text, source.replace
    inner: set[ast.AST] = set()  # where another sign would say the same
    fields: set[str] = set()  # the numbers of a config that this module reads
    for node in ast.walk(source.tree):
        match node:
            case ast.BinOp(op=ast.Add() | ast.Sub(), right=part) | ast.UnaryOp(operand=part):
                inner.add(part)
            case ast.BinOp():
                inner |= {node.left, node.right}
            case ast.Attribute(value=part, attr="square" | "abs"):
                inner.add(part)
            case ast.Attribute(value=base, attr=name) if is_config(base):
                fields |= {name} & set(number_fields())
    for node in ast.walk(source.tree):
        match node:
            case ast.BinOp(op=ast.Mult() | ast.Div() | ast.Sub()) if node not in inner:
                yield replace("sign", node, f"-({text(node)})")
            case ast.Slice(lower=low, upper=high) if low or high:
                for bound in filter(None, (low, high)):
                    yield from off_by_one(source, bound)
            case ast.Dict(values=[_, _, *_] as values):
                for here, there in pairwise([*values, values[0]]):
                    yield replace("neighbour", here, text(there))
            case ast.Match(cases=cases):
                for here, there in pairwise(case.pattern for case in cases):
                    yield replace("neighbour", here, text(there))
            case ast.Attribute(value=base, attr=name) if name in fields and is_config(base):
                for other in sorted(fields - {name}):
                    if number_fields()[other] == number_fields()[name]:
                        yield replace("field", node, f"{text(base)}.{other}")
            case ast.Call():
                yield from call_edits(source, node)
            case ast.AugAssign() | ast.Expr(value=ast.Call()):
                yield replace("drop_statement", node, "pass")
            case ast.Assign(targets=[ast.Subscript() | ast.Attribute()]):
                yield replace("drop_statement", node, "pass")
            case ast.Assign(targets=[ast.Name(id=name)]):
                if name in {getattr(part, "id", None) for part in ast.walk(node.value)}:
                    yield replace("drop_statement", node, "pass")


def call_edits(source: Source, node: ast.Call) -> Iterator[Edit]:
    method = isinstance(node.func, ast.Attribute)
    name = node.func.attr if method else getattr(node.func, "id", "")
    start, end = source.span(node.func)
    if name in EXCHANGED and (method or name not in ("sum", "mean")):
        yield Edit("function", end - len(name), end, EXCHANGED[name])
    receiver = source.data[start : end - len(name)].decode().rstrip(" \n.")
    if method and name in METHODS.split() and receiver not in ("torch", "np", "math"):
        yield source.replace("drop_method", node, receiver)
    if name == "range":
        yield from off_by_one(source, node.args[-1])
    if name not in COMMUTE.split() and not name.startswith("require"):
        for a, b in pairwise(node.args):
            yield from source.exchange("exchange_arguments", a, b)
    for a, b in pairwise(keyword.value for keyword in node.keywords if keyword.arg):
        yield from source.exchange("exchange_arguments", a, b)
    for keyword in node.keywords:
        if keyword.arg == "dim" and (dim := source.text(keyword.value)) in ("0", "1", "-1"):
            yield source.replace("dim", keyword.value, "1" if dim == "0" else "0")
        if keyword.arg and keyword.arg not in UNSEEN.split():
            first, last = source.span(keyword)
            comma = re.match(rb"\s*,", source.data[last:])
            if not comma and (node.args or len(node.keywords) > 1):
                first = source.data.rindex(b",", 0, first)
            yield Edit("drop_keyword", first, last + (comma.end() if comma else 0), "")


def is_config(node: ast.expr) -> bool:
    return getattr(node, "attr", getattr(node, "id", "")).endswith("config")


def off_by_one(source: Source, bound: ast.expr) -> Iterator[Edit]:
    if not isinstance(bound, ast.Constant):  # numbers are cosmic-ray's
        for step in ("+ 1", "- 1"):
            yield source.replace("off_by_one", bound, f"({source.text(bound)}) {step}")


@cache
def number_fields() -> dict[str, str]:
    """What the fields of the package's data classes are called that hold numbers, and their types."""
    texts = (path.read_text("utf-8") for path in (ROOT / "rlvr_lab").rglob("*.py"))
    return dict(f for text in texts for f in re.findall(r"^    (\w+): (int|float)\b", text, re.M))


def places(source: Source) -> list[list[Edit]]:
    """All edits, those of one rule at one place together."""
    kept = [source.span(node) for node in untouched(source.tree)]
    found: dict[tuple[str, int], dict[tuple[int, str], Edit]] = {}
    for edit in (*cosmic_edits(source), *course_edits(source)):
        if not any(a <= edit.start and edit.end <= b for a, b in kept):
            rule = edit.operator.split("_")[0] if edit.operator[0].isupper() else edit.operator
            found.setdefault((rule, edit.start), {})[edit.end, edit.new] = edit
    return [list(edits.values()) for _, edits in sorted(found.items())]


def mutants(path: str, seed: int) -> Iterator[Mutant]:
    """The module's mutants in random order, one of each place."""
    source, draw = Source(path), random.Random(f"{seed} {path}")
    candidates, seen = places(source), set()
    draw.shuffle(candidates)
    for edits in candidates:
        mutant = source.mutant(draw.choice(edits))
        if mutant and mutant.data not in seen:
            seen.add(mutant.data)
            yield mutant
