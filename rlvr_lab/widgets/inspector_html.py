"""The tables of the step inspector as HTML that is readable in a light and in a dark theme.

What a model wrote is escaped: it is never markup. Colours are translucent, so the theme's ink stays on top.
"""

import html
import math
from collections.abc import Sequence
from itertools import groupby

import torch

from rlvr_lab.objectives.token_weights import Weights
from rlvr_lab.pictures.style import COLOURS
from rlvr_lab.training.group_reading import choices, places, read_group
from rlvr_lab.training.group_weights import AnswerWeights, GroupWeights, signed
from rlvr_lab.training.inspection import InspectedStep

__all__ = ["answer_html", "group_html", "places_html", "said_html", "sentences_html"]

_LINE = "var(--jp-border-color2,#8888)"
_CELL = f"padding:2px 7px;text-align:right;border-bottom:1px solid {_LINE};white-space:nowrap"
_TABLE = (
    "border-collapse:collapse;font-size:12px;line-height:1.3;color:inherit;background:transparent"
)
_TOKEN = (
    "display:inline-block;min-width:34px;padding:0 3px;margin:1px;text-align:center;"
    "border-radius:3px;vertical-align:top;white-space:pre"
)
_CAPTION = "text-align:left;padding:8px 0 2px;color:inherit;white-space:normal"
_SAID = "max-width:min(860px,99cqw)"
_WHEN = {"before": "before the update", "after": "after the update"}
# As wide as the page and never wider: the table scrolls in it.
_SCROLL = "overflow-x:auto;width:0;min-width:100%;container-type:inline-size"


def tint(weight: float, largest: float) -> str:
    """A translucent blue for what is pushed up, orange for what is pushed down."""
    if weight == 0:
        return "transparent"
    colour = COLOURS["policy" if weight > 0 else "wrong"].lstrip("#")
    red, green, blue = (int(colour[i : i + 2], 16) for i in (0, 2, 4))
    return f"rgba({red},{green},{blue},{0.08 + 0.47 * min(1, abs(weight) / largest):.2f})"


def sentences_html(groups: Sequence[GroupWeights], step: InspectedStep) -> str:
    """What the numbers say, in sentences computed from them; a list for each loss."""
    first, lists = groups[0], list(groups)
    same = len(groups) > 1 and first.same_as(groups[1])
    body = ""
    for group in lists[:1] if same else lists:
        items = "".join(f"<li>{html.escape(said)}</li>" for said in read_group(group))
        list_of = f'<ul style="margin:0 0 4px;padding-left:1.3em">{items}</ul>'
        body += f"<div><b>{html.escape(group.title)}</b>{list_of}</div>"
    if same:
        said = f"Same weights as {first.title} {_WHEN[first.at]}."
        body += f"<div><b>{html.escape(groups[1].title)}</b>: {html.escape(said)}</div>"
    parts = [
        "The weight of a token is the factor in front of its ∇ log π.",
        f"For readable numbers all weights are multiplied by B = {len(step.words)}, the number of answers in this "
        "step.",
    ]
    if first.at == "before":
        has_ratio = not all(math.isnan(a.advantage) for a in first.answers)
        parts.insert(0, f"Weights before the update{', where every ratio is 1' * has_ratio}.")
    if "scaled by" in groups[-1].title:
        parts.append(
            "The second loss is scaled so that the weights of both have the same Σ|w| over the whole step."
        )
    body += f'<div style="opacity:.8">{html.escape(" ".join([*parts, step.note]))}</div>'
    return said_html(body)


def said_html(body: str) -> str:
    """Words that a screen reader reads aloud when they change."""
    look = "line-height:1.4;max-width:860px;white-space:normal"
    return f'<div role="status" aria-live="polite" style="{look}">{body}</div>'


