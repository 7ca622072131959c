"""Tests of `plotting.plot_learning_curves` and of what it reads."""

import keras
import matplotlib.image
import numpy as np
import pytest
from matplotlib.axes import Axes

from kerasrl2.plotting import (
    has_episodes,
    metrics_of,
    plot_learning_curves,
    read_metrics,
)


@pytest.fixture
def drawn(monkeypatch):
    """What is drawn: lines as (label, x, y) and bands as (x, low, high)."""
    lines, bands = [], []

    def plot(self, x, y, style, label, **settings):
        lines.append((label, list(x), list(y)))

    def fill_between(self, x, low, high, **settings):
        bands.append((list(x), list(low), list(high)))

    monkeypatch.setattr(Axes, "plot", plot)
    monkeypatch.setattr(Axes, "fill_between", fill_between)
    monkeypatch.setattr(Axes, "legend", lambda self, **settings: None)
    return lines, bands


def run(steps, **columns):
    return {"env_steps": np.array(steps, float), **{
        name: np.array(values, float) for name, values in columns.items()}}  # fmt: skip


def test_reads_numbers_and_gaps(tmp_path):
    text = "epoch,env_steps,return,val_return\n0,10,nan,1.5\n1,20,3.0,\n"
    (tmp_path / "metrics.csv").write_text(text)
    for path in (tmp_path, tmp_path / "metrics.csv"):
        metrics = read_metrics(path)
        np.testing.assert_array_equal(metrics["env_steps"], [10, 20])
        np.testing.assert_array_equal(metrics["return"], [np.nan, 3.0])
        np.testing.assert_array_equal(metrics["val_return"], [1.5, np.nan])


def test_reads_a_file_cut_off_in_the_middle_of_a_line(tmp_path):
    (tmp_path / "metrics.csv").write_text("epoch,env_steps,return\n0,10,1.0\n1,2")
    assert np.isnan(read_metrics(tmp_path)["return"][1])


@pytest.mark.parametrize("text", ["", "epoch,env_steps\n", "hello\nworld\n"])
def test_a_file_without_an_epoch_is_named(tmp_path, text):
    (tmp_path / "metrics.csv").write_text(text)
    with pytest.raises(ValueError, match=r"at least one finished epoch in .*metrics"):
        read_metrics(tmp_path)


def test_a_missing_file_is_named(tmp_path):
    (tmp_path / "metrics.csv").write_bytes(b"env_steps\n\xff")
    with pytest.raises(ValueError, match="Expected readable metrics in"):
        read_metrics(tmp_path)
    (tmp_path / "metrics.csv").unlink()
    with pytest.raises(FileNotFoundError, match=r"no file .*metrics\.csv"):
        read_metrics(tmp_path)


def test_mean_and_spread_over_seeds(tmp_path, drawn):
    lines, bands = drawn
    runs = [run([10, 20, 30], val_return=values) for values in ([1, 2, 3], [3, 6, 5])]
    plot_learning_curves({"ppo": runs}, tmp_path / "curve.png")
    ((label, steps, mean),) = lines
    assert "ppo" in label
    assert "2" in label
    assert (steps, mean) == ([10, 20, 30], [2, 4, 4])
    assert bands == [([10, 20, 30], [1, 2, 3], [3, 6, 5])]


def test_runs_reported_at_other_steps_are_interpolated_not_extrapolated(
    tmp_path, drawn
):
    lines, _ = drawn
    runs = [run([10, 30], val_return=[1, 3]), run([20, 30, 40], val_return=[4, 5, 9])]
    plot_learning_curves({"ppo": runs}, tmp_path / "curve.png")
    ((_, steps, mean),) = lines
    assert (steps, mean) == ([10, 20, 30, 40], [1, 3, 4, 9])


def test_gaps_are_bridged(tmp_path, drawn):
    metrics = run([10, 20, 30], **{"return": [np.nan, 2, 3]})
    plot_learning_curves({"ppo": [metrics]}, tmp_path / "curve.png")
    assert drawn[0][0][1:] == ([20, 30], [2, 3])


@pytest.mark.parametrize("ending", ["png", "svg", "pdf"])
def test_writes_a_picture(tmp_path, ending):
    metrics = run([10, 20], **{"return": [1, 2]}, val_return=[2, 3])
    path = tmp_path / f"curve.{ending}"
    groups = {"a": [metrics], "b": [metrics, metrics], "c": [run([1], loss=[1])]}
    plot_learning_curves(groups, path, title="title")
    assert path.stat().st_size > 2000
    if ending == "png":
        image = matplotlib.image.imread(path)
        assert image.shape[:2] == (480, 840)
        assert image.std() > 0.02


def lines_of(figure, panel=0):
    """Dictionary of labels to y of the lines in a panel."""
    lines = figure.axes[panel].lines
    return {line.get_label(): list(line.get_ydata()) for line in lines}


def test_every_form_of_a_run(tmp_path):
    history = keras.callbacks.History()
    history.history = {"env_steps": [10, 20], "return": [1.0, 2.0]}
    (tmp_path / "metrics.csv").write_text("epoch,env_steps,return\n0,10,1\n1,20,2\n")
    forms = [tmp_path, str(tmp_path), tmp_path / "metrics.csv", history]
    forms += [history.history, run([10, 20], **{"return": [1, 2]})]
    for form in forms:
        np.testing.assert_array_equal(metrics_of(form)["return"], [1.0, 2.0])
    figure = plot_learning_curves({"mine": forms})
    assert lines_of(figure) == {"mine: while training, 6 runs": [1.0, 2.0]}


