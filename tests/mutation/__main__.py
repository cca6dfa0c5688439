"""Mutation testing: plant a fault, run the tests that should notice, list the faults that none noticed.

python -m tests.mutation --sample 300 --per-file 40 --seed 0 --out data/benchmarks/mutation.json
"""

import argparse
import difflib
import json
import os
import random
import tomllib
from collections import Counter
from collections.abc import Iterator
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from tests.mutation.runner import Job, clean_run, prepare, run
from tests.mutation.sources import ROOT, Mutant, Source, mutants, places

HERE = Path(__file__).parent
TABLE = tomllib.loads((HERE / "targets.toml").read_text("utf-8"))
PACKAGES = ("cosmic-ray", "parso", "pytest", "torch", "transformers", "numpy", "beartype")
COLUMNS = ("made", "killed", "timeout", "equivalent", "survived")
SLACK = 10  # seconds: a mutant may take three clean runs and this


def python_files(path: str, pattern: str) -> list[str]:
    """``path`` itself, or the files in the folder ``path``."""
    found = sorted((ROOT / path).rglob(pattern)) if (ROOT / path).is_dir() else [ROOT / path]
    return [str(file.relative_to(ROOT)) for file in found if file.name != "__init__.py"]


@cache
def rooms() -> dict[str, tuple[str, ...]]:
    """Each module with its tests: files listed, those that bear its name, the others, its doctests."""
    found = {}
    for target, listed in (TABLE["others"] | TABLE["algorithms"]).items():
        tests = [file for path in listed for file in python_files(path, "test_*.py")]
        for module in python_files(target, "*.py"):
            mirrors = [file for file in tests if Path(file).name == f"test_{Path(module).name}"]
            first = [path for path in listed if path.endswith(".py")]
            found[module] = tuple(dict.fromkeys([*first, *mirrors, *tests, module]))
    return found


def plan(seed: int, sample: int, per_file: int, elsewhere: int) -> list[Mutant]:
    """So many mutants of each module, or all there are; then more, up to ``sample`` in all."""
    draw, left = random.Random(seed), {path: mutants(path, seed) for path in rooms()}
    least = {path: per_file if path in TABLE["algorithms"] else elsewhere for path in left}
    drawn = [m for path in left for _, m in zip(range(least[path]), left[path], strict=False)]
    while len(drawn) < sample and left:
        path = draw.choice(list(left))
        if mutant := next(left[path], None):
            drawn.append(mutant)
        else:
            del left[path]
    return drawn


def jobs(chosen: list[Mutant]) -> Iterator[Job]:
    @cache
    def limit(*tests: str) -> float:
        return 3 * clean_run(tests) + SLACK

    for mutant in chosen:
        tests = rooms()[mutant.path]
        yield Job(mutant, tests, mutant.path, mutant.data, limit(*tests))


def report(chosen: list[Mutant], outcomes: dict[str, str], settings: dict[str, int]) -> dict:
    listed = {(e["file"], e["before"], e["after"]): e["reason"] for e in load("equivalent.json")}
    survivors, modules, operators = [], {}, {}
    for m in (m for m in chosen if m.id in outcomes):
        outcome, reason = outcomes[m.id], listed.get((m.path, m.before, m.after))
        if outcome == "survived":
            outcome = "equivalent" if reason else outcome
            survivor = {"id": m.id, "file": m.path, "line": m.line, "operator": m.operator}
            survivors.append(survivor | {"before": m.before, "after": m.after, "reason": reason})
        for table, name in ((modules, m.path), (operators, m.operator)):
            table.setdefault(name, Counter(dict.fromkeys(COLUMNS, 0))).update(("made", outcome))
    return {
        **settings,
        "versions": {name: metadata.version(name) for name in PACKAGES},
        "modules": modules,
        "operators": operators,
        "survivors": survivors,
        "outcomes": {m.id: outcomes[m.id] for m in chosen if m.id in outcomes},
    }


def load(path: str | Path) -> Any:
    return json.loads((HERE / path).read_text("utf-8"))


