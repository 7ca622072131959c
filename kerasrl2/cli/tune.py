"""`kerasrl2 tune`: searches settings with Optuna, one process a trial."""

import json
import os
import shlex
import signal
import time
from pathlib import Path

import typer
import yaml

from kerasrl2 import __version__, _algorithms, tuning, zoo
from kerasrl2._checks import check_choice
from kerasrl2.cli.configuration import in_its_words, replace_text
from kerasrl2.cli.failures import EXIT_INTERRUPTED
from kerasrl2.cli.jobs import Jobs
from kerasrl2.cli.paths import check_directory
from kerasrl2.cli.worlds import label
from kerasrl2.tuning.studies import PRUNERS

SETTINGS = "settings.yaml"
_REPORTS, _EVAL_EPISODES = 5, 10


def tune(
    algorithm, env_id, study_dir=None, *, trials, jobs, timeout, pruner, seed, **options
):
    """Searches settings; see `kerasrl2 tune --help`.

    Args:
        algorithm: String.
        env_id: String.
        study_dir: Path, or None for `runs/tune-<algorithm>-<env>`.
        trials: Integer, how many there are to be in all.
        jobs: Integer, how many at once.
        timeout: Float or None, seconds after which no further one begins.
        pruner: String.
        seed: Integer or None.
        **options: What the trials have in common: `steps`, `reports`, `eval_episodes`,
            `overrides`, `space`, and the world's `backend`, `env_keywords`, `wrappers`
            and `vectorization`.
    """
    _algorithms.check_name(algorithm)
    check_choice("pruner", pruner, PRUNERS)
    options = in_its_words(options)
    if study_dir is None:
        name = env_id.replace("/", "_").replace(":", "_")
        study_dir = Path("runs") / f"tune-{algorithm}-{name}"
    check_directory("--study", study_dir)
    space = _space(algorithm, options.pop("space"), options["overrides"])
    steps = options["steps"] or zoo.settings(algorithm, env_id).get("steps", 100_000)
    identity = {"algorithm": algorithm, "env": env_id, **options, "steps": steps}
    identity |= {"reports": options["reports"] or _REPORTS}
    identity |= {"eval_episodes": options["eval_episodes"] or _EVAL_EPISODES}
    identity |= {"space": space, "seed": seed}
    study = tuning.open_study(study_dir, identity, pruner, identity["reports"])
    with study:
        _announce(study)
        _search(study, Jobs(), trials, jobs, timeout)


def _space(algorithm, path, fixed):
    """The search space without what is fixed."""
    space = tuning.search_space(algorithm) if path is None else _read_space(path)
    space = {name: where for name, where in space.items() if name not in fixed}
    if not space:
        raise ValueError(
            "Expected something to vary. Received: a `--set` for each name in the "
            "search space."
        )
    return space


def _read_space(path):
    try:
        space = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"Expected readable YAML in {path}: {error}") from error
    if not isinstance(space, dict):
        raise ValueError(
            f"Expected names and where to look for each in {path}. Received: {space!r}"
        )
    tuning.check_space(space)
    return space


def _announce(study):
    identity, counts = study.identity, study.counts()
    line = (
        f"tuning {identity['algorithm']} on {label(identity)}: "
        f"{', '.join(identity['space'])}; {identity['steps']:,} steps a trial, seed "
        f"{identity['seed']}, in {study.directory}"
    )
    typer.echo(line)
    if sum(counts.values()):
        typer.echo(f"continuing: {_told(counts)}")


def _told(counts):
    return ", ".join(f"{number} {kind}" for kind, number in counts.items())


