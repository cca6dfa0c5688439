"""Who waits for whom: three schedules of rollouts and training, simulated event by event (notebook 09).

``synchronous``: all devices write a batch, then all train it, then the new weights are transferred.
``partial``: the same, but an answer gets at most ``budget`` tokens per iteration and is continued in the next
(Kimi k1.5, §2.6.2, arXiv 2501.12599). ``asynchronous``: some devices only write and the others only train.

What is simplified, on purpose:

- A device writes one answer at a time, at a speed that depends neither on the answer nor on what other
  devices do. (An engine writes many answers at once: read a device as one of its slots.) Tokens are a fluid,
  so an answer can be interrupted between any two instants; the prompt costs nothing.
- Training is data-parallel without loss: n tokens take n / (rate · devices) seconds, and one step is one update.
- Lengths are given: they do not depend on the weights, and nothing is cut, repeated or thrown away. Rewards
  and advantages cost no time, and no answer waits for the rest of its group.
- A transfer takes ``transfer`` seconds for each new version. During it no device does anything else.
- An interrupted answer is continued without recomputing its key-value cache.
- ``partial`` trains an answer as a whole, once, in the iteration in which it is finished: the reward needs the
  end of the answer. An iteration holds ``batch`` answers, of which the unfinished ones stay.

Everything is deterministic; randomness enters only through the seed of ``heavy_tailed_lengths``.
"""

import math
from collections.abc import Iterable, Iterator

import numpy as np

from rlvr_lab.exact.rollout_devices import Cluster, Making, at_least_one, same
from rlvr_lab.exact.rollout_timeline import Timeline

__all__ = ["asynchronous", "heavy_tailed_lengths", "partial", "synchronous"]


def heavy_tailed_lengths(
    mean: float = 600.0, sigma: float = 1.0, cap: float = 12_000.0, seed: int = 0
) -> Iterator[float]:
    """Endless log-normal lengths, L = min(mean · exp(σz − σ²/2), cap) with z ~ N(0, 1), whole and at least 1.

    Their mean is ``mean`` for every σ, up to the cap and the rounding; the median is mean · exp(−σ²/2).

    Args:
        mean: in tokens.
        sigma: how heavy the tail is; 0 makes all lengths equal. At σ = 1 one answer in a hundred is more than
            ten times as long as the median.
        cap: longest answer, in tokens.
        seed: of the draws.

    Raises:
        ValueError: naming the argument.

    >>> lengths = heavy_tailed_lengths(mean=100, sigma=0.0)
    >>> [next(lengths) for _ in range(3)]
    [100.0, 100.0, 100.0]
    """
    if not 1 <= mean < math.inf:
        raise ValueError(f"mean: must be at least 1, got {mean}")
    if not 0 <= sigma < math.inf:
        raise ValueError(f"sigma: must not be negative, got {sigma}")
    if not cap >= mean:
        raise ValueError(f"cap: must not be below the mean {mean}, got {cap}")
    return _draws(mean, sigma, cap, np.random.default_rng(seed))


def _draws(mean: float, sigma: float, cap: float, rng: np.random.Generator) -> Iterator[float]:
    while True:
        drawn = mean * np.exp(sigma * rng.standard_normal(64) - sigma**2 / 2)
        yield from np.clip(np.rint(drawn), 1, np.floor(cap)).tolist()


def synchronous(
    lengths: Iterable[float], cluster: Cluster, batch: int = 16, steps: int = 10
) -> Timeline:
    """Write B answers on all devices, wait for the last one, train on all devices, transfer.

    The next answer goes to the device that is free first. With as many devices as answers the rollouts of a
    step take max_i L_i / decode_rate.

    Args:
        lengths: of the answers, in the order in which they are started.
        cluster: the hardware.
        batch: B, answers in each update.
        steps: number of updates.

    Raises:
        ValueError: naming the argument.

    >>> two = Cluster(devices=2, decode_rate=1.0, train_rate=3.0, transfer=1.0)
    >>> synchronous([2.0, 4.0], two, batch=2, steps=1).end  # 4 + 6 / (2 · 3) + 1
    6.0
    """
    return partial(lengths, cluster, batch, steps, math.inf)


