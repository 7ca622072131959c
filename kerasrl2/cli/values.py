"""`name=value` assignments of the command line."""

import re

import yaml

from kerasrl2._checks import check_keywords
from kerasrl2.cli.kinds import declared_kinds, kinds_like

# A name, maybe with its module, and keywords; a comma before each further keyword.
_WRAPPER = re.compile(r"([\w.]+(?::[\w.]+)?)(?::(\w+=.*))?", re.S)
_COMMA = re.compile(r",(?=\s*\w+=)")

# Keywords whose values are objects, or that have a command-line option.
_OBJECT = "an object: give it to the agent in Python"
_INTERNAL = {
    "env": "the second argument of `train`",
    "seed": "`--seed`",
    "optimizer": f"{_OBJECT}; its rate is `--set learning_rate=...`",
    "critic_optimizer": f"{_OBJECT}; its rate is `--set critic_learning_rate=...`",
    **dict.fromkeys(
        ("network", "head", "observation_spec", "observation_normalizer",
         "reward_scaling", "q_network", "action_values", "buffer"),
        _OBJECT,
    ),
}  # fmt: skip


def parse_assignments(assignments, option="--set", example="gamma=0.98"):
    """`["gamma=0.9", "hidden=[32, 32]"]` as a dictionary; values are read as YAML.

    Args:
        assignments: List of strings.
        option: String, what they were given by, for messages.
        example: String, a right one.

    Raises:
        ValueError: An assignment is not of the form `name=value`.

    Example:
    >>> parse_assignments(["gamma=0.9", "hidden=[32, 32]", "learning_rate=1e-3"])
    {'gamma': 0.9, 'hidden': [32, 32], 'learning_rate': 0.001}
    """
    values = {}
    for assignment in assignments:
        name, equals, text = assignment.partition("=")
        if not equals or not name.strip():
            raise ValueError(
                f"Expected `{option} name=value`, for instance `{option} {example}`. "
                f"Received: {assignment!r}"
            )
        values[name.strip().replace("-", "_")] = _value(text)
    return values


def parse_wrapper(text):
    """A wrapper as `envs.make` takes it, of `"name:keyword=value,keyword=value"`.

    Raises:
        ValueError: The text is not of this form.

    Example:
    >>> parse_wrapper("FrameStackObservation:stack_size=4,padding_type=zero")
    ('FrameStackObservation', {'stack_size': 4, 'padding_type': 'zero'})
    >>> parse_wrapper("my_module:MyWrapper")
    ('my_module:MyWrapper', {})
    """
    match = _WRAPPER.fullmatch(text)
    if match is None:
        raise ValueError(
            "Expected `--wrapper NAME`, `MODULE:NAME` or `NAME:KEYWORD=VALUE,...`, for "
            f"instance `--wrapper FrameStackObservation:stack_size=4`. Received: {text}"
        )
    keywords = _COMMA.split(match[2]) if match[2] else []
    return match[1], parse_assignments(keywords)


def settable(agent_class):
    """Dictionary of the names that `--set` takes to their defaults."""
    return {name: k.default for name, k in _settable(agent_class).items()}


def check_kinds(overrides, agent_class):
    """Raises `ValueError` on unknown settings and on values of a wrong kind.

    The kinds are those of the keyword's annotation in `for_env` or the constructor:
    `bool`, `int`, `float`, `str`, `None`, `Literal[...]` and lists or tuples of these.
    `alpha: float | Literal["auto"] = 0.2` takes a number or the word "auto". Without
    an annotation the default decides: if it is `"auto"`, a number or a word; if it is
    None, a number or null; if it is a number, only that. A float may be "linear ...".

    Args:
        overrides: Dictionary, what `parse_assignments` returned.
        agent_class: Subclass of `Agent`.
    """
    keywords = _settable(agent_class)
    for name, value in overrides.items():
        if name in _INTERNAL:
            raise ValueError(
                f"Expected a setting that `--set` knows. Received: {name}={value!r}, "
                f"which is {_INTERNAL[name]}. `kerasrl2 list settings` shows all."
            )
    check_keywords(f"{agent_class.__name__}.for_env", overrides, keywords)
    for name, value in overrides.items():
        kinds = declared_kinds(keywords[name].annotation)
        kinds = kinds or kinds_like(keywords[name].default)
        if not any(kind.takes(value) for kind in kinds):
            words = " or ".join(dict.fromkeys(kind.word for kind in kinds if kind.word))
            raise ValueError(f"Expected `{name}` as {words}. Received: {value!r}")


def _settable(agent_class):
    """Dictionary of names to `inspect.Parameter`."""
    from kerasrl2.agents.keywords import keywords_of

    keywords = keywords_of(agent_class).items()
    return {name: keyword for name, keyword in keywords if name not in _INTERNAL}


def _value(text):
    try:
        return float(text) if "e" in text.lower() else yaml.safe_load(text)
    except (ValueError, yaml.YAMLError):
        return _yaml_or_text(text)


def _yaml_or_text(text):
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        return text
