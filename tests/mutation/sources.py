"""The faults: each is an edit of a module's text, planted by rule.

The ordinary ones are those of cosmic-ray; ``course_edits`` adds what goes wrong in code like ours: a
sign, a dim, two arguments exchanged, a default that acts unseen, a forgotten ``detach``.
"""

import ast
import hashlib
import random
import warnings
from collections.abc import Iterator
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "rlvr_lab"

# Of cosmic-ray's exchanges those that a person would write: + for -, but not + for >>.
LIKELY = """
    Add_Sub Sub_Add Mul_Div Div_Mul FloorDiv_Div Mod_FloorDiv Pow_Mul BitAnd_BitOr BitOr_BitAnd
    Eq_NotEq NotEq_Eq Lt_LtE LtE_Lt Gt_GtE GtE_Gt Lt_Gt Gt_Lt LtE_GtE GtE_LtE Is_IsNot IsNot_Is
""".split()
FUNCTIONS = [
    *(("min", "max"), ("minimum", "maximum"), ("amin", "amax"), ("argmin", "argmax")),
    *(("any", "all"), ("sum", "mean"), ("zeros", "ones"), ("zeros_like", "ones_like")),
    *(("floor", "ceil"), ("softmax", "log_softmax"), ("sorted", "list")),
]
EXCHANGED = {a: b for pair in FUNCTIONS for a, b in (pair, pair[::-1])} | {"list": None}
METHODS = set("detach abs sqrt square exp log clamp masked_fill cumsum flip softmax".split())
COMMUTE = {"minimum", "maximum", "min", "max", "equal", "allclose", "isclose", "isinstance"}
BUILTIN = {"min", "max", "any", "all", "sorted"}
UNSEEN = {"strict", "device", "encoding", "dtype"}  # keywords that change nothing in a right run


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
        self.kept = [self.span(node) for node in untouched(self.tree)]
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
        """``a`` and ``b``, in the order of the text, change places."""
        if type(a) is not type(b):
            return
        if isinstance(a, ast.Name):
            types = [self.types.get(name.id) for name in (a, b)]
            if all(types) and types[0].isdisjoint(types[1]):
                return  # beartype would see it
        (start, middle), (after, end) = self.span(a), self.span(b)
        if self.text(a) != self.text(b):
            between = self.data[middle:after].decode()
            yield Edit(operator, start, end, self.text(b) + between + self.text(a))

    def mutant(self, edit: Edit) -> Mutant | None:
        """The edit as a whole module, or None when that is no Python or says the same."""
        data = self.data[: edit.start] + edit.new.encode() + self.data[edit.end :]
        first = self.data.count(b"\n", 0, edit.start)
        last = self.data.count(b"\n", 0, edit.end)
        grown = last + data.count(b"\n") - self.data.count(b"\n")
        before = one_line(self.lines[first : last + 1])
        after = one_line(data.decode().split("\n")[first : grown + 1])
        with warnings.catch_warnings(action="ignore"):
            try:
                if ast.dump(ast.parse(data)) == self.meaning:
                    return None
                compile(data, self.path, "exec")
            except (SyntaxError, ValueError):
                return None
        place = f"{before}|{after}|{edit.start - self.starts[first]}"
        mark = hashlib.sha256(place.encode()).hexdigest()[:6]
        name = f"{self.path}:{first + 1}:{edit.operator}:{mark}"
        return Mutant(name, self.path, first + 1, edit.operator, before, after, data)


def one_line(lines: list[str]) -> str:
    return " ".join(" ".join(lines).split())


def untouched(tree: ast.Module) -> Iterator[ast.AST]:
    """What says something to a reader or a type checker and computes nothing."""
    for node in ast.walk(tree):
        match node:
            case ast.Import() | ast.ImportFrom() | ast.Expr(value=ast.Constant()):
                yield node
            case ast.Raise(exc=ast.expr()):
                yield node
            case ast.Assert(msg=ast.expr()):
                yield node.msg
            case ast.arg(annotation=ast.expr()) | ast.AnnAssign():
                yield node.annotation
            case ast.FunctionDef() if node.name in ("__repr__", "__str__"):
                yield node
            case ast.FunctionDef(returns=ast.expr()):
                yield node.returns
    for node in tree.body:  # __all__, and names of types: BT = Float[Tensor, "B T"]
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            if node.targets[0].id == "__all__" or isinstance(node.value, ast.Subscript):
                yield node


