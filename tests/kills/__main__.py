"""Kill runs at random moments, resume them, and compare bit for bit with a run that was never killed.

python -m tests.kills --points 20 --seed 0 --out data/benchmarks/kills.json
"""

import argparse
import json
import os
import random
import subprocess
import sys
import time
import traceback
from collections import Counter
from pathlib import Path
from signal import SIGKILL
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch

from rlvr_lab import __main__ as command_line
from rlvr_lab.records.runs import versions, write_whole
from rlvr_lab.training.loop import train

SMALL = "--steps 6 --prompts-per-step 2 --group-size 4 --max-new-tokens 16 --device cpu"
PAIRS = "--steps 13 --pairs 64 --batch-size 32"
KINDS = {
    "adamw": f"--kl-coef 0.1 {SMALL}",
    "sgd": f"--world lab --optimizer sgd --learning-rate 0.1 {SMALL}",
    "ppo": f"--algorithm ppo --adaptive-kl 1 --anneal --no-zero-value-head {SMALL}",
    "ppo-reward-model": f"--algorithm ppo --rewards model=1 {SMALL}",
    "trpo": f"--algorithm trpo --fisher-groups 1 --cg-iterations 2 {SMALL}",
    "pairs": f"--algorithm pairs --measure-every 2 {PAIRS}",
    "proxy": f"--algorithm overoptimise {PAIRS}",
}
COLUMNS = ("points", "survived", "kills", "before_first", "inside_write")
TWICE, IN_WRITE = 1 / 4, 1 / 3  # shares: of points with two kills, of kills aimed at a write
DELAY = 0.004  # seconds from the start of a write to a kill that is aimed at it, at most


def command(kind: str, folder: Path) -> list[str]:
    """A run that keeps a checkpoint after every record, and that goes on where there is one."""
    path = folder / "run.ckpt"
    begun = ["--resume", str(path)] if path.exists() else KINDS[kind].split()
    kept = ["--checkpoint", str(path), "--checkpoint-every", "0", "--out", str(folder / "run.json")]
    return ["train", *begun, *kept]


def start(arguments: list[str], folder: Path) -> int:
    """The command in a process group of its own; its torch is imported already. Returns its id."""
    if pid := os.fork():
        os.setpgid(pid, pid)
        return pid
    status = 70
    try:
        log = os.open(folder / "log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        for stream in (1, 2):
            os.dup2(log, stream)
        # A new process has other global generators: nothing may hang on them.
        random.seed()
        np.random.seed()  # noqa: NPY002
        torch.seed()

        def watched(config: Any, *, state: Any) -> Any:
            """Note in a file which steps were done: the one at the start, then one for each record."""
            with (folder / "notes").open("w", buffering=1) as notes:
                notes.write(f"{state.step}\n")
                for record in train(config, state=state):
                    notes.write(f"{state.step}\n")
                    yield record
                notes.write(f"{state.step}\n")  # a last step may have no record

        command_line.train = watched
        status = command_line.main(arguments)
    except BaseException:
        os.write(2, traceback.format_exc().encode())
    finally:
        os._exit(status)


def parts(folder: Path) -> set[str]:
    """Files that are being written, or were when a process was killed."""
    return {name for name in os.listdir(folder) if name.endswith(".part")}


def wait_for_moment(pid: int, folder: Path, seconds: float, draw: random.Random) -> None:
    """Wait for a random moment of the run, which lasts so long, or for a moment inside a write."""
    if draw.random() > IN_WRITE:
        time.sleep(draw.uniform(0, seconds))
        return
    old, seen, number = parts(folder), set(), draw.randint(1, 6)
    while len(seen) < number:
        if os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT):
            return  # it ended before
        seen |= parts(folder) - old
    time.sleep(draw.uniform(0, DELAY))


def read(path: Path) -> tuple[dict[str, Any], dict[str, bytes]]:
    """A checkpoint by the definition of the format, without torch: its header and the raw tensors."""
    raw = path.read_bytes()
    start = 8 + int.from_bytes(raw[:8], "little")
    header = json.loads(raw[8:start])
    about = json.loads(header.pop("__metadata__")["about"])
    if len(raw) != start + max(entry["data_offsets"][1] for entry in header.values()):
        raise ValueError(f"{path} is not whole")
    spans = {name: slice(*(start + x for x in h["data_offsets"])) for name, h in header.items()}
    return {**about, "header": header}, {name: raw[span] for name, span in spans.items()}


