"""Tests of scores, their intervals and profiles.

Those with an interval are among the long ones: importing rliable takes seconds.
"""

import sys

import numpy as np
import pytest

from kerasrl2.plotting import (
    bootstrap_interval,
    interquartile_mean,
    plot_performance_profiles,
    probability_of_improvement,
    score_of,
    score_table,
)

RETURNS = [500.0, 480.0, 120.0, 500.0, 460.0]


def test_interquartile_mean():
    assert interquartile_mean(RETURNS) == pytest.approx((480 + 500 + 460) / 3)
    assert interquartile_mean([1.0, 2.0, 9.0]) == 4.0  # a quarter of three is no run
    table = np.array([[4.0, 0.0], [1.0, 1.0], [2.0, 8.0], [3.0, 3.0]])
    np.testing.assert_array_equal(interquartile_mean(table), [2.5, 2.0])


@pytest.mark.long
def test_interval_of_the_mean_is_that_of_all_resamples():
    scores = np.array([0.0, 1.0])
    low, high = bootstrap_interval(scores, "mean", size=0.95)
    # The means are 0, 1/2 and 1 with probabilities 1/4, 1/2 and 1/4.
    assert (low, high) == (0.0, 1.0)
    low, high = bootstrap_interval(scores, "mean", size=0.4)
    assert (low, high) == (0.5, 0.5)


@pytest.mark.long
def test_interval_beside_scipy():
    import scipy.stats

    scores = np.random.default_rng(0).normal(size=12)
    ours = bootstrap_interval(scores, "mean", size=0.9)
    other = scipy.stats.bootstrap(
        (scores,), np.mean, confidence_level=0.9, method="percentile", rng=1
    )
    np.testing.assert_allclose(ours, other.confidence_interval, atol=0.03)


@pytest.mark.long
def test_interquartile_mean_beside_rliable():
    from rliable.metrics import aggregate_iqm

    assert interquartile_mean(RETURNS) == aggregate_iqm(np.array(RETURNS))


@pytest.mark.long
def test_intervals_are_the_same_each_time():
    np.random.seed(1)  # noqa: NPY002
    before = np.random.get_state()  # noqa: NPY002
    scores = np.random.default_rng(0).normal(size=9)
    first = bootstrap_interval(scores)
    np.testing.assert_array_equal(np.random.get_state()[1], before[1])  # noqa: NPY002
    np.random.seed(2)  # noqa: NPY002
    assert bootstrap_interval(scores) == first
    assert bootstrap_interval(scores, seed=1) != first


def test_one_run_has_no_interval():
    assert np.isnan(bootstrap_interval([3.0])).all()
    low, high = bootstrap_interval([[1.0, 2.0]])
    assert low.shape == high.shape == (2,)
    score = score_table({"ppo": [3.0]})["", "ppo"]
    assert (score.runs, score.iqm, score.mean) == (1, 3.0, 3.0)
    assert np.isnan([score.low, score.high]).all()


@pytest.mark.parametrize(
    ("wrong", "name"), [({"size": 0.0}, "size"), ({"statistic": "max"}, "statistic")]
)
def test_arguments_out_of_range(wrong, name):
    with pytest.raises(ValueError, match=f"`{name}`"):
        bootstrap_interval(RETURNS, **wrong)


@pytest.mark.long
def test_a_table_of_two_environments():
    table = score_table({"A": {"ppo": RETURNS, "a2c": [1, 1]}, "B": {"ppo": [2, 4]}})
    assert list(table) == [("A", "ppo"), ("A", "a2c"), ("B", "ppo")]
    score = table["A", "ppo"]
    assert score.low < score.iqm < score.high
    assert score.mean == np.mean(RETURNS)
    assert tuple(table["A", "a2c"]) == (2, 1.0, 1.0, 1.0, 1.0)


def test_score_of_a_run():
    run = {
        "env_steps": [1, 2, 3],
        "val_return": [5.0, 9.0, np.nan],
        "return": [1, 2, 3],
    }
    assert score_of(run) == 9.0
    assert score_of({**run, "val_return": [5.0, 9.0, 8.0]}) == 8.0
    assert score_of({**run, "val_return": [5.0, 9.0, 8.0]}, "best") == 9.0
    assert score_of(run, "training") == 3.0
    with pytest.raises(ValueError, match="`which`"):
        score_of(run, "first")


def test_runs_without_a_score(tmp_path):
    with pytest.raises(ValueError, match="runs with an evaluation"):
        score_of({"env_steps": [1], "return": [2.0]})
    with pytest.raises(ValueError, match="runs with an episode that ended"):
        score_of({"env_steps": [1], "return": [np.nan]}, "training")
    (tmp_path / "metrics.csv").write_text("env_steps,return\n10,\n")
    with pytest.raises(ValueError, match=tmp_path.name):
        score_of(tmp_path)


@pytest.mark.long
def test_probability_of_improvement():
    value, low, high = probability_of_improvement([3.0, 4.0, 5.0], [1.0, 2.0, 3.0])
    assert value == pytest.approx(8.5 / 9)
    assert 0.5 < low < value < high <= 1.0
    assert probability_of_improvement([1.0, 1.0], [1.0, 1.0])[0] == 0.5
    import rliable.metrics

    pair = np.random.default_rng(0).integers(0, 4, [2, 6, 1]).astype(float)
    ours = probability_of_improvement(*pair[..., 0])[0]
    assert ours == pytest.approx(rliable.metrics.probability_of_improvement(*pair))
    value, low, high = probability_of_improvement([2.0], [1.0, 3.0, 4.0])
    assert value == pytest.approx(1 / 3)
    assert np.isnan([low, high]).all()


@pytest.mark.long
def test_performance_profiles(tmp_path):
    path = tmp_path / "profiles.svg"
    groups = {
        "A": {"ppo": [1.0, 2.0, 3.0, 4.0], "a2c": [2.5]},
        "B": {"ppo": [7.0, 7.0]},
    }
    figure = plot_performance_profiles(groups, path)
    assert path.stat().st_size > 2000
    first, second = figure.axes
    assert [axes.get_title() for axes in figure.axes] == ["A", "B"]
    ppo, a2c = first.lines
    at = dict(zip(ppo.get_xdata(), ppo.get_ydata(), strict=True))
    assert {round(share, 2) for share in at.values()} == {0.0, 0.25, 0.5, 0.75, 1.0}
    assert all(share == np.mean(np.array([1, 2, 3, 4]) > x) for x, share in at.items())
    assert set(a2c.get_ydata()) == {0.0, 1.0}
    assert len(first.collections) == 1  # one run has no band
    assert second.lines[0].get_xdata()[0] < 7.0 < second.lines[0].get_xdata()[-1]


@pytest.mark.parametrize("module", ["rliable", "rliable.library"])
def test_without_rliable_one_sentence_says_what_to_install(module, monkeypatch):
    for name in [n for n in sys.modules if n.partition(".")[0] == "rliable"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, module, None)
    for function in (
        bootstrap_interval,
        lambda scores: probability_of_improvement(scores, scores),
        lambda scores: plot_performance_profiles({"x": scores}),
    ):
        with pytest.raises(ImportError, match=r"pip install 'kerasrl2\[report\]'"):
            function(RETURNS)