def cosmic_edits(source: Source) -> Iterator[Edit]:
    from cosmic_ray.ast import ast_nodes, get_ast
    from cosmic_ray.operators.provider import OperatorProvider

    def place(position: tuple[int, int]) -> int:
        line, column = position
        return source.starts[line - 1] + len(source.lines[line - 1][:column].encode())

    provider = OperatorProvider()
    plain = {"VariableReplacer", "VariableInserter"}
    names = [n for n in provider if n.split("_", 1)[-1] in LIKELY or "_Delete_" in n]
    names += [n for n in provider if "_" not in n and n not in plain]
    operators = [(name, provider[name]()) for name in names]
    for node in list(ast_nodes(get_ast(source.data.decode()))):
        for name, operator in operators:
            for index, _ in enumerate(operator.mutation_positions(node)):
                state = [(n, getattr(n, "children", None) or n.value) for n in ast_nodes(node)]
                state = [(n, list(v) if isinstance(v, list) else v) for n, v in state]
                changed = operator.mutate(node, index)
                code = changed.get_code() if changed else ""
                start, end = place(node.get_start_pos_of_prefix()), place(node.end_pos)
                if name == "NumberReplacer":  # it puts a space before the number
                    start, code = place(node.start_pos), code.strip()
                for part, was in state:
                    setattr(part, "children" if isinstance(was, list) else "value", was)
                edit = trimmed(source, Edit(name.removeprefix("Replace"), start, end, code))
                doubled = name == "AddNot" and source.data[: edit.start].endswith(b"not ")
                lone = "_" in name and source.data[edit.end :].startswith(b",")  # def f(*, a)
                if not doubled and not lone:
                    yield edit


def trimmed(source: Source, edit: Edit) -> Edit:
    """The same edit without what stays as it was on both sides."""
    name, start, end, new = edit
    old, raw = source.data[start:end], new.encode()
    least = min(len(old), len(raw))
    head = next((i for i in range(least) if old[i] != raw[i]), least)
    tail = next((i for i in range(least - head) if old[-1 - i] != raw[-1 - i]), least - head)
    return Edit(name, start + head, end - tail, raw[head : len(raw) - tail].decode())


def course_edits(source: Source) -> Iterator[Edit]:
    text, replace = source.text, source.replace
    inner = set()  # where another sign, flipped, would say the same
    for node in ast.walk(source.tree):
        match node:
            case ast.BinOp(op=ast.Add() | ast.Sub()):
                inner.add(node.right)
            case ast.BinOp():
                inner |= {node.left, node.right}
            case ast.UnaryOp():
                inner.add(node.operand)
    for node in ast.walk(source.tree):
        match node:
            case ast.BinOp(op=ast.Mult() | ast.Div() | ast.Sub()) if node not in inner:
                yield replace("sign", node, f"-({text(node)})")
            case ast.IfExp():
                yield from source.exchange("branches", node.body, node.orelse)
            case ast.Slice(lower=None, upper=None):
                pass
            case ast.Slice():
                for bound in filter(None, (node.lower, node.upper)):
                    yield from off_by_one(source, bound)
            case ast.Dict(values=[_, _, *_]):
                for here, there in zip(
                    node.values, [*node.values[1:], node.values[0]], strict=True
                ):
                    if text(here) != text(there):
                        yield replace("neighbour", here, text(there))
            case ast.Match(cases=cases):
                for here, there in pairwise(case.pattern for case in cases):
                    if isinstance(there, ast.MatchValue):
                        yield replace("neighbour", here, text(there))
            case ast.Attribute(value=ast.Name(id=owner) | ast.Attribute(attr=owner), attr=name):
                if owner.endswith("config"):
                    for other in fields_like(name, source.types.get(owner)):
                        yield replace("field", node, f"{text(node.value)}.{other}")
            case ast.Call():
                yield from call_edits(source, node)
            case ast.AugAssign() | ast.Expr(value=ast.Call()):
                yield replace("drop_statement", node, "pass")
            case ast.Assign(targets=[ast.Subscript() | ast.Attribute()]):
                yield replace("drop_statement", node, "pass")
            case ast.Assign(targets=[ast.Name(id=name)]):
                if any(isinstance(n, ast.Name) and n.id == name for n in ast.walk(node.value)):
                    yield replace("drop_statement", node, "pass")


