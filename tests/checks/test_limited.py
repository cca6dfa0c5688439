"""Calls that may take only so long, and only so much memory."""

import itertools
import sys
import time

import pytest
import torch

from rlvr_lab import checks
from rlvr_lab.checks import calls

resource = pytest.importorskip("resource", reason="the memory of a process cannot be limited here")


def forever(start: int) -> int:
    while True:
        start += 1


def large(size: int) -> int:
    return len([0] * size)


def test_a_call_that_takes_too_long_is_stopped() -> None:
    start = time.monotonic()
    with pytest.raises(calls.Mistake, match=r"longer than 0\.2 seconds"):
        calls.call(calls.limited(forever, 0.2, 1 << 30), start=0)
    assert time.monotonic() - start < 5


def test_a_sum_over_all_groups_is_refused_where_there_are_too_many() -> None:
    def loo_variance(pi: torch.Tensor, rewards: torch.Tensor, size: int) -> float:
        second, first = 0.0, torch.zeros(len(pi), dtype=pi.dtype)
        for group in itertools.product(range(len(pi)), repeat=size):
            y, r = list(group), rewards[list(group)]
            scores = torch.eye(len(pi), dtype=pi.dtype)[y] - pi
            g = ((r - (r.sum() - r) / (size - 1))[:, None] * scores).mean(dim=0)
            second, first = second + pi[y].prod() * g @ g, first + pi[y].prod() * g
        return float(second - first @ first)

    with pytest.raises(calls.Mistake, match="go through none of them"):
        checks.check_loo_variance(loo_variance, seed=0)


@pytest.mark.skipif(sys.platform != "linux", reason="the size of a process is read from /proc")
def test_a_call_that_takes_too_much_memory_is_stopped() -> None:
    with pytest.raises(calls.Mistake, match="stopped with MemoryError"):
        calls.call(calls.limited(large, 5, 64 << 20), size=1 << 26)
    assert large(1 << 24) == 1 << 24


def test_the_limits_end_with_the_call_and_the_name_is_kept() -> None:
    before = sys.gettrace(), resource.getrlimit(resource.RLIMIT_AS)
    quick = calls.limited(large, 5, 1 << 30)
    assert quick(10) == 10 and calls.function_name(quick) == "large"
    assert (sys.gettrace(), resource.getrlimit(resource.RLIMIT_AS)) == before


def test_a_remote_call_is_limited_at_its_other_end() -> None:
    asked = []

    def remote(size: int) -> int:
        return size

    def within(memory: int, *args: int) -> int:
        asked.append(memory)
        return remote(*args)

    remote.is_remote, remote.within = True, within
    assert calls.limited(remote, 5, 123)(7) == 7
    assert asked == [123]
