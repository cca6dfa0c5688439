"""The step inspector: its controls choose the named loss, its tables hold the numbers behind the colours."""

import html
import re
import threading
import time
from dataclasses import replace
from html.parser import HTMLParser

import pytest
import torch

from rlvr_lab.training.group_reading import FORMAT, choices, teaching_group
from rlvr_lab.training.group_weights import signed
from rlvr_lab.training.inspection import Boxes, InspectedStep
from rlvr_lab.training.loop import train
from rlvr_lab.training.policy_gradient import PRESETS, PolicyGradientConfig
from rlvr_lab.training.ppo import PPOConfig
from rlvr_lab.training.step_keeper import StepKeeper
from rlvr_lab.widgets import inspector as module
from rlvr_lab.widgets.dashboards import TrainingDashboard
from rlvr_lab.widgets.inspector import StepInspector
from rlvr_lab.widgets.inspector_html import answer_html, group_html, places_html, tint
from tests.training.test_group_weights import by_length

CONFIG = PolicyGradientConfig(
    world="lab", steps=3, prompts_per_step=2, group_size=6, max_new_tokens=9, rewards={"accuracy": 1.0},
    optimizer="sgd", learning_rate=0.3, max_grad_norm=None, device="cpu", kl_coef=0.1, seed=2,
)  # fmt: skip


@pytest.fixture(scope="module")
def steps() -> list[InspectedStep]:
    keeper = StepKeeper()
    list(train(CONFIG, watch=keeper))
    return keeper.steps


