"""The event simulation against closed forms, hand-made cases and a simulation that ticks second by second."""

import math
from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from itertools import cycle, islice, pairwise, product

import numpy as np
import pytest

from rlvr_lab.exact.rollout_devices import Cluster
from rlvr_lab.exact.rollout_schedules import (
    asynchronous,
    heavy_tailed_lengths,
    partial,
    synchronous,
)
from rlvr_lab.exact.rollout_timeline import Timeline

Schedule = Callable[..., Timeline]
CLUSTER = Cluster(devices=5, decode_rate=7.0, train_rate=11.0, transfer=1.5)
SCHEDULES: dict[str, Schedule] = {
    "synchronous": lambda x, c=CLUSTER: synchronous(x, c, 6, 7),
    "partial": lambda x, c=CLUSTER: partial(x, c, 6, 7, budget=40.0),
    "unbounded": lambda x, c=CLUSTER: asynchronous(x, c, 6, 7, 3),
    "one ahead": lambda x, c=CLUSTER: asynchronous(x, c, 6, 7, 3, ahead=1),
    "one ahead, in order": lambda x, c=CLUSTER: asynchronous(x, c, 6, 7, 3, 1, in_order=True),
    "many writers": lambda x, c=CLUSTER: asynchronous(x, c, 6, 7, 4),
}
ALL = pytest.mark.parametrize("schedule", SCHEDULES.values(), ids=SCHEDULES)


def same_run(a: Timeline, b: Timeline) -> bool:
    """Equality without pytest's comparison of two long texts, which takes minutes when it fails."""
    return a == b


def tailed(seed: int = 0) -> "map[float]":
    return heavy_tailed_lengths(mean=50, sigma=1.0, cap=900, seed=seed)


# --- what holds for every schedule ------------------------------------------------------------------


@ALL
@pytest.mark.parametrize("seed", range(3))
def test_tokens_are_conserved(schedule: Schedule, seed: int) -> None:
    run = schedule(tailed(seed))
    written: dict[int, float] = defaultdict(float)
    for event in run.events:
        if event.kind == "rollout":
            written[event.answer] += event.tokens
    taken = [i for update in run.updates for i in update.answers]
    assert len(taken) == len(set(taken)), "an answer is trained twice"
    for i, answer in enumerate(run.answers):
        assert sum(answer.written.values()) == pytest.approx(written[i], rel=1e-12)
        assert (answer.trained is not None) == (i in taken)
        whole = answer.finished is not None
        assert whole == math.isclose(written[i], answer.length, rel_tol=1e-9)
        assert whole or written[i] < answer.length
        assert whole or answer.trained is None, "an unfinished answer is trained"
    trained = sum(e.tokens for e in run.events if e.kind == "train")
    assert trained == pytest.approx(sum(run.answers[i].length for i in taken), rel=1e-12)
    assert trained == pytest.approx(run.trained_tokens, rel=1e-12)
    in_flight = sum(sum(a.written.values()) for a in run.answers if a.trained is None)
    assert sum(written.values()) == pytest.approx(trained + in_flight, rel=1e-9)
    assert run.throughput == pytest.approx(trained / run.end, rel=1e-12)


@ALL
def test_a_device_does_one_thing_at_a_time_and_its_row_has_no_gap(schedule: Schedule) -> None:
    run = schedule(tailed())
    assert {event.kind for event in run.events} == {"rollout", "train", "transfer", "idle"}
    for device in range(5):
        row = sorted((e for e in run.events if e.device == device), key=lambda e: e.start)
        assert row[0].start == 0 and row[-1].end == pytest.approx(run.end)
        for before, after in pairwise(row):
            assert after.start == pytest.approx(before.end, abs=1e-6)
        assert all(event.seconds > 0 for event in row)
        kinds = {e.kind for e in row}
        assert ("rollout" in kinds) == (device in run.rollout_devices)
        assert ("train" in kinds) == (device in run.train_devices)
    shares = [run.share(kind) for kind in ("rollout", "train", "transfer", "idle")]
    assert sum(shares) == pytest.approx(1, rel=1e-9)
    assert run.utilisation == pytest.approx(sum(shares[:2]), rel=1e-12)


