"""The tables of the step inspector as HTML that is readable in a light and in a dark theme.

What a model wrote is escaped: it is never markup. Colours are translucent, so the theme's ink stays on top.
"""

import html
import math
from collections.abc import Sequence

from rlvr_lab.objectives.token_weights import Weights
from rlvr_lab.pictures.style import COLOURS
from rlvr_lab.training.group_weights import AnswerWeights, GroupWeights, places, read_group, signed
from rlvr_lab.training.inspection import InspectedStep

__all__ = ["answer_html", "group_html", "places_html", "sentences_html"]

_LINE = "var(--jp-border-color2,#8888)"
_CELL = f"padding:2px 7px;text-align:right;border-bottom:1px solid {_LINE};white-space:nowrap"
_TABLE = (
    "border-collapse:collapse;font-size:12px;line-height:1.3;color:inherit;background:transparent"
)
_TOKEN = (
    "display:inline-block;min-width:34px;padding:0 3px;margin:1px;text-align:center;"
    "border-radius:3px;vertical-align:top;white-space:pre"
)
_CAPTION = "text-align:left;padding:8px 0 2px;color:inherit;white-space:normal;max-width:860px"
_SCROLL = "overflow-x:auto;max-width:100%"


def tint(weight: float, largest: float) -> str:
    """A translucent blue for what becomes more likely, orange for what becomes less likely."""
    if weight == 0:
        return "transparent"
    colour = COLOURS["policy" if weight > 0 else "wrong"].lstrip("#")
    red, green, blue = (int(colour[i : i + 2], 16) for i in (0, 2, 4))
    return f"rgba({red},{green},{blue},{0.08 + 0.47 * min(1, abs(weight) / largest):.2f})"


def sentences_html(
    groups: Sequence[GroupWeights] | list[str],
    step: InspectedStep | None = None,
    at: str = "before",
) -> str:
    """What the numbers say, in sentences computed from them; a list for each loss."""
    if step is None:
        body = "".join(f"<div>{html.escape(text)}</div>" for text in groups)
    else:
        body = ""
        for group in groups:
            items = "".join(f"<li>{html.escape(said)}</li>" for said in read_group(group))
            list_of = f'<ul style="margin:0 0 4px;padding-left:1.3em">{items}</ul>'
            body += f"<div><b>{html.escape(group.title)}</b>{list_of}</div>"
        when = {
            "before": "Weights at the policy that sampled: the first pass of the update.",
            "after": "Weights after the update: what one more pass over this batch would do.",
        }[at]
        unit = f"All are multiplied by B = {len(step.words)}, the number of answers of the step."
        same = "The second loss is scaled so that both have the same Σ|weight| over the step."
        parts = [when, unit, same if len(groups) > 1 else "", step.note]
        body += f'<div style="opacity:.8">{html.escape(" ".join(filter(None, parts)))}</div>'
    look = "line-height:1.4;max-width:860px;white-space:normal"
    return f'<div role="status" aria-live="polite" style="{look}">{body}</div>'


def group_html(group: GroupWeights, other: GroupWeights | None = None) -> str:
    """A row for each answer: verdict, reward, advantage, length, weights; then its tokens, coloured."""
    heads = ["answer", "reward", "advan&shy;tage", "length"]
    heads += ["tokens"] if other else ["per token", "whole answer", "tokens"]
    head = "".join(
        _head(name, "left" if name in ("answer", "tokens") else "right") for name in heads
    )
    losses = [group] if other is None else [group, other, group.minus(other)]
    titles = [group.title, other.title, "difference"] if other else [group.title]
    largest = max(one.largest for one in losses[:2])
    body = []
    for i, answer in enumerate(group.answers):
        same = [one.answers[i] for one in losses]
        mark = "✓" if answer.good else "✗"
        cells = [f"{answer.reward:g}", signed(answer.advantage), f"{answer.length}"]
        if other is None:
            cells += [signed(answer.per_token, largest), signed(answer.whole, largest)]
        strips = [
            _strip(one, largest, title if other else "")
            for one, title in zip(same, titles, strict=True)
        ]
        body.append(
            f'<tr><th scope="row" style="{_CELL};text-align:left;font-weight:400">'
            f"{i + 1} {mark} {html.escape(answer.verdict)}</th>"
            + "".join(f'<td style="{_CELL}">{cell}</td>' for cell in cells)
            + f'<td style="{_CELL};text-align:left;white-space:normal">{"".join(strips)}</td></tr>'
        )
    caption = (
        f"What each token of the answers to “{html.escape(group.prompt)}” adds to the gradient of "
        f"{' and of '.join(html.escape(title) for title in titles[:2])}. Above 0 (blue) it becomes more "
        "likely, below 0 (orange) less. A frame marks the token that ends an answer."
    )
    return _table(caption, head, body)


