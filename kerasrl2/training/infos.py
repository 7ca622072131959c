"""Means of entries of `info` over the episodes that ended."""


def check_info_keys(keys, taken):
    """`keys` as a tuple of different strings; raises `ValueError` if they are not that.

    Args:
        keys: What a user gave as `info_keys`.
        taken: Collection of strings, names that mean something else already.
    """
    strings = isinstance(keys, list | tuple | set | frozenset)
    if not strings or not all(isinstance(key, str) for key in keys):
        raise ValueError(
            'Expected `info_keys` to be several strings, such as ("is_success",). '
            f"Received: {keys!r}"
        )
    for key in keys:
        if key in taken:
            raise ValueError(
                "Expected `info_keys` whose names are free: each becomes a figure of "
                f"that name. Received: {key!r}, which is one already. Rename it in the "
                "environment or with a wrapper."
            )
    return tuple(dict.fromkeys(keys))


class InfoMeans:
    """Means over finished episodes, each of which counts by its last step's value.

    Args:
        keys: Tuple of strings.
    """

    def __init__(self, keys=()):
        self.keys = tuple(keys)
        self.clear()

    def clear(self):
        """Forgets all episodes."""
        self._count, self._sums = 0, [0.0] * len(self.keys)

    def begin(self, env):
        """Lets an environment keep what is wanted of the episodes that end now."""
        env.record_info(self.keys)

    def take(self, env, counts=lambda copy, episode: True):
        """Counts the episodes that ended since `begin`.

        Args:
            env: `Environment`.
            counts: Callable of copy and episode, the latter from 0 since `reset`:
                whether it counts.
        """
        for copy, episode, values in env.finished_info():
            if counts(copy, episode):
                self._count += 1
                self._sums = [a + b for a, b in zip(self._sums, values, strict=True)]

    def means(self):
        """Dictionary of the keys to floats; NaN if no episode ended."""
        if not self._count:
            return dict.fromkeys(self.keys, float("nan"))
        means = [total / self._count for total in self._sums]
        return dict(zip(self.keys, means, strict=True))

    def state(self):
        """What JSON can hold."""
        sums = dict(zip(self.keys, self._sums, strict=True))
        return {"count": self._count, "sums": sums}

    def set_state(self, state):
        """Takes over what `state` returned, for the keys that are still the same."""
        if set(self.keys) == set(state["sums"]):
            self._count = state["count"]
            self._sums = [state["sums"][key] for key in self.keys]


def with_success_rate(means):
    """Means, and `success_rate` where `is_success` is among them: what it is called."""
    if "is_success" not in means:
        return means
    return {**means, "success_rate": means["is_success"]}