@ALL
def test_time_and_tokens_of_an_event_fit_together(schedule: Schedule) -> None:
    run = schedule(tailed())
    for event in run.events:
        rate = {"rollout": 7.0, "train": 11.0}.get(event.kind)
        assert event.tokens == pytest.approx((rate or 0) * event.seconds, abs=1e-6)
        assert (event.answer is not None) == (event.kind == "rollout")


@ALL
def test_each_version_is_transferred_once_to_every_device(schedule: Schedule) -> None:
    run = schedule(tailed())
    assert [update.version for update in run.updates] == list(range(7))
    for device in range(5):
        row = [e for e in run.events if e.device == device and e.kind == "transfer"]
        assert [e.version for e in row] == list(range(1, 8))
        for event, update in zip(row, run.updates, strict=True):
            assert event.start == pytest.approx(update.end, abs=1e-9)
            assert event.seconds == pytest.approx(1.5)
    free = schedule(tailed(), replace(CLUSTER, transfer=0.0))
    assert "transfer" not in {event.kind for event in free.events}
    assert len(free.updates) == 7 and free.end < run.end


@ALL
def test_a_token_is_written_with_the_weights_that_have_arrived(schedule: Schedule) -> None:
    run = schedule(tailed())
    arrived = [0.0, *(update.end + 1.5 for update in run.updates)]
    for event in run.events:
        if event.kind in ("rollout", "train"):
            assert event.start >= arrived[event.version] - 1e-6
            assert event.end <= run.updates[event.version].end + 1e-6
    for update in run.updates:
        for i in update.answers:
            assert run.answers[i].finished <= update.start + 1e-6
            assert max(run.answers[i].written) <= update.version == run.answers[i].trained


@ALL
def test_the_same_lengths_give_the_same_run(schedule: Schedule) -> None:
    assert same_run(schedule(tailed()), schedule(tailed()))
    assert not same_run(schedule(tailed()), schedule(tailed(1)))


# --- equal lengths ----------------------------------------------------------------------------------


@pytest.mark.parametrize("budget", [math.inf, 30.0, 12.0, 20.0])
@pytest.mark.parametrize("batch", [4, 8, 20])
def test_equal_lengths_on_shared_hardware(batch: int, budget: float) -> None:
    """S · (⌈B/D⌉L/r + BL/(Dq) + τ), also in pieces: nobody overtakes anybody."""
    cluster = Cluster(4, decode_rate=3.0, train_rate=5.0, transfer=0.75)
    run = partial(cycle([30.0]), cluster, batch, 6, budget)
    useful = batch / 4 * 30 / 3 + batch * 30 / (4 * 5)
    assert run.end == pytest.approx(6 * (useful + 0.75), rel=1e-12)
    assert run.throughput == pytest.approx(batch * 30 / (useful + 0.75), rel=1e-12)
    assert run.utilisation == pytest.approx(useful / (useful + 0.75), rel=1e-12)
    assert run.share("transfer") == pytest.approx(0.75 / (useful + 0.75), rel=1e-12)
    assert run.share("idle") == 0


def test_a_batch_that_does_not_divide_leaves_devices_idle() -> None:
    run = synchronous(cycle([6.0]), Cluster(4, 3.0, 1.0, 0.0), 5, 2)
    assert run.end == pytest.approx(2 * (2 * 2 + 5 * 6 / 4), rel=1e-12)
    assert run.share("idle") == pytest.approx(2 * 3 * 2 / (4 * run.end), rel=1e-12)


