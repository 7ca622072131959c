"""Intrinsic rewards of actor-critic agents: a second value, and what it adds up to.

Each function leaves an agent without `intrinsic_reward` as it is.
"""

import keras
import tensorflow as tf

from kerasrl2._checks import check_positive_integer, check_range
from kerasrl2.agents.checking import outputs_of
from kerasrl2.agents.specs import batch_shape, seen_by_network
from kerasrl2.layers import (
    NestedNormalization,
    RandomNetworkDistillation,
    RunningNormalization,
    encoder_for,
    seed_weights,
)
from kerasrl2.layers.encoders import check_hidden
from kerasrl2.layers.specs import NestedSpec, ObservationSpec
from kerasrl2.returns import generalized_advantages, n_step_returns
from kerasrl2.statistics import explained_variance, masked_mean
from kerasrl2.types import IntrinsicBatch

OF_UPDATES = "intrinsic_value_loss", "predictor_loss"
OF_ROLLOUTS = "intrinsic_reward", "intrinsic_explained_variance"
CLIP = 5.0  # of standardised observations, section 2.4 of the paper


def random_network_distillation(
    space,
    hidden=(64, 64),
    num_features=64,
    predictor_hidden=None,
    activation="leaky_relu",
    encoder="auto",
    normalize_observations=True,
    seed=None,
    **numbers,
):
    """A `layers.RandomNetworkDistillation` for the observations of a space.

    Args:
        space: `gymnasium.Space` of observations, or their `ObservationSpec`.
        hidden: Sequence of integers, units of the target's dense layers.
        num_features: Integer >= 1, outputs of target and predictor.
        predictor_hidden: The same of the predictor; None: one layer more.
        activation: String, Keras activation of the hidden layers.
        encoder: As of `layers.encoder_for`.
        normalize_observations: Boolean, whether the bonus sees standardised
            observations; one-hot encoded ones and those of 0 and 1 stay as they are.
        seed: Integer or None, of the weights.
        **numbers: Keywords of `layers.RandomNetworkDistillation`.

    Returns:
        `layers.RandomNetworkDistillation`.

    Example:
    >>> from gymnasium import spaces
    >>> bonus = random_network_distillation(spaces.Box(-1, 1, [3]), num_features=8)
    >>> bonus.target.output_shape
    (None, 8)
    """
    check_positive_integer("num_features", num_features)
    check_range("seed", seed, 0)
    if not isinstance(space, ObservationSpec | NestedSpec):
        space = ObservationSpec.of_space(space)
    spec = space.for_network
    normalizer = _normalizer_for(spec) if normalize_observations else None
    seen, hidden = seen_by_network(spec, normalizer), check_hidden(hidden)
    if predictor_hidden is None:
        predictor_hidden = (*hidden, hidden[-1] if hidden else num_features)
    networks = []
    for i, (name, sizes) in enumerate(
        [("predictor", predictor_hidden), ("target", hidden)]
    ):
        features = encoder_for(seen, sizes, activation, encoder, f"{name}_encoder")
        output = keras.layers.Dense(
            num_features, kernel_initializer="orthogonal", dtype="float32"
        )(features.output)
        network = keras.Model(features.input, output, name=name)
        if seed is not None:
            seed_weights(network, 2 * seed + i + 1)
        networks.append(network)
    layer = RandomNetworkDistillation(*networks, normalizer, **numbers)
    layer.build(batch_shape(spec))
    return layer


def intrinsic_reward_for(described, spec, seed):
    """What `for_env` was told of intrinsic rewards, as agents take it.

    Args:
        described: None, `"rnd"`, a dictionary of keywords of
            `random_network_distillation`, or a `RandomNetworkDistillation`.
        spec: `ObservationSpec` or `NestedSpec`.
        seed: Integer or None.
    """
    if described == "rnd":
        described = {}
    if isinstance(described, dict):
        return random_network_distillation(spec, **{"seed": seed, **described})
    _check_kind(described, "'rnd', ")
    return described


def built_for(agent, bonus):
    """What an agent's constructor was given as `intrinsic_reward`, built."""
    _check_kind(bonus, "")
    if bonus is not None and not bonus.built:
        bonus.build(batch_shape(agent.observation_spec.for_network))
    return bonus


def checked_outputs(agent, outputs):
    """Symbolic outputs of a network without the one for intrinsic rewards.

    Raises:
        ValueError: It has none, or the bonus is for other observations.
    """
    bonus = agent.intrinsic_reward
    if bonus is None:
        return outputs
    shapes = [tuple(output.shape) for output in outputs]
    if len(shapes) != 3 or shapes[2][1:] not in ((), (1,)):
        raise ValueError(
            f"Expected a network with three outputs, parameters [B, "
            f"{agent.head.num_parameters}], value and intrinsic value [B] or [B, 1], "
            f"with `intrinsic_reward`. Received: {shapes}"
        )
    _check_forgets(agent)
    for network in (bonus.predictor, bonus.target):
        if isinstance(network, keras.Model):
            outputs_of(network, agent.observation_spec)
    return outputs[:2]


def first_state(agent, num_envs, extrinsic):
    """The state of `prepare` with what the bonus remembers beside it."""
    bonus = agent.intrinsic_reward
    if bonus is None:
        return extrinsic
    return extrinsic, (tf.zeros([num_envs]), bonus.initial_state(num_envs))


