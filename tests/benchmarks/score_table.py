"""The lines of `scores.py` as a table: `... tests.benchmarks.scores table FILE`."""

import json
import statistics

from kerasrl2 import zoo
from kerasrl2.plotting import interquartile_mean, summarized
from tests.benchmarks.published import PUBLISHED

ENOUGH = 5  # seeds, for an interval


def read_runs(*paths):
    """Dictionary of `(algorithm, environment)` to lists of lines, ordered by seed.

    Of several lines with the same seed, also of another file, the last counts.
    """
    runs = {}
    for path in paths:
        for text in path.read_text().splitlines():
            line = json.loads(text)
            key = name_of(line), line["env"]
            runs.setdefault(key, {})[line["seed"]] = line
    return {
        key: [line for _, line in sorted(lines.items())] for key, lines in runs.items()
    }


def name_of(line):
    """The algorithm, with settings of the line that are not those of the zoo now."""
    name = line["algorithm"]
    if " " in name:  # one of the `VARIANTS` of `scores.py`
        return name
    given = line.get("set", {})
    tuned = zoo.settings(name, line["env"]) if given else {}
    own = [f"{k}={value}" for k, value in given.items() if tuned.get(k, k) != value]
    return ", ".join([name, *own])


def table(runs):
    """Markdown: one row an algorithm and environment, beside others' and the floor."""
    rows = [
        "| algorithm | environment | env steps | seeds | IQM | 95 % interval | "
        "least to greatest | published elsewhere | random |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    rows += [
        _row(algorithm, env_id, lines, runs.get(("random", env_id)))
        for (algorithm, env_id), lines in sorted(runs.items())
        if algorithm != "random"
    ]
    return "\n".join(rows)


def _row(algorithm, env_id, lines, floor):
    returns = [line["return"] for line in lines]
    interval = "-"
    if len(returns) >= ENOUGH:
        score = summarized(returns)
        interval = f"{score.low:.1f} to {score.high:.1f}"
    floor = floor and statistics.mean(line["return"] for line in floor)
    cells = [
        algorithm,
        env_id,
        f"{lines[0]['steps']:,}",
        f"{len(returns)}",
        f"{interquartile_mean(returns):.1f}",
        interval,
        f"{min(returns):.1f} to {max(returns):.1f}",
        _published(algorithm, env_id),
        "-" if floor is None else f"{floor:.1f}",
    ]
    return f"| {' | '.join(cells)} |"


def _published(algorithm, env_id):
    if (algorithm, env_id) not in PUBLISHED:
        return "-"
    value, steps, where = PUBLISHED[algorithm, env_id]
    return f"{value} ({steps:,}, {where})"
