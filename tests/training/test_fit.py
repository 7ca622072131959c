"""Tests of `Agent.fit`: history, Keras' callbacks, second calls, seeds."""

import csv
import math

import gymnasium
import keras
import numpy as np
import pytest
import tensorflow as tf

import kerasrl2 as krl
from kerasrl2 import callbacks, envs
from kerasrl2.agents import A2C
from tests.envs.worlds import ThreeSteps
from tests.training.worlds import Scripted

# Keras 3.15 under NumPy 2 warns of its own variables.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ impl:DeprecationWarning")

TRACE = {"hidden": (4,), "rollout_length": 5, "xla": False}
HISTORY = {"return", "episode_length", "episodes", "env_steps", "steps_per_second",
           "explained_variance", "learning_rate", *A2C.metric_names}  # fmt: skip
VALIDATION = {"val_return", "val_return_std", "val_episode_length"}


@pytest.fixture(scope="module")
def agent():
    """One agent for all: its loop on `Chain-5` is traced once."""
    return A2C.for_env("Chain-5", num_envs=4, seed=0, **TRACE)


@pytest.fixture
def fit(agent):
    """Runs 3 epochs of 20 steps with validation and returns the agent's history."""

    def run(*used, steps=60, epochs=3, **settings):
        return agent.fit(
            "Chain-5",
            steps=steps,
            epochs=epochs,
            callbacks=list(used),
            validation_env="Chain-5",
            validation_episodes=2,
            **{"verbose": 0, **settings},
        )

    return run


class Remember(keras.callbacks.Callback):
    """Writes down which methods were called with what."""

    def on_train_begin(self, logs=None):
        self.calls, self.logs = ["train begin"], []
        self.params_seen = dict(self.params)

    def on_epoch_begin(self, epoch, logs=None):
        self.calls.append(f"epoch {epoch} begin")

    def on_train_batch_begin(self, batch, logs=None):
        self.calls.append(f"block {batch} begin")

    def on_train_batch_end(self, batch, logs=None):
        self.calls.append(f"block {batch} end")
        self.logs.append(dict(logs))

    def on_epoch_end(self, epoch, logs=None):
        self.calls.append(f"epoch {epoch} end")
        self.logs.append(dict(logs))

    def on_train_end(self, logs=None):
        self.calls.append("train end")


class TestHistory:
    def test_has_a_figure_per_epoch(self, fit):
        history = fit()
        assert isinstance(history, keras.callbacks.History)
        assert set(history.history) == HISTORY | VALIDATION
        assert history.epoch == [0, 1, 2]
        for values in history.history.values():
            assert len(values) == 3
            assert all(isinstance(value, int | float) for value in values)

    def test_counts_env_steps_on(self, agent, fit):
        before = int(agent.env_steps)
        steps = fit(steps=50, epochs=3).history["env_steps"]  # 3 rollouts of 20
        assert [step - before for step in steps] == [20, 40, 60]
        assert int(agent.env_steps) == before + 60

    def test_spreads_rollouts_that_do_not_divide_over_the_epochs(self, agent, fit):
        before = int(agent.env_steps)
        steps = fit(steps=100, epochs=3).history["env_steps"]
        assert [step - before for step in steps] == [40, 80, 100]

    def test_initial_epoch_numbers_the_epochs(self, fit):
        assert fit(initial_epoch=7).epoch == [7, 8, 9]

    @pytest.mark.long
    def test_without_an_end_the_return_is_nan(self):
        env = Scripted([50])
        agent = A2C.for_env(env, seed=0, **TRACE)
        history = agent.fit(env, steps=10, epochs=1, verbose=0).history
        assert math.isnan(history["return"][0])
        assert history["episodes"] == [0.0]

    def test_returns_are_those_of_the_episodes_that_ended(self):
        env = Scripted([2, 6], num_envs=2)
        agent = A2C.for_env(env, seed=0, **TRACE)
        history = agent.fit(env, steps=30, epochs=3, verbose=0).history
        assert history["env_steps"] == [10, 20, 30]
        # Ends after steps 2, 8, 10 of copy 0 and 6, 8, 14 of copy 1, of 15.
        assert history["episodes"] == [1.0, 4.0, 1.0]
        assert history["episode_length"] == [2.0, (6 + 2 + 6 + 2) / 4, 6.0]
        assert history["return"] == [2.5, (13.5 + 2.5 + 13.5 + 2.5) / 4, 13.5]

    def test_a_validation_figure_is_the_evaluation_of_that_moment(self, agent, fit):
        history = fit().history
        scores = agent.evaluate("Chain-5", episodes=2)
        assert history["val_return"][-1] == scores["return"]
        assert history["val_episode_length"][-1] == scores["episode_length"]


