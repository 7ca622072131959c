"""Entries of `info` in the figures of `fit` and `evaluate`."""

import functools
import json

import numpy as np
import pytest

from kerasrl2 import envs
from kerasrl2.agents import A2C, DQN
from kerasrl2.callbacks import EvaluateReturn, TrainingCheckpoint
from kerasrl2.errors import EnvironmentFailure
from kerasrl2.training.infos import InfoMeans, check_info_keys
from tests.envs.remote_worlds import Reports
from tests.envs.worlds import ThreeSteps, play
from tests.training.worlds import Scripted

SETTINGS = {"hidden": (), "seed": 0, "xla": False}


class Tells(ThreeSteps):
    """Successful in every second episode; says so in each step, but the last counts."""

    def step(self, action):
        *result, _ = super().step(action)
        good = self.episode % 2 == 1
        last = self.time == 3
        info = {
            "is_success": np.bool_(good) if last else "not yet",
            "part": np.float32(10 * self.episode + self.time),
            "words": "many",
        }
        return *result, info


@pytest.fixture(scope="module")
def a2c():
    return A2C.for_env(Tells, num_envs=2, rollout_length=6, **SETTINGS)


KEYS = ("is_success", "part")


class TestFit:
    def test_on_policy(self, a2c):
        logs = []
        history = a2c.fit(
            Tells,
            steps=36,
            epochs=3,
            verbose=0,
            info_keys=KEYS,
            callbacks=[Batches(logs)],
        ).history
        assert history["episodes"] == [4.0, 4.0, 4.0]  # two of each copy
        assert history["is_success"] == [0.5, 0.5, 0.5]
        assert history["part"] == [8.0, 28.0, 48.0]  # of 3, 13; 23, 33; 43, 53
        assert logs[-1]["part"] == 48.0

    @pytest.mark.long
    def test_off_policy(self):
        agent = DQN.for_env(Tells, learning_starts=10**6, buffer_size=100, **SETTINGS)
        history = agent.fit(
            Tells(), steps=8, epochs=4, verbose=0, info_keys=["part"]
        ).history
        np.testing.assert_array_equal(history["part"], [np.nan, 3.0, 13.0, np.nan])
        np.testing.assert_array_equal(history["episodes"], [0.0, 1.0, 1.0, 0.0])

    def test_validation_and_evaluate_return(self, a2c):
        history = a2c.fit(
            Tells,
            steps=12,
            epochs=1,
            validation_env=Tells,
            validation_episodes=3,
            callbacks=[EvaluateReturn(Tells(), episodes=2, info_keys=("is_success",))],
            verbose=0,
            info_keys=KEYS,
        ).history
        assert history["val_is_success"] == history["val_success_rate"] == [0.0]
        assert history["val_part"] == [3.0]
        assert history["eval_success_rate"] == [0.5]

    def test_nothing_is_kept_without_keys(self, a2c):
        history = a2c.fit(Tells, steps=12, epochs=1, verbose=0).history
        assert not {"is_success", "part"} & set(history)
        assert a2c.loop_on(Tells).env.finished_info() == []

    def test_resumed_in_the_middle_of_an_epoch(self):
        """The means of an epoch are those of the whole of it."""
        half = InfoMeans(KEYS)
        env = envs.make(Tells)
        half.begin(env)
        env._world._finished = [(0, 0, [0.0, 3.0]), (0, 1, [1.0, 13.0])]
        half.take(env)
        whole = InfoMeans(KEYS)
        whole.set_state(json.loads(json.dumps(half.state())))
        env._world._finished = [(0, 2, [1.0, 23.0])]
        whole.take(env)
        assert whole.means() == {"is_success": 2 / 3, "part": 13.0}
        other = InfoMeans(("part",))
        other.set_state(half.state())
        assert np.isnan(other.means()["part"])

    @pytest.mark.long
    def test_a_resumed_run_has_the_same_history(self, tmp_path):
        def run(steps, directory, every=None):
            agent = A2C.for_env(Tells, num_envs=1, rollout_length=6, **SETTINGS)
            given = [TrainingCheckpoint(directory, every)]
            return agent.fit(
                Tells, steps, callbacks=given, resume=True, verbose=0, info_keys=KEYS,
                epochs=steps // 12,
            ).history  # fmt: skip

        run(24, tmp_path)
        history = run(48, tmp_path)
        assert history["is_success"] == [0.5] * 4
        assert history["part"][:2] == [18.0, 58.0]  # 3, 13, 23, 33; 43, ...


