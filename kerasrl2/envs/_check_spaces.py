"""Looks at spaces: what they say, and whether what is played bears it out."""

import numpy as np
from gymnasium import spaces

from kerasrl2.envs._leaves import subscript
from kerasrl2.envs._spaces import entry_at, leaf_spaces

_LEAST_USED = 0.05  # of the declared width; below it the bounds are likely wrong
_LARGEST = 10.0  # of pictures without bounds, which networks take as they are


def check_action_space(space, report):
    """Reports an action space that leaves nothing to choose.

    Returns:
        Boolean, whether there is an action to play.
    """
    if isinstance(space, spaces.Discrete) and space.n < 1:
        report.error(
            "the `action_space` has no action, n=0", "", "declare how many there are"
        )
        return False
    if isinstance(space, spaces.Box) and not np.all(space.low < space.high):
        fixed = int(np.sum(~(space.low < space.high)))
        report.error(
            f"{fixed} of {space.low.size} numbers of the `action_space` {space} cannot "
            "change: low is not below high",
            "",
            "leave them out of the space, and put them back in `step`",
        )
    return True


class Seen:
    """What default networks rely on of an observation space, against what is seen.

    Args:
        space: `gymnasium.Space` of observations.
        report: `Report`.
    """

    def __init__(self, space, report):
        self._entries = [
            (keys, _SeenEntry(leaf, subscript(*keys), report))
            for keys, leaf in leaf_spaces(space)
            if isinstance(leaf, spaces.Box | spaces.Discrete)
        ]

    def count(self, observation):
        """Counts observations in, a nest of arrays."""
        for keys, entry in self._entries:
            entry.count(np.asarray(entry_at(observation, keys)))

    def judge(self):
        """Reports bounds that what was counted does not bear out."""
        for _, entry in self._entries:
            entry.judge()


class _SeenEntry:
    """As `Seen`, for one array; `entry` is what follows `observation` in messages."""

    def __init__(self, space, entry, report):
        from kerasrl2.layers.pictures import layout_of
        from kerasrl2.layers.specs import ObservationSpec

        self._space, self._entry, self._report = space, entry, report
        self._low, self._high = np.inf, -np.inf
        self._spec = self._layout = None
        try:
            self._spec = ObservationSpec.of_space(space)
        except ValueError as error:
            report.error(str(error), "", "declare what `reset` returns")
            return
        if self._spec.num_classes is None:
            self._layout = layout_of(self._spec.shape, self._spec.dtype)
            self._look_at_space()

    def count(self, array):
        if self._spec is not None:
            self._low = min(self._low, float(np.min(array)))
            self._high = max(self._high, float(np.max(array)))

    def judge(self):
        spec = self._spec
        if spec is None or not self._low <= self._high:
            return
        seen = f"from {self._low:g} to {self._high:g}"
        if self._layout is not None and (spec.low is None or spec.high is None):
            if max(-self._low, self._high) > _LARGEST:
                self._report.warning(
                    f"observations{self._entry} are pictures without bounds, with "
                    f"values {seen}",
                    "",
                    "declare `low` and `high`: default networks scale by them, and "
                    "take other values as they are",
                )
        elif spec.scaling() is not None and self._low < self._high:
            low, high = np.min(spec.low), np.max(spec.high)
            if self._high - self._low < _LEAST_USED * (high - low):
                self._report.warning(
                    f"observations{self._entry} go {seen}, their space {low:g} to "
                    f"{high:g}",
                    "",
                    "declare the bounds they have: default networks scale by them, so "
                    "that these look all alike",
                )

    def _look_at_space(self):
        low, high = self._space.low, self._space.high
        fixed = int(np.sum(~(low < high)))
        if fixed and self._space.dtype != bool:
            self._report.warning(
                f"{fixed} of {low.size} numbers of the `observation_space{self._entry}`"
                " cannot change: low is not below high",
                "",
                "declare the bounds they have, or leave them out",
            )
        if self._layout is not None and self._layout.channels_first:
            height, width, channels = self._layout.shape
            self._report.note(
                f"observations{self._entry} of shape {self._space.shape} are taken as "
                f"pictures of {height} x {width} with {channels} channels, which come "
                "first",
                "",
                'if that is not meant, move the axes, or choose `encoder="mlp"`',
            )