@pytest.mark.parametrize("writers", [2, 3, 4, 6])
@pytest.mark.parametrize("each", [1, 3])
def test_equal_lengths_on_split_hardware(writers: int, each: int) -> None:
    """t + S·τ + (S − 1)·max(t, T) + T: the slower side sets the pace."""
    cluster, steps, batch = Cluster(7, 3.0, 5.0, 0.75), 6, writers * each
    t, big_t = each * 30 / 3, batch * 30 / ((7 - writers) * 5)
    run = asynchronous(cycle([30.0]), cluster, batch, steps, writers)
    end = t + steps * 0.75 + (steps - 1) * max(t, big_t) + big_t
    assert run.end == pytest.approx(end, rel=1e-12)
    assert run.throughput == pytest.approx(steps * batch * 30 / end, rel=1e-12)
    assert run.share("rollout", run.rollout_devices) == pytest.approx(
        1 - steps * 0.75 / end, rel=1e-9
    )
    assert run.share("train", run.train_devices) == pytest.approx(steps * big_t / end, rel=1e-12)


def test_no_step_ahead_is_the_synchronous_schedule_on_split_hardware() -> None:
    t, big_t = 10.0, 4 * 30 / (3 * 5)
    for in_order in (False, True):
        run = asynchronous(cycle([30.0]), Cluster(7, 3.0, 5.0, 0.75), 4, 6, 4, 0, in_order)
        assert run.end == pytest.approx(6 * (t + big_t + 0.75), rel=1e-12)
        assert run.staleness() == {0: 1.0}
    lengths = list(islice(tailed(), 36))
    split = asynchronous(lengths, CLUSTER, 6, 6, 3, ahead=0)
    shared = synchronous(lengths, replace(CLUSTER, devices=3), 6, 6)
    assert split.share("rollout", range(3)) * split.end == pytest.approx(
        shared.share("rollout") * shared.end
    )
    assert {frozenset(u.answers) for u in split.updates} == {
        frozenset(u.answers) for u in shared.updates
    }


def test_at_equal_lengths_the_best_split_only_equals_shared_hardware() -> None:
    """Both come to D / (1/r + 1/q) when nothing is transferred, apart from the first rollout."""
    cluster = Cluster(8, 60.0, 180.0, 0.0)
    limit = 8 / (1 / 60 + 1 / 180)
    assert synchronous(cycle([600.0]), cluster, 24, 50).throughput == pytest.approx(limit)
    found = [asynchronous(cycle([600.0]), cluster, 24, 40, r).throughput for r in (5, 6, 7)]
    assert int(np.argmax(found)) == 1 and 0.97 * limit < found[1] < limit


# --- the slowest answer -----------------------------------------------------------------------------


def test_the_expected_rollout_time_is_that_of_the_longest_answer() -> None:
    """E[max] = Σ_k ℓ_k (F(ℓ_k)^B − F(ℓ_{k−1})^B), by running every batch that can occur."""
    lengths, chances, batch = np.array([2.0, 5.0, 40.0]), np.array([0.5, 0.3, 0.2]), 4
    cluster = Cluster(batch, decode_rate=2.0, train_rate=9.0, transfer=0.0)
    mean = 0.0
    for picks in product(range(3), repeat=batch):
        run = synchronous(lengths[list(picks)], cluster, batch, 1)
        mean += chances[list(picks)].prod() * run.updates[0].start
    powers = np.concatenate([[0.0], np.cumsum(chances) ** batch])
    assert mean == pytest.approx(lengths @ np.diff(powers) / 2.0, rel=1e-12)


def test_the_next_answer_goes_to_the_device_that_is_free_first() -> None:
    run = synchronous([5.0, 1.0, 2.0, 1.0, 1.0], Cluster(2, 1.0, 1.0, 0.0), 5, 1)
    rows = {e.answer: (e.device, e.start) for e in run.events if e.kind == "rollout"}
    assert rows == {0: (0, 0.0), 1: (1, 0.0), 2: (1, 1.0), 3: (1, 3.0), 4: (1, 4.0)}


