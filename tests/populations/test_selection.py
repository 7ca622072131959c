"""Selection, exploration and ratings, by hand."""

import math

import numpy as np
import pytest

from kerasrl2.populations import (
    EloSelection,
    Explore,
    Range,
    TruncationSelection,
)
from kerasrl2.populations.ranges import checked_ranges
from kerasrl2.ratings import expected_score, updated_ratings

INF = math.inf


def rng(seed=0):
    return np.random.default_rng(seed)


class TestElo:
    def test_the_numbers_of_000_20(self):
        assert updated_ratings(0.0, 0.0, 1.0, k=0.1) == (0.05, -0.05)
        assert expected_score(0, 50) == pytest.approx(0.428537, abs=5e-7)
        assert expected_score(50, 0) == pytest.approx(0.571463, abs=5e-7)
        assert expected_score(0, 1e9) == pytest.approx(0.0)
        assert expected_score(0, -1e9) == 1.0

    def test_the_sum_of_ratings_stays(self):
        draws = rng()
        for _ in range(100):
            a, b = draws.normal(0, 300, 2)
            score = draws.choice([0.0, 0.5, 1.0])
            assert sum(updated_ratings(a, b, score)) == pytest.approx(a + b)
        # As expected: nothing is learned from it.
        expected = expected_score(10.0, 70.0)
        assert updated_ratings(10.0, 70.0, expected) == (10.0, 70.0)

    def test_who_expects_to_lose_copies(self):
        selection = EloSelection(0.47, play=lambda a, b: 0.5, k=1e-9)
        selection.ratings = [0.0, 50.0]
        assert selection([0.0, 0.0], [None, None], rng()) == {0: 1}
        assert selection.ratings == pytest.approx([50.0, 50.0])  # the donor's
        selection.ratings = [0.0, 10.0]  # 0.4856
        assert selection([0.0, 0.0], [None, None], rng()) == {}

    def test_ratings_follow_scores_or_games(self):
        selection, draws = EloSelection(threshold=1e-9), rng()  # nobody copies
        for _ in range(40):
            assert selection([1.0, 3.0, 2.0, -INF], [0] * 4, draws) == {}
        assert np.argsort(selection.ratings).tolist() == [3, 0, 2, 1]
        assert sum(selection.ratings) == pytest.approx(0.0, abs=1e-9)
        games = EloSelection(1e-9, play=lambda a, b: float(a > b))
        for _ in range(40):
            games([math.nan] * 3, [5, 7, 6], draws)
        assert np.argsort(games.ratings).tolist() == [0, 2, 1]

    def test_one_game_and_who_copies(self):
        """By hand: k/2 won and lost, so 1 / (1 + 10**(32 / 400)) is expected."""
        selection = EloSelection()
        assert expected_score(-16, 16) == pytest.approx(0.454078, abs=5e-7)
        assert selection([1.0, 2.0], [None, None], rng()) == {0: 1}
        assert selection.ratings == [16.0, 16.0]

    def test_equal_scores_are_a_draw(self):
        selection = EloSelection()
        for scores in ([1.0, 1.0], [-INF, -INF], [math.nan, -INF]):
            assert selection(scores, [0, 0], rng()) == {}
            assert selection.ratings == [0.0, 0.0]

    def test_state(self):
        selection = EloSelection()
        selection([1.0, 2.0], [0, 0], rng())
        other = EloSelection()
        other.set_state(selection.get_state())
        assert other.ratings == selection.ratings != [0.0, 0.0]


class TestTruncation:
    def test_the_worst_copy_the_best(self):
        scores = [5.0, 1.0, 9.0, 2.0, 7.0, 3.0, 8.0, 4.0, 6.0, 0.0]
        seen = set()
        for seed in range(50):
            copied = TruncationSelection(0.2)(scores, None, rng(seed))
            assert set(copied) == {9, 1}
            seen |= set(copied.values())
        assert seen == {2, 6}

    @pytest.mark.parametrize(
        ("scores", "expected"),
        [
            ([1.0, 2.0], {0: 1}),
            ([2.0, 2.0], {}),  # not better
            ([math.nan, -5.0], {0: 1}),
            ([-INF, math.nan], {}),
            ([3.0, -INF, 2.0], {1: 0}),
        ],
    )
    def test_small_populations(self, scores, expected):
        assert TruncationSelection()(scores, None, rng()) == expected

    def test_half(self):
        copied = TruncationSelection(0.5)([0.0, 1.0, 2.0], None, rng())
        assert copied == {0: 2}


