"""Every keyword of every agent does something, or is refused."""

import inspect

import keras
import numpy as np
import pytest
import tensorflow as tf
from gymnasium.spaces import Box

from kerasrl2 import action_noise, buffers, distributions, exploration, layers
from kerasrl2.agents import (
    A2C,
    DQN,
    PPO,
    SAC,
    TD3,
    TRPO,
    ObservationSpec,
    RandomAgent,
    algorithms,
    random_network_distillation,
)
from kerasrl2.agents.actor_critic import ActorCritic
from kerasrl2.agents.keywords import keywords_of
from kerasrl2.types import Rollout

SCHEDULE = keras.optimizers.schedules.PolynomialDecay(0.05, 4, 0.001)
CLIP_SCHEDULE = keras.optimizers.schedules.PolynomialDecay(0.2, 2, 0.001)

# The usual agent, of the keywords an algorithm has.
BASE = {
    "hidden": (4,), "rollout_length": 4, "num_envs": 2, "learning_rate": 0.05,
    "seed": 0, "xla": False, "batch_size": 4, "num_epochs": 2, "learning_starts": 8,
    "target_update_interval": 2, "max_gradient_norm": 0.5, "buffer_size": 1000,
}  # fmt: skip
CHANGES = {
    "learning_rate": [0.01, SCHEDULE],
    "optimizer": [keras.optimizers.SGD, keras.optimizers.Nadam],
    "gamma": [0.5],
    "lambda_": [0.5],
    "n_step": [2],
    "value_coefficient": [0.1],
    "entropy_coefficient": [0.1],
    "normalize_advantages": ["other"],
    "max_gradient_norm": [0.05, None],
    "critic_optimizer": [keras.optimizers.Nadam],
    "critic_learning_rate": [0.01],
    "huber_delta": [0.01],
    "reward_to_go": ["other"],
    "normalize_returns": ["other"],
    "restart_discount": ["other"],
    "observation_normalizer": [layers.RunningNormalization],
    "reward_scaling": [layers.RewardScaling],
    "clip_range": [0.001, CLIP_SCHEDULE],
    "value_clip": [0.001],
    "target_kl": [1e-9],
    "kl_coefficient": [5.0],
    "vtrace": [True],
    "step_size": [1e-3],
    "damping": [1.0],
    "cg_iterations": [1],
    "fisher_subsampling": [0.3],
    "num_epochs": [1],
    "batch_size": [8],
    "double": ["other"],
    "munchausen": [0.9],
    "tau": [0.5],
    "target_update_interval": [3],
    "clip_rewards": [0.1],
    "train_frequency": [2],
    "gradient_steps": [2],
    "learning_starts": [12],
    "buffer": [lambda: buffers.ReplayBuffer(4, seed=0)],
    "exploration": [exploration.Greedy],
    "actor_optimizer": [keras.optimizers.SGD],
    "temperature_optimizer": [keras.optimizers.SGD],
    "loss": ["huber"],
    "policy_delay": [3],
    "target_networks": [False],
    "noise": [action_noise.ActionNoise],
    "target_noise": [0.1],
    "target_noise_clip": [0.1],
    "temperature": [0.1],
    "learn_temperature": [False],
    "target_entropy": [1.0],
    "target_subset": [1],
    "actor_reduction": ["mean"],
}
# `network`, `q_network`, `head`, `observation_spec` and `action_values` are what
# `for_env` makes. `xla`, sizes of rollouts and seeds have tests below, `temperature`,
# of `munchausen`, one of its own; `intrinsic_reward` asks for another network.
ELSEWHERE = {
    "network",
    "q_network",
    "head",
    "observation_spec",
    "action_values",
    "xla",
    "intrinsic_reward",
}
ELSEWHERE |= {"rollout_length", "num_envs", "seed", "temperature"}
# Of `vtrace`, of `kl_coefficient` and of the line search, in their own files.
ELSEWHERE |= {"clip_rho", "clip_c", "adaptive_kl_target", "adaptive_kl_tolerance"}
ELSEWHERE |= {"line_search", "backtrack_factor", "max_backtracks"}
# Of REINFORCE and Q actor-critic, by numbers; some change what weights there are.
ELSEWHERE |= {"baseline", "baseline_rate", "cut_episodes"}
ELSEWHERE |= {"critic", "dropped_quantiles"}  # tests/agents/test_replay_critics.py
# The weights are the same in parts: tests/agents/test_accumulation.py.
ELSEWHERE |= {"accumulation_steps"}
# Of recurrent networks, and of workers, in their own files.
ELSEWHERE |= {"sequence_length", "burn_in", "eta", "workers", "lock", "tail"}
CLASSES = [c for c in algorithms().values() if "__init__" in vars(c)]
CLASSES.remove(RandomAgent)  # learns nothing, whatever its keywords
CASES = [
    pytest.param(
        agent_class,
        name,
        value,
        marks=[] if agent_class is A2C else pytest.mark.long,
    )
    for agent_class in CLASSES
    for name in agent_class.hyperparameters()
    for value in CHANGES.get(name, ())
    if not (name == "temperature" and agent_class is DQN)
]


