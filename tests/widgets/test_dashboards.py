"""Dashboards without a browser: a fake trainer, a fake display, real buttons and threads."""

import html
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

import ipywidgets as W
import pytest
from IPython.display import Image
from matplotlib.figure import Figure

from rlvr_lab.experiments.kimi.length import DelayedLengthConfig
from rlvr_lab.objectives.objective import ALGORITHMS
from rlvr_lab.pictures import runs
from rlvr_lab.pictures import style as plots
from rlvr_lab.pictures.panels import MIXED
from rlvr_lab.pictures.style import new_figure
from rlvr_lab.tasks.worlds import WORLDS
from rlvr_lab.training.policy_gradient import PRESETS, PolicyGradientConfig
from rlvr_lab.widgets import dashboards, words
from rlvr_lab.widgets import live_figures as live
from rlvr_lab.widgets.controls import Controls
from rlvr_lab.widgets.dashboards import TrainingDashboard
from rlvr_lab.widgets.grpo import draw_exact_grpo, exact_grpo_dashboard
from rlvr_lab.widgets.live_figures import ExactDashboard, exact_dashboard, watch
from rlvr_lab.widgets.painter import Painter

PNG = b"\x89PNG"


class Screen:
    """Stands for the notebook: keeps what was displayed and every frame of a handle."""

    def __init__(self) -> None:
        self.shown: list = []
        self.frames: list = []

    def display(self, thing, display_id: bool = False):
        self.shown.append(thing)
        return self if display_id else None

    def update(self, frame) -> None:
        self.frames.append(frame)


class FakeTrainer:
    """``train`` with a clock in place of a model; each step waits until it is let through."""

    def __init__(self, pause: float = 0.0, fails_at: int | None = None) -> None:
        self.pause = pause
        self.fails_at = fails_at
        self.gate = threading.Semaphore(0)
        self.held = False
        self.seen: list[PolicyGradientConfig] = []
        self.starts: list[float] = []

    def __call__(
        self,
        config: PolicyGradientConfig,
        *,
        live_config: Callable[[], PolicyGradientConfig],
        watch: object = None,
    ) -> Iterator[dict]:
        self.starts.append(time.monotonic())
        for step in range(1, config.steps + 1):
            if self.held:
                assert self.gate.acquire(timeout=10)
            time.sleep(self.pause)
            if step == self.fails_at:
                raise FloatingPointError(f"step {step}: the loss is <nan>")
            latest = live_config()
            changed, config = config.changes_to(latest), latest
            self.seen.append(config)
            yield {
                "step": step,
                "reward": 0.5,
                "pass_rate": 0.25,
                "kl": 0.1,
                "length": 9.0,
                "length_right": None,
                "length_wrong": 9.0,
                "entropy": 1.0,
                "changed": changed,
                "samples": [
                    {"prompt": "1+2?", "completion": "=3", "reason": "right", "reward": 1.1},
                    {
                        "prompt": "<b>",
                        "completion": "<script>x</script>",
                        "reason": "no_answer",
                        "reward": 0.0,
                    },
                ],
            }


def wait(condition: Callable[[], object], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.005)


def says(dashboard: TrainingDashboard) -> str:
    return html.unescape(dashboard.status.value)


def ended(dashboard: TrainingDashboard) -> bool:
    """The thread has said its last word and drawn its last frame."""
    alive = any(thread.is_alive() for thread in TrainingDashboard._threads)
    return not (alive or dashboard.running or dashboard.buttons["run"].disabled)


@pytest.fixture
def screen(monkeypatch: pytest.MonkeyPatch) -> Iterator[Screen]:
    screen = Screen()
    monkeypatch.setattr(Painter, "start", lambda self: None)  # figures are drawn in this process
    for module in (dashboards, live):
        monkeypatch.setattr(module, "display", screen.display)
    for module in (runs, live):
        # Figures are made, and not rendered: that costs the time.
        monkeypatch.setattr(module, "show", lambda _, alt: Image(PNG, format="png", alt=alt))
    yield screen
    for thread in TrainingDashboard._stop_others():
        thread.join(10)
        assert not thread.is_alive()


def start(trainer: FakeTrainer, steps: int = 4, **options) -> TrainingDashboard:
    dashboard = TrainingDashboard(train=trainer, **options)
    dashboard.controls.widgets["steps"].value = steps
    dashboard.show()
    return dashboard


