"""Draws the learning curves of the algorithms' pages from `docs/results`.

    python -m tests.benchmarks.curves [--output docs/_static/curves]

One picture a page, one panel an environment. Older lines do not say at which steps
their training returns were taken: these are spread evenly.
"""

import argparse
from pathlib import Path

import matplotlib as mpl
import numpy as np

from kerasrl2.plotting import plot_learning_curves
from tests.benchmarks.score_table import ENOUGH, read_runs

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "docs" / "results"
FILES = RESULTS / "scores.jsonl", RESULTS / "recurrent.jsonl"
PAGES = {  # page: names of algorithms, in the environments of the first
    "a2c": ["a2c", "a2c vtrace"],
    "apex": ["apex"],
    "crossq": ["crossq"],
    "ddpg": ["ddpg"],
    "discrete_sac": ["discrete_sac"],
    "dppo": ["dppo"],
    "dqn": ["dqn", "dqn double"],
    "hindsight": ["dqn without hindsight", "dqn"],
    "impala": ["impala"],
    "ppo": ["ppo", "ppo kl", "ppo vtrace"],
    "q_actor_critic": ["q_actor_critic"],
    "rainbow": ["rainbow", "dqn"],
    "recurrent": ["ppo", "ppo, recurrent=None, sequence_length=None"],
    "redq": ["redq"],
    "reinforce": ["reinforce"],
    "rnd": ["rnd"],
    "sac": ["sac"],
    "td3": ["td3"],
    "tqc": ["tqc"],
    "trpo": ["trpo"],
}
ONLY = {"hindsight": "BitFlip-15", "recurrent": "CartPoleNoVel-v1"}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=ROOT / "docs/_static/curves")
    output = parser.parse_args().output
    output.mkdir(parents=True, exist_ok=True)
    runs = read_runs(*[path for path in FILES if path.exists()])
    for page in PAGES:
        panels = panels_of_page(runs, page)
        if panels:
            draw(panels, output / f"{page}.svg")


def panels_of_page(runs, page):
    """What `plot_learning_curves` takes, empty if there are no such runs."""
    names = PAGES[page]
    panels = {}
    for name, env_id in runs:
        shown = env_id == ONLY[page] if page in ONLY else env_id not in ONLY.values()
        if name == names[0] and shown:
            found = {label: curves(runs.get((label, env_id), ())) for label in names}
            found = {label: drawn for label, drawn in found.items() if drawn}
            if found:
                panels[env_id] = found
    return panels


def curves(lines):
    """Metrics of those runs that kept a curve."""
    return [metrics(line) for line in lines if "training_returns" in line]


def metrics(line):
    """A line of `scores.py` as `plotting` takes a run."""
    returns = np.array(line["training_returns"], float)
    even = line["steps"] * np.arange(1, len(returns) + 1) / len(returns)
    steps = np.array(line.get("curve_steps", even), float)
    return {"env_steps": steps, "return": returns}


def draw(panels, path):
    """Writes a picture, the same each time."""
    least = min(len(runs) for panel in panels.values() for runs in panel.values())
    how = {"statistic": "iqm", "interval": 0.95} if least >= ENOUGH else {}
    # Text stays text, which a browser can search and which takes less room.
    with mpl.rc_context({"svg.hashsalt": "kerasrl2", "svg.fonttype": "none"}):
        figure = plot_learning_curves(panels, returns="training", **how)
        figure.savefig(path, metadata={"Date": None})


if __name__ == "__main__":
    main()
