"""Beyond one process: workers that play for a learner, over Ray.

`agent.fit(env, steps, workers=8)` is all that is needed; what is here says more
exactly how. Nothing is imported before it is used: Ray least of all.
"""

import importlib

_PLACES = {
    "Block": "player",
    "DistributedLoop": "loop",
    "FlatVariables": "flat",
    "GradientLearner": "averaging",
    "GradientServer": "learners",
    "Place": "player",
    "Player": "player",
    "Pool": "pool",
    "RemoteEnvironments": "environments",
    "ReplayLearner": "learners",
    "RolloutLearner": "learners",
    "StaleRolloutLearner": "learners",
    "Workers": "workers",
    "collect": "collecting",
    "mirrored_update": "mirrored",
}
__all__ = sorted(_PLACES)


def __getattr__(name):
    if name in _PLACES:
        module = importlib.import_module(f"kerasrl2.distributed.{_PLACES[name]}")
        return getattr(module, name)
    raise AttributeError(f"module 'kerasrl2.distributed' has no attribute {name!r}")


def __dir__():
    return __all__
