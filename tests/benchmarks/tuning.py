"""Whether `kerasrl2 tune` finds settings that are better over fresh seeds.

    python -m tests.benchmarks.tuning --output docs/results/tuning.jsonl

A study of PPO on LunarLander-v3, then three agents with seeds that no trial had, as
many env steps each: with settings that were made bad on purpose, with those that
`kerasrl2 train` begins with (the zoo's; when the lines of `docs/results` were made, it
had none for it), and with those that the study found. Each is evaluated greedily on 100
episodes.
"""

import kerasrl2._startup  # noqa: F401  (keeps TensorFlow quiet)

import argparse
import subprocess
import sys
import time
from pathlib import Path

import yaml

from tests.benchmarks.scores import emit

ALGORITHM, ENV = "ppo", "LunarLander-v3"
BAD = {"learning_rate": 1e-5, "gamma": 0.9}
FIRST_SEED = 1000


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=30)
    parser.add_argument("--steps", type=int, default=50_000)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--study", type=Path, default=Path("runs/tune-benchmark"))
    parser.add_argument("--output", type=Path, default=None)
    arguments = parser.parse_args()
    command = f"tune {ALGORITHM} {ENV} --trials {arguments.trials} --seed 0"
    command += f" --steps {arguments.steps}"
    words = [*command.split(), "--study", str(arguments.study)]
    started = time.perf_counter()
    code = "import sys; from kerasrl2.cli import main; sys.exit(main())"
    done = subprocess.run(
        [sys.executable, "-c", code, *words], check=True, stdout=subprocess.PIPE
    )
    lines = done.stdout.decode().splitlines()
    found = yaml.safe_load((arguments.study / "settings.yaml").read_text())[ENV]
    emit(
        {
            "command": f"kerasrl2 {command}",
            "seconds": round(time.perf_counter() - started, 1),
            "trials": [line for line in lines if line.startswith("trial ")],
            "settings": found,
        },
        arguments.output,
    )
    del found["steps"]
    for name, settings in {"bad": BAD, "default": {}, "tuned": found}.items():
        for seed in range(FIRST_SEED, FIRST_SEED + arguments.seeds):
            line = play(settings, arguments.steps, seed)
            emit({"settings": name, **line}, arguments.output)


def play(settings, steps, seed):
    """Trains with one seed and evaluates."""
    from kerasrl2.zoo.build import tuned_agent

    agent, env, steps = tuned_agent(ALGORITHM, ENV, steps, seed, overrides=settings)
    started = time.perf_counter()
    agent.fit(env, steps=steps, epochs=1, verbose=0)
    seconds = time.perf_counter() - started
    scores = agent.evaluate(ENV, episodes=100, seed=seed)
    return {
        "algorithm": ALGORITHM,
        "env": ENV,
        "seed": seed,
        "steps": int(agent.env_steps),
        "return": round(scores["return"], 2),
        "return_std": round(scores["return_std"], 2),
        "seconds": round(seconds, 1),
    }


if __name__ == "__main__":
    main()
