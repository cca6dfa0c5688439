"""Our GRPO step and rollout against TRL's, on one model, one set of prompts, one machine, one
process: each bar beside what was measured.

    python -m tests.benchmarks.step [--rounds 7] [--out data/benchmarks/step_cpu_2_threads.json]

Needs the extra ``scale``. Both sides start every step from the same weights (the learning rate is
too small to move them), read the same 16 prompts, sample 16 answers to each with temperature 1 and
at most 40 new tokens, grade them with the same verifier and take one AdamW step without KL. They
take turns, and ratios are of medians. The lengths are the model's own, which is the case that
matters: most answers of the base are short and a few are long. The fixed-length case, where nobody
can stop early, stands beside it. What limits us there is stated by the arithmetic floor: FLOPs over
the measured matmul rate. The update is also measured over padded rows, the way that every model
takes, in turns with the pass over the tree of beginnings, the way of a small Llama.
"""

import argparse
import json
import os
import random
import statistics
import tempfile
import threading
import time
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch

from rlvr_lab.machine.telemetry import without_telemetry
from rlvr_lab.policy import logprobs
from rlvr_lab.policy.loading import Policy, encode_prompts, load_policy
from rlvr_lab.policy.sampling import sample
from rlvr_lab.records.runs import versions
from rlvr_lab.tasks.sums import Sums
from rlvr_lab.training.loop import train
from rlvr_lab.training.policy_gradient import PRESETS

PROMPTS, GROUP, WINDOW = 16, 16, 40
BARS = {
    "step: TRL / ours": (">=", 5.0),
    "rollout: generate / ours": (">=", 3.0),
    "our step / arithmetic floor": ("<=", 2.5),
}
"""Ratio → what it has to be with two threads; set before the pass over the tree was written."""
STILL = 1e-12  # a learning rate that leaves float32 weights where they are


class PeakMemory:
    """Peak growth of this process's resident memory inside a ``with`` block, in MiB."""

    def __enter__(self) -> "PeakMemory":
        self.start = self.peak = self._now()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self.mib = (self.peak - self.start) / 2**20

    def _watch(self) -> None:
        while not self._stop.wait(0.002):
            self.peak = max(self.peak, self._now())

    @staticmethod
    def _now() -> int:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")


class NeverStops(Policy):
    """A policy without a stop token: every answer fills the window."""

    @property
    def stop_ids(self) -> list[int]:
        return []


def seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def over_rows(work: Callable[[], object]) -> None:
    """``work`` with passes over padded rows, not over the tree of beginnings."""
    fits, logprobs.tree_pass_fits = logprobs.tree_pass_fits, lambda *_: False
    try:
        work()
    finally:
        logprobs.tree_pass_fits = fits


def matmul_rate() -> float:
    """Floating-point operations a second of a 2048³ float32 product."""
    a, b = torch.randn(2048, 2048), torch.randn(2048, 2048)
    times = [seconds(lambda: a @ b) for _ in range(7)]
    return 2 * 2048**3 / statistics.median(times)


def trl_step(policy: Policy, problems: list, folder: str) -> Callable[[], float]:
    """A function that runs one training step of TRL's trainer and returns its seconds."""
    without_telemetry()
    from datasets import Dataset
    from trl import GRPOConfig, GRPOTrainer

    task, answers = Sums(), {problem.prompt: problem for problem in problems}

    def reward(prompts: list[str], completions: list[str], **_: object) -> list[float]:
        pairs = zip(prompts, completions, strict=True)
        return [float(task.verify(answers[p], c, False).correct) for p, c in pairs]

    arguments = GRPOConfig(
        output_dir=folder,
        use_cpu=True,
        bf16=False,
        activation_checkpointing=False,
        per_device_train_batch_size=PROMPTS * GROUP,
        num_generations=GROUP,
        max_completion_length=WINDOW,
        temperature=1.0,
        learning_rate=STILL,
        beta=0.0,
        loss_type="grpo",
        max_steps=1_000,
        report_to=[],
        save_strategy="no",
        logging_strategy="no",
        disable_tqdm=True,
    )
    rows = Dataset.from_list([{"prompt": problem.prompt} for problem in problems])
    trainer = GRPOTrainer(
        policy.model, reward, arguments, train_dataset=rows, processing_class=policy.tokenizer
    )
    trainer.create_optimizer_and_scheduler(num_training_steps=1_000)
    inputs = [{"prompt": problem.prompt} for problem in problems for _ in range(GROUP)]
    trainer.model.train()

    def step() -> float:
        started = time.perf_counter()
        # A fresh rollout every time: otherwise the trainer would serve its buffered batch again.
        trainer._step, trainer._buffered_inputs = 0, None
        trainer.current_gradient_accumulation_steps = 1
        trainer.training_step(trainer.model, list(inputs), num_items_in_batch=None)
        torch.nn.utils.clip_grad_norm_(trainer.model.parameters(), 1.0)
        trainer.optimizer.step()
        trainer.optimizer.zero_grad()
        return time.perf_counter() - started

    return step


