"""Speed beside the peers, drawn from the tables of `docs/results/speed.md`."""

import re
import statistics
from pathlib import Path

from docs.drawings.svg import BLUE, GREEN, GREY, Picture

TABLES = Path(__file__).parents[1] / "results" / "speed.md"
WORKLOADS = {  # those that all libraries run on the same environments
    "ppo-zoo-gymnasium": "PPO, CartPole",
    "ppo-recurrent": "PPO with an LSTM, CartPole",
    "ppo-envpool": "PPO, CartPole of EnvPool",
    "ppo-atari": "PPO, Atari",
    "a2c-gymnasium": "A2C, CartPole",
    "trpo-gymnasium": "TRPO, CartPole",
    "dqn-each-step": "DQN, CartPole",
    "dqn-zoo": "DQN, CartPole, 256-256",
    "dqn-atari": "DQN, Atari",
    "sac": "SAC, Pendulum",
    "td3": "TD3, Pendulum",
    "tqc": "TQC, Pendulum",
    "crossq": "CrossQ, Pendulum",
}
LEFT, ROW, SCALE = 216, 30, 28  # pixels; SCALE for each time as fast


def speeds():
    """Dictionary of workloads to dictionaries of libraries to env steps/s.

    Of a range it is the middle, of several figures the median.
    """
    found, header = {}, []
    for line in TABLES.read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if not line.startswith("|"):
            header = []
        elif not header:
            header = cells
        elif "Stable-Baselines3" in header:
            name = re.match(r"`([\w-]+)`", cells[0])
            if name and name[1] in WORKLOADS and name[1] not in found:
                row = dict(zip(header, cells, strict=True))
                found[name[1]] = {
                    library: value
                    for library in ("kerasrl2", "Stable-Baselines3", "SBX")
                    if (value := figure(row.get(library, ""))) is not None
                }
    missing = set(WORKLOADS) - set(found)
    if missing:
        raise ValueError(f"Expected rows of {sorted(missing)} in {TABLES.name}.")
    return {name: found[name] for name in WORKLOADS}


def figure(cell):
    """The number that a cell of the tables stands for, or None of an empty one."""
    numbers = [
        float(number.replace(" ", ""))
        for number in re.findall(r"\d+(?: \d{3})*(?:\.\d+)?", cell)
    ]
    return statistics.median(numbers) if numbers else None


def draw():
    """The picture as SVG: how many times as fast as Stable-Baselines3."""
    rows = speeds()
    widest = max(row["kerasrl2"] / row["Stable-Baselines3"] for row in rows.values())
    right = LEFT + SCALE * (int(widest) + 1)
    bottom = 56 + ROW * len(rows)
    title = "Env steps per second, as multiples of Stable-Baselines3"
    picture = Picture(right + 60, bottom + 28, title)
    picture.text(16, 26, title, weight="bold")
    for x, color, name in (
        (LEFT, BLUE, "kerasrl2"),
        (LEFT + 90, GREEN, "SBX (JAX)"),
        (LEFT + 185, GREY, "line: Stable-Baselines3 (PyTorch)"),
    ):
        picture.box(x, 38, 10, 10, fill=color, radius=2)
        picture.text(x + 15, 48, name, size=12)
    for number, (name, row) in enumerate(rows.items()):
        y = 62 + ROW * number
        picture.text(LEFT - 10, y + 14, WORKLOADS[name], anchor="end")
        for library, color, top, height in (
            ("kerasrl2", BLUE, 0, 12),
            ("SBX", GREEN, 13, 6),
        ):
            if library in row:
                times = row[library] / row["Stable-Baselines3"]
                picture.box(LEFT, y + top, SCALE * times, height, color, radius=1)
                if library == "kerasrl2":
                    end = LEFT + SCALE * times + 6
                    picture.text(end, y + 11, f"{times:.1f}", size=12)
    once = LEFT + SCALE
    picture.line(f"M{once} 58V{bottom}", width=2)
    caption = (
        "Two x86-64 cores, the libraries of a row in the same hour. See Benchmarks."
    )
    picture.text(16, bottom + 16, caption, fill=GREY, size=11)
    return str(picture)
