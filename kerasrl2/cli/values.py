"""`name=value` assignments of the command line."""

import inspect
import numbers

import yaml

from kerasrl2._checks import check_keywords

# Keywords whose values are objects, and what has an option of its own.
_INTERNAL = {
    "self",
    "kwargs",
    "hyperparameters",
    "env",
    "network",
    "head",
    "observation_spec",
}
_INTERNAL |= {"observation_normalizer", "reward_scaling", "optimizer", "seed"}
_INTERNAL |= {"q_network", "action_values", "buffer"}


def parse_assignments(assignments):
    """`["gamma=0.9", "hidden=[32, 32]"]` as a dictionary; values are read as YAML.

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
                f"Expected `--set name=value`, for instance `--set gamma=0.98`. "
                f"Received: {assignment!r}"
            )
        values[name.strip().replace("-", "_")] = _value(text)
    return values


def settable(agent_class):
    """Defaults of what `--set` may change: plain keywords, by name."""
    made = getattr(agent_class, "agent_class", agent_class)  # what a preset makes
    defaults = {
        name: parameter.default
        for function in (made.__init__, made.for_env)
        for name, parameter in inspect.signature(function).parameters.items()
        if name not in _INTERNAL
    }
    return {**defaults, **getattr(agent_class, "settings", {})}


def check_kinds(overrides, agent_class):
    """Raises `ValueError` if a setting cannot be set, or has a value of another kind.

    Args:
        overrides: Dictionary, what `parse_assignments` returned.
        agent_class: Subclass of `Agent`, or a preset.
    """
    defaults = settable(agent_class)
    check_keywords(f"{agent_class.__name__}.for_env", overrides, defaults)
    for name, value in overrides.items():
        default = defaults[name]
        number = isinstance(value, numbers.Real) and not isinstance(value, bool)
        schedule = isinstance(value, str) and value.startswith("linear")
        if isinstance(default, bool):
            fits, kind = isinstance(value, bool), "true or false"
        elif isinstance(default, str):
            fits, kind = isinstance(value, str | bool), "a word"
        elif isinstance(default, tuple):
            kinds = (int, float) if isinstance(default[0], float) else (int,)
            fits = isinstance(value, list) and all(type(n) in kinds for n in value)
            noun = "numbers" if float in kinds else "integers"
            kind = f"a list of {noun} such as {list(default)}"
        else:
            fits, kind = number or schedule or value is None, "a number"
        if not fits:
            raise ValueError(f"Expected `{name}` as {kind}. Received: {value!r}")


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
