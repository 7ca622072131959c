"""Agents with tuned settings."""

import kerasrl2._startup  # noqa: F401

import functools

from kerasrl2 import agents, envs
from kerasrl2._checks import check_positive_integer
from kerasrl2.agents.keywords import keywords_of

_COUNTS = {"num_envs", "rollout_length", "num_epochs"}
_COUNTS |= {"train_frequency", "gradient_steps"}


def tuned_agent(
    algorithm, env, steps=None, seed=None, backend="auto", overrides=None, **kwargs
):
    """An agent with tuned settings and the environment to train it on.

    Args:
        algorithm: String, one of `zoo.algorithms()`.
        env: Environment id, also one without tuned settings; or a callable that
            returns a new `gymnasium.Env`, which has none.
        steps: Integer, env steps it will be trained for, at which linear schedules end;
            None takes the tuned number (100 000 without tuned settings).
        seed: Integer or None.
        backend: `"auto"`, `"tensorflow"` or `"gymnasium"`.
        overrides: Dictionary of keywords of `for_env` that replace the tuned ones.
            Another `num_envs` or `rollout_length` keeps the tuned number of
            minibatches.
        **kwargs: Passed to `envs.make`: `vectorization`, `wrappers`, and keywords of
            the environment's constructor.

    Returns:
        `(agent, env, steps)`.

    Raises:
        ValueError: There is no such algorithm, or a setting is out of range.

    Example:
    >>> agent, env, steps = tuned_agent("ppo", "CartPole-v1", seed=0)
    >>> env.num_envs, steps
    (8, 100000)
    """
    from kerasrl2 import zoo

    agent_class = agents.algorithm(algorithm)
    overrides = overrides or {}
    tuned = zoo.settings(algorithm, env) if isinstance(env, str) else {}
    steps = steps or {**tuned, **overrides}.get("steps", 100_000)
    tuned, overrides = (
        {name: value for name, value in settings.items() if name != "steps"}
        for settings in (tuned, overrides)
    )
    defaults = {
        name: keyword.default
        for name, keyword in keywords_of(agent_class).items()
        if keyword.default is not keyword.empty
    }
    settings = {**defaults, **tuned, **overrides}
    for name in _COUNTS & set(settings):
        check_positive_integer(name, settings[name])
    if settings.get("batch_size") is not None:
        check_positive_integer("batch_size", settings["batch_size"])
    adapted = agent_class.adapt_settings(settings, tuned, overrides)
    updates = agent_class.planned_updates(adapted, steps)
    chosen = {
        name: value
        for name, value in adapted.items()
        if name in {*tuned, *overrides} or value is not settings.get(name)
    }
    num_envs = settings.get("num_envs", 1)
    make = functools.partial(
        envs.make, env, num_envs=num_envs, backend=backend, **kwargs
    )
    made, chosen = make(), zoo.with_schedules(chosen, updates)
    agent = agent_class.for_env(made, seed=seed, **chosen)
    return agent, agent.multiplied(made, make), steps