class Batches(EvaluateReturn):
    def __init__(self, logs):
        super().__init__(Tells)
        self.seen = logs

    def on_train_batch_end(self, batch, logs=None):
        self.seen.append(logs)

    def on_epoch_end(self, epoch, logs=None):
        pass


class TestEvaluate:
    def test_only_the_episodes_that_count(self, a2c):
        env = envs.make(Tells, num_envs=2)
        scores = a2c.evaluate(env, episodes=3, info_keys=KEYS)
        assert scores["episodes"] == 3  # 0 and 1 of the first copy, 0 of the second
        assert scores["is_success"] == scores["success_rate"] == pytest.approx(1 / 3)
        assert scores["part"] == pytest.approx((3 + 13 + 3) / 3)
        assert "success_rate" not in a2c.evaluate(env, episodes=3, info_keys=("part",))
        assert "part" not in a2c.evaluate(env, episodes=3)

    @pytest.mark.long
    def test_in_processes_of_their_own(self, a2c):
        env = envs.make(Reports, num_envs=2, subprocess=True)
        try:
            scores = a2c_for(env).evaluate(env, episodes=3, info_keys=("length",))
            with pytest.raises(EnvironmentFailure, match="Received: length, not fit"):
                a2c_for(env).evaluate(env, episodes=2, info_keys=("lenth",))
            with pytest.raises(EnvironmentFailure, match=r"a number as `info\['not"):
                a2c_for(env).evaluate(env, episodes=2, info_keys=("not fit to travel",))
        finally:
            env.close()
        assert scores["length"] == 7.0


@functools.cache
def a2c_for(env):
    return A2C.for_env(env, **SETTINGS)


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("is_succes", r"'is_succes' .*Received: is_success, part, words. Did you mean"),
        ("words", r"Expected a number as `info\['words'\]`.*Received: 'many'"),
    ],
)
def test_what_is_no_entry_or_no_number_is_named(key, message):
    env = envs.make(Tells)
    env.record_info((key,))
    with pytest.raises(EnvironmentFailure, match=message):
        play(env, [[1]] * 3)


def test_an_environment_without_info_is_refused(a2c):
    agent = A2C.for_env(Scripted([3]), **SETTINGS)
    with pytest.raises(ValueError, match=r"one of Gymnasium\. Received: info_keys="):
        agent.fit(Scripted([3]), steps=10, info_keys=("is_success",))
    with pytest.raises(ValueError, match="Received: info_keys="):
        agent.evaluate(Scripted([3]), info_keys=("is_success",))
    assert int(agent.env_steps) == 0


@pytest.mark.parametrize("keys", ["is_success", 3, (3,), None, [["a"]]])
def test_keys_are_several_strings(keys):
    with pytest.raises(ValueError, match="`info_keys` to be several strings"):
        check_info_keys(keys, ())


def test_keys_do_not_replace_figures(a2c):
    assert check_info_keys(["a", "b", "a"], ("c",)) == ("a", "b")
    for name in ("return", "entropy", "success_rate", "learning_rate"):
        with pytest.raises(ValueError, match=f"names are free.*Received: '{name}'"):
            a2c.fit(Tells, steps=12, info_keys=(name,))
    with pytest.raises(ValueError, match="names are free"):
        a2c.evaluate(Tells, info_keys=("episode_length",))
