"""The tables and the figure of the Qwen3 report (arXiv:2505.09388) that notebook 10 redraws."""

from typing import NamedTuple

import numpy as np

from rlvr_lab.experiments.papers import figure_series, paper_rows, scores

__all__ = ["METHODS", "MODES", "STAGES", "Budgets", "budgets", "composition", "distillation_vs_rl"]

STAGES = {
    "reasoning RL": "Stage 2 Reasoning RL",
    "mode fusion": "Stage 3 Thinking Mode Fusion",
    "general RL": "Stage 4 General RL",
}
"""Stage → its name in Table 22. The table has no column for stage 1, the long-CoT cold start."""

MODES = ("thinking", "non-thinking")

METHODS = {
    "off-policy distillation": "Off-policy distillation",
    "then RL": "+ Reinforcement learning",
    "then on-policy distillation": "+ On-policy distillation",
}
"""Method → its row in Table 21; the first is the start of the other two."""


def composition(group: str | None = None) -> dict[str, dict[str, list[float | None]]]:
    """Benchmark → mode → its scores after stages 2, 3 and 4 of Qwen3-32B (Table 22), None where there is none.

    ThinkFollow, which mixes both modes, is not among them.

    Args:
        group: "General", "Instruction and format", "Agent", "Knowledge and STEM" or "Math and coding";
            by default all.

    >>> composition()["AIME'24"]["thinking"]
    [83.8, 81.9, 81.4]
    """
    where = {"table": "22"} | ({} if group is None else {"group": group})
    rows = [row for row in paper_rows("qwen3", **where) if row["metric"] in MODES]
    known = {(row["benchmark"], row["metric"], row["model"]): float(row["value"]) for row in rows}
    return {
        benchmark: {
            mode: [known.get((benchmark, mode, stage)) for stage in STAGES.values()]
            for mode in MODES
        }
        for benchmark in dict.fromkeys(row["benchmark"] for row in rows)
    }


def distillation_vs_rl() -> tuple[dict[str, dict[str, float]], dict[str, float]]:
    """(benchmark and metric → method → score in %, method → GPU hours) of Qwen3-8B (Table 21).

    The report gives no hours for the start.

    >>> distillation_vs_rl()[1]
    {'then RL': 17920.0, 'then on-policy distillation': 1800.0}
    """
    found = {name: scores("qwen3", "21", model) for name, model in METHODS.items()}
    hours = {name: values.pop(("cost", "GPU hours"), None) for name, values in found.items()}
    start = next(iter(found.values()))
    rows = {" ".join(key): {name: found[name][key] for name in found} for key in start}
    return rows, {name: value for name, value in hours.items() if value is not None}


class Budgets(NamedTuple):
    """Accuracy in % over thinking budgets in thousands of tokens, [n] each, and in non-thinking mode."""

    budget: np.ndarray
    accuracy: np.ndarray
    non_thinking: float


def budgets() -> dict[str, Budgets]:
    """Benchmark → its curve in Fig. 2 (Qwen3-235B-A22B), as it was read off.

    >>> budgets()["AIME'24"].accuracy[-1]
    np.float64(86.7)
    """
    names = [
        row["series"].removesuffix(" thinking")
        for row in paper_rows("qwen3_figures", figure="qwen3_fig2")
        if row["x"] == "1"
    ]
    return {
        name: Budgets(
            *figure_series("qwen3_figures", "qwen3_fig2", f"{name} thinking"),
            float(paper_rows("qwen3_figures", series=f"{name} non-thinking")[0]["y"]),
        )
        for name in names
    }