def call_edits(source: Source, node: ast.Call) -> Iterator[Edit]:
    name = getattr(node.func, "attr", getattr(node.func, "id", ""))
    start, end = source.span(node.func)
    if (other := EXCHANGED.get(name)) and (start < end - len(name) or name in BUILTIN):
        yield Edit("function", end - len(name), end, other)
    if isinstance(node.func, ast.Attribute) and name in METHODS and not is_module(node.func.value):
        receiver = source.data[start : end - len(name)].decode().rstrip().removesuffix(".").rstrip()
        yield source.replace("drop_method", node, receiver)
    if name == "range":
        yield from off_by_one(source, node.args[-1])
    if name not in COMMUTE:
        for a, b in pairwise(node.args):
            yield from source.exchange("exchange_arguments", a, b)
    for a, b in pairwise(node.keywords):
        if a.arg and b.arg:
            yield from source.exchange("exchange_arguments", a.value, b.value)
    for keyword in node.keywords:
        if keyword.arg == "dim" and (dim := source.text(keyword.value)) in ("0", "1", "-1"):
            yield source.replace("dim", keyword.value, "1" if dim == "0" else "0")
        if keyword.arg and keyword.arg not in UNSEEN:
            first, last = source.span(keyword)
            rest = source.data[last:]
            if rest.lstrip().startswith(b","):
                last = source.data.index(b",", last) + 1
            elif node.args or len(node.keywords) > 1:
                first = source.data.rindex(b",", 0, first)
            yield Edit("drop_keyword", first, last, "")


def is_module(node: ast.AST) -> bool:
    return isinstance(node, ast.Name) and node.id in ("torch", "np", "math", "F")


def off_by_one(source: Source, bound: ast.expr) -> Iterator[Edit]:
    if not isinstance(bound, ast.Constant):  # numbers are cosmic-ray's
        for step in ("+ 1", "- 1"):
            yield source.replace("off_by_one", bound, f"({source.text(bound)}) {step}")


@cache
def number_fields() -> dict[str, dict[str, str]]:
    """The fields that hold numbers, with their types, of each configuration of the package."""
    trees = [ast.parse(path.read_bytes()) for path in sorted(PACKAGE.rglob("*.py"))]
    nodes = [node for tree in trees for node in ast.walk(tree)]
    classes = {n.name: n for n in nodes if isinstance(n, ast.ClassDef) and "Config" in n.name}

    def fields(name: str) -> dict[str, str]:
        own, parents = {}, [ast.unparse(base) for base in classes[name].bases]
        for node in classes[name].body:
            if isinstance(node, ast.AnnAssign) and ast.unparse(node.annotation) in ("int", "float"):
                own[node.target.id] = node.annotation.id
        return own | {k: v for p in parents if p in classes for k, v in fields(p).items()}

    return {name: fields(name) for name in classes}


def fields_like(name: str, owners: set[str] | None) -> list[str]:
    found = [fields for owner, fields in number_fields().items() if owner in (owners or [owner])]
    found = [fields for fields in found if name in fields]
    return [k for fields in found for k, v in fields.items() if k != name and v == fields[name]]


def places(source: Source) -> list[list[Edit]]:
    """All edits, those of one rule at one place together."""
    found: dict[tuple[str, int], dict[tuple[int, str], Edit]] = {}
    for edit in (*cosmic_edits(source), *course_edits(source)):
        if not any(a <= edit.start and edit.end <= b for a, b in source.kept):
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
