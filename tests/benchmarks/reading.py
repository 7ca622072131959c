"""How much one has to read to follow a step of an algorithm.

    python -m tests.benchmarks.reading

One iteration of each loop is run eagerly, and every function of the package that is
entered is noted. Its lines are counted: code alone, with the whole signature and all
branches, also those not taken; no docstrings, comments, blank lines, imports or bodies
of classes. TensorFlow, Keras and environments of others count nothing.

Each function is one of three things. If the algorithm calls it, be it only once, it is
by itself

- **a check** if its name begins with `check`, as `check_optimizer` or `checked_loss`,
  in whatever file: it looks at what it was given and raises;
- **a component** if `COMPONENTS` lists its file: whoever reads an algorithm reads its
  name and what it returns;
- **the algorithm** else. The loop around the updates and the plumbing of its blocks are
  part of it.

What only checks or components call, at whatever depth, belongs to them, whatever its
file and name: the checks of a loss are part of the loss. What both call counts with the
checks. A function within another one belongs where that one does, whoever calls it:
what is handed to a component, to be called there, does not become the component's.

Nothing is left out: "in all" is the three together, and the number to compare with
earlier versions. In parentheses are all lines of these files.
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
COMPONENTS = {
    "_private.py",
    "_numbers.py",  # numbers that are variables
    "_seeds.py",
    "_control.py",  # `if` in a compiled program
    "action_values",
    "agents/accumulation.py",  # gradients of a minibatch in parts
    "agents/regularization.py",  # what layers of Keras add to a loss
    "agents/remembering.py",  # networks with a state
    "buffers",
    "distributions",
    "envs",
    "exploration.py",
    "layers",
    "losses",
    "permutations.py",
    "returns.py",
    "schedules.py",
    "statistics.py",
    "training/episodes.py",  # counts episodes
    "training/finite.py",  # watches for NaN
    "training/recurrence.py",  # policies over sequences
    "training/rows.py",  # stacks the steps of a rollout
    "training/metrics.py",  # metrics of an update by name
}
ALGORITHM, CHECK, COMPONENT = "algorithm", "its checks", "its components"


def own_kind(code):
    """What a function is by itself, wherever it is called from."""
    path = Path(code.co_filename).relative_to(ROOT)
    if code.co_name.lstrip("_").startswith("check"):
        return CHECK
    if any(part.as_posix() in COMPONENTS for part in (path, *path.parents)):
        return COMPONENT
    return ALGORITHM


def entered(function):
    """Dictionary of the package's code objects that run to what each one is."""
    callers, stack, definers = defaultdict(set), [], {}

    def caller_of(code):
        """The kind of what defined a function, else of what called it."""
        place, _, _ = code.co_qualname.rpartition(".<locals>.")
        calling = next((kind for kind in reversed(stack) if kind), ALGORITHM)
        return definers.get((code.co_filename, place), calling)

    def note(frame, event, argument):
        del argument
        code, kind = frame.f_code, None
        if event == "call":
            if code.co_filename.startswith(str(ROOT)):
                caller = caller_of(code)
                if code.co_name == "<lambda>" or not code.co_name.startswith("<"):
                    callers[code].add(caller)  # a comprehension is in its function
                kind = own_kind(code) if caller == ALGORITHM else caller
                definers[code.co_filename, code.co_qualname] = kind
            stack.append(kind)
        elif event == "return" and stack:
            stack.pop()

    sys.setprofile(note)
    try:
        function()
    finally:
        sys.setprofile(None)
    return {
        code: next(
            own_kind(code) if kind == ALGORITHM else kind
            for kind in (ALGORITHM, CHECK, COMPONENT)
            if kind in kinds
        )
        for code, kinds in callers.items()
    }


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


def show(title, counts):
    whole = sum(len(lines_of_code(ROOT / path)) for path in counts)
    print(
        f"{title}: {sum(counts.values())} lines of {len(counts)} files "
        f"({whole} in the whole files)"
    )


def main():
    tf.config.run_functions_eagerly(True)
    for name, (algorithm, settings) in WORK.items():
        codes = defaultdict(list)
        for code, kind in entered(iteration(algorithm, settings)).items():
            codes[kind].append(code)
        for kind in (ALGORITHM, CHECK, COMPONENT):
            counts = count(codes[kind])
            show(f"{name}, {kind}", counts)
            for path, lines in sorted(counts.items()):
                print(f"  {path}: {lines}")
        everything = [code for some in codes.values() for code in some]
        show(f"{name}, in all", count(everything))


if __name__ == "__main__":
    main()