def places_html(groups: Sequence[GroupWeights], most: int = 10) -> str:
    """At each place of an answer: what stopping there gets, and what going on gets."""
    columns, head = [], _head("place", "left")
    for group in groups:
        for good in (False, True):
            kind = [answer for answer in group.answers if answer.good is good]
            if not kind:
                continue
            columns.append((places(kind), group.largest))
            loss = f", {html.escape(group.title)}" if len(groups) > 1 else ""
            head += "".join(
                _head(f"{group.named(good)}{loss}: {word}", "right")
                for word in ("stops here", "goes on")
            )
    rows = min(most, max((len(there) for there, _ in columns), default=0))
    body = []
    for place in range(rows):
        cells = ""
        for there, largest in columns:
            for weights in there[place] if place < len(there) else ([], []):
                mean = sum(weights) / len(weights) if weights else 0.0
                text = (
                    f"{signed(mean, largest)} <small>({len(weights)})</small>" if weights else "–"
                )
                cells += f'<td style="{_CELL};background:{tint(mean, largest)}">{text}</td>'
        name = f'<th scope="row" style="{_CELL};text-align:left;font-weight:400">token {place + 1}</th>'
        body.append(f"<tr>{name}{cells}</tr>")
    caption = (
        "Stop or go on? Mean weight at each place, with the number of answers. Equal weights cancel on average, "
        "because the two choices are sampled with their own probabilities: only the difference between stopping and "
        "going on pulls at the length."
    )
    return _table(caption, head, body) if body else ""


def _head(name: str, side: str) -> str:
    look = f"{_CELL};font-weight:600;white-space:normal;text-align:{side};vertical-align:bottom"
    return f'<th scope="col" style="{look}">{name}</th>'


def _table(caption: str, head: str, body: list[str]) -> str:
    return (
        f'<div style="{_SCROLL}"><table style="{_TABLE}"><caption style="{_CAPTION}">{caption}</caption>'
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
        sums = (
            f"{signed(answer.per_token, largest)} per token, {signed(answer.whole, largest)} in all"
        )
        name = f'<div style="opacity:.8">{html.escape(title)}: {sums}</div>'
    return f'<div style="max-width:640px">{name}{"".join(tokens)}</div>'


def answer_html(
    step: InspectedStep, weights: Weights, row: int, other: Weights | None = None
) -> str:
    """One answer as a table with a row for each token: log-probabilities, ratio, the factors, the weight."""
    count = len(step.words)
    has_kl = bool(weights.kl.any()) or step.reference is not None
    heads = ["token", "log π before", "log π after", "change", "ratio after"]
    heads += ["advantage", "ratio in the loss", "average × B", "policy"]
    heads += ["KL term"] if has_kl else []
    heads += ["weight × B"] + (["second loss", "difference"] if other is not None else [])
    largest = float(weights.total[row].abs().max()) * count or 1.0
    lines = []
    for t in range(step.mask.shape[1]):
        if not bool(step.shown[row, t]):
            continue
        name = html.escape(step.words[row][t])
        if not bool(step.mask[row, t]):
            cells = ["written by the environment, not trained"]
            spans = f' colspan="{len(heads) - 1}"'
        else:
            spans, cells = "", _numbers(step, weights, other, row, t, has_kl)
        weight = float(weights.total[row, t]) * count
        side = "text-align:left" if spans else ""
        tds = "".join(f'<td{spans} style="{_CELL};{side}">{cell}</td>' for cell in cells)
        look = f"{_CELL};text-align:left;font-weight:600;background:{tint(weight, largest)}"
        lines.append(f'<tr><th scope="row" style="{look}"><code>{name}</code></th>{tds}</tr>')
    head = "".join(_head(name, "left" if name == "token" else "right") for name in heads)
    caption = (
        f"The opened answer, token by token: {html.escape(step.verdicts[row])}, reward "
        f"{float(step.rewards[row]):g}. Policy = advantage × ratio in the loss × average."
    )
    return _table(caption, head, lines)


def _numbers(
    step: InspectedStep, weights: Weights, other: Weights | None, row: int, t: int, has_kl: bool
) -> list[str]:
    count, before = len(step.words), float(step.before[row, t])
    after = None if step.after is None else float(step.after[row, t])
    ratio = math.exp((before if after is None else after) - float(step.old[row, t]))
    factor, average = float(weights.factor[row, t]), float(weights.average[row, t])
    advantage = float(weights.advantages[row, t])
    clipped = " clipped" if bool(weights.clipped[row, t]) else ""
    cells = [
        f"{before:.3f}".replace("-", "−"),
        "–" if after is None else f"{after:.3f}".replace("-", "−"),
        "–" if after is None else _three(after - before),
        f"{ratio:.3f}" if after is not None else "1",
        "–" if math.isnan(advantage) else signed(advantage),
        ("–" if math.isnan(factor) else f"{factor:.3f}") + clipped,
        "–" if math.isnan(average) else f"{count * average:.4f}",
        _three(count * float(weights.policy[row, t])),
    ]
    cells += [_three(count * float(weights.kl[row, t]))] if has_kl else []
    cells.append(f"<b>{_three(count * float(weights.total[row, t]))}</b>")
    if other is not None:
        theirs = count * float(other.total[row, t])
        cells += [_three(theirs), _three(count * float(weights.total[row, t]) - theirs)]
    return cells


def _three(value: float) -> str:
    """Three significant digits, with the sign."""
    return signed(value, value / 10)
