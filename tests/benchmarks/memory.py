"""Peak memory of one GRPO update as a function of N·G·T, on the CPU, in float32.

    python -m tests.benchmarks.memory --out data/benchmarks/memory_cpu.json

The model has the shape of SmolLM2-135M and random weights. Every number comes from a process of its own,
forked from one that only holds the model. It takes one small step, so that gradients and Adam's moments exist,
and then measures how much its resident memory grows at most in the update (``PeakMemory``). Three ways:
``whole`` stores all logits and activations, ``logits`` computes the logits for a few hundred tokens at a time,
``parts`` also splits the rows, which is what the package does by itself. Sizes that OUT already holds are not
measured again. ``--smoke`` takes a model of a few thousand weights.
"""

import argparse
import json
import math
import multiprocessing
import statistics
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from transformers import LlamaForCausalLM

from rlvr_lab.machine.memory import held_bytes
from rlvr_lab.policy import logprobs
from rlvr_lab.policy.memory_plan import Limits, stored_bytes
from rlvr_lab.records.runs import versions
from rlvr_lab.training.optimise import adamw
from rlvr_lab.training.policy_gradient import PRESETS, improve
from tests.benchmarks.shapes import SMOKE, SMOLLM2_135M, random_batch, random_llama
from tests.benchmarks.step import PeakMemory

PROMPT = 24
SIZES = [(1, 4, 24), (1, 8, 24), (2, 8, 24), (2, 8, 48), (4, 8, 48), (8, 8, 48)]
"""(N, G, T); the last one is 64 answers of 48 tokens."""
SEVERAL, SMALL = 3, 200
"""Measurements of each size up to ``SMALL`` tokens; larger ones, which take minutes, are measured once."""
LOGITS_UP_TO = 800
"""Tokens; the way between the other two is not measured beyond."""
WAYS = {
    "whole": Limits.none(),
    "logits": Limits(activations=Limits.none().activations),
    "parts": Limits(),
}


def one_update(way: str, sizes: tuple[int, int, int], model: LlamaForCausalLM) -> dict[str, Any]:
    """Growth of this process's memory in one update, in bytes, and the seconds it took."""
    state = SimpleNamespace(policy=SimpleNamespace(model=model))
    state.optimizer = adamw(model.parameters(), 1e-6)
    objective = PRESETS["grpo"].objective
    logprobs.limits_on = lambda device: WAYS[way]

    def update(prompts: int, group_size: int, answer: int) -> None:
        batch = random_batch(model.config.vocab_size, prompts, group_size, PROMPT, answer)
        rewards = torch.arange(len(batch.texts)) % 2.0  # every group has a spread
        improve(state, objective, batch, rewards, batch.old_logprobs)

    update(1, 2, 2)
    held = held_bytes({"weights": model}, [state.optimizer])
    started = time.perf_counter()
    with PeakMemory() as memory:
        update(*sizes)
    seconds = time.perf_counter() - started
    return {"growth": int(memory.mib * 2**20), "seconds": seconds, "held": held}


def in_a_process(*given: Any) -> dict[str, Any]:
    """``one_update`` in a process that has done nothing else."""
    # Forking is safe here: the parent never runs a backward pass, which would start threads.
    with multiprocessing.get_context("fork").Pool(1) as pool:
        return pool.apply(one_update, given)


def fit(tokens: list[int], growth: list[float]) -> dict[str, float]:
    """Least squares: bytes = per_token · tokens + fixed, and the largest distance from the line."""
    per_token, fixed = np.polyfit(tokens, growth, 1)
    distance = np.abs(per_token * np.array(tokens) + fixed - np.array(growth)).max()
    return {
        "per_token": float(per_token),
        "fixed": float(fixed),
        "worst": float(distance / max(growth)),
    }


def measure(
    sizes: list[tuple[int, int, int]], several: int, smoke: bool, known: list[dict[str, Any]]
) -> Iterator[dict[str, Any]]:
    """After each measurement: its rows, a line for each way, and the numbers of the formula.

    ``known`` are rows of an earlier call, which are not measured again.
    """
    torch.set_num_threads(1)
    shape = SMOKE if smoke else SMOLLM2_135M
    model = random_llama(shape, torch.float32)
    rows = list(known)
    done = {(row["way"], row["N"], row["G"], row["T"]) for row in rows}
    for size in sorted(sizes, key=math.prod, reverse=True):
        tokens = math.prod(size)
        for way in WAYS:
            if (way, *size) in done or (way == "logits" and tokens > LOGITS_UP_TO):
                continue
            times = several if tokens <= SMALL else 1
            found = [in_a_process(way, size, model) for _ in range(times)]
            row = {"way": way, "N": size[0], "G": size[1], "T": size[2], "tokens": tokens}
            row |= {name: [one[name] for one in found] for name in ("growth", "seconds")}
            row["held"] = found[0]["held"]
            rows.append(row)
            print(json.dumps(row), flush=True)
            yield {
                "rows": sorted(rows, key=lambda row: (list(WAYS).index(row["way"]), row["tokens"])),
                "lines": {way: line for way in WAYS if (line := line_of(way, rows))},
                "formula": {**vars(stored_bytes(model.config, torch.float32)), "prompt": PROMPT},
                "limits": vars(Limits()),
                "shape": shape,
                "versions": versions(),
            }


def line_of(way: str, rows: list[dict[str, Any]]) -> dict[str, float] | None:
    """The line through the medians of one way, if there are at least two sizes."""
    mine = [row for row in rows if row["way"] == way]
    medians = [statistics.median(row["growth"]) for row in mine]
    return fit([row["tokens"] for row in mine], medians) if len(mine) > 1 else None


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--out", type=Path)
    parser.add_argument("--several", type=int, default=SEVERAL)
    parser.add_argument("--smoke", action="store_true", help="a tiny model")
    options = parser.parse_args()
    out = options.out
    known = json.loads(out.read_text("utf-8"))["rows"] if out and out.is_file() else []
    for result in measure(SIZES, options.several, options.smoke, known):
        if out:
            out.parent.mkdir(parents=True, exist_ok=True)
            out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    for way, line in result["lines"].items():
        print(f"{way}: {line['per_token'] / 2**20:.3f} MiB per token, worst {line['worst']:.1%}")


if __name__ == "__main__":
    main()