class TestStockCallbacks:
    def test_are_called_in_keras_order(self, fit):
        remember = Remember()
        fit(remember, epochs=2)
        assert remember.calls[:4] == [
            "train begin", "epoch 0 begin", "block 0 begin", "block 0 end",
        ]  # fmt: skip
        assert remember.calls[-2:] == ["epoch 1 end", "train end"]
        assert remember.params_seen["epochs"] == 2
        assert {"return", "env_steps", "loss"} <= set(remember.logs[0])

    def test_early_stopping(self, fit):
        stop = keras.callbacks.EarlyStopping(
            monitor="val_return", mode="max", patience=1, min_delta=1e9
        )
        assert fit(stop, epochs=3).epoch == [0, 1]
        assert stop.stopped_epoch == 1

    def test_early_stopping_restores_the_best_weights(self, agent, fit):
        seen = {}
        fit(
            keras.callbacks.LambdaCallback(
                on_epoch_end=lambda epoch, logs: seen.update(
                    {epoch: agent.network.get_weights()}
                )
            ),
            keras.callbacks.EarlyStopping(
                monitor="env_steps", mode="min", patience=1, restore_best_weights=True
            ),
        )
        for restored, best in zip(agent.network.get_weights(), seen[0], strict=True):
            np.testing.assert_array_equal(restored, best)

    def test_model_checkpoint_writes_agents(self, agent, fit, tmp_path):
        path = tmp_path / "best.keras"
        fit(
            keras.callbacks.ModelCheckpoint(
                path, save_best_only=True, monitor="val_return", mode="max"
            ),
            keras.callbacks.ModelCheckpoint(
                tmp_path / "{epoch}.keras", save_freq="epoch"
            ),
        )
        assert {f.name for f in tmp_path.iterdir()} >= {"1.keras", "2.keras", "3.keras"}
        best, last = krl.load_agent(path), krl.load_agent(tmp_path / "3.keras")
        assert isinstance(best, A2C)
        np.testing.assert_array_equal(last.predict(np.eye(5)), agent.predict(np.eye(5)))
        assert int(last.env_steps) == int(agent.env_steps)

    def test_tensorboard_gets_every_figure_once_an_epoch(self, fit, tmp_path):
        history = fit(keras.callbacks.TensorBoard(tmp_path, write_graph=False)).history
        written = {"train": {}, "validation": {}}
        for path in tmp_path.rglob("events.out.tfevents.*"):
            for record in tf.data.TFRecordDataset(str(path)):
                event = tf.compat.v1.Event.FromString(record.numpy())
                for value in event.summary.value:
                    number = float(tf.make_ndarray(value.tensor))
                    tags = written[path.parent.name]
                    tags.setdefault(value.tag, {})[event.step] = number
        for name in ("return", "loss", "entropy", "episode_length", "env_steps",
                     "steps_per_second", "explained_variance"):  # fmt: skip
            expected = dict(enumerate(history[name]))
            read = written["train"][f"epoch_{name}"]
            assert read == pytest.approx(expected, nan_ok=True)
        expected = dict(enumerate(history["val_return"]))
        assert written["validation"]["epoch_return"] == pytest.approx(expected)

    def test_csv_logger(self, fit, tmp_path):
        history = fit(keras.callbacks.CSVLogger(str(tmp_path / "log.csv"))).history
        with open(tmp_path / "log.csv", newline="") as file:
            rows = list(csv.DictReader(file))
        assert set(rows[0]) == set(history) | {"epoch"}
        for name in ("loss", "env_steps", "val_return"):
            assert [float(r[name]) for r in rows] == pytest.approx(history[name])

    def test_reduce_lr_on_plateau(self, agent, fit):
        reduce = keras.callbacks.ReduceLROnPlateau(
            monitor="env_steps", mode="max", factor=0.5, patience=1, min_delta=1e9
        )
        before = float(agent.optimizer.learning_rate)
        rates = fit(reduce).history["learning_rate"]
        np.testing.assert_allclose(rates, [before, before, before / 2], rtol=1e-6)
        assert float(agent.optimizer.learning_rate) == pytest.approx(before / 4)
        agent.optimizer.learning_rate = before

    def test_learning_rate_scheduler_is_live_in_the_compiled_loop(self, agent, fit):
        schedule = keras.callbacks.LearningRateScheduler(lambda epoch, rate: 0.0)
        rate, before = (
            agent.optimizer.learning_rate.numpy(),
            agent.network.get_weights(),
        )
        history = fit(schedule).history
        agent.optimizer.learning_rate = rate
        assert history["learning_rate"] == [0.0] * 3
        for a, b in zip(before, agent.network.get_weights(), strict=True):
            np.testing.assert_array_equal(a, b)
        fit()
        assert not np.array_equal(before[0], agent.network.get_weights()[0])

    def test_terminate_on_nan_lets_a_healthy_run_pass(self, fit):
        assert fit(keras.callbacks.TerminateOnNaN()).epoch == [0, 1, 2]

    def test_lambda_callback_may_stop_in_the_middle_of_an_epoch(self, agent, fit):
        def stop(batch, logs):
            agent.stop_training = True

        before = int(agent.env_steps)
        end = keras.callbacks.LambdaCallback(on_train_batch_end=stop)
        history = fit(end, steps=6000, epochs=2)
        assert history.epoch == [0]
        assert int(agent.env_steps) - before < 3000
        assert history.history["env_steps"] == [int(agent.env_steps)]
        assert fit().epoch == [0, 1, 2]  # the next call is not stopped


