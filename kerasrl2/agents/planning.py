"""Numbers of gradient steps of a run, and settings for another rollout size.

The agents' class methods `planned_updates` and `adapt_settings` use these functions;
linear schedules of the zoo end after the planned number.
"""


def on_policy_updates(settings, steps):
    """Gradient steps of agents that learn from whole rollouts.

    `ceil(steps / rows) * num_epochs * (rows / batch_size)`, where a rollout has
    `rows = rollout_length * num_envs`.

    Args:
        settings: Dictionary with `rollout_length` and `num_envs`; may have `num_epochs`
            (default 1) and `batch_size` (default and None: the whole rollout).
        steps: Integer, env steps of the run.

    Returns:
        Integer >= 1.

    Example:
    >>> on_policy_updates({"rollout_length": 32, "num_envs": 8, "batch_size": 64}, 1000)
    16
    """
    rows = settings["rollout_length"] * settings["num_envs"]
    minibatches = max(1, rows // (settings.get("batch_size") or rows))
    return -(-steps // rows) * (settings.get("num_epochs") or 1) * minibatches


def off_policy_updates(settings, steps):
    """Gradient steps of agents that learn from a replay buffer.

    `gradient_steps` for every `train_frequency` steps of each environment. An upper
    bound: none are made before `learning_starts`.

    Args:
        settings: Dictionary with `train_frequency`, `num_envs` and `gradient_steps`.
        steps: Integer, env steps of the run.

    Returns:
        Integer >= 1.

    Example:
    >>> off_policy_updates(
    ...     {"train_frequency": 4, "num_envs": 2, "gradient_steps": 3}, 80
    ... )
    30
    """
    iteration = settings["train_frequency"] * settings["num_envs"]
    return max(1, steps // iteration * settings["gradient_steps"])


def keep_minibatches(settings, tuned, overrides):
    """Settings whose `batch_size` gives as many minibatches as the tuned one did.

    Args:
        settings: Dictionary of keywords of `for_env` with `rollout_length` and
            `num_envs`.
        tuned: Dictionary, the zoo's settings for the environment.
        overrides: Dictionary, the caller's settings; their `batch_size` is kept.

    Returns:
        `settings`, or a copy with another `batch_size`.

    Example:
    >>> tuned = {"rollout_length": 32, "num_envs": 8, "batch_size": 64}
    >>> keep_minibatches({**tuned, "num_envs": 4}, tuned, {"num_envs": 4})["batch_size"]
    32
    """
    if "batch_size" not in tuned or "batch_size" in overrides:
        return settings
    rows = settings["rollout_length"] * settings["num_envs"]
    tuned = {**settings, **tuned}
    tuned_rows = tuned["rollout_length"] * tuned["num_envs"]
    batch_size = max(1, rows * tuned["batch_size"] // tuned_rows)
    return {**settings, "batch_size": batch_size}