def group_html(group: GroupWeights, other: GroupWeights | None = None) -> str:
    """A row for each answer: verdict, reward, advantage, length, weights; below them its tokens, coloured.

    Neighbours with the same words and weights share a row.
    """
    losses = [group] if other is None else [group, other, group.minus(other)]
    titles = [group.title, other.title, "difference"] if other else [""]
    largest = max(one.largest for one in losses[:2])
    body = []
    rows = zip(*(one.answers for one in losses), strict=True)
    for _, equal in groupby(enumerate(rows, start=1), lambda row: [_look(a) for a in row[1]]):
        numbered = list(equal)
        same = numbered[0][1]
        answer, (first, last) = same[0], (numbered[0][0], numbered[-1][0])
        name = f"{first}" if first == last else f"{first}–{last}"
        cells = [f"reward {answer.reward:g}"]
        if not math.isnan(answer.advantage):
            cells.append(f"advantage {signed(answer.advantage)}")
        cells.append(_tokens(answer))
        if other is None:
            cells += _sums(answer, largest)
        if len(numbered) > 1:
            cells.append(f"{len(numbered)} equal answers")
        numbers = f'<div style="opacity:.85">{" · ".join(cells)}</div>'
        strips = "".join(
            _strip(one, largest, title) for one, title in zip(same, titles, strict=True)
        )
        body.append(
            f'<tr><th scope="row" style="{_CELL};text-align:left;font-weight:400;white-space:normal;'
            f'vertical-align:top">{name} {"✓" if answer.good else "✗"} {html.escape(answer.verdict)}</th>'
            f'<td style="{_CELL};text-align:left;white-space:normal;min-width:300px">{numbers}{strips}</td></tr>'
        )
    named = " and of ".join(html.escape(one.title) for one in losses[:2])
    caption = (
        f"What each token of the answers to “{html.escape(group.prompt)}” adds to the gradient of "
        f"{named}. ✓ {group.good}, ✗ {group.bad}. Blue: this answer pushes the token up; orange: down. Whether it "
        "really becomes more likely depends on all tokens sampled at the same place: see “change” in the opened "
        "answer. A frame marks the token that ends an answer."
    )
    return _table(caption, _head("answer", "left") + _head("numbers and tokens", "left"), body)


def _look(answer: AnswerWeights) -> tuple:
    numbers = [round(w, 6) for w in answer.weights]
    return answer.words, answer.verdict, answer.reward, numbers, answer.clipped


def _tokens(answer: AnswerWeights) -> str:
    count = f"{answer.length} token{'s' * (answer.length != 1)}"
    return count if any(answer.ends) else f"{count}, cut off at the limit"


def _sums(answer: AnswerWeights, largest: float) -> list[str]:
    each, whole = signed(answer.per_token, largest), signed(answer.whole, largest)
    return [f"{each} per token", f"{whole} in all"]


def places_html(groups: Sequence[GroupWeights], most: int = 10) -> str:
    """At each place of an answer: what stopping there gets, and what going on gets; for kinds that had a choice."""
    columns, head, mixed = [], _head("place", "left"), []
    largest = max(group.largest for group in groups)
    for good in (False, True):
        for group in groups:
            kind = [answer for answer in group.answers if answer.good is good]
            if group.at == "after" or not choices(kind):
                continue
            columns += [(there, places(kind)) for there in (0, 1)]
            loss = f"<br>{html.escape(group.title)}" if len(groups) > 1 else ""
            head += "".join(
                _head(f"{group.named(good)}: {word}{loss}", "right")
                for word in ("stops here", "goes on")
            )
            rewards = sorted({answer.reward for answer in kind})
            if len(rewards) > 1:
                mixed.append(
                    f"{group.named(good)} answers have different rewards: {rewards[0]:g} to {rewards[-1]:g}"
                )
    count = max((len(there) for _, there in columns), default=0)
    body = []
    for place in range(min(most, count)):
        cells = ""
        for which, there in columns:
            weights = there[place][which] if place < len(there) else []
            mean = sum(weights) / len(weights) if weights else 0.0
            text = f"{signed(mean, largest)} <small>({len(weights)})</small>" if weights else "–"
            cells += f'<td style="{_CELL};background:{tint(mean, largest)}">{text}</td>'
        name = f'<th scope="row" style="{_CELL};text-align:left;font-weight:400">token {place + 1}</th>'
        body.append(f"<tr>{name}{cells}</tr>")
    left_out = f", first {most} of {count} places" if count > most else ""
    caption = (
        f"Stop or go on? Mean weight at each place, with the number of answers{left_out}. Read along a row: stopping "
        "and going on are sampled as often as their probabilities say, so equal weights cancel on average. Only a "
        "difference within a row pulls at the length."
    )
    caption += "".join(f" Note: {said}." for said in dict.fromkeys(mixed))
    return _table(caption, head, body) if body else ""


def _head(name: str, side: str) -> str:
    look = f"{_CELL};font-weight:600;white-space:normal;text-align:{side};vertical-align:bottom"
    return f'<th scope="col" style="{look}">{name}</th>'


def _table(caption: str, head: str, body: list[str]) -> str:
    return (
        f'<div style="{_SCROLL}"><table style="{_TABLE}"><caption style="{_CAPTION}">'
        f'<div style="{_SAID}">{caption}</div></caption>'
        f"<thead><tr>{head}</tr></thead><tbody>{''.join(body)}</tbody></table></div>"
    )


def _strip(answer: AnswerWeights, largest: float, title: str) -> str:
    tokens = []
    for word, weight, trained, ends, clipped in zip(
        answer.words, answer.weights, answer.trained, answer.ends, answer.clipped, strict=True
    ):
        number = signed(weight, largest) if trained else "given"
        number = "clipped" if clipped and weight == 0 else number
        look = f"{_TOKEN};background:{tint(weight, largest)};border:1px solid "
        look += "currentColor" if ends else _LINE
        tokens.append(
            f'<span style="{look}">{html.escape(word)}<br>'
            f'<span style="font-size:10px">{number}</span></span>'
        )
    name = ""
    if title:
        sums = ", ".join(_sums(answer, largest))
        name = f'<div style="opacity:.8">{html.escape(title)}: {sums}</div>'
    return f'<div style="max-width:760px">{name}{"".join(tokens)}</div>'


