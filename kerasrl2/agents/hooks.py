"""Methods that subclasses override: their former names and their arguments."""

import functools
import inspect
import numbers

_RENAMED = {
    "explore": "choose",
    "explore_with_value": "forward",
    "knobs": "hyperparameters",
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
        raise AttributeError(
            f"{owner!r} object has no attribute {name!r}. It is called "
            f"{_RENAMED[name]!r} now."
        )


def one_update(learn):
    """Decorator of `learn`: who calls it as others' method is told of `fit`."""

    @functools.wraps(learn)
    def called(self, *args, **kwargs):
        steps = not args or isinstance(args[0], numbers.Integral)
        if kwargs.keys() - {"batch", "seed"} or (steps and "batch" not in kwargs):
            given = [repr(arg)[:60] for arg in args]
            given += [f"{name}={value!r:.60}" for name, value in kwargs.items()]
            raise TypeError(
                "Expected `agent.fit(env, steps=...)` to train: `learn` is the update "
                f"that the training loop makes. Received: learn({', '.join(given)})"
            )
        return learn(self, *args, **kwargs)

    return called


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
