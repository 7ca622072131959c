"""Environments made from ids and callables: what makes one closes it."""

import contextlib
import warnings

from kerasrl2 import envs
from kerasrl2.envs.registry import is_recipe


@contextlib.contextmanager
def looked_at(env):
    """An `envs.Environment`, to read its spaces; closed if it was made for that."""
    made = envs.make(env)
    try:
        yield made
    finally:
        if is_recipe(env):
            _close(made)


class OwnedEnvironments:
    """What an agent has made of ids and callables and not closed yet."""

    def __init__(self):
        self._envs = {}

    def make(self, env, build):
        """What `build()` makes of `env`, owned if `env` is an id or a callable."""
        made = build()
        if is_recipe(env):
            self._envs[id(made)] = made
        return made

    def own(self, env):
        """Owns an environment that was made otherwise."""
        self._envs[id(env)] = env

    def close(self, env):
        """Closes an environment, if it is owned."""
        if self._envs.pop(id(env), None) is not None:
            _close(env)

    def close_all(self):
        """Closes all that is owned."""
        while self._envs:
            _close(self._envs.popitem()[1])


def _close(env):
    """Closes; an exception of user code on the way out is no reason to stop."""
    try:
        env.close()
    except Exception as error:
        warnings.warn(
            f"`close` of {env.id} raised {type(error).__name__}: {error}. What else "
            "was to be closed is closed.",
            stacklevel=3,
        )