def make(agent_class, **hyperparameters):
    known = keywords_of(agent_class)
    usual = {name: value for name, value in BASE.items() if name in known}
    if home(agent_class) == "Pendulum-v1":
        usual["tau"] = 0.9  # or too little happens in a few steps
    return agent_class.for_env(home(agent_class), **{**usual, **hyperparameters})


def home(agent_class):
    """Id of an environment in which an agent can act."""
    return "Pendulum-v1" if agent_class in (TD3, SAC) else "CartPole-v1"


def rollout(number):
    """4 steps of 2 environments: an episode is cut, one ends, some rewards."""
    rng = np.random.default_rng(number)

    def floats(*shape):
        return tf.constant(rng.normal(size=shape), tf.float32)

    return Rollout(
        observation=floats(4, 2, 4),
        action=tf.constant(rng.integers(0, 2, [4, 2]), tf.int32),
        reward=floats(4, 2),
        terminated=tf.constant([[False, False], [True, False], *[[False, False]] * 2]),
        truncated=tf.constant([*[[False, False]] * 2, [False, True], [False, False]]),
        valid=tf.ones([4, 2], tf.bool),
        next_observation=floats(4, 2, 4),
        last_observation=floats(2, 4),
        parameters=floats(4, 2, 2),
    )


def trained_weights(agent_class, hyperparameters, results={}):  # noqa: B006
    """Weights after a few updates, eagerly; those of the usual agent are kept."""
    if not hyperparameters and agent_class in results:
        return results[agent_class]
    agent = make(agent_class, **hyperparameters)
    if issubclass(agent_class, ActorCritic):
        state = agent.initial_learner_state(2)
        for number in range(1 if agent_class is PPO else 2):
            played = rollout(number)
            agent.update_statistics(played.observation, played.valid)
            batch, state = agent.prepare(played, state)
            agent.learn_from(batch, tf.constant([number, 7]))
    else:
        tf.config.run_functions_eagerly(True)  # tracing takes longer
        try:
            env_id = home(agent_class)
            rows = agent.loop_on(env_id).steps_per_iteration
            steps = max(3 * rows, 2 * BASE["learning_starts"])
            agent.fit(env_id, steps=steps, epochs=1, verbose=0)
        finally:
            tf.config.run_functions_eagerly(False)
    weights = agent.network.get_weights()
    if not hyperparameters:
        results[agent_class] = weights
    return weights


@pytest.mark.parametrize("agent_class", CLASSES)
def test_the_table_is_complete(agent_class):
    """A new algorithm adds rows for those of its keywords that no other has."""
    tested = {case.values[1] for case in CASES if case.values[0] is agent_class}
    assert set(agent_class.hyperparameters()) - tested <= ELSEWHERE


@pytest.mark.parametrize(("agent_class", "name", "value"), CASES)
def test_each_keyword_changes_what_is_learned(agent_class, name, value):
    if value == "other":
        value = not inspect.signature(agent_class.__init__).parameters[name].default
    if isinstance(value, type) or inspect.isfunction(value):
        value = value(0.05) if name.endswith("optimizer") else value()
    usual = trained_weights(agent_class, {})
    changed = trained_weights(agent_class, {name: value})
    assert all(np.isfinite(weight).all() for weight in changed)
    moved = [not np.allclose(a, b, 1e-6, 1e-8) for a, b in zip(usual, changed)]  # noqa: B905
    assert any(moved)


