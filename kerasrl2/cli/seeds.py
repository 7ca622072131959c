"""Several runs of one command: one a seed, each in a process of its own."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import typer

from kerasrl2._lines import figure
from kerasrl2.cli.failures import (
    EXIT_FAILURE,
    EXIT_INTERRUPTED,
    plain_failures,
    signals_to,
)
from kerasrl2.cli.jobs import crash
from kerasrl2.cli.paths import check_directory
from kerasrl2.cli.printing import say
from kerasrl2.cli.runs import (
    check_run_directory,
    free_run_directory,
    holds_run,
    read_best,
)
from kerasrl2.cli.train import checked, train
from kerasrl2.plotting import read_metrics

_LOOKS, _READS = 0.5, 5.0  # seconds: from look to look; for the rest of an output
OUTPUT = "output.txt"
_CHILD = "from kerasrl2.cli.seeds import main; main()"
_SIGNALS = [getattr(signal, n) for n in ("SIGINT", "SIGTERM", "SIGHUP")
            if hasattr(signal, n)]  # fmt: skip


class _Run:
    """A seed's run: its process, its directory and what it prints."""

    def __init__(self, seed, directory, options):
        self.seed, self.directory, self.rows = seed, Path(directory), 0
        self._lines = []
        options = {**options, "seed": seed, "run_dir": str(directory)}
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-c", _CHILD, json.dumps(options)],
            stdin=subprocess.PIPE,  # whose end tells it that this process is gone
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,  # the terminal's Ctrl-C is for this process
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self):
        with self.process.stdout as output:
            for line in output:
                self._lines.append(line)
                if holds_run(self.directory):  # nothing may be there before
                    with (self.directory / OUTPUT).open("a", encoding="utf-8") as file:
                        file.writelines(self._lines)
                    self._lines = [line] if line.startswith("Error") else []

    def tell_progress(self):
        """Prints the latest row of the metrics, if there is a new one."""
        with contextlib.suppress(ValueError, FileNotFoundError, KeyError):
            metrics = read_metrics(self.directory)
            rows = len(metrics["env_steps"])
            if rows > self.rows:
                self.rows = rows
                say(
                    f"seed {self.seed:<6} {metrics['env_steps'][-1]:>12,.0f} steps  "
                    f"return {figure(metrics['return'][-1]):>7}  "
                    f"eval {figure(metrics['val_return'][-1]):>7}"
                )

    def end(self, interrupted):
        """Waits for the end and tells of a failure that is no interruption."""
        self.process.wait()
        self._reader.join(_READS)
        self.tell_progress()
        self.process.stdin.close()
        if not holds_run(self.directory):
            with contextlib.suppress(OSError):
                self.directory.rmdir()
        if self.failed and not interrupted:
            reason = "".join(self._lines).strip() or f"see {self.directory / OUTPUT}"
            if self.process.returncode < 0:
                reason = f"{crash(self.process.returncode)}; {reason}"
            say(f"seed {self.seed} failed: {' '.join(reason.split())[-600:]}")

    @property
    def failed(self):
        return self.process.returncode != 0


def train_each(algorithm, env_id, seeds, jobs=None, run_dir=None, **options):
    """Trains a run for each seed; see `kerasrl2 train --help`.

    Args:
        algorithm: String.
        env_id: String.
        seeds: Tuple of integers, or None, which is an error.
        jobs: Integer or None, how many processes at most at once; None: 1.
        run_dir: Path or None; with one, the runs are in `run_dir/seed-<seed>`.
        **options: Others of `train`.
    """
    _check(seeds, jobs, options)
    more = {n: v for n, v in options.items() if n not in ("overrides", "num_envs")}
    checked(algorithm, run_dir, more.pop("resume"), more)
    if run_dir is not None:
        check_directory("--run-dir", run_dir)
    options = {**options, "algorithm": algorithm, "env_id": env_id}

    def directory_for(seed):
        if run_dir is None:
            return free_run_directory(None, algorithm, env_id)
        return Path(run_dir) / f"seed-{seed}"

    if run_dir is not None and not options["resume"]:
        for seed in seeds:
            check_run_directory(directory_for(seed))
    runs, stopped = _run_all(seeds, jobs or 1, directory_for, options)
    _table(runs)
    if stopped is not None:
        _tell_how_to_go_on(runs, seeds)
        raise typer.Exit(128 + stopped)
    if any(run.failed for run in runs):
        raise typer.Exit(EXIT_FAILURE)


