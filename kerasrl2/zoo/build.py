"""Agents with tuned settings."""

import kerasrl2._startup  # noqa: F401

import inspect

from kerasrl2 import agents, envs
from kerasrl2._checks import check_choice, check_positive_integer

_COUNTS = {"num_envs", "rollout_length", "batch_size", "num_epochs"}
_COUNTS |= {"train_frequency", "gradient_steps"}


def tuned_agent(
    algorithm, env_id, steps=None, seed=None, backend="auto", overrides=None
):
    """An agent with the zoo's settings and the environment to train it on.

    Args:
        algorithm: String, one of `algorithms()`.
        env_id: Environment id, also one without tuned settings.
        steps: Integer, env steps it will be trained for; None takes the tuned number
            (100 000 for an unknown environment). Linear schedules end there.
        seed: Integer or None.
        backend: `"auto"`, `"tensorflow"` or `"gymnasium"`.
        overrides: Dictionary of keywords of `for_env`, before the tuned ones. Other
            `num_envs` or `rollout_length` keep the tuned number of minibatches.

    Returns:
        `(agent, env, steps)`.

    Example:
    >>> agent, env, steps = tuned_agent("ppo", "CartPole-v1", seed=0)
    >>> env.num_envs, steps
    (8, 100000)
    """
    from kerasrl2 import zoo

    check_choice("algorithm", algorithm, zoo.algorithms())
    overrides = overrides or {}
    tuned = zoo.settings(algorithm, env_id)
    settings = {**tuned, **overrides}
    steps = steps or settings.get("steps", 100_000)
    settings.pop("steps", None)
    agent_class = agents.ALGORITHMS[algorithm]
    made = getattr(agent_class, "agent_class", agent_class)  # what a preset makes
    parameters = inspect.signature(made.__init__).parameters
    settings = {
        **{name: p.default for name, p in parameters.items() if name in _COUNTS},
        **settings,
    }
    for name in _COUNTS & set(settings):
        if settings[name] is not None:
            check_positive_integer(name, settings[name])
    env = envs.make(env_id, num_envs=settings["num_envs"], backend=backend)
    if "rollout_length" in settings:
        updates = _on_policy_updates(settings, tuned, overrides, steps)
    else:
        iteration = settings["train_frequency"] * settings["num_envs"]
        updates = max(1, steps // iteration * settings["gradient_steps"])
    settings = zoo.with_schedules(settings, updates)
    return agent_class.for_env(env, seed=seed, **settings), env, steps


def _on_policy_updates(settings, tuned, overrides, steps):
    """Gradient steps of the run; adapts the batch size to another rollout size."""
    rows = settings["rollout_length"] * settings["num_envs"]
    if "batch_size" in tuned and "batch_size" not in overrides:
        tuned_rows = tuned["rollout_length"] * tuned["num_envs"]
        settings["batch_size"] = max(1, rows * tuned["batch_size"] // tuned_rows)
    minibatches = max(1, rows // (settings.get("batch_size") or rows))
    return -(-steps // rows) * (settings.get("num_epochs") or 1) * minibatches