def _search(study, jobs, trials, at_once, timeout):
    """Runs trials until there are enough; whatever ends it, those running are kept."""
    began = time.monotonic()
    threads = max(1, (os.cpu_count() or 1) // at_once)
    before = signal.signal(signal.SIGTERM, _terminate)
    code = None
    try:
        while True:
            late = timeout is not None and time.monotonic() - began >= timeout
            missing = trials - sum(study.counts().values()) - len(jobs)
            while missing > 0 and len(jobs) < at_once and not late:
                _start(study, jobs, threads)
                missing -= 1
            if not jobs:
                break
            if (said := jobs.next(timeout=0.5)) is not None:
                _take(study, jobs, trials, *said)
    except (KeyboardInterrupt, SystemExit) as error:
        code = error.code if isinstance(error, SystemExit) else EXIT_INTERRUPTED
    finally:
        interrupted = jobs.handles
        jobs.stop_all()
        for trial in interrupted:
            study.repeat(trial)
        signal.signal(signal.SIGTERM, before)
    _conclude(study)
    if code is not None:
        typer.echo("Interrupted. The same command continues.", err=True)
        raise typer.Exit(code)


def _terminate(number, frame):
    raise SystemExit(128 + number)


def _start(study, jobs, threads):
    identity = study.identity
    trial, settings, seed = study.ask(identity["space"], identity["overrides"])
    config = {name: value for name, value in identity.items() if name != "space"}
    config |= {"settings": settings, "seed": seed, "threads": threads}
    jobs.start(trial, config)


def _take(study, jobs, trials, trial, message):
    """Notes what a trial said, and prunes it."""
    name = f"trial {study.number(trial)} of {trials}"
    if "part" in message:
        if study.report(trial, message["value"], message["part"]):
            jobs.stop(trial)
            study.prune(trial)
            typer.echo(
                f"{name}: return {message['value']:.4g} after "
                f"{message['env_steps']:,} steps, pruned"
            )
    elif "value" in message:
        study.finish(trial, message["value"])
        _, best, _ = study.best()
        settings = ", ".join(f"{k}={v}" for k, v in study.settings(trial).items())
        typer.echo(
            f"{name}: return {message['value']:.4g} with {settings}; best {best:.4g}"
        )
    elif "diverged" in message:
        study.prune(trial, message["diverged"])
        typer.echo(f"{name}: diverged")
    else:
        study.fail(trial, message["error"])
        if not any(study.counts()[kind] for kind in ("finished", "pruned")):
            if study.new:
                study.discard()
            raise ValueError(message["error"])
        typer.echo(f"{name}: failed: {message['error']}", err=True)


def _conclude(study):
    """Prints and writes the best settings."""
    typer.echo(_told(study.counts()))
    if (best := study.best()) is None:
        typer.echo("no trial has finished: there are no settings to write")
        return
    number, value, settings = best
    identity = study.identity
    settings = {**identity["overrides"], **settings}
    entry = {identity["env"]: {"steps": identity["steps"], **settings}}
    head = (
        f"# {identity['algorithm']}: trial {number} of `kerasrl2 tune`, kerasrl2 "
        f"{__version__}; return {value:.4g} over {identity['eval_episodes']} episodes\n"
    )
    replace_text(
        study.directory / SETTINGS, head + yaml.safe_dump(entry, sort_keys=False)
    )
    typer.echo(
        f"best: trial {number}, return {value:.4g}, chosen as the best of them: other "
        f"seeds may do worse\nwrote {study.directory / SETTINGS}\nto train with them: "
        f"{_command(identity, settings)}"
    )


def _command(identity, settings):
    """The `kerasrl2 train` that uses these settings."""
    words = ["kerasrl2", "train", identity["algorithm"], identity["env"]]
    words += ["--steps", str(identity["steps"])]
    for name, value in identity["env_keywords"].items():
        words += ["--env", f"{name}={_text(value)}"]
    for wrapper in identity["wrappers"]:
        words += ["--wrapper", wrapper]
    if identity["backend"] != "auto":
        words += ["--backend", identity["backend"]]
    if identity["vectorization"] is not None:
        word = {"vector_entry_point": "entry-point"}
        given = identity["vectorization"]
        words += ["--vectorization", word.get(given, given)]
    for name, value in settings.items():
        words += ["--set", f"{name}={_text(value)}"]
    return shlex.join(words)


def _text(value):
    return value if isinstance(value, str) else json.dumps(value)