class TestOwnCallbacks:
    def test_evaluate_return(self, fit):
        remember = Remember()
        history = fit(
            callbacks.EvaluateReturn("Chain-5", episodes=2, every=2),
            callbacks.EvaluateReturn("Chain-5", 2, greedy=False, prefix="sampled"),
            remember,
        ).history
        assert len(history["eval_return"]) == 3
        assert history["eval_return"][0] == history["eval_return"][1]
        assert len(history["sampled_episode_length"]) == 3
        assert "eval_return_std" in remember.logs[-1]

    @pytest.mark.parametrize("settings", [{"episodes": 0}, {"every": -1}])
    def test_evaluate_return_refuses_zero(self, settings):
        with pytest.raises(ValueError, match=">= 1"):
            callbacks.EvaluateReturn("Chain-5", **settings)

    def test_stop_at_return(self, fit):
        assert fit(callbacks.StopAtReturn(-1.0)).epoch == [0]
        assert fit(callbacks.StopAtReturn(2.0)).epoch == [0, 1, 2]
        assert fit(callbacks.StopAtReturn(-1.0, monitor="episodes")).epoch == [0]

    def test_stop_at_return_names_what_it_misses(self, fit):
        stop = callbacks.StopAtReturn(1.0, monitor="eval_return")
        with pytest.raises(ValueError, match=r"'eval_return'.*validation_env"):
            fit(stop)