def measure(rounds: int) -> dict:
    """All figures of this page, as medians over ``rounds``."""
    warnings.filterwarnings("ignore")
    policy, task = load_policy("sums", "cpu"), Sums()
    problems = task.problems(PROMPTS, random.Random(0))
    prompts = [problem.prompt for problem in problems]
    fixed = NeverStops(policy.model, policy.tokenizer, "sums")
    ids, mask = encode_prompts(policy, prompts)
    ids, mask = ids.repeat_interleave(GROUP, 0), mask.repeat_interleave(GROUP, 0)
    generator = torch.Generator().manual_seed(0)

    def generate(stops: int | None) -> None:
        with torch.no_grad():
            policy.model.generate(
                input_ids=ids,
                attention_mask=mask,
                do_sample=True,
                temperature=1.0,
                top_k=0,
                top_p=1.0,
                max_new_tokens=WINDOW,
                eos_token_id=stops,
                pad_token_id=policy.tokenizer.pad_token_id,
            )

    class SameProblems(Sums):
        def problems(self, count: int, rng: random.Random) -> list:
            return problems

    config = replace(
        PRESETS["grpo"], learning_rate=STILL, steps=10_000, rewards={"accuracy": 1.0}, device="cpu"
    )
    ours = train(config, state=config.begin(load_policy("sums", "cpu"), SameProblems()))
    again = config.begin(load_policy("sums", "cpu"), SameProblems())
    experience = config.collect(again)
    with tempfile.TemporaryDirectory() as folder:
        theirs = trl_step(load_policy("sums", "cpu"), problems, folder)
        columns: dict[str, list[float]] = {}
        records = []

        def note(name: str, value: float) -> None:
            columns.setdefault(name, []).append(value)

        for turn in range(rounds + 1):
            first = turn == 0  # the first turn of everything is warm-up and is not counted
            timed = {
                "our step": lambda: records.append(next(ours)),
                "TRL step": theirs,
                "our update, tree": lambda: config.update(again, experience),
                "our update, padded rows": lambda: over_rows(
                    lambda: config.update(again, experience)
                ),
                "our rollout": lambda: sample(policy, prompts, GROUP, WINDOW, generator),
                "generate": lambda: generate(policy.tokenizer.eos_token_id),
                "our rollout, fixed length": lambda: sample(
                    fixed, prompts, GROUP, WINDOW, generator
                ),
                "generate, fixed length": lambda: generate(None),
            }
            for name, work in timed.items():
                with PeakMemory() as memory:
                    elapsed = seconds(work)
                if not first:
                    note(name, elapsed)
                    note(f"{name}, MiB", memory.mib)
    median = {name: statistics.median(values) for name, values in columns.items()}
    for part in ("rollout", "reward", "reference", "update"):
        median[f"our step: {part}"] = statistics.median(r[f"seconds_{part}"] for r in records[1:])

    weights = sum(p.numel() for n, p in policy.model.named_parameters() if "embed_tokens" not in n)
    trained = statistics.median(r["tokens"] for r in records[1:])
    prompt_tokens = PROMPTS * ids.shape[1]
    rate = matmul_rate()
    # 2 operations a weight and token forward; the update adds twice that backward, and reads again.
    flops = 2 * weights * (prompt_tokens + trained) * (1 + 3)
    return {
        "medians": median,
        "ratios": {
            "step: TRL / ours": median["TRL step"] / median["our step"],
            "rollout: generate / ours": median["generate"] / median["our rollout"],
            "rollout, fixed length: generate / ours": median["generate, fixed length"]
            / median["our rollout, fixed length"],
            "our step / arithmetic floor": median["our step"] / (flops / rate),
            "update: padded rows / tree": median["our update, padded rows"]
            / median["our update, tree"],
        },
        "floor": {"flops": flops, "matmul rate": rate, "seconds": flops / rate},
        "batch": {"rows": PROMPTS * GROUP, "window": WINDOW, "mean length": trained / 256},
        "rounds": rounds,
        "versions": versions(),
    }


def judged(ratios: dict[str, float]) -> list[dict]:
    """Each bar beside what was measured, and whether it is met."""
    rows = []
    for name, (side, bar) in BARS.items():
        met = ratios[name] >= bar if side == ">=" else ratios[name] <= bar
        rows.append({"ratio": name, "bar": f"{side} {bar}", "measured": ratios[name], "met": met})
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    result = measure(options.rounds)
    result["bars"] = judged(result["ratios"])
    for section in ("medians", "ratios", "floor", "batch"):
        print(section)
        for name, value in result[section].items():
            print(f"  {name:40} {value:14.4g}")
    print(f"{'threads: ' + result['versions']['threads']:32} {'bar':>8} {'measured':>9}")
    for row in result["bars"]:
        met = "met" if row["met"] else "not met"
        print(f"{row['ratio']:32} {row['bar']:>8} {row['measured']:9.2f}  {met}")
    if options.out:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
