"""Run instructor's commands one after another in one process, with the instructor's Python.

Reads a JSON list of command lines from standard input; writes a JSON list of [status, output, errors].
"""

import contextlib
import io
import json
import sys

from rlvr_lab.__main__ import main


def run(arguments: list[str]) -> list:
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            status = main(["class", *arguments])
        except SystemExit as stopped:  # argparse
            status = stopped.code
    return [status, out.getvalue(), err.getvalue()]


if __name__ == "__main__":
    commands = json.load(sys.stdin)
    print(json.dumps([run(one) for one in commands]))
