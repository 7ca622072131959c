"""Whether somebody else has stepped or reset an environment."""

import functools

import gymnasium

_COUNT, _MARK = "_kerasrl2_moves", "_kerasrl2_counts_moves"
_COUNTED = gymnasium.Env, gymnasium.vector.VectorEnv


class Moves:
    """Counts the calls of `reset` and `step` of Gymnasium's environments and vectors.

    Whoever makes them: another user of the same object, or of another wrapper around
    it. The innermost environment is counted; its class becomes a subclass of its own
    that counts, so copies and wrappers work as before.

    Args:
        envs: Sequence; what is neither a `gymnasium.Env` nor a `VectorEnv` is not
            counted. Of a `SyncVectorEnv` its environments are, too.

    Attributes:
        worlds: List of the attributes of the innermost environments.
    """

    def __init__(self, envs):
        found = [env.unwrapped for env in envs if isinstance(env, _COUNTED)]
        for world in found.copy():
            if isinstance(world, gymnasium.vector.SyncVectorEnv):
                found += [env.unwrapped for env in world.envs]
        for world in found:
            _count(world)
        self.worlds = [vars(world) for world in found]
        self._seen = self._counts()

    def take_note(self):
        """To call after moves of one's own."""
        self._seen = self._counts()

    def by_others(self):
        """Whether there were moves since the latest `take_note`."""
        return self._counts() != self._seen

    def has_one_of(self, other):
        """Whether another object counts one of these environments, too."""
        return bool({*map(id, self.worlds)} & {*map(id, other.worlds)})

    def _counts(self):
        return [world[_COUNT] for world in self.worlds]


def _count(world):
    vars(world).setdefault(_COUNT, 0)
    if not getattr(type(world), _MARK, False):
        try:
            object.__setattr__(world, "__class__", _counting(type(world)))
        except TypeError:  # a class that cannot be exchanged, or not be derived from
            return


def _counting(kind):
    """The subclass of `kind` that counts; there is one."""
    for known in type.__subclasses__(kind):
        if _MARK in vars(known):
            return known

    def counted(method):
        @functools.wraps(method)
        def call(self, *args, **kwargs):
            vars(self)[_COUNT] = vars(self).get(_COUNT, 0) + 1
            return method(self, *args, **kwargs)

        return call

    def reduce(self, protocol):  # a copy, and what is pickled, is of the class itself
        reduced = kind.__reduce_ex__(self, protocol)
        if not isinstance(reduced, tuple):
            return reduced
        function, arguments, *rest = reduced
        function = _NEW.get(getattr(function, "__name__", None), function)
        function, *arguments = (
            kind if part is derived else part for part in (function, *arguments)
        )
        return function, tuple(arguments), *rest

    derived = type(kind)(
        kind.__name__,
        (kind,),
        {
            "__module__": kind.__module__,
            "__qualname__": kind.__qualname__,
            "__doc__": kind.__doc__,
            "__reduce_ex__": reduce,
            "reset": counted(kind.reset),
            "step": counted(kind.step),
            _MARK: True,
        },
    )
    return derived


def _new(kind, *arguments):
    return kind.__new__(kind, *arguments)


def _new_with_keywords(kind, arguments, keywords):
    return kind.__new__(kind, *arguments, **keywords)


# For those of `copyreg`, which `pickle` takes for the object's own class only.
_NEW = {"__newobj__": _new, "__newobj_ex__": _new_with_keywords}
