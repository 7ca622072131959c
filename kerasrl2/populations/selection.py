"""Selection: which members of a population copy which."""

import numpy as np

from kerasrl2._checks import check_range
from kerasrl2.ratings import expected_score, updated_ratings


class TruncationSelection:
    """The worst copy the best.

    Jaderberg et al. (2017), https://arxiv.org/abs/1711.09846, section 4.1.1: a member
    of the bottom `fraction` copies a random one of the top `fraction`.

    Args:
        fraction: Float in (0, 0.5], rounded to at least one member.

    Example:
    >>> rng = np.random.default_rng(0)
    >>> TruncationSelection(0.25)([3.0, 9.0, 1.0, 5.0], None, rng)
    {2: 1}
    """

    def __init__(self, fraction=0.2):
        check_range("fraction", fraction, 0.0, 0.5, open_low=True)
        self.fraction = fraction

    def __call__(self, scores, members, rng):
        """Dictionary of members that copy to their donors, both by index.

        Args:
            scores: List of `N` floats; `-inf` and NaN are the worst. Nobody copies from
                a member whose score is not better than its own.
            members: List of `N` members; not used.
            rng: `numpy.random.Generator`.
        """
        del members
        scores = np.nan_to_num(np.asarray(scores, float), nan=-np.inf, neginf=-np.inf)
        order = np.argsort(scores, kind="stable")
        number = max(1, int(self.fraction * len(scores)))
        drawn = rng.integers(number, size=number)
        pairs = zip(order[:number], order[::-1][:number][drawn], strict=True)
        return {int(i): int(j) for i, j in pairs if scores[j] > scores[i]}

    def get_state(self):
        """What a checkpoint keeps: nothing."""
        return {}

    def set_state(self, state):
        """Restores a result of `get_state`."""


class EloSelection:
    """A member copies a random other one that it is expected to lose to.

    After each generation the members play in random pairs, which changes their
    ratings. Then each draws an opponent, and copies it if its own expected score is
    below `threshold`, as in Jaderberg et al. (2019), https://arxiv.org/abs/1807.01281.
    Its rating becomes that of the member it has copied: a rating belongs to weights.

    Args:
        threshold: Float in (0, 0.5), of the own expected score.
        k: Float > 0, the largest change of a rating by a game. It and the threshold
            belong together: a game won by one of two equals leaves the loser an
            expected score of 0.454 with `k=32`, and of 0.4999 with `k=0.1`, with which
            nobody copies for hundreds of games.
        play: None, or a callable that takes two members and returns the score of the
            first in [0, 1]. None compares their scores of the generation: the higher
            one wins.

    Attributes:
        ratings: List of `N` floats, the Elo ratings. Games leave their sum as it is.

    Example:
    >>> selection = EloSelection()
    >>> copies = selection([1.0, 2.0, 3.0, 4.0], None, np.random.default_rng(0))
    >>> sorted(selection.ratings) != [0.0] * 4
    True
    """

    def __init__(self, threshold=0.47, k=32.0, play=None):
        check_range("threshold", threshold, 0.0, 0.5, open_low=True, open_high=True)
        check_range("k", k, 0.0, open_low=True)
        self.threshold, self.k, self.play = threshold, k, play
        self.ratings = []

    def __call__(self, scores, members, rng):
        """As for `TruncationSelection`; `members` are handed to `play`."""
        number = len(scores)
        self.ratings = self.ratings or [0.0] * number
        order = rng.permutation(number).tolist()
        for i, j in zip(order[::2], order[1::2], strict=False):
            if self.play is None:
                score = _compared(scores[i], scores[j])
            else:
                score = self.play(members[i], members[j])
            self.ratings[i], self.ratings[j] = updated_ratings(
                self.ratings[i], self.ratings[j], score, self.k
            )
        others = [int(rng.integers(number - 1)) for _ in range(number)]
        others = [j + (j >= i) for i, j in enumerate(others)]
        rated = list(self.ratings)
        copied = {
            i: j
            for i, j in enumerate(others)
            if expected_score(rated[i], rated[j]) < self.threshold
        }
        for i, j in copied.items():
            self.ratings[i] = rated[j]
        return copied

    def get_state(self):
        """What a checkpoint keeps: the ratings."""
        return {"ratings": list(self.ratings)}

    def set_state(self, state):
        """Restores a result of `get_state`."""
        self.ratings = list(state["ratings"])


def _compared(score, other):
    """1 if the first is higher, 0 if the second is, else 0.5; NaN is the lowest."""
    pair = np.nan_to_num([score, other], nan=-np.inf, neginf=-np.inf)
    return 0.5 + 0.5 * float(np.sign(pair[0] - pair[1]) if pair[0] != pair[1] else 0.0)