class Tables(HTMLParser):
    """The tables of a page as lists of rows of cell texts; what is not closed is an error."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tables, self.open, self.captions, self.scopes = [], [], [], []
        self.feed(page)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list) -> None:
        if tag == "br":
            self.handle_data(" ")
            return
        self.open.append(tag)
        if tag == "table":
            self.tables.append([])
        elif tag == "caption":
            self.captions.append("")
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self.tables[-1][-1].append("")
            if tag == "th":
                self.scopes.append(dict(attrs).get("scope"))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "caption" in self.open:
            self.captions[-1] += data
        elif "td" in self.open or "th" in self.open:
            self.tables[-1][-1][-1] += data


def number(text: str) -> float:
    return float(text.replace("−", "-"))


def shown_weights(inspector: StepInspector) -> torch.Tensor:
    return inspector.weights().total


def test_it_opens_with_the_latest_step_and_the_runs_own_loss(steps: list[InspectedStep]) -> None:
    inspector = StepInspector(steps)
    assert inspector.step is steps[-1]
    assert inspector.controls["by_length"].value and inspector.controls["by_std"].value
    assert torch.equal(shown_weights(inspector), steps[-1].weigh("run").total)
    titles = [title for title, _ in inspector.controls["loss"].options]
    assert titles[0] == "this run: GRPO"
    assert len(titles) == 1 + len(PRESETS)


@pytest.mark.parametrize("by_length", [True, False])
@pytest.mark.parametrize("by_std", [True, False])
def test_the_boxes_weigh_the_same_batch_with_the_named_loss(
    steps, by_length: bool, by_std: bool
) -> None:
    inspector = StepInspector(steps)
    inspector.controls["by_length"].value = by_length
    inspector.controls["by_std"].value = by_std
    assert torch.equal(
        shown_weights(inspector), steps[-1].weigh("run", Boxes(by_length, by_std)).total
    )
    named = {(True, True): "grpo", (False, False): "dr-grpo"}.get((by_length, by_std))
    if named:
        torch.testing.assert_close(shown_weights(inspector), steps[-1].weigh(named).total)
        assert ("without" in inspector.words.value) == (named == "dr-grpo")


@pytest.mark.parametrize("name", PRESETS)
def test_the_drop_down_sets_the_boxes_and_the_loss(steps, name: str) -> None:
    inspector = StepInspector(steps)
    inspector.controls["loss"].value = name
    row = PRESETS[name]
    assert inspector.controls["by_length"].value == (row.average == "sequence")
    assert inspector.controls["by_std"].value == row.divide_by_std
    assert inspector.controls["by_std"].disabled == (row.baseline != "group")
    assert torch.equal(shown_weights(inspector), steps[-1].weigh(name).total)


def test_step_group_moment_and_answer_choose_what_is_shown(steps) -> None:
    inspector = StepInspector(steps, group=1)
    inspector.controls["step"].value = 2
    inspector.controls["at"].value = "after"
    assert torch.equal(shown_weights(inspector), steps[1].weigh("run", at="after").total)
    row = inspector.controls["answer"].options[2][1]
    inspector.controls["answer"].value = row
    assert row in steps[1].rows(1)
    mine, _ = inspector.groups()
    assert inspector.answer.value == answer_html(
        steps[1], steps[1].weigh("run", at="after"), row, largest=mine.largest
    )
    assert "one more pass" in inspector.words.value


def test_a_second_loss_stands_beside_the_first_with_the_difference(steps) -> None:
    inspector = StepInspector(steps, other="dr-grpo")
    mine, theirs = inspector.groups()
    first, second = steps[-1].weigh("run").total, steps[-1].weigh("dr-grpo").total
    factor = float(first.abs().sum() / second.abs().sum())
    for one, other in zip(mine.answers, theirs.answers, strict=True):
        real = steps[-1].shown[one.row]
        assert one.weights == pytest.approx((12 * first[one.row][real]).tolist(), abs=1e-6)
        assert other.weights == pytest.approx(
            (12 * factor * second[one.row][real]).tolist(), abs=1e-6
        )
    assert theirs.title.startswith("Dr. GRPO (scaled by ")
    page = group_html(mine, theirs)
    assert page.count("difference:") == len(Tables(page).tables[0]) - 1
    assert inspector.group.value == places_html([mine, theirs]) + page
    assert "have the same Σ|w| over the whole step" in inspector.words.value
    head, *rows = Tables(inspector.answer.value).tables[0]
    assert head[-3:] == ["weight × B", "second loss", "difference"]
    for cells in rows[1:]:
        assert number(cells[-3]) - number(cells[-2]) == pytest.approx(number(cells[-1]), abs=2e-2)
    with pytest.raises(ValueError, match="other: must be one of"):
        StepInspector(steps, other="no such loss")


def test_the_tables_hold_the_numbers_behind_the_colours(steps) -> None:
    step = steps[-1]
    inspector = StepInspector(steps)
    weights, (mine, _) = step.weigh("run"), inspector.groups()
    page = Tables(group_html(mine))
    assert page.scopes[:2] == ["col"] * 2 and set(page.scopes) == {"col", "row"}
    head, *rows = page.tables[0]
    shown = list(mine.answers)
    for name, cells in rows:
        count = re.search(r"(\d+) equal answers", cells)
        same, shown = (
            shown[: int(count[1]) if count else 1],
            shown[int(count[1]) if count else 1 :],
        )
        for one in same:
            assert one.verdict in name and ("✓" in name) == one.good
            assert (
                f"reward {one.reward:g} · advantage {signed(one.advantage)} · {one.length} token"
                in cells
            )
            assert f"{signed(one.per_token, mine.largest)} per token" in cells
            assert f"{signed(one.whole, mine.largest)} in all" in cells
            assert all(word in cells for word in one.words)
            assert ("cut off at the limit" in cells) == (not any(one.ends))
    assert shown == []
    row = mine.answers[0].row
    page = Tables(answer_html(step, weights, row))
    head, *rows = page.tables[0]
    assert head[0] == "token" and head[-1] == "weight × B" and "KL term" in head
    tokens = [t for t in range(step.mask.shape[1]) if bool(step.shown[row, t])]
    assert len(rows) == len(tokens) and page.captions
    for t, cells in zip(tokens[1:], rows[1:], strict=True):
        values = [
            step.before[row, t], step.after[row, t], step.after[row, t] - step.before[row, t],
            (step.after - step.old)[row, t].exp(), weights.advantages[row, t], weights.factor[row, t],
            1 / mine.answers[0].length, 12 * weights.policy[row, t], 12 * weights.kl[row, t],
            12 * weights.total[row, t],
        ]  # fmt: skip
        said = [number(cell.split("=")[-1].replace(" clipped", "")) for cell in cells[1:]]
        assert said == pytest.approx([float(v) for v in values], abs=6e-3)
    assert "written by the environment" in rows[0][1]


def test_the_places_table_counts_answers(steps) -> None:
    mine, _ = StepInspector(steps[:1]).groups()
    free = [g for g in (False, True) if choices([a for a in mine.answers if a.good is g])]
    assert free
    page = Tables(places_html([mine]))
    head, *rows = page.tables[0]
    counted = sum(int(n) for row in rows for n in re.findall(r"\((\d+)\)", " ".join(row)))
    assert counted == sum(min(a.length, 10) for a in mine.answers if a.good in free)
    assert len(head) == 1 + 2 * len(free)
    assert "first" not in page.captions[0]
    longest = max(a.length for a in mine.answers if a.good in free)
    cut = Tables(places_html([mine], most=2))
    assert len(cut.tables[0]) == 3 and f"first 2 of {longest} places" in cut.captions[0]
    assert places_html([replace(mine, at="after")]) == ""


def test_two_losses_of_one_kind_stand_side_by_side() -> None:
    both = [by_length(True), replace(by_length(False), title="constant")]
    head, first, *_ = Tables(places_html(both)).tables[0]
    words = ("stops here", "goes on")
    assert head[1:] == [
        f"{kind}: {word} {title}"
        for kind in ("incorrect", "correct")
        for title in ("GRPO", "constant")
        for word in words
    ]
    assert [cell.split()[0] for cell in first[1:5]] == ["−1.00", "−0.17", "−0.25", "−0.25"]


def test_all_tables_have_one_colour_scale(steps) -> None:
    inspector = StepInspector(steps)
    mine, _ = inspector.groups()
    longest = max(mine.answers, key=lambda a: a.length)
    inspector.controls["answer"].value = longest.row
    weight = longest.weights[longest.trained.index(True)]
    assert f"background:{tint(weight, mine.largest)}" in inspector.answer.value
    assert f"background:{tint(weight, mine.largest)}" in inspector.group.value


def test_it_opens_on_a_group_that_teaches(steps) -> None:
    silent = replace(
        steps[-1],
        rewards=steps[-1].rewards.clone().index_fill_(0, torch.tensor(steps[-1].rows(0)), 0.0),
    )
    assert StepInspector([silent]).controls["group"].value == teaching_group(silent) == 1
    inspector = StepInspector(
        [silent], group=0
    )  # the lens of the step still has the stored rewards
    assert inspector.controls["group"].value == 0


def test_a_silent_group_is_one_sentence_without_tables() -> None:
    keeper = StepKeeper()
    list(
        train(replace(CONFIG, steps=1, kl_coef=0.0, group_size=2, prompts_per_step=8), watch=keeper)
    )
    (step,) = keeper.steps
    rewards = step.rewards.view(-1, 2)
    silent = int((rewards[:, 0] == rewards[:, 1]).nonzero()[0])
    inspector = StepInspector([step])
    assert (
        inspector.group.value and rewards[inspector.controls["group"].value].unique().numel() == 2
    )
    inspector.controls["group"].value = silent
    assert "All rewards are equal, so every weight is 0." in inspector.words.value
    assert inspector.group.value == inspector.answer.value == ""
    assert inspector.controls["answer"].layout.display == "none"


def test_a_loss_that_changes_nothing_is_called_the_same(steps) -> None:
    inspector = StepInspector(steps, other="gspo")
    assert "Same weights as this run: GRPO before the update." in inspector.words.value
    assert "difference" not in inspector.group.value + inspector.answer.value
    assert FORMAT not in inspector.words.value  # the laboratory has no format


def test_a_group_of_equal_prompts_is_named_by_its_answers(steps) -> None:
    names = [name for name, _ in StepInspector(steps).controls["group"].options]
    good = [int(steps[-1].good[list(steps[-1].rows(g))].sum()) for g in (0, 1)]
    assert names == [f"{g + 1} of 2 ({good[g]} of 6 correct)" for g in (0, 1)]


def test_what_a_model_wrote_is_never_markup(steps) -> None:
    evil = "<img src=x onerror=alert(1)>"
    step = steps[-1]
    words = [[evil if w else "" for w in row] for row in step.words]
    bad = replace(step, words=words, prompts=[evil] * 2, verdicts=[evil] * len(words))
    inspector = StepInspector([bad], other="dapo")
    for box in (inspector.words, inspector.group, inspector.answer):
        assert "<img" not in box.value
        Tables(box.value) if "table" in box.value else None
    assert html.escape(evil) in inspector.group.value


def test_colours_are_translucent_and_have_a_sign() -> None:
    assert tint(0.0, 1.0) == "transparent"
    assert tint(1.0, 1.0) == "rgba(0,114,178,0.55)"
    assert tint(-0.5, 1.0).startswith("rgba(213,94,0,0.3")


def test_without_a_step_it_says_what_to_do() -> None:
    keeper = StepKeeper()
    inspector = StepInspector(lambda: keeper.steps)
    assert inspector.step is None and "press Run" in inspector.words.value
    list(train(replace(CONFIG, steps=1), watch=keeper))
    inspector.latest.click()
    assert inspector.step.step == 1 and "table" in inspector.group.value


def test_a_run_of_another_kind_is_shown_without_boxes() -> None:
    keeper = StepKeeper()
    config = PPOConfig(
        steps=1, prompts_per_step=2, group_size=4, max_new_tokens=8, critic_warmup=0, device="cpu"
    )
    list(train(config, watch=keeper))
    inspector = StepInspector(keeper.steps)
    assert inspector.controls["by_length"].disabled and inspector.controls["by_std"].disabled
    assert "minibatch" in inspector.words.value
    inspector.controls["loss"].value = "dr-grpo"
    assert not inspector.controls["by_length"].disabled


def test_the_stored_page_shows_a_picture_that_follows_the_controls(steps, monkeypatch) -> None:
    frames = []

    class Handle:
        def update(self, picture) -> None:
            frames.append(picture)

    def displayed(thing, display_id=False):
        frames.append(thing)
        return Handle()

    monkeypatch.setattr(module, "display", displayed)
    inspector = StepInspector(steps)
    inspector.show()
    panel, picture = frames
    assert repr(panel).startswith("[Controls.")
    assert "this run: GRPO" in picture.alt
    inspector.controls["loss"].value = "dr-grpo"
    deadline = time.monotonic() + 30
    while len(frames) < 3 and time.monotonic() < deadline:
        time.sleep(0.02)
    assert "Dr. GRPO" in frames[-1].alt
    for thread in threading.enumerate():
        if thread is inspector._thread:
            thread.join(10)


# ----------------------------------------------------------------------------- inside a dashboard


def ended(dashboard: TrainingDashboard) -> bool:
    return bool(dashboard.records) and not dashboard.running


def test_the_button_opens_the_latest_step_of_the_run() -> None:
    dashboard = TrainingDashboard(CONFIG)
    assert "rl-inspect" in dashboard.inspect._dom_classes
    dashboard.inspect.value = True
    assert dashboard.inspector.panel in dashboard.panel.children
    assert "press Run" in dashboard.inspector.words.value
    dashboard.run()
    deadline = time.monotonic() + 60
    while not ended(dashboard) and time.monotonic() < deadline:
        time.sleep(0.02)
    dashboard.inspector.latest.click()
    assert [one.step for one in dashboard._keeper.steps] == [1, 2, 3]
    assert dashboard.inspector.step.step == 3
    dashboard.inspect.value = False
    assert dashboard.inspector.panel.layout.display == "none"
    assert not dashboard._keeper.eager
    dashboard.reset()
    dashboard.inspect.value = True
    assert dashboard.inspector.step is None and dashboard.inspector.group.value == ""


def test_a_kind_that_cannot_be_shown_has_no_button(monkeypatch: pytest.MonkeyPatch) -> None:
    def has_button() -> bool:
        dashboard = TrainingDashboard(CONFIG)
        return dashboard.inspect in dashboard.panel.children[0].children[0].children

    assert has_button()
    monkeypatch.setattr("rlvr_lab.widgets.dashboards.can_inspect", lambda config: False)
    assert not has_button()
