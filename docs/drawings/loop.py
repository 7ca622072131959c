"""What a training loop does, drawn from the calls in `kerasrl2/training`."""

import ast
import re
from pathlib import Path

from docs.drawings.svg import BLUE, GREEN, GREY, Picture

TRAINING = Path(__file__).parents[2] / "kerasrl2" / "training"
OF_INTEREST = (
    "agent", "env", "buffer", "loop", "callbacks", "validation", "checkpoint",
)  # fmt: skip
AT_THE_START = {"agent.initial_state"}  # and where an episode ends
LINE, WIDTH = 19, 232  # pixels


def calls(module, function):
    """Calls on agents, environments and the like that a function makes, in order.

    What the module's own functions call stands where they are called.

    Args:
        module: String, the file's name in `kerasrl2/training` without `.py`.
        function: String, name of a function or method.

    Returns:
        List of strings such as `"agent.forward"`, without repetitions.
    """
    tree = ast.parse((TRAINING / f"{module}.py").read_text(encoding="utf-8"))
    functions = {n.name: n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef)}
    if function not in functions:
        raise ValueError(f"Expected a function {function} in training/{module}.py.")
    kept = dict(_kept_parts(tree))

    def made_in(node, seen):
        found = [n for n in ast.walk(node) if isinstance(n, ast.Call)]
        for call in sorted(found, key=lambda n: (n.end_lineno, n.end_col_offset)):
            name = re.sub(r"^(self|progress)\.", "", ast.unparse(call.func))
            name = kept.get(name, name)
            if name in functions and name not in seen:
                yield from made_in(functions[name], {*seen, name})
            elif name.split(".")[0] in OF_INTEREST and "." in name:
                yield name

    return list(dict.fromkeys(made_in(functions[function], {function})))


def _kept_parts(tree):
    """Pairs of names and functions of `self._store = part(buffer.add)` and the like."""
    local = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            local[node.targets[0].id] = ast.unparse(node.value).removeprefix("self.")
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Attribute):
            value = node.value.body if isinstance(node.value, ast.IfExp) else node.value
            if isinstance(value, ast.Call) and ast.unparse(value.func) == "part":
                function = ast.unparse(value.args[0])
                yield node.targets[0].attr, local.get(function, function)


def draw():
    """The picture as SVG."""
    play = [name for name in calls("collect", "collect") if name not in AT_THE_START]
    learn = calls("on_policy", "_learn_from")
    replay = calls("off_policy", "_iterate")
    around = calls("fit", "_run_epochs")
    title = "One call of fit: what is called, in the order of the code"
    columns = [
        ("Play a step", "training.collect", play, BLUE),
        ("Learn from the rollout", "OnPolicyLoop: PPO, A2C, TRPO ...", learn, GREEN),
        ("or store, draw and learn", "OffPolicyLoop: DQN, SAC ...", replay, GREEN),
    ]
    inner = 62 + LINE * max(len(names) for *_, names, _ in columns)
    width = 44 + len(columns) * (WIDTH + 18)
    bottom = 94 + inner
    outer = 42 + LINE * -(-len(around) // 2)
    picture = Picture(width, bottom + outer + 40, title)
    picture.text(16, 26, title, weight="bold")
    picture.box(16, 40, width - 32, inner + 40, stroke=GREY)
    note = "The compiled block: some half a second of iterations as one program"
    picture.text(30, 62, note, weight="bold", size=12)
    for number, (name, place, names, color) in enumerate(columns):
        x = 30 + number * (WIDTH + 18)
        _list(picture, x, 72, WIDTH, inner - 6, (name, place, names, color))
    picture.box(16, bottom + 24, width - 32, outer, stroke=GREY)
    picture.line(f"M60 {bottom - 14}V{bottom + 22}", tip=True)
    picture.line(f"M{width - 60} {bottom + 24}V{bottom - 12}", tip=True)
    note = "Around it, in Python: fit"
    picture.text(30, bottom + 46, note, weight="bold", size=12)
    half = -(-len(around) // 2)
    for number, name in enumerate(around):
        x = 30 + (number // half) * (width / 2 - 16)
        picture.code(x, bottom + 68 + LINE * (number % half), name)
    return str(picture)


def _list(picture, x, y, width, height, column):
    name, place, names, color = column
    picture.box(x, y, width, height, fill="#ffffff", stroke=color)
    picture.text(x + 12, y + 21, name, weight="bold", fill=color)
    picture.text(x + 12, y + 37, place, fill=GREY, size=11)
    for number, call in enumerate(names):
        picture.code(x + 12, y + 59 + LINE * number, call)
