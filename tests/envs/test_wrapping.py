"""Wrappers of Gymnasium around what `make` makes, and keywords of constructors."""

import os

import gymnasium
import numpy as np
import pytest
import tensorflow as tf

from kerasrl2 import agents, envs
from kerasrl2.callbacks import record_video
from kerasrl2.envs import _wrapping
from kerasrl2.envs.registry import make_single
from tests.envs import remote_worlds
from tests.envs.worlds import SEED, ThreeSteps, play

ACTIONS = np.random.default_rng(0).integers(2, size=[60, 2]).astype(np.int32)
STACK = ("FrameStackObservation", {"stack_size": 3})


def flat(env):
    return gymnasium.wrappers.FlattenObservation(env)


class Lazy(gymnasium.ActionWrapper):
    """Whatever is asked for, 0 is done."""

    def action(self, action):
        return 0


class TestWhatIsMade:
    WRAPPERS = ("TimeAwareObservation", STACK, flat)

    def expected(self):
        """The observations of one environment that is wrapped by hand."""
        wrappers = gymnasium.wrappers
        env = wrappers.TimeAwareObservation(gymnasium.make("CartPole-v1"))
        return wrappers.FlattenObservation(wrappers.FrameStackObservation(env, 3))

    def test_the_innermost_is_the_first(self):
        env = envs.make("CartPole-v1", 2, wrappers=self.WRAPPERS)
        assert (env.id, env.in_graph, env.num_envs) == ("CartPole-v1", False, 2)
        assert env.observation_space == self.expected().observation_space
        _, observation = env.reset(tf.constant(SEED))
        assert observation.shape == (2, 15)
        assert observation[0, 4::5].numpy().tolist() == [0.0, 0.0, 0.0]
        env.close()

    @pytest.mark.parametrize(
        "how",
        [
            {"vectorization": "sync"},
            pytest.param({"vectorization": "async"}, marks=pytest.mark.long),
            pytest.param({"subprocess": True}, marks=pytest.mark.long),
        ],
        ids=["sync", "async", "subprocess"],
    )
    def test_however_they_run(self, how):
        def rewards(**how):
            wrappers = [*self.WRAPPERS, Lazy]
            env = envs.make("CartPole-v1", 2, "gymnasium", wrappers=wrappers, **how)
            assert env.observation_space == self.expected().observation_space
            _, result = play(env, ACTIONS)
            env.close()
            return result.terminated.any(-1)

        # The pole always falls to the same side: after 8 to 10 steps.
        for ended in (rewards(), rewards(**how)):
            assert not ended[:7].any()
            assert ended[7:10].any()

    def test_one_that_is_given(self):
        single = gymnasium.make("CartPole-v1")
        env = envs.make(single, wrappers=["TimeAwareObservation"])
        assert env.observation_space.shape == (5,)
        assert env.envs[0].unwrapped is single.unwrapped

    def test_a_callable(self):
        env = envs.make(
            ThreeSteps, 2, wrappers=[("TimeLimit", {"max_episode_steps": 2})]
        )
        assert env.max_episode_steps == 2

    def test_a_module_and_a_name(self):
        env = envs.make("CartPole-v1", wrappers=["tests.envs.test_wrapping:flat"])
        assert "FlattenObservation" in str(env.envs[0])

    def test_train_record_and_check(self, tmp_path):
        wrappers = ["TimeAwareObservation"]
        agent = agents.A2C.for_env(
            envs.make("CartPole-v1", 2, wrappers=wrappers), hidden=(4,), seed=0
        )
        returns, path = record_video(
            agent, "CartPole-v1", tmp_path / "a.gif", max_steps=3, wrappers=wrappers
        )
        assert returns == [3.0]
        assert path.exists()
        assert envs.check("CartPole-v1", 30, wrappers=wrappers) == []
        assert envs.check("CartPole-v1", 30, max_episode_steps=7) == []
        assert envs.check("CartPole-v1", 30, backend="gymnasium") == []

    def test_games_are_gymnasiums_own(self):
        pytest.importorskip("ale_py")
        screens = make_single("ALE/Pong-v5", wrappers=["GrayscaleObservation"])
        assert screens.observation_space.shape == (210, 160)
        raw = make_single("ALE/Pong-v5", "gymnasium")
        assert raw.observation_space.shape == (210, 160, 3)

    @pytest.mark.long
    @pytest.mark.skipif(os.name != "posix", reason="Linux and macOS only")
    def test_their_processes_import_no_tensorflow(self):
        wrappers = ["FlattenObservation", STACK, lambda env: env]
        env = envs.make(remote_worlds.Watches, 2, subprocess=True, wrappers=wrappers)
        _, result = play(env, ACTIONS[:3])
        assert not result.reward.any()
        env.close()


