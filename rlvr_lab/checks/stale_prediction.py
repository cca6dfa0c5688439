"""Check of the prediction of runs whose sampler is eight steps old (notebook 11)."""

from functools import partial

from rlvr_lab.checks.forecasts import Forecast
from rlvr_lab.checks.kit import Check

SLOW, FAST = 3e-4, 1e-3
ENDS = {
    (SLOW, "none"): 0.87,
    (SLOW, "sequence"): 0.97,
    (FAST, "none"): 0.24,
    (FAST, "tis"): 0.17,
    (FAST, "clip"): 0.85,
}
"""Mean accuracy of five seeds after 32 steps with a lag of 8 (``python -m rlvr_lab record stale``)."""


def _end(learning_rate: float, correction: str, **changed: float) -> float:
    """The recorded accuracy; the keywords replace one of them, for mistakes."""
    pace = "slow" if learning_rate == SLOW else "fast"
    return changed.get(f"{pace}_{correction}", ENDS[learning_rate, correction])


check_stale_prediction = Check(
    "predict_stale: five accuracies near the recorded ones, and their order",
    draw=lambda rng, turn: dict(
        zip(("learning_rate", "correction"), list(ENDS)[turn], strict=True)
    ),
    right=_end,
    calls=5,
    tolerance=0.13,  # 0.24: a prediction between 0.08 and 0.40 passes
    near=0.09,
    secret=Forecast(
        least=0,
        most=1,
        unit="an accuracy lies between 0 and 1",
        orders={
            "at the smaller learning rate one weight for the whole answer brings back what the old sampler costs": (
                lambda slow, whole, fast, tis, clip: slow < whole
            ),
            "without a correction, three times the learning rate is not a little worse": (
                lambda slow, whole, fast, tis, clip: fast + 0.3 < slow
            ),
            "at the larger learning rate one of the two corrections is far better. A weight changes how much a "
            "token counts. What does the clip do to a token that has moved too far?": (
                lambda slow, whole, fast, tis, clip: tis + 0.3 < clip
            ),
        },
    ),
    mistakes={
        "these are the numbers of an on-policy run. A sampler that is eight steps old is not harmless": (
            lambda learning_rate, correction: 0.95
        ),
        "all runs end near the base. At the smaller learning rate the policy moves slowly, and answers that are "
        "eight steps old still teach it": lambda learning_rate, correction: 0.22,
        "the weights do not repair everything: after eight large steps most ratios are far from 1, and a capped "
        "ratio is not the ratio": partial(_end, fast_tis=0.85),
        "the clip is not lost at the larger learning rate: it stops tokens that have moved too far": partial(
            _end, fast_clip=0.3
        ),
        "the two corrections are exchanged at the larger learning rate": partial(
            _end, fast_tis=0.85, fast_clip=0.2
        ),
        "at the larger learning rate an uncorrected run is not just slower": partial(
            _end, fast_none=0.6
        ),
        "at the smaller learning rate the uncorrected run does learn": partial(
            _end, slow_none=0.35
        ),
        "these are shares between 0 and 1, and not percentages": lambda learning_rate, correction: (
            100 * _end(learning_rate, correction)
        ),
    },
)