@pytest.mark.parametrize("agent_class", [PPO, A2C, TRPO])
def test_each_keyword_is_kept_under_its_name(agent_class):
    """None takes the place of another on its way through the constructors."""
    plain = {
        "gamma": 0.11, "lambda_": 0.22, "n_step": 3, "vtrace": False,
        "clip_rho": 0.81, "clip_c": 0.82,
        "entropy_coefficient": 0.55, "normalize_advantages": "yes",
        "max_gradient_norm": 0.66, "rollout_length": 7, "num_envs": 8, "seed": 9,
        "observation_normalizer": layers.RunningNormalization(),
        "reward_scaling": layers.RewardScaling(), "xla": True,
        "optimizer": keras.optimizers.SGD(),
    }  # fmt: skip
    given = {"network", "head", "observation_spec", "learning_rate"}
    bonus = agent_class is not TRPO
    if bonus:
        bonus_layer = random_network_distillation(Box(-1.0, 1.0, [4]))
        plain |= {"value_coefficient": 0.44, "intrinsic_reward": bonus_layer}
        plain |= {"critic_optimizer": keras.optimizers.Adam(), "accumulation_steps": 2}
        given |= {"critic_learning_rate", "sequence_length"}
    if agent_class is not A2C:
        plain |= {"target_kl": 0.14, "num_epochs": 15, "batch_size": 16}
    if agent_class is PPO:
        plain |= {"clip_range": 0.12, "value_clip": 0.13, "kl_coefficient": 0.15}
        plain |= {"adaptive_kl_target": 0.16, "adaptive_kl_tolerance": 0.17}
    if agent_class is TRPO:
        plain |= {"line_search": "yes", "step_size": 0.91, "backtrack_factor": 0.92}
        plain |= {"max_backtracks": 93, "cg_iterations": 94, "damping": 0.95}
        plain |= {"fisher_subsampling": 0.96}
    if agent_class is A2C:
        plain |= {"huber_delta": 0.17}
    assert set(plain) | given == set(agent_class.hyperparameters())
    network, head = (
        layers.actor_critic((4,), 2, hidden=(), intrinsic_value=bonus),
        distributions.Categorical(2),
    )
    agent = agent_class(network, head, **plain)
    assert {name: getattr(agent, name) for name in plain} == plain
    assert (agent.network, agent.head) == (network, head)


@pytest.mark.parametrize(
    "agent_class",
    [c if c is A2C else pytest.param(c, marks=pytest.mark.long) for c in CLASSES],
)
def test_the_same_keywords_give_the_same_weights(agent_class):
    """Or else the tests above prove nothing."""
    usual = trained_weights(agent_class, {})
    again = trained_weights(agent_class, {"gamma": 0.99})
    for a, b in zip(usual, again, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("agent_class", [PPO, A2C])
@pytest.mark.parametrize(
    "hyperparameters", [{"rollout_length": 8}, {"num_envs": 4}, {}], ids=str
)
def test_an_iteration_plays_rollout_length_steps_of_num_envs(
    agent_class, hyperparameters, eager
):
    agent = make(agent_class, **hyperparameters)
    if agent_class is PPO:
        agent.num_epochs, agent.batch_size = 1, None
    agent.fit("CartPole-v1", steps=1, epochs=1, verbose=0)
    expected = {"rollout_length": 4, "num_envs": 2, **hyperparameters}
    assert int(agent.env_steps) == np.prod(list(expected.values()))
    loop = agent.loop_on("CartPole-v1")
    assert loop.env.num_envs == expected["num_envs"]
    assert loop.vector_steps == expected["rollout_length"]


def test_the_seed_is_that_of_weights_and_games():
    agents = [make(A2C, seed=seed) for seed in (0, 1, 0)]
    weights = [agent.network.get_weights()[0] for agent in agents]
    games = [a.loop_on("CartPole-v1").carry.actor.observation for a in agents]
    for values in (weights, [game.numpy() for game in games]):
        assert not np.array_equal(values[0], values[1])
        np.testing.assert_array_equal(values[0], values[2])


@pytest.mark.parametrize(
    ("hyperparameters", "env_id"),
    [
        ({"hidden": (5, 3)}, "CartPole-v1"),
        ({"activation": "relu"}, "CartPole-v1"),
        ({"shared_trunk": True}, "CartPole-v1"),
        ({"distribution": "beta"}, "Pendulum-v1"),
        ({"standard_deviation": "dependent"}, "Pendulum-v1"),
        ({"initial_log_std": -1.0}, "Pendulum-v1"),
    ],
)
def test_each_keyword_of_for_env_changes_network_or_head(hyperparameters, env_id):
    usual, changed = (
        PPO.for_env(env_id, **{"hidden": (4,), "seed": 0, **more})
        for more in ({}, hyperparameters)
    )
    configs = [
        (agent.network.to_json(), type(agent.head).__name__)
        for agent in (usual, changed)
    ]
    assert configs[0] != configs[1]


def test_for_env_hands_normalisers_over():
    agent = A2C.for_env(
        "CartPole-v1", normalize_observations=True, normalize_rewards=True, gamma=0.7
    )
    assert isinstance(agent.observation_normalizer, layers.RunningNormalization)
    assert isinstance(agent.reward_scaling, layers.RewardScaling)
    assert agent.reward_scaling.gamma == agent.gamma == 0.7
    plain = A2C.for_env("CartPole-v1")
    assert plain.observation_normalizer is plain.reward_scaling is None


def test_image_encoder():
    from tests.agents.images import Images

    agent = PPO.for_env(Images, hidden=(4,), seed=0)
    assert agent.observation_spec == ObservationSpec((36, 36, 1), "uint8")
    assert agent.network.count_params() > 10_000
    dense = PPO.for_env(Images, hidden=(4,), encoder="mlp", seed=0)
    assert all("Conv" not in type(x).__name__ for x in dense.network._flatten_layers())
    image = np.zeros([36, 36, 1], np.uint8)
    assert agent.act(image).shape == dense.act(image).shape == ()


def test_xla_decides_how_the_loop_is_compiled():
    flags = []
    for xla in (True, False, "auto"):
        agent = A2C.for_env("CartPole-v1", hidden=(), xla=xla)
        loop = agent.loop(agent.environment("CartPole-v1", 2))
        flags.append(bool(loop._block._jit_compile))
    assert flags == [True, False, True]


@pytest.mark.parametrize("make", [PPO.for_env, A2C.for_env])
@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ("learning_rat", "learning_rate"),
        ("entropy_coef", "entropy_coefficient"),
        ("max_grad_norm", "max_gradient_norm"),
        ("normalise_observations", "normalize_observations"),
        ("hiden", "hidden"),
        ("lamda", "lambda_"),
    ],
)
def test_an_unknown_keyword_is_answered_with_the_nearest(make, wrong, right):
    with pytest.raises(ValueError, match=f"{wrong}'. Did you mean .*'{right}'"):
        make("Chain-5", **{wrong: 1})