def test_one_device_never_waits() -> None:
    run = synchronous(tailed(), Cluster(1, 2.0, 4.0, 3.0), 3, 4)
    total = sum(islice(tailed(), 12))
    assert run.end == pytest.approx(total / 2 + total / 4 + 4 * 3, rel=1e-12)
    assert run.share("idle") == 0
    assert [u.answers for u in run.updates] == [(0, 1, 2), (3, 4, 5), (6, 7, 8), (9, 10, 11)]


# --- pieces -----------------------------------------------------------------------------------------


def test_an_infinite_budget_is_the_synchronous_schedule() -> None:
    for seed in range(3):
        whole = synchronous(tailed(seed), CLUSTER, 6, 7)
        assert same_run(partial(tailed(seed), CLUSTER, 6, 7, math.inf), whole)
        assert same_run(partial(tailed(seed), CLUSTER, 6, 7, 900.0), whole)
        assert whole.staleness() == {0: pytest.approx(1.0)} and whole.max_staleness == 0
        assert not same_run(partial(tailed(seed), CLUSTER, 6, 7, 60.0), whole)


def test_a_long_answer_is_continued_and_trained_once_by_hand() -> None:
    """Two devices, budget 3: the answer of 7 tokens is written by versions 0, 1 and 2."""
    run = partial([7.0, 2.0, 1.0, 3.0, 3.0], Cluster(2, 1.0, 2.0, 1.0), 2, 3, 3.0)
    assert [u.answers for u in run.updates] == [(1,), (2,), (0, 3)]
    assert run.answers[0].written == {0: 3.0, 1: 3.0, 2: 1.0}
    # iteration: rollouts + tokens / (2 · 2) + transfer
    assert run.end == pytest.approx((3 + 0.5 + 1) + (3 + 0.25 + 1) + (3 + 2.5 + 1))
    assert run.staleness() == {
        0: pytest.approx(7 / 13),
        1: pytest.approx(3 / 13),
        2: pytest.approx(3 / 13),
    }
    assert run.mean_staleness == pytest.approx(9 / 13) and run.max_staleness == 2
    assert run.versions_per_answer().tolist() == [3.0, 1.0, 1.0, 1.0]
    assert [x.tolist() for x in run.trained_lengths()] == [[2.0], [1.0], [7.0, 3.0]]
    assert len(run.answers) == 4 and run.waiting_lengths().tolist() == []


def test_an_iteration_that_finishes_nothing_makes_no_update() -> None:
    run = partial(cycle([10.0]), Cluster(2, 1.0, 1.0, 4.0), 2, 2, 4.0)
    assert run.end == pytest.approx(2 * (10 + 10 + 4))
    assert [u.start for u in run.updates] == [10.0, pytest.approx(34.0)]


# --- on separate devices ----------------------------------------------------------------------------


def ticking(
    lengths: list[int], writers: int, batch: int, steps: int, transfer: int, **bound
) -> tuple[list, list]:
    """The asynchronous schedule at one token per device and second, n seconds to train n tokens."""
    ahead, in_order = bound.get("ahead"), bound.get("in_order", False)
    version = clock = pause = training = 0
    written: list[dict[int, int]] = []
    at: dict[int, int] = {}
    ready: list[int] = []
    updates: list[tuple[tuple[int, ...], int]] = []
    while True:
        if pause:
            pause, clock = pause - 1, clock + 1
            continue
        for device in range(writers):
            limit = math.inf if ahead is None else batch * (version + ahead + 1)
            if device not in at and len(written) < limit:
                at[device] = len(written)
                written.append(defaultdict(int))
        if not training and len(updates) < steps:
            due = range(version * batch, version * batch + batch)
            queue = [i for i in due if i in ready] if in_order else ready[:batch]
            if len(queue) == batch:
                ready = [i for i in ready if i not in queue]
                updates.append((tuple(queue), clock))
                training = sum(lengths[i] for i in queue)
        clock += 1
        for device, answer in sorted(at.items()):
            written[answer][version] += 1
            if sum(written[answer].values()) == lengths[answer]:
                ready.append(answer)
                del at[device]
        if training:
            training -= 1
            if not training:
                version, pause = version + 1, transfer
                if version == steps:
                    return updates, [dict(parts) for parts in written]