def show(result: dict) -> None:
    for title in ("operators", "modules"):
        rows = {**result[title], "all": sum(map(Counter, result[title].values()), Counter())}
        print(f"\n{title:36}" + "".join(f"{c:>11}" for c in COLUMNS) + "    noticed")
        for name, row in rows.items():
            share = (row["killed"] + row["timeout"]) / max(row["made"] - row["equivalent"], 1)
            print(f"{name:36}" + "".join(f"{row[c]:>11}" for c in COLUMNS) + f"{share:>11.0%}")
    for m in result["survivors"]:
        print(f"\n{m['id']}  {m['reason'] or ''}\n  - {m['before']}\n  + {m['after']}")


def show_one(name: str) -> None:
    """The mutant's diff, and what pytest says to it."""
    source = Source(name.split(":")[0])
    made = (source.mutant(edit) for edits in places(source) for edit in edits)
    mutant = next((m for m in made if m and m.id == name), None)
    if mutant is None:
        raise SystemExit(f"{name}: no such mutant; has the module changed?")
    old, new = (text.decode().split("\n") for text in (source.data, mutant.data))
    print(*difflib.unified_diff(old, new, source.path, "mutant", lineterm=""), sep="\n")
    for result in run(jobs([mutant])):
        print(result.output, result.outcome, sep="\n")


def handful() -> list[str]:
    """What became of each fault of the table."""
    work = []
    for number, row in enumerate(TABLE["planted"]):
        text = (ROOT / row["file"]).read_text("utf-8")
        if (times := text.count(row["old"])) != 1:
            raise SystemExit(f"{row['file']}: {row['old']!r} stands there {times} times, not once")
        mutated = text.replace(row["old"], row["new"]).encode()
        work.append(Job(number, (row["tests"],), row["file"], mutated))
    clean_run(("--collect-only", *sorted({row["tests"] for row in TABLE["planted"]})))
    return [result.outcome for result in run(work)]


def main() -> None:
    parser = argparse.ArgumentParser("python -m tests.mutation", description=__doc__)
    parser.add_argument("--sample", type=int, default=300, help="mutants in all")
    parser.add_argument(
        "--per-file", type=int, default=40, help="at least, in an algorithm's module"
    )
    parser.add_argument("--elsewhere", type=int, default=10, help="at least, in any other")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=1, help="mutants at a time")
    parser.add_argument("--out", type=Path, help="the report, written after every mutant")
    parser.add_argument("--only", nargs="+", default=[""], help="modules, or how they begin")
    parser.add_argument("--resume", action="store_true", help="keep what the report has")
    parser.add_argument("--again", action="store_true", help="as --resume, but survivors run again")
    parser.add_argument("--mutant", metavar="ID", help="run one, show its diff and pytest's output")
    parser.add_argument("--handful", action="store_true", help="for test_handful.py")
    options = parser.parse_args()
    os.chdir(ROOT)
    prepare()
    if options.handful:
        print(json.dumps(handful()))
        return
    if options.mutant:
        show_one(options.mutant)
        return
    settings = {
        name: getattr(options, name) for name in ("seed", "sample", "per_file", "elsewhere")
    }
    chosen = plan(**settings)
    todo = [m for m in chosen if m.path.startswith(tuple(options.only))]
    outcomes: dict[str, str] = {}
    keep = any((options.resume, options.again, *options.only))
    if keep and options.out and options.out.exists():
        outcomes = load(options.out.resolve())["outcomes"]
    if options.resume or options.again:
        done = ("killed", "timeout", *["survived"] * options.resume)
        todo = [m for m in todo if outcomes.get(m.id) not in done]
    for number, result in enumerate(run(jobs(todo), options.jobs), 1):
        outcomes[result.key.id] = result.outcome
        print(f"{number}/{len(todo)} {result.outcome} {result.seconds:.1f} s  {result.key.id}")
        if options.out:
            text = json.dumps(report(chosen, outcomes, settings), indent=1, ensure_ascii=False)
            partial = options.out.with_suffix(".partial")
            partial.write_text(text + "\n", "utf-8")
            partial.replace(options.out)
    show(report(chosen, outcomes, settings))


if __name__ == "__main__":
    main()