def answer_html(
    step: InspectedStep,
    weights: Weights,
    row: int,
    other: Weights | None = None,
    largest: float | None = None,
) -> str:
    """One answer as a table with a row for each token: log-probabilities, ratio, the factors, the weight.

    Args:
        step: the kept step.
        weights: of the first loss.
        row: the answer.
        other: weights of a second loss.
        largest: the weight × B of full colour; by default the answer's own.
    """
    count, length = len(step.words), int(step.mask[row].sum())
    has_kl = bool(weights.kl.any()) or step.reference is not None
    of_mask = count * weights.average[row][step.mask[row]]
    by_length = bool(len(of_mask)) and torch.allclose(of_mask, torch.full_like(of_mask, 1 / length))
    share = "1/|o|" if by_length else "average × B"
    heads = ["token", "log π before", "log π after", "change", "ratio after"]
    heads += ["advantage", "ratio in the loss", share]
    heads += ["policy", "KL term"] if has_kl else []
    heads += ["weight × B"] + (["second loss", "difference"] if other is not None else [])
    largest = largest or float(weights.total[row].abs().max()) * count or 1.0
    lines = []
    for t in range(step.mask.shape[1]):
        if not bool(step.shown[row, t]):
            continue
        name = html.escape(step.words[row][t])
        if not bool(step.mask[row, t]):
            cells = ["written by the environment, not trained"]
            spans = f' colspan="{len(heads) - 1}"'
        else:
            spans, cells = "", _numbers(step, weights, other, row, t, has_kl, by_length, largest)
        weight = float(weights.total[row, t]) * count
        side = "text-align:left" if spans else ""
        tds = "".join(f'<td{spans} style="{_CELL};{side}">{cell}</td>' for cell in cells)
        look = f"{_CELL};text-align:left;font-weight:600;background:{tint(weight, largest)}"
        lines.append(f'<tr><th scope="row" style="{look}"><code>{name}</code></th>{tds}</tr>')
    head = "".join(_head(name, "left" if name == "token" else "right") for name in heads)
    caption = (
        f"The opened answer, token by token: {html.escape(step.verdicts[row])}, reward "
        f"{float(step.rewards[row]):g}."
    )
    if not bool(of_mask.isnan().any()):
        product = f"advantage × ratio in the loss × {share}"
        caption += (
            f" Policy = {product}, weight = policy + KL." if has_kl else f" Weight = {product}."
        )
    return _table(caption, head, lines)


def _numbers(
    step: InspectedStep,
    weights: Weights,
    other: Weights | None,
    row: int,
    t: int,
    has_kl: bool,
    by_length: bool,
    largest: float,
) -> list[str]:
    count, before = len(step.words), float(step.before[row, t])
    after = None if step.after is None else float(step.after[row, t])
    ratio = math.exp((before if after is None else after) - float(step.old[row, t]))
    factor, average = float(weights.factor[row, t]), float(weights.average[row, t])
    advantage, total = float(weights.advantages[row, t]), float(weights.total[row, t])
    number = "–" if math.isnan(factor) else f"{factor:.3f}"
    # What is clipped to a constant has no gradient; CISPO clips the factor and keeps one.
    clipped = bool(weights.clipped[row, t])
    number = ("clipped" if factor == 0 else f"{number} clipped") if clipped else number
    length = int(step.mask[row].sum())
    share = f"1/{length} = {1 / length:.3f}" if by_length else f"{count * average:.4f}"
    cells = [
        _three(before).removeprefix("+"),
        "–" if after is None else _three(after).removeprefix("+"),
        "–" if after is None else _three(after - before),
        f"{ratio:.3f}" if after is not None else "1",
        "–" if math.isnan(advantage) else signed(advantage),
        number,
        "–" if math.isnan(average) else share,
    ]
    if has_kl:
        cells += [
            signed(count * float(part[row, t]), largest) for part in (weights.policy, weights.kl)
        ]
    weight = signed(count * total, largest)
    if by_length and abs(factor - 1) < 5e-4 and not has_kl and length > 1:
        weight = f"{signed(advantage)} ÷ {length} = <b>{weight}</b>"
    else:
        weight = f"<b>{weight}</b>"
    cells.append(weight)
    if other is not None:
        theirs = count * float(other.total[row, t])
        cells += [signed(theirs, largest), signed(count * total - theirs, largest)]
    return cells


def _three(value: float) -> str:
    """Three digits after the point, with the sign."""
    text = f"{value:+.3f}"
    return (text if float(text) else "0").replace("-", "−")