def differences(folder: Path, whole: Path) -> list[str]:
    """What differs between two runs, apart from times and the command."""
    tables = [json.loads((f / "run.json").read_text())["runs"][0] for f in (folder, whole)]
    columns = [{**table.pop("records"), **table} for table in tables]
    (about, tensors), (known, expected) = (read(f / "run.ckpt") for f in (folder, whole))
    return [
        f"{name} differs"
        for a, b in (columns, (about, known), (tensors, expected))
        for name in sorted({*a, *b} - {"records", "versions"})
        # As text: a NaN is equal to itself, and 0.0 is not −0.0.
        if not name.startswith("seconds_") and repr(a.get(name)) != repr(b.get(name))
    ]


def point(kind: str, whole: Path, folder: Path, seconds: float, draw: random.Random) -> Counter:
    """One run that is killed once or twice and resumed: what was counted.

    At most the last record may be lost, and the end must be that of the whole run.
    """
    counted, left, kept = Counter(points=1), 1 + (draw.random() < TWICE), 0
    while True:
        (folder / "notes").write_text("")
        before = parts(folder)
        pid = start(command(kind, folder), folder)
        if left:
            wait_for_moment(pid, folder, seconds, draw)
            os.killpg(pid, SIGKILL)  # of no effect if it has ended
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        done = list(map(int, (folder / "notes").read_text().split()))
        assert not done or done[0] == kept, f"went on from step {done[0]}, not from {kept}"
        if not status:
            break
        assert status == -SIGKILL, f"status {status}: {(folder / 'log').read_text()[-2000:]}"
        written, reached, left = (folder / "run.ckpt").exists(), [kept, *done], left - 1
        kept = read(folder / "run.ckpt")[0]["step"] if written else 0
        assert kept in reached[-2:], f"{reached[-1]} steps were done, {kept} kept"
        inside = len(parts(folder) - before)
        counted += Counter(kills=1, inside_write=inside, before_first=int(not written))
    assert not (found := differences(folder, whole)), f"{found}"
    return counted + Counter(survived=1)


def measure(kind: str, points: int, seed: int) -> dict[str, Any]:
    """All points of one kind: the counts, and in words what went wrong."""
    with TemporaryDirectory() as whole:
        words = [sys.executable, "-m", "rlvr_lab", *command(kind, Path(whole))]
        subprocess.run(words, check=True, capture_output=True)
        with TemporaryDirectory() as again:
            began = time.monotonic()
            os.waitpid(start(command(kind, Path(again)), Path(again)), 0)
            seconds = time.monotonic() - began
            faults = [f"never killed: {text}" for text in differences(Path(again), Path(whole))]
        counted, draw = Counter(dict.fromkeys(COLUMNS, 0)), random.Random(f"{seed} {kind}")
        while counted["points"] < points:
            with TemporaryDirectory() as folder:
                try:
                    found = point(kind, Path(whole), Path(folder), seconds, draw)
                    counted.update(found if found["kills"] else {})  # else it ended before
                except (AssertionError, ValueError, OSError) as error:
                    counted["points"] += 1
                    faults.append(f"point {counted['points']}: {error}")
    shown = {"command": f"train {KINDS[kind]}", "seconds": round(seconds, 2)}
    return {**shown, **counted, "faults": faults}


def main() -> int:
    parser = argparse.ArgumentParser("python -m tests.kills", description=__doc__)
    parser.add_argument("--points", type=int, default=20, help="runs that are killed, of each kind")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kinds", nargs="+", choices=list(KINDS), default=list(KINDS))
    parser.add_argument("--out", type=Path, help="the report (JSON)")
    options = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    torch.set_num_threads(1)
    result = {"points": options.points, "seed": options.seed, "versions": versions()}
    print(f"{'':18}" + "".join(f"{column:>14}" for column in COLUMNS), flush=True)
    rows = result["kinds"] = {}
    for kind in options.kinds:
        row = rows[kind] = measure(kind, options.points, options.seed)
        print(f"{kind:18}" + "".join(f"{row[column]:>14}" for column in COLUMNS), flush=True)
        print(*(f"  {fault}\n" for fault in row["faults"]), sep="", end="", flush=True)
    if options.out:
        write_whole(options.out, (json.dumps(result, indent=1) + "\n").encode())
    return 1 if any(row["faults"] for row in rows.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
