"""Methods that subclasses override: their former names and their arguments."""

import inspect

_RENAMED = {
    "explore": "choose",
    "explore_with_value": "forward",
    "knobs": "hyperparameters",
    "learn": "learn_from",
    "observe": "update_statistics",
    "overlaps": "updates_in_halves",
    "policy_and_value": "forward",
    "policy_parameters": "forward",
    "random_action": "choose",
    "stops": "should_stop",
    "stored_reward": "stored",
}
_TAKES = {  # arguments after `self`
    "compute_loss": ("batch", "seed"),
    "compute_gradients": ("batch", "seed"),
    "update": ("batch", "seed"),
    "apply_gradients": ("gradients",),
}


def check_renamed(owner, name):
    """Raises `AttributeError`, with the new name, for a name of an earlier version."""
    if name in _RENAMED:
        train = "" if name != "learn" else " To train, use `agent.fit(env, steps=...)`."
        raise AttributeError(
            f"{owner!r} object has no attribute {name!r}. It is called "
            f"{_RENAMED[name]!r} now.{train}"
        )


def check_hooks(agent_class):
    """Raises `ValueError` if a class has a method that is no longer called.

    Args:
        agent_class: Subclass of `Agent`.
    """
    for old, new in _RENAMED.items():
        if inspect.getattr_static(agent_class, old, None) is not None:
            raise ValueError(
                f"Expected `{new}` in {agent_class.__name__}. Received: `{old}`, the "
                f"name of an earlier version, which nothing calls: see the changelog."
            )
    owner = next(c for c in agent_class.__mro__ if "act" in vars(c))
    if owner.__module__ != "kerasrl2.agents.agent":
        raise ValueError(
            f"Expected `greedy` in {owner.__name__}, for evaluation and use, `choose`, "
            "for training, or `forward`. Received: `act`, which neither training nor "
            "`evaluate` calls."
        )
    for name, names in _TAKES.items():
        method = inspect.signature(getattr(agent_class, name)).parameters.values()
        given = [p.name for p in method if p.name != "self"]
        loose = any(p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD) for p in method)
        if not loose and len(given) != len(names):
            raise ValueError(
                f"Expected `{name}(self, {', '.join(names)})` in "
                f"{agent_class.__name__}. Received: `{name}(self, {', '.join(given)})`."
            )
