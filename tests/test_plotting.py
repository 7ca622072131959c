"""Tests of `kerasrl2.plotting`."""

import matplotlib.image
import numpy as np
import pytest
from matplotlib.axes import Axes

from kerasrl2.plotting import plot_learning_curves, read_metrics


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