@pytest.mark.parametrize("writers", [1, 3, 8])
@pytest.mark.parametrize("bound", [{}, {"ahead": 0}, {"ahead": 1}, {"ahead": 2, "in_order": True}])
@pytest.mark.parametrize("transfer", [0, 5])
def test_separate_devices_against_a_simulation_in_ticks(
    writers: int, bound: dict, transfer: int
) -> None:
    lengths = [int(x) for x in islice(heavy_tailed_lengths(12, 1.0, 90, seed=3), 400)]
    cluster = Cluster(writers + 1, 1.0, 1.0, float(transfer))
    run = asynchronous(lengths, cluster, 4, 6, writers, **bound)
    updates, written = ticking(lengths, writers, 4, 6, transfer, **bound)
    assert [(u.answers, pytest.approx(u.start)) for u in run.updates] == updates
    for answer, parts in zip(run.answers, written, strict=True):
        assert answer.written == {v: pytest.approx(n) for v, n in parts.items()}


def test_an_answer_that_others_overtake_by_hand() -> None:
    """Two writers, one trainer, two answers an update: the long answer 0 has tokens of three versions."""
    lengths, cluster = [8.0, 1.0, 1.0, 1.0, 2.0, *[9.0] * 9], Cluster(3, 1.0, 2.0, 1.0)
    run = asynchronous(lengths, cluster, 2, 3, rollout_devices=2)
    assert [u.answers for u in run.updates] == [(1, 2), (3, 4), (0, 5)]
    assert [(u.start, u.end) for u in run.updates] == [(2.0, 3.0), (6.0, 7.5), (16.0, 24.5)]
    assert run.answers[0].written == {0: 3.0, 1: 3.5, 2: 1.5}
    assert run.end == 25.5
    in_order = asynchronous(lengths, cluster, 2, 2, 2, in_order=True)
    assert [u.answers for u in in_order.updates] == [(0, 1), (2, 3)]


def test_in_order_no_token_is_older_than_ahead() -> None:
    fast = replace(CLUSTER, train_rate=4.0)
    for ahead in (0, 1, 2, 4):
        for seed in range(3):
            run = asynchronous(tailed(seed), fast, 6, 15, 4, ahead, in_order=True)
            assert run.max_staleness <= ahead
            for update in run.updates:
                first = 6 * update.version
                assert update.answers == tuple(range(first, first + 6))
        assert run.max_staleness == ahead, "the bound is reached"
    loose = [asynchronous(tailed(s), CLUSTER, 6, 15, 3, 1).max_staleness for s in range(3)]
    assert max(loose) > 1, "without the order a long answer becomes older"


def test_without_a_bound_slow_training_lets_staleness_grow() -> None:
    slow = replace(CLUSTER, train_rate=2.0)
    short, long = (asynchronous(tailed(), slow, 6, steps, 4).mean_staleness for steps in (5, 20))
    assert long > 2 * short > 0
    assert asynchronous(tailed(), slow, 6, 20, 4, ahead=1).mean_staleness < 1.5


# --- reading a timeline -----------------------------------------------------------------------------


def test_a_share_of_some_devices() -> None:
    run = asynchronous(cycle([30.0]), Cluster(7, 3.0, 5.0, 0.75), 4, 6, 4)
    assert run.share("train", range(4)) == 0 and run.share("rollout", [6]) == 0
    assert run.share("rollout") == pytest.approx(4 / 7 * run.share("rollout", range(4)))
    with pytest.raises(ValueError, match="kind: 'sleep' is none of"):
        run.share("sleep")
    with pytest.raises(ValueError, match="devices"):
        run.share("idle", [])


