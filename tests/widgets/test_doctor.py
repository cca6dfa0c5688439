"""The doctor under a dashboard: a list that a screen reader can follow, quiet when all is well."""

import html
import re

import pytest

from rlvr_lab.experiments.recorded import recorded
from rlvr_lab.records.doctor_rule import Finding
from rlvr_lab.widgets import doctor
from rlvr_lab.widgets.dashboards import TrainingDashboard
from rlvr_lab.widgets.doctor import diagnosis_html, findings_html


def plain(page: str) -> str:
    return html.unescape(re.sub("<[^>]*>", "", page))


def test_a_healthy_run_is_left_in_peace() -> None:
    (run,) = recorded("sums_grpo_seed0").runs
    page = diagnosis_html(run.records, run.config)
    assert "The doctor finds nothing." in page and "Remedy:" in plain(page)
    ill, _, notes = page.partition("<details>")
    assert "<li" not in ill and notes.count("<li") == 3 and "<summary>3 notes</summary>" in notes


def test_a_sick_run_is_named_with_evidence_and_remedy() -> None:
    run = next(r for r in recorded("museum").runs if r.config.max_new_tokens == 8)
    page = diagnosis_html(run.records, run.config)
    assert "The doctor finds: answers cut off." in page
    assert "limit: 8 tokens" in page and "Raise the limit on new tokens" in page
    assert page.count('role="status"') == 1 and page.startswith('<section aria-label="Run doctor"')


def test_it_waits_for_the_third_record_and_never_raises(monkeypatch) -> None:
    (run,) = recorded("sums_grpo_seed0").runs
    assert diagnosis_html(run.records[:2], run.config) == ""
    for count in (3, 9):
        assert "finds nothing yet. Most of its rules need 10 records." in diagnosis_html(
            run.records[:count], run.config
        )
    assert "The doctor finds nothing." in diagnosis_html(run.records[:10], run.config)

    def fails(*_: object) -> None:
        raise TypeError("a <metric> of its own")

    monkeypatch.setattr(doctor, "diagnose", fails)
    page = diagnosis_html(run.records, run.config)
    assert "could not read this run (a &lt;metric&gt; of its own)" in page


def test_what_comes_from_a_record_is_escaped() -> None:
    one = Finding("<b>", "illness", "<i> is nan", "<u>", "<s>")
    page = findings_html([one])
    assert not re.search("<(b|i|u|s)>", page)


@pytest.fixture
def drawn(monkeypatch) -> TrainingDashboard:
    from rlvr_lab.widgets import dashboards

    monkeypatch.setattr(dashboards, "display", lambda *_, **__: None)
    return TrainingDashboard()


def test_the_dashboard_shows_it_and_follows_the_run(drawn: TrainingDashboard) -> None:
    run = next(r for r in recorded("museum").runs if r.config.max_new_tokens == 8)
    assert drawn.doctor in drawn.panel.children and drawn.doctor.value == ""
    drawn._draw(run.records[:1])
    assert drawn.doctor.value == ""
    drawn._draw(run.records[:8])
    assert "answers cut off" in drawn.doctor.value
    drawn._draw([])
    assert drawn.doctor.value == ""