class TestExplore:
    RANGES = checked_ranges({"a": (1e-5, 1e-1), "b": (0.9, 0.999), "c": (1, 64)})

    def test_perturbation_gives_two_values(self):
        explore, draws = Explore(resample_probability=0.0), rng()
        ranges = {"a": self.RANGES["a"]}
        made = {explore({"a": 1.0}, {"a": 1e-3}, ranges, draws)["a"] for _ in range(99)}
        assert made == {1e-3 * 0.8, 1e-3 * 1.2}

    def test_clipped_to_the_range(self):
        explore, draws = Explore(resample_probability=0.0), rng()
        ranges = {"b": self.RANGES["b"]}
        made = {explore({"b": 0.5}, {"b": 0.99}, ranges, draws)["b"] for _ in range(99)}
        assert made == {0.9, 0.999}

    def test_each_has_draws_of_its_own(self):
        explore, draws = Explore(resample_probability=0.0), rng()
        ranges = {"a": Range(0.0, 9.0), "b": Range(0.0, 9.0)}
        ones = {"a": 1.0, "b": 1.0}
        made = {tuple(explore(ones, ones, ranges, draws).values()) for _ in range(99)}
        assert made == {(x, y) for x in (0.8, 1.2) for y in (0.8, 1.2)}

    def test_kept_or_taken(self):
        explore = Explore((1.0,), 0.0, inherit_probability=0.5)
        ranges, draws = {"a": Range(0.0, 9.0), "b": Range(0.0, 9.0)}, rng()
        own, donor = {"a": 1.0, "b": 2.0}, {"a": 3.0, "b": 4.0}
        made = [tuple(explore(own, donor, ranges, draws).values()) for _ in range(400)]
        share = {pair: made.count(pair) / 400 for pair in set(made)}
        assert set(share) == {(1.0, 2.0), (1.0, 4.0), (3.0, 2.0), (3.0, 4.0)}
        assert all(0.18 < x < 0.32 for x in share.values())

    def test_resampled_in_the_logarithm(self):
        explore, draws = Explore(resample_probability=1.0), rng()
        ranges = {"a": self.RANGES["a"]}
        made = [
            explore({"a": 1.0}, {"a": 1.0}, ranges, draws)["a"] for _ in range(4000)
        ]
        decades = np.histogram(np.log10(made), [-5, -4, -3, -2, -1])[0] / 4000
        np.testing.assert_allclose(decades, 0.25, atol=0.03)
        linear = [Range(1e-5, 1e-1, log=False).draw(draws) for _ in range(4000)]
        np.testing.assert_allclose(np.mean(linear), 0.05, atol=0.003)

    def test_integers(self):
        bounds = Range(1, 64, integer=True)
        values = [bounds.draw(rng(seed)) for seed in range(300)]
        assert all(isinstance(value, int) and 1 <= value <= 64 for value in values)
        assert [bounds.scaled(v, f) for v, f in ((2, 1.2), (2, 0.8), (64, 1.2),
                (1, 0.8), (10, 1.2))] == [3, 1, 64, 1, 12]  # fmt: skip


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: checked_ranges({"a": (1.0, 0.1)}), r"'a' with low < high.*reversed"),
        (lambda: checked_ranges({"a": (0.1, 0.1)}), r"low < high.*\(0.1, 0.1\)"),
        (lambda: checked_ranges({"a": (0.1, INF)}), "finite bounds of 'a'"),
        (lambda: checked_ranges({"a": 0.1}), r"'a' as `\(low, high\)`.*0.1"),
        (lambda: checked_ranges({"a": Range(0, 1, log=True)}), "above 0.*log=False"),
        (lambda: checked_ranges([("a", 0, 1)]), "`ranges` as a dictionary"),
        (lambda: TruncationSelection(0.6), "`fraction`.*0.6"),
        (lambda: EloSelection(0.5), "`threshold`.*0.5"),
        (lambda: EloSelection(k=0), "`k`.*0"),
        (lambda: Explore(()), "at least one of `factors`"),
        (lambda: Explore((0.0, 1.2)), "`factors`.*0.0"),
        (lambda: Explore(resample_probability=2), "`resample_probability`.*2"),
        (lambda: updated_ratings(0, 0, 2.0), "`score`.*2.0"),
    ],
)
def test_bad_input(make, message):
    with pytest.raises(ValueError, match=message):
        make()