def test_the_constructor_answers_too():
    network = layers.actor_critic((4,), 2, hidden=())
    head = distributions.Categorical(2)
    with pytest.raises(ValueError, match=r"`PPO`.*'gama'. Did you mean 'gamma'"):
        PPO(network, head, gama=0.5)
    with pytest.raises(ValueError, match=r"`A2C`.*'clip_range'"):
        A2C(network, head, clip_range=0.5)
    assert PPO(network, head, name="mine").name == "mine"


@pytest.mark.parametrize(
    "hyperparameters",
    [
        {"gamma": 1.5}, {"gamma": -0.1}, {"lambda_": 2.0}, {"gamma": float("nan")},
        {"rollout_length": 0}, {"rollout_length": -4}, {"rollout_length": 2.5},
        {"num_envs": 0}, {"num_epochs": 0}, {"num_epochs": -1}, {"batch_size": 0},
        {"batch_size": -8}, {"n_step": 0}, {"hidden": (0,)}, {"hidden": (-4,)},
        {"clip_range": 0.0}, {"clip_range": -0.2}, {"value_clip": 0.0},
        {"max_gradient_norm": 0.0}, {"max_gradient_norm": -1.0}, {"target_kl": -0.1},
        {"learning_rate": -1e-3}, {"distribution": "normal"}, {"encoder": "cnn"},
        {"standard_deviation": "free"}, {"activation": "reluu"}, {"xla": "yes"},
        {"seed": -1},
    ],
    ids=str,
)  # fmt: skip
def test_values_out_of_range_are_refused(hyperparameters):
    """Of the name, in one line."""
    (name,) = hyperparameters
    with pytest.raises(ValueError) as error:  # noqa: PT011 (the name is checked)
        PPO.for_env("Pendulum-v1", **hyperparameters)
    word = {"standard_deviation": "gaussian_std"}.get(name, name)
    assert word in str(error.value)
    assert "Received" in str(error.value) or name == "activation"


@pytest.mark.parametrize(
    ("agent_class", "name"),
    [
        (A2C, "entropy_coefficient"), (A2C, "value_coefficient"),
        (A2C, "learning_rate"), (PPO, "learning_rate"), (DQN, "learning_rate"),
        (DQN, "temperature"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("value", [np.inf, np.nan, 1e39])
def test_numbers_that_no_loss_can_hold(agent_class, name, value):
    with pytest.raises(ValueError, match=rf"Expected `{name}` in .*inf\). Received: "):
        make(agent_class, **{name: value})