FAULTS = {
    "no list": ("FlattenObservation", "`wrappers` as a list of names.*Received: 'Fl"),
    "a number": ([3], "Expected a wrapper as a name, a callable, or a pair.*: 3"),
    "a short name": (["TimeAware"], "'TimeAware'. Did you mean 'TimeAwareObservation'"),
    "no name at all": (["Q"], "'Q'. There are: AddRenderObservation, AddWhiteNoise, "),
    "no such module": (["no_such:X"], "Expected the module 'no_such' of the wrapper"),
    "no such class": (["gymnasium.wrappers:ClipRewrd"], "mean 'ClipReward'"),
    "no such keyword": (
        [("FrameStackObservation", {"stack": 3})],
        "keyword of `FrameStackObservation`. Received: 'stack'. Did you mean 'stack_si",
    ),
    "a keyword is missing": (["FrameStackObservation"], "argument: 'stack_size'"),
    "it does not fit": (
        ["GrayscaleObservation"],
        "a wrapper that takes <.*CartPoleEnv.*Received: GrayscaleObservation, which "
        "raised ValueError: Grayscale",
    ),
    "it returns nothing": ([lambda env: None], "returns a `gymnasium.Env`.*None"),
    "moments": (["NormalizeReward"], "Expected `normalize_rewards=True` of PPO and"),
}  # fmt: skip


@pytest.mark.parametrize(("wrappers", "message"), FAULTS.values(), ids=FAULTS)
def test_faults_of_wrappers(wrappers, message):
    for how in ({}, {"vectorization": "sync"}):
        with pytest.raises((ValueError, ImportError), match=message):
            envs.make("CartPole-v1", 2, wrappers=wrappers, **how)
    with pytest.raises((ValueError, ImportError), match=message):
        make_single("CartPole-v1", wrappers=wrappers)


@pytest.mark.long
def test_faults_in_other_processes():
    for how in ({"vectorization": "async"}, {"subprocess": True}):
        for name in ("it does not fit", "a keyword is missing"):
            wrappers, message = FAULTS[name]
            with pytest.raises(ValueError, match=message):
                envs.make("CartPole-v1", 2, "gymnasium", wrappers=wrappers, **how)
    with pytest.raises(ValueError, match="Did you mean 'is_slippery'"):
        envs.make("FrozenLake-v1", 2, slippery=True, subprocess=True)


@pytest.mark.parametrize(
    ("env", "keywords", "message"),
    [
        (
            lambda: "CartPole-v1",
            {"backend": "tensorflow"},
            "environment of Gymnasium w",
        ),
        (lambda: "Chain-5", {}, "environment of Gymnasium with wrappers"),
        (lambda: envs.make("Chain-5"), {}, "no other settings than those Chain-5"),
        (
            lambda: "CartPole-v1",
            {"vectorization": "vector_entry_point"},
            "Expected no `wrappers` with vectorization='vector_entry_point'",
        ),
        (
            lambda: gymnasium.make_vec("CartPole-v1", 2),
            {},
            "Expected no `wrappers` with a vector environment",
        ),
    ],
    ids=["backend", "only here", "an Environment", "entry point", "a VectorEnv"],
)
def test_what_takes_no_wrappers(env, keywords, message):
    with pytest.raises(ValueError, match=message):
        envs.make(env(), wrappers=["TimeAwareObservation"], **keywords)


class Sized(ThreeSteps):
    def __init__(self, size=1, **more):
        super().__init__()
        self.size = {1: "small", 2: "large"}[size]


@pytest.mark.parametrize(
    ("env", "keywords", "message"),
    [
        ("FrozenLake-v1", {"slippery": True}, "`FrozenLake-v1`.*mean 'is_slippery'"),
        ("FrozenLake-v1", {"map_name": "9x9"}, "map_name='9x9', .* KeyError: '9x9'"),
        ("CartPole-v1", {"max_episode_step": 9}, "Did you mean 'max_episode_steps'"),
        ("tests.envs.registers:Registered-v0", {"a": 1}, "a keyword of `tests.envs.re"),
        (
            "CartPole-v1",
            {"vectorization": "vector_entry_point", "sutton_barto": True},
            "Did you mean 'sutton_barto_reward'",
        ),
        (
            ThreeSteps,
            {"sise": 2},
            "with which ThreeSteps can be made. Received: sise=2, .* unexpected",
        ),
        (
            Sized,
            {"size": 3},
            "with which Sized can be made. Received: size=3, .* KeyErr",
        ),
    ],
)
def test_wrong_keywords_of_a_constructor(env, keywords, message):
    with pytest.raises(ValueError, match=message):
        envs.make(env, 2, **keywords)


def test_without_keywords_exceptions_stay_as_they_are():
    def broken():
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        envs.make(broken)


def test_names_are_those_of_gymnasium():
    assert {"TimeAwareObservation", "StickyAction", "TimeLimit"} < {*_wrapping.names()}
    for name in _wrapping._INSTEAD:
        assert name in gymnasium.wrappers.__all__
