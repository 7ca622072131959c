"""`name=value` assignments of the command line."""

import yaml


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
