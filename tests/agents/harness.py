"""What every agent must do: `check_agent`."""

import functools

import keras
import numpy as np
import tensorflow as tf

import kerasrl2 as krl

HISTORY = {"return", "episode_length", "episodes", "env_steps", "steps_per_second"}
SEED = tf.constant([0, 1])  # of an update
MOVING = "moving_mean", "moving_variance", "steps"  # of batch renormalisation


def check_agent(make_agent, env_id, tmp_path, steps=64, rtol=0.0):
    """Runs an agent in every way users do; returns it, trained.

    Args:
        make_agent: Callable, keyword arguments (`xla`, `seed`) to a new agent for the
            environment. It must pass them on, and normalise observations.
        env_id: String, with float observations.
        tmp_path: Directory for the saved agent.
        steps: Integer, env steps of a short run of two epochs.
        rtol: Float, how far weights after equal runs may differ.
    """
    agent = make_agent(xla=False, seed=5)
    check_acting(agent, krl.envs.make(env_id))
    check_evaluation_changes_nothing(agent, env_id)
    check_learning(agent, env_id, steps)
    check_config(agent)
    check_saving(agent, env_id, tmp_path)

    twin = make_agent(xla=False, seed=5)
    twin.fit(env_id, steps=steps, epochs=2, verbose=0)
    for a, b in zip(agent.weights, twin.weights, strict=True):
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol, rtol, err_msg=a.path)
    return agent