def _check(seeds, jobs, options):
    if seeds is None:
        raise ValueError(
            "Expected `--seeds` with `--jobs`: what there is to run at the same time. "
            f"Received: --jobs {jobs} alone."
        )
    if options["seed"] is not None:
        raise ValueError(
            "Expected `--seed` for one run or `--seeds` for several. Received: both, "
            f"--seed {options['seed']}."
        )


def _run_all(seeds, jobs, directory_for, options):
    """All runs that began, in order, and the signal that ended them, or None."""
    waiting, runs, heard = list(seeds), [], []
    with _passing_signals_to(runs, heard):
        active = []
        while active or (waiting and not heard):
            while waiting and len(active) < jobs and not heard:
                seed = waiting.pop(0)
                active.append(_Run(seed, directory_for(seed), options))
                runs.append(active[-1])
                say(f"seed {seed} begins in {active[-1].directory}")
            time.sleep(_LOOKS)
            for run in list(active):
                if run.process.poll() is None:
                    run.tell_progress()
                else:
                    run.end(interrupted=bool(heard))
                    active.remove(run)
    return runs, heard[0] if heard else None


@contextlib.contextmanager
def _passing_signals_to(runs, heard):
    """Passes signals on to the processes, each of which ends in its own time."""

    def pass_on(number, frame):
        if not heard:
            typer.echo("stopping all runs ...", err=True)
        heard.append(number)
        for run in runs:
            if run.process.poll() is None:
                kind = signal.SIGINT if number == signal.SIGINT else signal.SIGTERM
                run.process.send_signal(kind)

    try:
        with signals_to(pass_on, _SIGNALS):
            yield
    finally:
        for run in runs:  # this function failed: nobody would wait for them
            if run.process.poll() is None:
                run.process.terminate()


def _table(runs):
    """Prints a row for each run, and what they have in common."""
    typer.echo(f"{'seed':>6}  {'steps':>12}  {'last':>7}  {'best':>7}  directory")
    lasts = []
    for run in runs:
        steps, last = "-", float("nan")
        with contextlib.suppress(ValueError, FileNotFoundError, KeyError):
            metrics = read_metrics(run.directory)
            steps, last = f"{metrics['env_steps'][-1]:,.0f}", metrics["val_return"][-1]
        best = (read_best(run.directory) or {}).get("return", float("nan"))
        if not run.failed:
            lasts.append(float(last))
        interrupted = run.process.returncode >= EXIT_INTERRUPTED
        note = " (interrupted)" if interrupted else " (failed)" if run.failed else ""
        typer.echo(
            f"{run.seed:>6}  {steps:>12}  {figure(last):>7}  {figure(best):>7}  "
            f"{run.directory}{note}"
        )
    if len(lasts) > 1:
        mean = sum(lasts) / len(lasts)
        spread = (sum((x - mean) ** 2 for x in lasts) / (len(lasts) - 1)) ** 0.5
        say(
            f"last evaluation over {len(lasts)} seeds: {figure(mean)} +- "
            f"{figure(spread)} (standard deviation), from {figure(min(lasts))} to "
            f"{figure(max(lasts))}"
        )


def _tell_how_to_go_on(runs, seeds):
    for run in runs:
        if run.failed and holds_run(run.directory):
            say(f"to continue: kerasrl2 resume {run.directory}")
    left = [str(seed) for seed in seeds[len(runs) :]]
    if left:
        say(f"not begun: seeds {', '.join(left)}")


def main():
    """One run, in the process of its own: its options are the argument, as JSON."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    options = json.loads(sys.argv[1])
    try:
        with plain_failures():
            train(**options)
    except typer.Exit as ended:
        sys.stdout.flush()
        code = ended.exit_code
        if code >= EXIT_INTERRUPTED:  # XLA may be compiling, for nobody
            os._exit(code)
        sys.exit(code)


def _end_with_parent():
    """Ends this process as SIGTERM does once the one that began it is gone."""
    os.read(0, 1)  # returns at its end
    os.kill(os.getpid(), signal.SIGTERM)
