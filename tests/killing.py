"""Work in a process that kills itself before a given step: a file operation, or a statement in SQL.

Killing it from outside after a random time would hit the same few slow places again.
"""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

Run = Callable[..., "int | None"]  # (fatal step, what the work takes) -> its steps; None where it was killed


@contextmanager
def driver(script: str, **environment: str) -> Iterator[Run]:
    """Start a process with a script that ends in `serve`; each run of it is a fork, so that nothing is imported twice.

    script, environment: of the process. Yields what runs its work, as it is passed on in JSON.
    """
    paths = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    command, variables = [sys.executable, "-c", script], {**os.environ, "PYTHONPATH": paths, **environment}
    with subprocess.Popen(command, stdin=-1, stdout=-1, text=True, env=variables) as process:

        def run(fatal: int, *job: object) -> int | None:
            print(json.dumps([fatal, *job]), file=process.stdin, flush=True)
            answer = process.stdout.readline().strip()
            assert answer != "failed"
            return None if answer == "killed" else int(answer)

        yield run
        process.stdin.close()


def serve(work: Callable[..., object], events: Collection[str], after_statements: bool = False) -> None:
    """Do what standard input says, line by line, and print the number of steps.

    Args:
        work: what is done.
        events: audit events that are steps (`sys.audit`), besides statements in SQL.
        after_statements: whether a statement is a step once more when it is done.
    """
    for line in sys.stdin:
        fatal, *job = json.loads(line)
        child = os.fork()
        if not child:
            _answer(str(_counted(work, job, fatal, events, after_statements)))
            os._exit(0)
        status = os.waitpid(child, 0)[1]
        if status:
            was_killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
            _answer("killed" if was_killed else "failed")


def _answer(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _counted(
    work: Callable[..., object], job: list[object], fatal: int, events: Collection[str], after_statements: bool
) -> int:
    count = 0

    def step() -> None:
        nonlocal count
        count += 1
        if count == fatal:
            os.kill(os.getpid(), signal.SIGKILL)

    class Counting(sqlite3.Connection):
        def execute(self, *arguments):
            step()
            result = super().execute(*arguments)
            if after_statements:
                step()
            return result

        def executemany(self, *arguments):
            step()
            return super().executemany(*arguments)

    connect = sqlite3.connect
    sqlite3.connect = lambda *arguments, **options: connect(*arguments, factory=Counting, **options)
    sys.addaudithook(lambda event, arguments: step() if event in events else None)
    work(*job)
    return count