@pytest.fixture(scope="module")
def twice_and_once():
    def make():
        return A2C.for_env("Chain-5", num_envs=2, seed=3, **TRACE)

    twice, once = make(), make()
    parts = [twice.fit("Chain-5", 40, 2, verbose=0) for _ in range(2)]
    evaluated = twice.evaluate("Chain-5", 3)
    parts.append(twice.fit("Chain-5", 40, 2, verbose=0))
    whole = once.fit("Chain-5", 120, 6, verbose=0)
    return twice, once, parts, whole, evaluated


class TestCallingAgain:
    def test_goes_on_where_the_first_call_stopped(self, twice_and_once):
        """Weights to the bit, although the agent was evaluated in between."""
        twice, once, parts, whole, _ = twice_and_once
        for a, b in zip(twice.get_weights(), once.get_weights(), strict=True):
            np.testing.assert_array_equal(a, b)
        for name in ("return", "loss", "env_steps", "episodes"):
            joined = [x for part in parts for x in part.history[name]]
            np.testing.assert_allclose(joined, whole.history[name], rtol=1e-5)

    def test_another_seed_gives_another_agent(self, twice_and_once):
        other = A2C.for_env("Chain-5", num_envs=2, seed=4, **TRACE)
        other.fit("Chain-5", 120, 6, verbose=0)
        for a, b in zip(
            other.trainable_variables, twice_and_once[1].trainable_variables,
            strict=True,
        ):  # fmt: skip
            assert not np.array_equal(a.numpy(), b.numpy())


class TestBadArguments:
    @pytest.mark.parametrize("name", ["steps", "epochs", "validation_episodes"])
    @pytest.mark.parametrize("value", [0, -3, 2.5])
    def test_sizes_must_be_positive_integers(self, agent, name, value):
        sizes = {"steps": 20, "epochs": 1, "validation_episodes": 1, name: value}
        label = name.removeprefix("validation_")
        with pytest.raises(ValueError, match=f"`{label}` to be an integer >= 1"):
            agent.fit("Chain-5", validation_env="Chain-5", verbose=0, **sizes)

    @pytest.mark.parametrize("value", [0, -3, 2.5])
    def test_num_envs_too(self, agent, value):
        with pytest.raises(ValueError, match="`num_envs` to be an integer >= 1"):
            agent.fit("Chain-5", steps=20, epochs=1, num_envs=value, verbose=0)

    def test_num_envs_that_contradicts_an_environment(self, agent):
        with pytest.raises(ValueError, match="num_envs=2"):
            agent.fit(envs.make("Chain-5", num_envs=2), 20, 1, num_envs=3, verbose=0)

    def test_more_epochs_than_rollouts(self, fit):
        with pytest.raises(ValueError, match=r"at most 3 for\s+steps=60.*epochs=4"):
            fit(epochs=4)

    def test_unknown_verbosity(self, fit):
        with pytest.raises(ValueError, match="`verbose` 0, 1, 2 or 'auto'"):
            fit(verbose=3)

    def test_unknown_environment_names_near_ones(self, agent):
        with pytest.raises(ValueError, match=r"'CartPole-v2'.*Did you mean 'CartPole"):
            agent.fit("CartPole-v2", steps=20, epochs=1, verbose=0)

    def test_other_spaces(self, agent):
        with pytest.raises(ValueError, match=r"observations this agent was made for"):
            agent.fit("CartPole-v1", steps=20, epochs=1, verbose=0)
        same_observations = gymnasium.wrappers.TransformAction(
            ThreeSteps(), lambda action: 0, gymnasium.spaces.Discrete(7)
        )
        other = A2C.for_env(ThreeSteps, seed=0, **TRACE)
        with pytest.raises(ValueError, match=r"actions this agent was made for.*7"):
            other.fit(same_observations, steps=20, epochs=1, verbose=0)

    def test_nothing_of_this_changed_the_agent(self, agent, fit):
        before = agent.get_weights()
        for call in (self.test_more_epochs_than_rollouts, self.test_unknown_verbosity):
            call(fit)
        self.test_unknown_environment_names_near_ones(agent)
        for a, b in zip(before, agent.get_weights(), strict=True):
            np.testing.assert_array_equal(a, b)