@pytest.mark.parametrize("form", [{}, {"env_steps": []}, {"return": [1.0]}, 3])
def test_what_is_no_run(form):
    with pytest.raises(ValueError, match="`env_steps` of at least one epoch"):
        metrics_of(form)


def test_a_panel_for_each_environment():
    one = run([10, 20], **{"return": [1, 2]})
    groups = {name: {"ppo": [one], "a2c": [one]} for name in ("A", "B", "C", "D")}
    figure = plot_learning_curves(groups, title="four")
    assert [axes.get_title() for axes in figure.axes] == ["A", "B", "C", "D"]
    assert figure.get_suptitle() == "four"
    labels = {"ppo: while training", "a2c: while training"}
    assert all(set(lines_of(figure, panel)) == labels for panel in range(4))
    single = plot_learning_curves({"A": {"ppo": [one]}})
    assert single.axes[0].get_title() == "A"


def test_mixed_groups_are_refused():
    one = run([10], **{"return": [1]})
    for groups in ({}, {"A": {"ppo": [one]}, "a2c": [one]}):
        with pytest.raises(ValueError, match="labels to lists of runs"):
            plot_learning_curves(groups)


def test_evaluation_or_training():
    both = run([10, 20], **{"return": [1, 2]}, val_return=[3, 4])
    for returns, expected in (
        ("evaluation", {"x": [3, 4]}),
        ("training", {"x": [1, 2]}),
    ):
        assert (
            lines_of(plot_learning_curves({"x": [both]}, returns=returns)) == expected
        )
    assert len(lines_of(plot_learning_curves({"x": [both]}))) == 2


def test_smoothing_looks_back():
    metrics = run([10, 20, 30, 40], val_return=[2, 4, np.nan, 12])
    figure = plot_learning_curves({"x": [metrics]}, smoothing=2)
    # 12 and 4 are neighbours, since the gap between is no value.
    assert lines_of(figure) == {"x: greedy evaluation": [2, 3, 5.5, 8]}


@pytest.mark.long
def test_interquartile_mean_and_interval(drawn):
    lines, bands = drawn
    values = [[0, 0], [1, 10], [2, 20], [3, 30], [100, 1000]]
    runs = [run([10, 20], val_return=each) for each in values]
    plot_learning_curves({"x": runs}, statistic="iqm", interval=0.95)
    ((label, _, middle),) = lines
    assert label == "x: greedy evaluation, 5 runs"
    assert middle == [2, 20]
    ((_, low, high),) = bands
    assert 0 <= low[0] < 2 < high[0] <= 100
    np.testing.assert_allclose(np.array(low)[1], 10 * low[0])


@pytest.mark.long
def test_a_line_says_what_is_drawn():
    runs = [run([10, 20], val_return=[1, 2]), run([10, 20], val_return=[3, 4])]
    for options, words in (
        ({}, "line: mean of the runs; band: least to greatest"),
        (
            {"statistic": "iqm", "interval": 0.9},
            "line: interquartile mean of the runs; band: 90 % bootstrap interval",
        ),
    ):
        assert plot_learning_curves({"x": runs}, **options).get_supxlabel() == words
    assert plot_learning_curves({"x": runs[:1]}).get_supxlabel() == ""


@pytest.mark.long
def test_an_interval_ends_with_the_shortest_run(drawn):
    lines, bands = drawn
    runs = [run([10, 20], val_return=[1, 2]), run([10, 20, 30], val_return=[3, 4, 5])]
    plot_learning_curves({"x": runs}, interval=0.5)
    assert lines[0][1:] == ([10, 20], [2, 3])
    assert bands[0][0] == [10, 20]


def test_one_run_has_no_interval(drawn):
    one = run([10, 20], val_return=[1, 2])
    plot_learning_curves({"x": [one]}, statistic="iqm", interval=0.95)
    assert drawn[1] == []
    assert drawn[0][0][2] == [1, 2]


def test_runs_without_episodes():
    empty = run([10, 20], **{"return": [np.nan, np.nan]}, loss=[1, 2])
    assert not has_episodes(empty)
    assert has_episodes(run([10, 20], **{"return": [np.nan, 3]}))
    with pytest.raises(ValueError, match=r"at least one run with a return.*in mine"):
        plot_learning_curves({"mine": [empty, empty]})
    with pytest.raises(ValueError, match="at least one run with a return"):
        plot_learning_curves({"x": [run([1], val_return=[1])]}, returns="training")


@pytest.mark.parametrize(
    "wrong",
    [
        {"statistic": "median"},
        {"returns": "all"},
        {"smoothing": 0},
        {"interval": 1.0},
        {"interval": "95"},
    ],
)
def test_arguments_out_of_range(wrong):
    with pytest.raises(ValueError, match=f"`{next(iter(wrong))}`"):
        plot_learning_curves({"x": [run([1], val_return=[1])]}, **wrong)
