"""What is played in, as the command line and `config.yaml` say it.

A world is a dictionary of five keys of `config.yaml`: `env`, `env_keywords`,
`wrappers`, `vectorization` and `backend`. `environments` makes environments of it.
"""

import json

from kerasrl2.cli.configuration import DEFAULTS
from kerasrl2.cli.values import parse_assignments

_KEYS = "env_keywords", "wrappers", "vectorization", "backend"
_OPTIONS = {
    "env": "an argument",
    "num_envs": "`--num-envs`",
    "backend": "`--backend`",
    "vectorization": "`--vectorization`",
    "wrappers": "`--wrapper`",
}
# Keywords of `envs.make` that say how copies run, not what they are.
_HOW = {"subprocess", "time_limit", "vector_kwargs", "render_mode"}


def world(config, **changes):
    """The world of a run's configuration, or of a dictionary with `env` alone."""
    found = {key: config.get(key, DEFAULTS[key]) for key in _KEYS}
    result = {"env": config["env"], **found, **changes}
    _check_keywords(result["env_keywords"])
    return result


def changed_world(run, config, given, wrappers, keywords_only=False):
    """The world of a run, with what options of a command say instead.

    Args:
        run: Path, for messages.
        config: Dictionary that `trained` returned, empty for an agent in no run.
        given: List of strings or None, the values of `--env`: `"name=value"` for a
            keyword, anything else for another environment, which has no keywords of
            the run.
        wrappers: List of strings or None, the values of `--wrapper`, which replace
            those of the run.
        keywords_only: Boolean, whether another environment is an error.
    """
    given = given or []
    others = [text for text in given if "=" not in text and not keywords_only]
    keywords = parse_env_keywords([text for text in given if text not in others])
    if len(others) > 1:
        raise ValueError(
            f"Expected one other environment. Received: --env {' --env '.join(others)}"
        )
    if not (others or config):
        raise ValueError(
            f"Expected `--env` with an agent that is in no run. Received: {run}, a "
            "file, which does not say where to play."
        )
    changes = {"wrappers": list(wrappers)} if wrappers else {}
    if others:
        kept = {"env": others[0], "wrappers": config.get("wrappers", [])}
        return world(kept, env_keywords=keywords, **changes)
    keywords = {**config.get("env_keywords", {}), **keywords}
    return world(config, env_keywords=keywords, **changes)


def parse_env_keywords(assignments):
    """`["is_slippery=false"]`, the values of `--env`, as a dictionary."""
    keywords = parse_assignments(assignments or [], "--env", "is_slippery=false")
    _check_keywords(keywords)
    return keywords


def label(world):
    """A world in a line: `"FrozenLake-v1 with is_slippery=false"`."""
    keywords = world.get("env_keywords", {}).items()
    words = [
        f"{name}={value if isinstance(value, str) else json.dumps(value, default=str)}"
        for name, value in keywords
        if name not in _HOW
    ]
    words += world.get("wrappers", [])
    return f"{world['env']} with {', '.join(words)}" if words else world["env"]


def of_one(world):
    """The world without what says how copies run: for one environment, to look at."""
    keywords = world["env_keywords"].items()
    kept = {name: value for name, value in keywords if name not in _HOW}
    return {**world, "vectorization": None, "env_keywords": kept}


def _check_keywords(keywords):
    for name, value in keywords.items():
        if name in _OPTIONS:
            raise ValueError(
                "Expected keywords of the environment's constructor. Received: "
                f"{name}={value!r}, which is {_OPTIONS[name]}."
            )
