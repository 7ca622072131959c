"""Tests of `callbacks.TensorBoard`, read back as TensorBoard does."""

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import metadata

from kerasrl2.agents import A2C
from kerasrl2.callbacks import EvaluateReturn, TensorBoard
from kerasrl2.callbacks.tensorboard import tag_of

SMALL = {"hidden": (), "rollout_length": 5, "num_envs": 2, "xla": False}


def read(directory):
    return EventAccumulator(str(directory)).Reload()


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A directory, and the history of the run in it."""
    directory = tmp_path_factory.mktemp("board")
    agent = A2C.for_env("Chain-5", seed=0, **SMALL)
    board = TensorBoard(directory, {"env": "Chain|5", "wrappers": ["a"], "no": None})
    evaluation = EvaluateReturn("Chain-5", episodes=1)
    history = agent.fit(
        "Chain-5", steps=60, epochs=3, validation_env="Chain-5", verbose=0,
        validation_episodes=2, callbacks=[evaluation, board],
    )  # fmt: skip
    return directory, history.history


@pytest.mark.long
def test_one_point_an_epoch_against_env_steps(run):
    directory, history = run
    events = read(directory)
    pairs = {
        "rollout/return": "return",
        "eval/return": "val_return",
        "eval/eval_return": "eval_return",
        "train/loss": "loss",
        "train/learning_rate": "learning_rate",
        "time/steps_per_second": "steps_per_second",
    }
    for tag, name in pairs.items():
        points = events.Scalars(tag)
        assert [point.step for point in points] == history["env_steps"] == [20, 40, 60]
        values = [point.value for point in points]
        np.testing.assert_allclose(values, history[name], rtol=1e-6, err_msg=tag)


@pytest.mark.long
def test_every_metric_is_in_a_group(run):
    directory, history = run
    tags = read(directory).scalars.Keys()
    groups = {tag.partition("/")[0] for tag in tags}
    assert groups == {"rollout", "eval", "train", "time"}
    assert len(tags) == len(history)  # the x-axis is none, the seconds are one more
    assert {"time/seconds", "rollout/episodes", "eval/episode_length"} <= {*tags}


@pytest.mark.long
def test_settings_are_a_text_and_a_row(run):
    events = read(run[0])
    (tensor,) = events.Tensors("settings/text_summary")
    table = tensor.tensor_proto.string_val[0].decode()
    assert "| algorithm | A2C |" in table
    assert "| env | Chain\\|5 |" in table
    assert "| wrappers | ['a'] |" in table
    assert "| no |" not in table
    content = events.SummaryMetadata(metadata.SESSION_START_INFO_TAG)
    started = metadata.parse_session_start_info_plugin_data(content.plugin_data.content)
    assert started.hparams["rollout_length"].number_value == 5.0
    assert started.hparams["env"].string_value == "Chain|5"
    content = events.SummaryMetadata(metadata.SESSION_END_INFO_TAG)
    assert metadata.parse_session_end_info_plugin_data(content.plugin_data.content)


@pytest.mark.long
def test_a_run_that_goes_on_from_before_replaces_what_came_after(tmp_path):
    """As after SIGKILL: steps 40 and 60 were written, a checkpoint knows of 20."""
    agent = A2C.for_env("Chain-5", seed=0, **SMALL)
    for start in (0, 20):
        agent.env_steps.assign(start)
        agent.fit(
            "Chain-5", steps=60 - start, epochs=(60 - start) // 20, verbose=0,
            callbacks=[TensorBoard(tmp_path)],
        )  # fmt: skip
    steps = [point.step for point in read(tmp_path).Scalars("train/loss")]
    assert steps == [20, 40, 60]


@pytest.mark.parametrize(
    ("name", "logs", "info_keys", "tag"),
    [
        ("eval_return", (), (), "eval/return"),
        ("eval_return", ("val_return",), (), "eval/eval_return"),
        ("is_success", (), ("is_success",), "rollout/is_success"),
        ("is_success", (), (), "train/is_success"),
        ("val_is_success", (), ("is_success",), "eval/is_success"),
        ("success_rate", (), (), "rollout/success_rate"),
        ("lag", (), (), "time/lag"),
        ("value_loss", (), (), "train/value_loss"),
    ],
)
def test_tags(name, logs, info_keys, tag):
    assert tag_of(name, logs, info_keys) == tag


def test_other_models_are_refused(tmp_path):
    board = TensorBoard(tmp_path)
    board.set_model(A2C.for_env("Chain-5", seed=0, **SMALL))
    board.set_params({})
    board.on_train_begin()
    with pytest.raises(ValueError, match=r"count `env_steps`. Received: \['loss'\]"):
        board.on_epoch_end(0, {"loss": 1.0})
    board.on_train_end()
    board.on_train_end()  # a second time, after a failure, is nothing