# --- a run ----------------------------------------------------------------------------------------


def test_run_fills_the_curves_and_says_how_it_ended(
    screen: Screen, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runs, "show", plots.show)
    dashboard = start(FakeTrainer())
    dashboard.buttons["run"].click()
    wait(lambda: ended(dashboard))
    assert [r["step"] for r in dashboard.records] == [1, 2, 3, 4]
    assert "Finished after 4 of 4 steps" in says(dashboard)
    assert "pass rate 0.25" in says(dashboard)
    assert screen.frames[-1].data.startswith(PNG)
    assert len(screen.frames[-1].data) > 3000
    assert "over 4 steps" in screen.frames[-1].alt
    assert "over 4 steps" in dashboard.figure.value
    assert dashboard.buttons["stop"].disabled


def test_a_run_does_not_wait_for_its_pictures(
    screen: Screen, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawing, go_on = threading.Event(), threading.Event()

    def draw(self: TrainingDashboard) -> None:
        drawing.set()
        assert go_on.wait(60)

    dashboard = start(FakeTrainer(pause=0.001), steps=1000)
    monkeypatch.setattr(TrainingDashboard, "_refresh", draw)
    dashboard.run()
    assert drawing.wait(60)
    before = len(dashboard.records)
    wait(lambda: len(dashboard.records) > before + 20)
    dashboard.stop()
    wait(lambda: not dashboard.buttons["run"].disabled)  # not even Stop waits
    go_on.set()
    wait(lambda: ended(dashboard))
    assert "Stopped after" in says(dashboard)


def test_the_last_word_is_not_overtaken(screen: Screen, monkeypatch: pytest.MonkeyPatch) -> None:
    late, go_on = threading.Event(), threading.Event()

    def slow(run: words.LiveRun) -> str:
        late.set()
        assert go_on.wait(60)
        return "still at an early step"

    monkeypatch.setattr(dashboards, "progress", slow)
    dashboard = start(FakeTrainer(pause=0.001), steps=30)
    dashboard.run()
    assert late.wait(60)
    wait(lambda: len(dashboard.records) == 30 and not dashboard.running)
    threading.Timer(0.2, go_on.set).start()
    wait(lambda: ended(dashboard) and go_on.is_set())
    time.sleep(0.3)
    assert "Finished after 30 of 30 steps" in says(dashboard)


def test_every_frame_shows_the_latest_step(screen: Screen) -> None:
    trainer = FakeTrainer()
    trainer.held = True
    dashboard = start(trainer, steps=3)
    dashboard.run()
    for step in (1, 2, 3):
        frames = len(screen.frames)
        trainer.gate.release()
        wait(lambda old=frames: len(screen.frames) > old)
        assert f"over {step} steps" in screen.frames[-1].alt
        if step == 2:  # nothing is drawn where nothing is new
            frames = len(screen.frames)
            time.sleep(4 * dashboards.SHORTEST)
            assert len(screen.frames) == frames
    wait(lambda: ended(dashboard))


def test_a_dashboard_that_is_shown_has_its_pictures_drawn_elsewhere(
    screen: Screen, monkeypatch: pytest.MonkeyPatch
) -> None:
    painter = Painter(runs.picture_of_run)
    monkeypatch.undo()
    monkeypatch.setattr(dashboards, "display", screen.display)
    monkeypatch.setattr(dashboards, "PAINTER", painter)
    dashboard = TrainingDashboard(train=FakeTrainer())
    assert painter._pipe is None
    dashboard.show()
    here = screen.shown[-1]
    wait(painter._is_ready)
    monkeypatch.setattr(painter, "_draw", None)  # whoever draws now is not this process
    dashboard._refresh()
    there = screen.frames[-1]
    assert (there.data, there.alt) == (here.data, here.alt)
    dashboard.run()
    wait(lambda: ended(dashboard))
    assert f"over {len(dashboard.records)} steps" in screen.frames[-1].alt
    assert "could not be drawn" not in says(dashboard)
    painter._pipe.close()


@pytest.mark.parametrize("part", ["pictures.runs.plot_run", "widgets.dashboards.log_html"])
def test_a_picture_that_cannot_be_drawn_says_why_and_the_run_goes_on(
    part: str, screen: Screen, monkeypatch: pytest.MonkeyPatch
) -> None:
    dashboard = start(FakeTrainer(pause=0.02), steps=20)

    def broken(*_: object, **__: object) -> None:
        raise ValueError("panels: <none>")

    monkeypatch.setattr(f"rlvr_lab.{part}", broken)
    dashboard.run()
    wait(lambda: ended(dashboard))
    assert len(dashboard.records) == 20
    assert "The picture could not be drawn. Panels: <none>." in says(dashboard)
    assert "<none>" not in dashboard.status.value


def test_while_it_runs_the_status_says_pace_and_time_left(
    screen: Screen, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dashboards, "SHORTEST", 0.0)
    monkeypatch.setattr(TrainingDashboard, "_refresh", lambda self: None)
    trainer = FakeTrainer(pause=0.02)
    dashboard = start(trainer, steps=1000)
    dashboard.run()
    wait(lambda: "s left" in says(dashboard))
    assert "of 1000" in says(dashboard)
    assert "s a step" in says(dashboard)


def test_frames_are_throttled(screen: Screen) -> None:
    dashboard = start(FakeTrainer(pause=0.001), steps=150)
    dashboard.run()
    wait(lambda: ended(dashboard))
    assert len(dashboard.records) == 150
    assert len(screen.frames) < 20


def test_stop_ends_the_thread_and_keeps_the_curves(screen: Screen) -> None:
    dashboard = start(FakeTrainer(pause=0.05), steps=1000)
    dashboard.run()
    wait(lambda: len(dashboard.records) >= 2)
    dashboard.buttons["stop"].click()
    assert "Stopping" in says(dashboard)
    wait(lambda: ended(dashboard), seconds=20)  # the whole run would take 50 seconds or more
    assert 2 <= len(dashboard.records) < 1000
    assert "Stopped after" in says(dashboard)


def test_a_second_run_is_refused_while_one_goes_on(screen: Screen) -> None:
    trainer = FakeTrainer(pause=0.02)
    dashboard = start(trainer, steps=1000)
    dashboard.run()
    wait(lambda: trainer.starts)
    assert dashboard.buttons["run"].disabled
    dashboard.run()
    assert "already" in says(dashboard)
    assert len(trainer.starts) == 1


def test_an_error_becomes_a_sentence_and_the_curves_stay(screen: Screen) -> None:
    dashboard = start(FakeTrainer(fails_at=3), steps=9)
    dashboard.run()
    wait(lambda: ended(dashboard))
    assert "Step 3: the loss is <nan>." in says(dashboard)
    assert "<nan>" not in dashboard.status.value
    assert len(dashboard.records) == 2
    assert "over 2 steps" in screen.frames[-1].alt
    dashboard.run()
    wait(lambda: ended(dashboard))
    assert len(dashboard._earlier) == 1


def test_settings_that_make_no_sense_do_not_start(screen: Screen) -> None:
    trainer = FakeTrainer()
    dashboard = start(trainer)
    dashboard.controls._base = replace(PRESETS["grpo"], clip_low=0.2, clip_high=0.0)
    dashboard.controls.widgets["epsilon"].value = 0.1
    dashboard.run()
    assert "clip_high" in says(dashboard)
    assert not trainer.starts


# --- controls during a run ------------------------------------------------------------------------


def test_a_switch_acts_at_the_next_step_and_is_logged(screen: Screen) -> None:
    trainer = FakeTrainer()
    trainer.held = True
    dashboard = start(trainer, steps=5)
    dashboard.run()
    trainer.gate.release()
    wait(lambda: len(dashboard.records) == 1)
    dashboard.controls.widgets["length"].value = False
    dashboard.controls.widgets["beta"].value = 0.1
    trainer.gate.release(4)
    wait(lambda: ended(dashboard))
    assert [c.average for c in trainer.seen] == ["sequence"] + 4 * ["constant"]
    assert [c.kl_coef for c in trainer.seen] == [0.0] + 4 * [0.1]
    assert "step 2: " in dashboard.log.value
    assert "normalise by length: on → off" in dashboard.log.value
    assert "At step 2: " in screen.frames[-1].alt


def test_what_is_fixed_during_a_run_is_locked(screen: Screen) -> None:
    trainer = FakeTrainer(pause=0.01)
    dashboard = start(trainer, steps=1000)
    widgets = dashboard.controls.widgets
    dashboard.run()
    assert [name for name, w in widgets.items() if w.disabled] == ["world", "steps", "seed"]
    widgets["preset"].value = "dr-grpo"
    assert dashboard.live_config().average == "constant"
    assert dashboard.live_config().steps == 1000
    dashboard.stop()
    wait(lambda: ended(dashboard))
    assert not any(w.disabled for w in widgets.values())


# --- comparing ------------------------------------------------------------------------------------


def drawn(monkeypatch: pytest.MonkeyPatch) -> list[dict]:
    """What ``plot_run`` is asked for, call by call."""
    calls: list[dict] = []
    real = runs.plot_run
    monkeypatch.setattr(
        runs, "plot_run", lambda records, **more: calls.append(more) or real(records, **more)
    )
    return calls


def test_compare_lays_earlier_runs_under_the_new_one(
    screen: Screen, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = drawn(monkeypatch)
    dashboard = start(FakeTrainer())
    dashboard.run()
    wait(lambda: ended(dashboard))
    assert calls[-1]["earlier"] == {}
    dashboard.controls.widgets["length"].value = False
    dashboard.controls.widgets["seed"].value = 7
    dashboard.run()
    wait(lambda: ended(dashboard))
    assert calls[-1]["label"] == "run 2: GRPO, normalise by length off, divide by std on, seed 7"
    assert list(calls[-1]["earlier"]) == [
        "run 1: GRPO, normalise by length on, divide by std on, seed 0"
    ]
    frames = len(screen.frames)
    dashboard.compare.value = False
    assert calls[-1]["earlier"] == {}
    dashboard.compare.value = True
    assert len(calls[-1]["earlier"]) == 1
    assert len(screen.frames) == frames + 2


def test_only_the_latest_runs_of_the_same_world_are_compared(
    screen: Screen, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = drawn(monkeypatch)
    dashboard = start(FakeTrainer(), steps=1)
    for _ in range(7):
        dashboard.run()
        wait(lambda: ended(dashboard))
    assert [name.split(":")[0] for name in calls[-1]["earlier"]] == [
        f"run {n}" for n in (3, 4, 5, 6)
    ]
    dashboard.controls.widgets["world"].value = "lab"
    dashboard.run()
    wait(lambda: ended(dashboard))
    assert calls[-1]["earlier"] == {}


def test_reset_forgets_everything_even_during_a_run(screen: Screen) -> None:
    trainer = FakeTrainer(pause=0.02)
    dashboard = start(trainer, steps=1000)
    dashboard.controls.widgets["length"].value = False
    dashboard.run()
    wait(lambda: dashboard.records)
    dashboard.compare.value = False
    dashboard.buttons["reset"].click()
    assert not dashboard.running
    assert dashboard.records == []
    assert dashboard.compare.value
    assert dashboard.live_config() == PRESETS["grpo"]
    assert not dashboard.buttons["run"].disabled
    for thread in TrainingDashboard._threads:
        thread.join(5)
    assert dashboard.records == []
    assert "forgotten" in says(dashboard)
    assert "no step yet" in screen.frames[-1].alt


def test_a_new_dashboard_ends_the_run_of_the_old_one(screen: Screen) -> None:
    trainer = FakeTrainer(pause=0.02)
    old = start(trainer, steps=1_000_000)
    old.run()
    wait(lambda: old.records)
    new = start(FakeTrainer())
    wait(lambda: ended(old))
    new.run()
    wait(lambda: ended(new))
    assert len(new.records) == 4


# --- what a model wrote ---------------------------------------------------------------------------


def test_samples_are_escaped_and_marked_by_more_than_colour(screen: Screen) -> None:
    dashboard = start(FakeTrainer())
    dashboard.run()
    wait(lambda: ended(dashboard))
    shown = dashboard.samples.value
    assert "<script>" not in shown
    assert "<b>" not in shown
    assert "&lt;script&gt;x&lt;/script&gt;" in shown
    assert "✓ right" in shown
    assert "✗ no answer" in shown


def test_quotes_cannot_leave_an_attribute() -> None:
    sample = {"prompt": "", "completion": '" onmouseover="x', "reason": "wrong", "reward": 0.0}
    assert '" onmouseover' not in words.samples_html([sample])


# --- the controls alone ---------------------------------------------------------------------------


def test_every_control_has_a_tooltip_a_class_and_a_keyboard(screen: Screen) -> None:
    dashboard = start(FakeTrainer())
    everything = {
        **dashboard.controls.widgets,
        **dashboard.buttons,
        "compare": dashboard.compare,
    }
    for name, widget in everything.items():
        assert widget.tooltip, name
        assert f"rl-{name}" in widget._dom_classes
        assert isinstance(widget, W.DOMWidget)
        assert widget.tabbable is not False
    for name in ("status", "figure", "log", "samples"):
        assert f"rl-{name}" in getattr(dashboard, name)._dom_classes


@pytest.mark.parametrize("world", [name for name, world in WORLDS.items() if world.ready])
@pytest.mark.parametrize("name", PRESETS)
def test_controls_give_back_the_preset_they_show(name: str, world: str) -> None:
    controls = Controls(None, PRESETS)
    controls.widgets["world"].value = world
    controls.widgets["preset"].value = name
    assert controls.config() == replace(PRESETS[name], world=world, **WORLDS[world].settings)


def test_the_two_switches() -> None:
    controls = Controls(None, PRESETS)
    length, std = controls.widgets["length"], controls.widgets["std"]
    length.value = std.value = False
    assert (controls.config().average, controls.config().divide_by_std) == ("constant", False)
    controls.widgets["preset"].value = "dapo"
    assert controls.config().average == "token"
    length.value = True
    assert controls.config().average == "sequence"
    length.value = False
    assert controls.config().average == "token"
    controls.widgets["preset"].value = "rloo"
    assert std.disabled
    assert controls.config().divide_by_std is False


def test_the_kl_has_a_place_and_an_estimator() -> None:
    controls = Controls(None, PRESETS)
    assert (controls.config().kl_in, controls.config().kl_estimator) == ("loss", "k3")
    controls.widgets["kl_in"].value = "reward"
    controls.widgets["estimator"].value = "k2"
    assert (controls.config().kl_in, controls.config().kl_estimator) == ("reward", "k2")
    controls.widgets["preset"].value = "rloo"
    assert controls.config() == PRESETS["rloo"]


def test_the_exact_dashboard_of_grpo_says_what_it_draws() -> None:
    panel = exact_grpo_dashboard()
    values = {name: widget.value for name, widget in panel.controls.items()}
    figure, words = draw_exact_grpo(**values | {"beta": 1.0})
    assert "β = 1 (k3 in the loss)" in words and "after 25 steps" in words
    assert [ax.get_xlabel() for ax in figure.axes] == ["step", "step"]


def test_epsilon_keeps_the_gap_between_its_sides() -> None:
    controls = Controls(PRESETS["dapo"], PRESETS)
    controls.widgets["epsilon"].value = 0.1
    assert (controls.config().clip_low, controls.config().clip_high) == (0.1, 0.18)


def test_a_config_of_ones_own_opens_as_given_and_comes_back() -> None:
    own = PolicyGradientConfig(
        group_size=6, kl_coef=0.02, prompts_per_step=4, learning_rate=1e-3, seed=3
    )
    controls = Controls(own, PRESETS)
    assert controls.preset == "as given"
    assert controls.config() == own
    controls.widgets["preset"].value = "dapo"
    controls.reset()
    assert controls.config() == own
    laboratory = replace(PRESETS["dr-grpo"], world="lab", **WORLDS["lab"].settings)
    opened = Controls(laboratory, PRESETS)
    assert opened.preset == "Dr. GRPO"
    opened.widgets["world"].value = "sums"
    assert opened.config() == PRESETS["dr-grpo"]


TWO_LANGUAGES = PolicyGradientConfig(
    world="codes",
    max_new_tokens=24,
    rewards={"accuracy": 1.0, "format": 0.1, "language": 0.0, "mixed": 0.0},
)


def test_the_consistency_reward_has_a_weight_only_where_it_is_a_reward() -> None:
    assert "consistency" not in Controls(None, PRESETS).widgets
    controls = Controls(TWO_LANGUAGES, {"grpo": TWO_LANGUAGES})
    assert controls.config() == TWO_LANGUAGES
    controls.widgets["consistency"].value = 0.3
    assert controls.config().rewards == TWO_LANGUAGES.rewards | {"language": 0.3}
    assert TWO_LANGUAGES.rewards["language"] == 0.0
    controls.reset()
    assert controls.config() == TWO_LANGUAGES
    odd = replace(TWO_LANGUAGES, rewards={"accuracy": 1.0, "language": 0.2})
    assert Controls(odd, PRESETS).config() == odd


def test_the_length_reward_has_a_weight_and_a_start_where_the_configuration_has_them() -> None:
    assert not {"length_weight", "length_from"} & set(Controls(TWO_LANGUAGES, PRESETS).widgets)
    start = DelayedLengthConfig(length_from=4)
    presets = {name: replace(start, **row) for name, row in ALGORITHMS.items()}
    controls = Controls(start, presets)
    assert controls.config() == start and controls.preset == "GRPO"
    controls.widgets["length_weight"].value = 0.25
    controls.widgets["length_from"].value = 21
    wanted = replace(start, rewards=start.rewards | {"length": 0.25}, length_from=21)
    assert controls.config() == wanted
    controls.widgets["preset"].value = "dr-grpo"
    assert controls.config() == presets["dr-grpo"]
    controls.reset()
    assert controls.config() == start
    assert "length reward from step 4" in describe_settings(start)
    assert "weight of the length reward 1" in describe_settings(start)


def describe_settings(config: PolicyGradientConfig) -> str:
    other = replace(config, rewards=config.rewards | {"length": 0.5}, length_from=9)
    return words.name_runs([words.LiveRun(1, "GRPO", config), words.LiveRun(2, "GRPO", other)])[0]


def test_the_weight_moves_during_a_run_and_the_picture_shows_mixed_languages(
    screen: Screen, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls, trainer = drawn(monkeypatch), FakeTrainer()
    trainer.held = True
    dashboard = start(trainer, config=TWO_LANGUAGES, presets={"grpo": TWO_LANGUAGES})
    dashboard.run()
    trainer.gate.release()
    wait(lambda: len(dashboard.records) == 1)
    dashboard.controls.widgets["consistency"].value = 0.3
    trainer.gate.release(3)
    wait(lambda: ended(dashboard))
    assert [c.rewards["language"] for c in trainer.seen] == [0.0, 0.3, 0.3, 0.3]
    assert "weight of the consistency reward: 0.0 → 0.3" in dashboard.log.value
    assert calls and all(call["panels"][-1] == MIXED for call in calls)
    assert "mixed languages over 4 steps" in screen.frames[-1].alt
    assert "mixed languages over 4 steps" in dashboard.figure.value
    calls.clear()
    start(FakeTrainer())
    assert {tuple(call["panels"][-1].curves) for call in calls} == {("entropy",)}
    first, second = words.name_runs(
        [
            words.LiveRun(1, "GRPO", TWO_LANGUAGES),
            words.LiveRun(
                2, "GRPO", replace(TWO_LANGUAGES, rewards={"accuracy": 1.0, "language": 0.3})
            ),
        ]
    )
    assert "weight of the consistency reward 0," in first
    assert "weight of the consistency reward 0.3" in second


def test_no_preset_and_no_config_is_refused() -> None:
    with pytest.raises(ValueError, match="presets"):
        Controls(None, {})


# --- the simple drivers ---------------------------------------------------------------------------


def test_watch_returns_the_records_and_draws_the_last_frame(screen: Screen) -> None:
    trainer, config = FakeTrainer(), PolicyGradientConfig(steps=5)
    records = watch(trainer(config, live_config=lambda: config), every=60, total=5)
    assert len(records) == 5
    assert len(screen.frames) == 1
    assert "over 5 steps" in screen.frames[-1].alt


def test_watch_draws_another_picture_when_it_is_given_one(screen: Screen) -> None:
    drawn = []

    def draw(seen: list[dict]) -> tuple[Figure, str]:
        drawn.append(len(seen))
        return new_figure()[0], f"{len(seen)} records"

    assert watch(iter([{"step": 1}, {"step": 2}]), draw=draw) == [{"step": 1}, {"step": 2}]
    assert (drawn[0], drawn[-1]) == (0, 2)


def test_watch_survives_an_interruption(screen: Screen, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupted() -> Iterator[dict]:
        yield {"step": 1, "reward": 0.5, "changed": []}
        raise KeyboardInterrupt

    assert len(watch(interrupted())) == 1
    assert "1 steps so far are kept" in capsys.readouterr().out
    assert "over 1 steps" in screen.frames[-1].alt


def test_watch_draws_what_there_was_before_an_error(screen: Screen) -> None:
    trainer, config = FakeTrainer(fails_at=3), PolicyGradientConfig(steps=5)
    with pytest.raises(FloatingPointError):
        watch(trainer(config, live_config=lambda: config), every=60)
    assert "over 2 steps" in screen.frames[-1].alt


def test_an_exact_picture_follows_its_controls_and_skips_what_is_stale(screen: Screen) -> None:
    asked: list[int] = []

    def draw(n: int) -> tuple:
        asked.append(n)
        time.sleep(0.05)
        return new_figure()[0], f"n is {n}"

    slider = W.IntSlider(value=3, max=1000)
    exact_dashboard(draw, n=slider)
    assert asked == [3]
    assert "rl-exact" in screen.shown[0]._dom_classes
    for n in range(4, 60):
        slider.value = n
    wait(lambda: screen.frames and screen.frames[-1].alt == "n is 59")
    slider.notify_change(  # the news of a value that was drawn before the news came
        {"name": "value", "type": "change", "owner": slider, "old": 58, "new": 59}
    )
    time.sleep(0.2)
    assert asked[-2] != 59, "it goes on drawing what it has drawn"
    assert len(asked) < 20


def test_an_exact_picture_that_fails_says_so_and_recovers(screen: Screen) -> None:
    def draw(n: int) -> tuple:
        if n == 1:
            raise ValueError("n: must not be <1>")
        return new_figure()[0], f"n is {n}"

    dashboard = ExactDashboard(draw, n=W.IntSlider(value=0))
    dashboard.show()
    dashboard.controls["n"].value = 1
    wait(lambda: dashboard.status.value == "N: must not be &lt;1&gt;.")
    dashboard.controls["n"].value = 2
    wait(lambda: screen.frames and screen.frames[-1].alt == "n is 2")
    wait(lambda: dashboard.status.value == "")


def test_a_picture_that_grows_is_shown_while_it_grows_and_ends_when_a_control_moves(
    screen: Screen, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "SHORTEST", 0.0)
    ready, ended = threading.Event(), threading.Event()

    def draw(n: int):
        for step in (1, 2, 3):
            if n == 1 and step == 2:
                ready.set()
                assert ended.wait(60)
            yield new_figure()[0], f"n is {n}, step {step}"

    dashboard = ExactDashboard(draw, n=W.IntSlider(value=0))
    dashboard.show()
    assert screen.shown[-1].alt == "n is 0, step 1"
    assert [frame.alt for frame in screen.frames] == ["n is 0, step 2", "n is 0, step 3"]
    dashboard.controls["n"].value = 1
    assert ready.wait(60)
    dashboard.controls["n"].value = 2
    ended.set()
    wait(lambda: screen.frames[-1].alt == "n is 2, step 3")
    said = [frame.alt for frame in screen.frames]
    assert "n is 1, step 1" in said
    assert "n is 1, step 2" not in said


def test_a_picture_that_was_ended_is_drawn_again_when_its_control_comes_back(
    screen: Screen, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "SHORTEST", 0.0)
    slider = W.IntSlider(value=0)

    def draw(n: int):
        try:
            yield new_figure()[0], f"n is {n}, begun"
            if n == 1 and "n is 1, ended" not in said:
                slider.value = 2
            yield new_figure()[0], f"n is {n}, finished"
        except GeneratorExit:
            said.append(f"n is {n}, ended")
            slider.value = 1

    said: list[str] = []
    ExactDashboard(draw, n=slider).show()
    slider.value = 1
    wait(lambda: screen.frames[-1].alt == "n is 1, finished")
    assert said == ["n is 1, ended"]
    assert not any("n is 2" in frame.alt for frame in screen.frames)


def test_a_picture_that_grows_fast_shows_its_first_and_last_state(screen: Screen) -> None:
    def draw(n: int):
        yield from ((new_figure()[0], f"step {step}") for step in range(5))

    dashboard = ExactDashboard(draw, n=W.IntSlider(value=0))
    dashboard.controls["n"].value = 3  # before it is shown
    dashboard.show()
    assert [screen.shown[-1].alt, *(frame.alt for frame in screen.frames)] == ["step 0", "step 4"]