def test_idle_devices_hold_the_weights_that_they_got_last() -> None:
    run = asynchronous(tailed(), CLUSTER, 6, 7, 3, ahead=0)
    arrived = [0.0, *(update.end + 1.5 for update in run.updates)]
    for event in run.events:
        if event.kind == "idle":
            assert arrived[event.version] - 1e-6 <= event.start
            assert event.end <= run.updates[event.version].end + 1e-6


# --- lengths ----------------------------------------------------------------------------------------


def test_lengths_are_log_normal_with_a_fixed_mean() -> None:
    for sigma in (0.5, 1.0):
        drawn = np.array(list(islice(heavy_tailed_lengths(600, sigma, 1e9, seed=1), 40_000)))
        assert drawn.mean() == pytest.approx(600, rel=0.03)
        assert np.median(drawn) == pytest.approx(600 * math.exp(-(sigma**2) / 2), rel=0.03)
        assert np.log(drawn).std() == pytest.approx(sigma, rel=0.03)
    assert np.quantile(drawn, 0.99) / np.median(drawn) == pytest.approx(10.2, rel=0.06)
    assert (drawn == np.rint(drawn)).all() and drawn.min() >= 1


def test_lengths_have_a_cap_and_a_seed() -> None:
    drawn = [list(islice(heavy_tailed_lengths(50, 2.0, 120.5, seed), 500)) for seed in (0, 0, 1)]
    assert drawn[0] == drawn[1] != drawn[2]
    assert max(drawn[0]) == 120 and min(drawn[0]) == 1
    assert set(islice(heavy_tailed_lengths(50, 0.0, 50), 9)) == {50.0}


# --- refusals ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("devices", lambda: Cluster(devices=0)),
        ("decode_rate", lambda: Cluster(decode_rate=0.0)),
        ("train_rate", lambda: Cluster(train_rate=-1.0)),
        ("train_rate", lambda: Cluster(train_rate=math.nan)),
        ("transfer", lambda: Cluster(transfer=-0.1)),
        ("transfer", lambda: Cluster(transfer=math.inf)),
        ("mean", lambda: heavy_tailed_lengths(mean=0.5)),
        ("sigma", lambda: heavy_tailed_lengths(sigma=-1.0)),
        ("sigma", lambda: heavy_tailed_lengths(sigma=math.nan)),
        ("cap", lambda: heavy_tailed_lengths(mean=10, cap=9)),
        ("batch", lambda: synchronous(tailed(), CLUSTER, 0)),
        ("steps", lambda: synchronous(tailed(), CLUSTER, 1, 0)),
        ("budget", lambda: partial(tailed(), CLUSTER, 1, 1, 0.0)),
        ("budget", lambda: partial(tailed(), CLUSTER, 1, 1, math.nan)),
        ("batch", lambda: asynchronous(tailed(), CLUSTER, 0)),
        ("steps", lambda: asynchronous(tailed(), CLUSTER, 1, 0)),
        ("rollout_devices", lambda: asynchronous(tailed(), CLUSTER, 1, 1, 5)),
        ("rollout_devices", lambda: asynchronous(tailed(), CLUSTER, 1, 1, 0)),
        ("ahead", lambda: asynchronous(tailed(), CLUSTER, 1, 1, 1, -1)),
        ("lengths: need more than 3", lambda: synchronous([1.0, 2.0, 3.0], CLUSTER, 4, 1)),
        ("lengths: every", lambda: synchronous([1.0, 0.0], CLUSTER, 2, 1)),
    ],
)
def test_what_makes_no_sense_is_refused_by_name(name: str, call: Callable[[], object]) -> None:
    with pytest.raises(ValueError, match=f"^{name}"):
        call()