def check_acting(agent, env):
    """Shapes, dtypes and bounds of `act`, `predict` and `choose`, in every mode."""
    space, rng = env.action_space, np.random.default_rng(0)
    observation = rng.normal(size=[6, *env.observation_space.shape]).astype("float32")
    batch = agent.act(observation)
    assert isinstance(batch, np.ndarray)
    assert batch.shape == (6, *space.shape)
    one = agent.act(observation[2])
    assert one.shape == space.shape
    np.testing.assert_allclose(one, batch[2], rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(agent.act(observation.tolist()), batch)
    np.testing.assert_array_equal(agent.predict(observation), batch)

    sampled = agent.act(observation, training=True)
    assert sampled.shape == batch.shape
    again = [agent.act(observation, training=True, seed=[1, 2]) for _ in range(2)]
    np.testing.assert_array_equal(*again)
    others = [agent.act(observation, training=True) for _ in range(8)]
    assert any((other != sampled).any() for other in others)
    for action in (*batch, *sampled, *agent.predict(observation, greedy=False)):
        assert space.contains(np.asarray(action, space.dtype)), action

    act = tf.function(agent.act, autograph=False)
    np.testing.assert_allclose(act(observation), batch, rtol=1e-4, atol=1e-5)
    play = functools.partial(play_as_the_loop, agent)
    play = tf.function(play, jit_compile=True, autograph=False)
    env_action, action = play(tf.constant(observation), tf.constant([1, 2]))
    np.testing.assert_allclose(env_action, again[0], rtol=1e-4, atol=1e-5)
    assert env_action.shape == batch.shape
    assert action.shape == (6, *agent.head.action_shape)
    assert action.dtype == agent.head.action_dtype


def play_as_the_loop(agent, observation, seed, env_steps=None):
    """`forward` and `choose`: the action for the environment, and the policy's own."""
    env_steps = agent.env_steps if env_steps is None else env_steps
    outputs = agent.forward(observation, seed=seed + tf.constant([1, 0]))
    action = agent.choose(outputs, seed, tf.cast(env_steps, tf.int64))
    return agent.head.to_env(action), action


def check_evaluation_changes_nothing(agent, env_id):
    """Evaluates, greedily and not: to the bit the same agent afterwards."""
    variables = [*agent.variables, *optimizer_variables(agent)]
    # Noise that is played, with `greedy=False`, is noise that was drawn.
    variables = [v for v in variables if not v.path.endswith("noise_state")]
    before = [variable.numpy() for variable in variables]
    scores = agent.evaluate(env_id, episodes=2, max_episode_steps=10_000)
    assert scores == agent.evaluate(env_id, episodes=2)
    assert set(scores) == {"return", "return_std", "return_min", "return_max",
                           "episode_length", "episodes"}  # fmt: skip
    assert np.isfinite(list(scores.values())).all()
    agent.evaluate(env_id, episodes=1, greedy=False)
    for variable, value in zip(variables, before, strict=True):
        np.testing.assert_array_equal(variable.numpy(), value, err_msg=variable.path)


def check_learning(agent, env_id, steps):
    """`fit` moves every trainable weight and, of the others, only its statistics."""
    before = [variable.numpy() for variable in agent.variables]
    history = agent.fit(env_id, steps=steps, epochs=2, verbose=0).history
    names = list(agent.optimizers())
    rates = (
        [f"{name}_learning_rate" for name in names] if names[1:] else ["learning_rate"]
    )
    assert set(history) >= HISTORY | set(agent.metric_names) | set(rates)
    for name in agent.metric_names:
        assert np.isfinite(history[name]).all(), name
    trainable = {id(variable) for variable in agent.trainable_variables}
    normalizers = [agent.observation_normalizer, getattr(agent, "reward_scaling", None)]
    statistics = {id(v) for layer in normalizers if layer for v in layer.variables}
    statistics.add(id(agent.env_steps))
    noise = {id(v) for v in agent.variables if v.path.endswith("noise_state")}
    bonus = getattr(agent, "intrinsic_reward", None)
    if bonus is not None:
        fixed = {id(v) for v in bonus.target.weights}
        statistics |= {id(v) for v in bonus.non_trainable_weights} - fixed
    targets = [getattr(agent, f"target_{name}", None) for name in ("network", "critic")]
    statistics |= noise | {id(v) for t in targets if t for v in t.weights}
    statistics |= {id(getattr(agent, "latest", None))}  # metrics of the actor
    statistics |= {id(v) for v in agent.variables if v.name in MOVING}
    assert trainable
    assert agent.observation_normalizer is not None
    for variable, value in zip(agent.variables, before, strict=True):
        moved = not np.array_equal(variable.numpy(), value)
        expected = id(variable) in trainable | statistics
        assert moved == expected, variable.path
    assert int(agent.env_steps) == history["env_steps"][-1] >= steps
    for optimizer, _ in agent.optimizers().values():
        assert int(optimizer.iterations) > 0


def optimizer_variables(agent):
    """Variables of all optimizers."""
    return [v for o, _ in agent.optimizers().values() for v in o.variables]


def check_config(agent):
    """The config makes an agent with the same settings and survives JSON."""
    serialized = keras.saving.serialize_keras_object(agent)
    assert serialized["registered_name"].partition(">")[0] != "Custom"
    copy = keras.saving.deserialize_keras_object(serialized)
    assert type(copy) is type(agent)
    for name in agent.hyperparameters():
        plain = getattr(agent, name, None)
        if isinstance(plain, bool | int | float | str | None):
            assert getattr(copy, name, None) == plain, name
    assert copy.head.get_config() == agent.head.get_config()
    assert copy.observation_spec == agent.observation_spec
    shapes = [[v.shape for v in a.variables] for a in (agent, copy)]
    assert shapes[0] == shapes[1]


def check_saving(agent, env_id, tmp_path):
    """The loaded agent acts alike, and learns on alike: optimizer state and all."""
    path = tmp_path / "agent.keras"
    agent.save(path)
    loaded = krl.load_agent(path)
    assert type(loaded) is type(agent)
    pairs = [
        (agent.variables, loaded.variables),
        (optimizer_variables(agent), optimizer_variables(loaded)),
    ]
    for ours, theirs in pairs:
        for a, b in zip(ours, theirs, strict=True):
            np.testing.assert_array_equal(a.numpy(), b.numpy(), err_msg=a.path)
    env = krl.envs.make(env_id)
    rng = np.random.default_rng(1)
    observation = rng.normal(size=[9, *env.observation_space.shape])
    np.testing.assert_array_equal(loaded.act(observation), agent.act(observation))
