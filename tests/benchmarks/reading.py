"""How much one has to read to follow a step of an algorithm.

    python -m tests.benchmarks.reading

One iteration of each loop is run eagerly and every function of the package that is
entered is noted. Printed are the lines of these functions (code alone: no docstrings,
comments or blank lines), the files they are in, and the lines of the whole files.
"""

import kerasrl2._startup

import ast
import inspect
import io
import sys
import tokenize
from collections import defaultdict
from pathlib import Path

import tensorflow as tf

import kerasrl2 as krl

ROOT = Path(krl.__file__).parent
WORK = {
    "a DQN step": ("dqn", {"learning_starts": 1, "batch_size": 4, "hidden": (4,)}),
    "a PPO iteration": (
        "ppo",
        {"num_envs": 2, "rollout_length": 4, "batch_size": 4, "hidden": (4,)},
    ),
}
# Components that stand for themselves: whoever reads an algorithm reads their names.
COMPONENTS = {
    "_private.py", "action_values", "buffers", "distributions", "envs", "layers",
    "permutations.py", "returns.py", "statistics.py", "losses", "schedules.py",
}  # fmt: skip


def entered(function):
    """Code objects of the package that run while `function` does."""
    found = set()

    def note(frame, event, argument):
        del argument
        code = frame.f_code
        if event == "call" and code.co_filename.startswith(str(ROOT)):
            found.add(code)

    sys.setprofile(note)
    try:
        function()
    finally:
        sys.setprofile(None)
    return found


def lines_of_code(path):
    """Numbers of the lines of a file that are neither blank, comment nor docstring."""
    text = path.read_text()
    lines = set()
    skipped = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT}
    skipped |= {tokenize.DEDENT, tokenize.ENDMARKER}
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type not in skipped:
            lines |= set(range(token.start[0], token.end[0] + 1))
    for node in ast.walk(ast.parse(text)):
        if isinstance(
            node, ast.Module | ast.ClassDef | ast.FunctionDef
        ) and ast.get_docstring(node):
            first = node.body[0]
            lines -= set(range(first.lineno, first.end_lineno + 1))
    return lines


def count(codes):
    """Dictionary of files to the number of lines of code of the functions entered."""
    by_file = defaultdict(set)
    for code in codes:
        source, start = inspect.getsourcelines(code)
        by_file[Path(code.co_filename)] |= set(range(start, start + len(source)))
    return {
        path.relative_to(ROOT): len(lines & lines_of_code(path))
        for path, lines in by_file.items()
    }


def iteration(algorithm, settings):
    """A function that makes one iteration of an algorithm's loop, eagerly."""
    agent = krl.agents.algorithm(algorithm).for_env("CartPole-v1", seed=0, **settings)
    loop = agent.loop_on(krl.envs.make("CartPole-v1", num_envs=agent.num_envs))
    for _ in range(2):
        loop.run(1)
    return lambda: loop.run(1)


def main():
    tf.config.run_functions_eagerly(True)
    for name, (algorithm, settings) in WORK.items():
        counts = count(entered(iteration(algorithm, settings)))
        own = {p: n for p, n in counts.items() if p.parts[0] not in COMPONENTS}
        for title, part in (("in all", counts), ("without components", own)):
            whole = sum(len(lines_of_code(ROOT / path)) for path in part)
            print(
                f"{name}, {title}: {sum(part.values())} lines of {len(part)} files "
                f"({whole} in the whole files)"
            )
        for path, lines in sorted(own.items()):
            print(f"  {path}: {lines}")


if __name__ == "__main__":
    main()
