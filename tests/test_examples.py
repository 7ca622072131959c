"""Every example runs, with a tiny budget."""

import runpy
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.test_documentation import without_xla  # noqa: F401  (a fixture)

pytestmark = [
    pytest.mark.long,
    pytest.mark.filterwarnings(  # Keras 3.15 with NumPy 2, when it saves
        "ignore:__array__ implementation:DeprecationWarning"
    ),
]
EXAMPLES = sorted((Path(__file__).parents[1] / "examples").glob("*.py"))
SLOW = {"half_cheetah", "pong_reinforce", "space_invaders"}  # by step
IN_XLA = {"tensorflow_environment"}  # what it is about


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_example_runs(example, tmp_path, monkeypatch, request, capsys):
    if example.stem not in IN_XLA:
        request.getfixturevalue("without_xla")
    monkeypatch.chdir(tmp_path)
    steps = 512 if example.stem in SLOW else 2048
    monkeypatch.setattr(sys, "argv", [str(example), "--steps", str(steps)])
    runpy.run_path(str(example), run_name="__main__")
    assert capsys.readouterr().out


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_example_is_short_and_says_what_it_does(example):
    text = example.read_text()
    assert text.startswith('"""')
    assert f"python examples/{example.name} [--steps N]" in text
    assert len(text.splitlines()) <= (250 if "one_file" in example.stem else 120)


@pytest.fixture(scope="module")
def parts():
    """What `fast_slow_rnd.py` defines."""
    path = next(path for path in EXAMPLES if path.stem == "fast_slow_rnd")
    return runpy.run_path(str(path), run_name="parts")


class TestFastSlow:
    """The parts of `fast_slow_rnd.py`; KL is in `tests/losses/test_divergences.py`."""

    def test_weights(self, parts):
        """4 (3 25 + 25 25 + 25) of the first cell, 4 (25 25 + 25 25 + 25) of three."""
        cell = parts["FastSlowCell"](25)
        cell.build((None, 3))
        assert [c.count_params() for c in (*cell.fast, cell.slow)] == [2900] + 3 * [
            5100
        ]
        assert cell.count_params() == 18_200

    def test_ten_single_steps_are_one_call_of_ten(self, parts):
        predictor = parts["FastSlowPredictor"]()
        x = np.random.default_rng(0).normal(size=[2, 10, 3]).astype("f4")
        first = [tf.zeros([2, 25])] * 4
        features, kl, after = predictor(x, first)
        state, rows = first, []
        for t in range(10):
            *row, state = predictor(x[:, t : t + 1], state)
            rows.append(row)
        for whole, each in zip((features, kl), zip(*rows, strict=True), strict=True):
            np.testing.assert_allclose(
                whole, np.concatenate(each, 1), rtol=1e-4, atol=1e-6
            )
        for a, b in zip(after, state, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)
        assert np.min(kl) >= 0.0
        again, _, _ = predictor(x[:, 5:], first)
        assert (np.abs(again - features[:, 5:]) > 1e-4).any()  # it does remember

    def test_order_of_the_cells(self, parts):
        """By hand: fast 0, slow, fast 1, fast 2; fast cells share one state."""
        cell = parts["FastSlowCell"](2)
        x, h, c, sh, sc = np.random.default_rng(0).normal(size=[5, 1, 2]).astype("f4")
        outputs, after = cell(x, [h, c, sh, sc])
        y, fast = cell.fast[0](x, [h, c])
        slow, slow_after = cell.slow(y, [sh, sc])
        y, fast = cell.fast[1](slow, fast)
        y, fast = cell.fast[2](y, fast)
        np.testing.assert_array_equal(outputs[0], np.concatenate([y, slow]))
        for a, b in zip(after, [*fast, *slow_after], strict=True):
            np.testing.assert_array_equal(a, b)

    def test_no_step_is_longer_than_five(self, parts):
        """With a rate of 1, weights move by the clipped gradient."""
        agent = parts["make_agent"](
            xla=False, rollout_length=4, optimizer=keras.optimizers.SGD(1.0),
            num_epochs=1, value_coefficient=1e4,
        )  # fmt: skip
        agent.intrinsic_reward.priming_steps = 0
        before = [v.numpy() for v in agent.trainable_variables]
        history = agent.fit("Pendulum-v1", steps=32, epochs=1, verbose=0).history
        moves = [
            v.numpy() - w
            for v, w in zip(agent.trainable_variables, before, strict=True)
        ]
        norm = np.sqrt(sum((move**2).sum() for move in moves))
        assert history["gradient_norm"][0] > 50.0
        assert norm == pytest.approx(5.0, rel=1e-3)
        assert any((m != 0).any() for m in moves[-4:])