def with_bonus(agent, rollout, batch, learner_state, state):
    """A batch whose advantages count the bonus, and the next state.

    `A = c_ext A_ext + c_int A_int`, section 2.3 of Burda et al. (2019),
    https://arxiv.org/abs/1810.12894. The intrinsic return goes on over the ends of
    episodes, to what is seen after them.

    Args:
        agent: `ActorCritic`.
        rollout: `Rollout` of `[T, N, ...]`.
        batch: `OnPolicyBatch` of its steps, `[T * N, ...]`.
        learner_state: The agent's own next state.
        state: `(running, memory)`: `[N]` float32, the bonus's discounted returns so
            far, and a nest.

    Returns:
        `(batch, learner_state)`, as of `prepare`.
    """
    bonus = agent.intrinsic_reward
    if bonus is None:
        return batch, learner_state
    _check_forgets(agent)
    running, memory = state
    select = agent.observation_spec.select
    seen = rollout._replace(
        observation=select(rollout.observation),
        next_observation=select(rollout.next_observation),
        last_observation=select(rollout.last_observation),
    )
    raw, data, memory = bonus.bonus(seen, memory)
    counts = rollout.valid & bonus.is_primed() & agent.guard.is_healthy()
    reward, running = bonus.scaled(raw, running, counts)
    reward = tf.where(rollout.valid, tf.stop_gradient(reward), 0.0)
    value = agent.forward(batch.observation).intrinsic_value
    value = tf.reshape(value, reward.shape)
    advantage, target = _advantages(agent, rollout, reward, value)
    flat = [
        tf.reshape(x, batch.advantage.shape) for x in (reward, value, target, advantage)
    ]
    data = tf.nest.map_structure(
        lambda x: tf.reshape(x, [*batch.advantage.shape, *x.shape[2:]]), data
    )
    batch = batch._replace(
        advantage=bonus.extrinsic_coefficient * batch.advantage
        + bonus.intrinsic_coefficient * flat[3],
        intrinsic=IntrinsicBatch(*flat[:3], data),
    )
    return batch, (learner_state, (running, memory))


def _advantages(agent, rollout, reward, value):
    """Advantages and value targets of a bonus that knows no ends, `[T, N]`.

    A row that is no transition earns nothing and discounts nothing.
    """
    last = agent.forward(rollout.last_observation, rollout.last_policy_state)
    following = tf.concat([value[1:], last.intrinsic_value[None]], axis=0)
    discount = tf.where(rollout.valid, agent.intrinsic_reward.gamma, 1.0)
    never = tf.zeros_like(rollout.valid)
    value = tf.where(rollout.valid, value, following)
    following = tf.concat([value[1:], following[-1:]], axis=0)
    if agent.n_step is not None:
        target = n_step_returns(reward, discount, never, following, agent.n_step)
        return target - value, target
    advantage = generalized_advantages(
        reward, discount, never, value, following, agent.lambda_
    )
    return advantage, advantage + value


def loss(agent, outputs, batch, seed):
    """`(loss, metrics)` of the second value and of the predictor, scalars.

    Args:
        agent: `ActorCritic`.
        outputs: `PolicyOutputs` of the batch.
        batch: `OnPolicyBatch`.
        seed: `[2]` int32.
    """
    if agent.intrinsic_reward is None:
        return 0.0, {}
    own = batch.intrinsic
    as_value = batch._replace(value=own.value, target=own.target)
    value_loss = agent.value_loss(outputs.intrinsic_value, as_value)
    value_loss = masked_mean(value_loss, batch.valid)
    distance = agent.intrinsic_reward.loss(own.data, batch.valid, seed)
    metrics = dict(zip(OF_UPDATES, (value_loss, distance), strict=True))
    return agent.value_coefficient * value_loss + distance, metrics


def report(agent, batch):
    """Dictionary of the metrics of a rollout, scalars."""
    if agent.intrinsic_reward is None:
        return {}
    own = batch.intrinsic
    explained = explained_variance(own.value, own.target, batch.valid)
    values = masked_mean(own.reward, batch.valid), explained
    return dict(zip(OF_ROLLOUTS, values, strict=True))


def is_not_primed(agent):
    """Whether only moments may learn yet: False, or a scalar bool tensor."""
    bonus = agent.intrinsic_reward
    return False if bonus is None else ~bonus.is_primed()


def update_statistics(agent, observation, valid):
    """Shows the bonus the observations `[T, N, ...]` of a rollout."""
    if agent.intrinsic_reward is not None:
        seen = agent.observation_spec.select(observation)
        agent.intrinsic_reward.update(seen, valid)


def _normalizer_for(spec):
    """What standardises observations for a bonus, pictures too; None: nothing does."""
    if isinstance(spec, NestedSpec):
        items = spec.entries
        if isinstance(items, dict):
            found = {name: _normalizer_for(part) for name, part in items.items()}
            layers = list(found.values())
        else:
            found = layers = tuple(map(_normalizer_for, items))
        return NestedNormalization(found) if any(layers) else None
    if spec.num_classes is not None or spec.dtype in ("int8", "bool"):
        return None
    return RunningNormalization(clip=CLIP, integers=spec.is_integer)


def _check_forgets(agent):
    if agent.remembers:
        raise ValueError(
            "Expected a policy without memory with `intrinsic_reward`. Received: "
            f"{type(agent).__name__}, whose policy remembers. Leave one of them out."
        )


def _check_kind(bonus, also):
    if bonus is not None and not isinstance(bonus, RandomNetworkDistillation):
        raise ValueError(
            f"Expected `intrinsic_reward` as {also}`layers.RandomNetworkDistillation` "
            f"or None. Received: {bonus!r:.100}. `agents.random_network_distillation` "
            "makes one for a space."
        )
