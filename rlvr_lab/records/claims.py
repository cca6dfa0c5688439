"""A sentence about data that carries its own test.

A notebook makes one ``Claims`` and calls it for each sentence. Every call prints a row with the
measured effect and raises when the sentence and the data disagree, so that a page that stops being
true stops the build. The table at the notebook's foot is made from the same rows.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from IPython.display import Markdown
from numpy.typing import ArrayLike
from scipy import stats

__all__ = ["Claim", "ClaimError", "Claims", "Effect", "effect_over_seeds"]


class ClaimError(AssertionError):
    """The page says one thing and the data another."""


class Effect(NamedTuple):
    """A mean over seeds with its 95 % interval; for an exact number ``n`` is 0 and the interval a point."""

    mean: float
    low: float
    high: float
    n: int

    def __str__(self) -> str:
        digits = _digits(self)
        if not self.n:
            return _number(self.mean, digits)
        low, high = _number(self.low, digits), _number(self.high, digits)
        return f"{_number(self.mean, digits, sign=True)} [{low}, {high}], n = {self.n}"


def effect_over_seeds(values: ArrayLike, level: float = 0.95) -> Effect:
    r"""The mean of one number per seed, with Student's interval: x̄ ± t_{n−1} · s / √n.

    Paired comparisons pass the *difference* per seed. The interval supposes independent seeds and
    roughly normal differences; with five seeds t is 2.78, so it is wide, as it should be.

    Args:
        values: [S], one number per seed.
        level: coverage of the interval.

    Raises:
        ValueError: with fewer than two seeds, or a value that is not finite.

    >>> print(effect_over_seeds([1.0, 2.0, 3.0]))
    +2.0 [-0.5, 4.5], n = 3
    """
    x = np.asarray(values, dtype=float)
    if x.ndim != 1 or len(x) < 2:
        raise ValueError(f"values: expected one number per seed, [S] with S ≥ 2, got {x.shape}")
    if not np.isfinite(x).all():
        raise ValueError(f"values: every seed needs a finite number, got {x}")
    if not 0 < level < 1:
        raise ValueError(f"level: must lie strictly between 0 and 1, got {level}")
    half = stats.t.ppf((1 + level) / 2, len(x) - 1) * x.std(ddof=1) / math.sqrt(len(x))
    return Effect(float(x.mean()), float(x.mean() - half), float(x.mean() + half), len(x))


@dataclass(frozen=True)
class Claim:
    """A sentence, the effect that was measured, and what the page says about it.

    ``holds`` is the verdict of the data; ``seen`` is the verdict that the page reports. A claim that does
    not hold is ``decided`` when the interval lies wholly outside the condition, and otherwise undecided.
    """

    sentence: str
    effect: Effect
    condition: str
    holds: bool
    agree: int
    seen: bool
    unit: str
    lecture: str
    paper: str
    decided: bool = True
    replicates: str = "seeds"

    @property
    def measured(self) -> str:
        """The effect in words: mean, interval, unit, number of seeds, seeds that agree."""
        number, *count = str(self.effect).split(", n = ")
        words = f"{number} {self.unit}".strip()
        if not count:
            return words
        return f"{words}, n = {count[0]}, {self.agree} of {self.effect.n} {self.replicates} agree"

    def __str__(self) -> str:
        condition = self.condition if self.decided else f"{self.condition}: undecided"
        return f"{'✓' if self.holds else '✗'} {self.sentence}\n    {self.measured}  ({condition})"


class Claims:
    """The claims of one notebook, in the order in which they are made.

    >>> claim = Claims()
    >>> claim("Training raises the pass rate", [0.5, 0.6, 0.7], above=0)
    ✓ Training raises the pass rate
        +0.60 [0.35, 0.85], n = 3, 3 of 3 seeds agree  (interval above 0)
    """

    def __init__(self) -> None:
        self.made: list[Claim] = []

    def __call__(
        self,
        sentence: str,
        effect: ArrayLike,
        *,
        above: float | None = None,
        below: float | None = None,
        within: tuple[float, float] | None = None,
        every: bool = False,
        unit: str = "",
        seen: bool = True,
        lecture: str = "",
        paper: str = "",
        replicates: str = "seeds",
    ) -> None:
        """Print the claim with its effect; raise when the page is wrong.

        Args:
            sentence: a full sentence that can be understood without the page.
            effect: [S], one number per seed (for a comparison, the paired difference), or a single
                number that is exact.
            above: the claim holds when the whole 95 % interval lies above this.
            below: the claim holds when the whole interval lies below this.
            within: the claim holds when the whole interval lies between these two. "No effect"
                is such a claim: the margin says how small is meant.
            every: the sentence says "in every seed": each single value has to meet the condition too.
            unit: of the effect.
            seen: False when somebody makes the claim (the lecture, a paper, or we before we looked) and
                the page reports that our data do *not* show it. The row then stands there as ✗ with our
                number, and says "undecided" when the interval reaches to both sides of the bound.
            lecture: what the lecture says, with its time. Puts the claim into the table.
            paper: what a paper says, with its source. Puts the claim into the table.
            replicates: what the numbers of ``effect`` belong to, when not to seeds.

        Raises:
            ValueError: when ``sentence`` is empty, not exactly one condition is given, or ``effect``
                is not finite.
            ClaimError: when the condition fails although the page claims the effect, or holds
                although the page says that it is not seen.
        """
        if not sentence.strip():
            raise ValueError("sentence: must not be empty")
        low, high, condition = _bounds(above, below, within)
        values = np.asarray(effect, dtype=float)
        if values.ndim == 0:
            if not np.isfinite(values):
                raise ValueError(f"effect: must be finite, got {values}")
            number = float(values)
            found, values = Effect(number, number, number, 0), values[None]
        else:
            found = effect_over_seeds(values)
            each = f" and every {replicates.removesuffix('s')}" if every else ""
            condition = f"interval{each} {condition}"
        agree = (low < values) & (values < high)
        holds = bool(low < found.low and found.high < high and (agree.all() or not every))
        made = Claim(
            sentence=sentence.strip(),
            effect=found,
            condition=condition,
            holds=holds,
            agree=int(agree.sum()),
            seen=seen,
            unit=unit,
            lecture=lecture,
            paper=paper,
            decided=holds or found.high <= low or found.low >= high,
            replicates=replicates,
        )
        self.made = [old for old in self.made if old.sentence != made.sentence]  # a cell run again
        self.made.append(made)
        print(made)
        if made.holds != seen:
            said = "claims" if seen else "says that it does not see"
            raise ClaimError(f"the page {said}: {made.sentence!r}; measured: {made.measured}")

    def table(self) -> Markdown:
        """The claims with something to compare them with, as the table at a notebook's foot.

        Its last line counts all claims of the page: those that hold, those that the page reports as not
        shown by our data (the lecture's, a paper's or our own prediction), and how many of these are
        undecided.
        """
        lines = ["| | what we measured | the lecture | papers |", "|---|---|---|---|"]
        for made in self.made:
            if made.lecture or made.paper:
                cells = f"**{made.sentence}** {made.measured}", made.lecture, made.paper
                texts = " | ".join(_cell(text) for text in cells)
                sign = "✓" if made.holds else "✗" if made.decided else "✗ undecided"
                lines.append(f"| {sign} | {texts} |")
        holding = sum(made.holds for made in self.made)
        failing = len(self.made) - holding
        undecided = sum(not made.decided for made in self.made)
        last = f"{len(self.made)} claims on this page: {holding} ✓, {failing} ✗"
        if undecided:
            last += (
                f" (not shown by our data; {undecided} of them undecided: the interval reaches to "
            )
            last += "both sides of the bound)"
        elif failing:
            last += " (not shown by our data)"
        lines += ["", last + "."]
        return Markdown("\n".join(lines))


def _bounds(
    above: float | None, below: float | None, within: tuple[float, float] | None
) -> tuple[float, float, str]:
    if sum(bound is not None for bound in (above, below, within)) != 1:
        raise ValueError("give exactly one of above, below and within")
    if within is not None:
        if not within[0] < within[1]:
            raise ValueError(f"within: must be (low, high) with low < high, got {within}")
        return *within, f"within {within[0]:g} … {within[1]:g}"
    if above is not None:
        return above, math.inf, f"above {above:g}"
    assert below is not None
    return -math.inf, below, f"below {below:g}"


def _cell(text: str) -> str:
    """``text`` so that it stays within its cell of a Markdown table."""
    return " ".join(text.split()).replace("|", "\\|")


def _digits(effect: Effect) -> int:
    """Decimals that show the interval's half-width with two digits, or the number with three."""
    scale, wanted = (effect.high - effect.low) / 2, 2
    if not effect.n or scale == 0:
        scale, wanted = abs(effect.mean), 3
    return 0 if scale == 0 else max(0, wanted - 1 - math.floor(math.log10(scale)))


def _number(x: float, digits: int, sign: bool = False) -> str:
    if digits > 6:
        return f"{x:.0e}" if x else "0"
    text = f"{x:+.{digits}f}" if sign else f"{x:.{digits}f}"
    return text.replace("-0." + "0" * digits, "0." + "0" * digits) if not float(text) else text