def partial(
    lengths: Iterable[float],
    cluster: Cluster,
    batch: int = 16,
    steps: int = 10,
    budget: float = 1_200.0,
) -> Timeline:
    """As ``synchronous``, with at most ``budget`` new tokens for an answer in one iteration.

    An iteration holds ``batch`` answers: those that the last one left unfinished, and new ones. Those that
    it finishes are trained; with an infinite budget all of them. If it finishes none there is no update.

    Args:
        lengths: as of ``synchronous``.
        cluster: the hardware.
        batch: answers in an iteration; an update has at most so many.
        steps: number of updates.
        budget: tokens for each answer and iteration.

    Raises:
        ValueError: naming the argument.
    """
    at_least_one("batch", batch)
    at_least_one("steps", steps)
    if not budget > 0:
        raise ValueError(f"budget: must be positive, got {budget}")
    every = range(cluster.devices)
    run = Making(cluster, lengths, every, every)
    active: list[int] = []
    while len(run.updates) < steps:
        active += [run.start_answer() for _ in range(batch - len(active))]
        free = dict.fromkeys(every, run.now)
        for answer in active:
            device = min(free, key=free.__getitem__)  # the first of those that are free first
            tokens = min(run.answers[answer].remaining, budget)
            free[device] = run.write(device, answer, free[device], tokens)
        run.now = max(free.values())
        done = [answer for answer in active if run.answers[answer].finished is not None]
        active = [answer for answer in active if run.answers[answer].finished is None]
        if done:
            run.now = run.train(done)
            run.transfer()
    return run.timeline()


def asynchronous(
    lengths: Iterable[float],
    cluster: Cluster,
    batch: int = 16,
    steps: int = 10,
    rollout_devices: int = 6,
    ahead: int | None = None,
    in_order: bool = False,
) -> Timeline:
    """Rollouts and training at the same time, on separate devices.

    A device that has written an answer starts the next one. The trainer takes B finished answers whenever it
    is free. After each update all devices stop for the transfer, and go on with the new weights, in the middle
    of an answer as well.

    Staleness has two bounds. ``ahead`` limits how far the rollouts may run ahead: under version v at most
    (v + ahead + 1) · B answers are started (AReaL's rule for ``max_head_offpolicyness``, arXiv 2505.24298). With
    ``in_order`` update u takes the answers uB … uB + B − 1, so no trained token is older than ``ahead``
    versions. Without it the trainer takes those that finished first, and a long answer that others overtake
    can become older.

    Args:
        lengths: as of ``synchronous``.
        cluster: the hardware; the devices that do not write train.
        batch: B, answers in each update.
        steps: number of updates.
        rollout_devices: how many devices write, at least 1 and at most D − 1.
        ahead: updates; 0 is a synchronous schedule on split hardware, None sets no bound.
        in_order: take the answers in the order in which they were started.

    Raises:
        ValueError: naming the argument.
    """
    at_least_one("batch", batch)
    at_least_one("steps", steps)
    if not 1 <= rollout_devices < cluster.devices:
        raise ValueError(
            f"rollout_devices: must leave both sides a device, got {rollout_devices} "
            f"of {cluster.devices}"
        )
    if ahead is not None and ahead < 0:
        raise ValueError(f"ahead: must not be negative, got {ahead}")
    writers, trainers = range(rollout_devices), range(rollout_devices, cluster.devices)
    run = Making(cluster, lengths, writers, trainers)
    writes: dict[int, int] = {}  # device -> answer
    since: dict[int, float] = {}  # device -> when it began this piece of the answer
    ends: dict[int, float] = {}  # device -> when the answer is finished, if nothing interrupts it
    ready: list[int] = []
    training = math.inf  # when the update under way is done

    def go_on(device: int) -> None:
        since[device] = run.now
        ends[device] = run.now + run.seconds_left(writes[device])

    while len(run.updates) < steps or training < math.inf:
        for device in writers:
            if device not in writes and run.may_start(batch, ahead):
                writes[device] = run.start_answer()
                go_on(device)
        if training == math.inf and (taken := _taken(ready, run, batch, in_order)):
            ready = [answer for answer in ready if answer not in taken]
            training = run.train(taken)
        run.now = min(ends.values(), default=math.inf)
        if training < run.now and not same(training, run.now):
            run.now = training
        for device in sorted(d for d, end in ends.items() if same(end, run.now)):
            answer = writes.pop(device)
            run.write(device, answer, since[device], run.answers[answer].remaining)
            del ends[device]
            ready.append(answer)
        if same(training, run.now):
            for device, answer in writes.items():  # interrupted
                tokens = (run.now - since[device]) * cluster.decode_rate
                if tokens > 0:
                    run.write(device, answer, since[device], tokens)
            run.transfer()
            training = math.inf
            for device in writes:
                go_on(device)
    return run.timeline()


def _taken(ready: list[int], run: Making, batch: int, in_order: bool) -> list[int]:
    """The answers of the next update, if they are all there."""
    if in_order:
        wanted = [run.version * batch + i for i in range(batch)]
        return wanted if set(wanted) <= set(ready) else []
    return ready[:batch] if len(ready) >= batch else []
