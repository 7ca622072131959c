"""An agent that acts at random, the floor that every learned policy must leave."""

import keras
import tensorflow as tf

from kerasrl2._checks import (
    check_keywords,
    check_positive_integer,
    check_range,
    plain_numbers,
)
from kerasrl2.agents.agent import Agent
from kerasrl2.agents.keywords import keywords_of
from kerasrl2.agents.owned import looked_at
from kerasrl2.agents.registry import register
from kerasrl2.agents.specs import ObservationSpec
from kerasrl2.distributions import head_for
from kerasrl2.distributions.sampling import shape_of
from kerasrl2.layers.encoders import observation_input
from kerasrl2.training.on_policy import OnPolicyLoop


@keras.saving.register_keras_serializable(package="kerasrl2")
class EqualParameters(keras.layers.Layer):
    """Zeros: as logits they make all actions equally probable.

    Args:
        num_parameters: Integer >= 1, `P`.
        **kwargs: Base layer arguments.

    Input shape: `[B, ...]`, observations, or a nest of them.

    Output shape: `[B, P]`, zeros.
    """

    def __init__(self, num_parameters, **kwargs):
        super().__init__(**kwargs)
        check_positive_integer("num_parameters", num_parameters)
        self.num_parameters = num_parameters

    def call(self, observation):
        rows = shape_of(tf.nest.flatten(observation)[0])[0]
        return tf.zeros([rows, self.num_parameters])

    def compute_output_spec(self, observation):
        rows = tf.nest.flatten(observation)[0].shape[0]
        return keras.KerasTensor((rows, self.num_parameters), "float32")

    def get_config(self):
        return {**super().get_config(), "num_parameters": self.num_parameters}


@register(
    "random",
    title="Random actions",
    quick={"num_envs": 2, "rollout_length": 8},
)
@keras.saving.register_keras_serializable(package="kerasrl2")
class RandomAgent(Agent):
    """Acts at random and learns nothing: what other agents are compared with.

    Each legal action is equally probable. In a `Box` each dimension with two bounds is
    uniform between them; with one bound the distance to it is exponential of scale 1,
    without any it is standard normal, as `gymnasium.spaces.Box.sample` draws.

    Its random numbers are its own: two agents of one seed act alike, whatever else
    draws meanwhile. There is no greedy policy, so `act`, `evaluate` and validation draw
    actions, too, whatever their `training` or `greedy`; `policy` and `export` are
    errors. `RandomAgent.for_env` builds it.

    Args:
        network: Keras model from observations to `[B, P]` zeros.
        head: Policy head of `kerasrl2.distributions`.
        observation_spec: `ObservationSpec`, or None to infer it from the network.
        rollout_length: Integer, steps `T` of each environment per iteration of `fit`.
        num_envs: Integer, copies of an environment given to `fit` as id or callable.
        seed: Integer, of all random numbers; None draws one.
        xla: `"auto"`, True or False, whether XLA compiles the loop.
        **kwargs: `name`, `dtype`, `trainable` of `keras.Model`.

    Example:
    >>> agent = RandomAgent.for_env("CartPole-v1", seed=0)
    >>> 15 < agent.evaluate("CartPole-v1", episodes=50)["return"] < 30
    True
    """

    loop_class = OnPolicyLoop
    metric_names = ()
    acts_at_random = True

    def __init__(
        self, network, head, observation_spec=None, rollout_length=32, num_envs=8,
        seed=None, xla="auto", **kwargs,
    ):  # fmt: skip
        super().__init__(
            network,
            head,
            observation_spec,
            optimizer=None,
            seed=seed,
            xla=xla,
            **kwargs,
        )
        check_positive_integer("rollout_length", rollout_length)
        check_positive_integer("num_envs", num_envs)
        self.rollout_length, self.num_envs = rollout_length, num_envs

    @classmethod
    @plain_numbers
    def for_env(cls, env, seed=None, **hyperparameters):
        """Makes an agent that acts in an environment.

        Args:
            env: Environment id, callable, `gymnasium.Env` or `envs.Environment`.
            seed: Integer or None, of actions and environments.
            **hyperparameters: Keywords of the constructor.

        Returns:
            An agent.
        """
        known = set(keywords_of(cls)) - {"env", "network", "head", "observation_spec"}
        check_keywords(f"{cls.__name__}.for_env", hyperparameters, known)
        check_range("seed", seed, 0)
        with looked_at(env) as example:
            spec = ObservationSpec.of_space(example.observation_space)
            head = head_for(example.action_space)
        inputs = observation_input(spec.for_network)
        outputs = EqualParameters(head.num_parameters, name="equal")(inputs)
        network = keras.Model(inputs, outputs, name="random")
        return cls(network, head, spec, seed=seed, **hyperparameters)

    @classmethod
    def hyperparameters(cls):
        fixed = "optimizer", "max_gradient_norm", "observation_normalizer"
        return [name for name in super().hyperparameters() if name not in fixed]

    # Acting

    def choose(self, outputs, seed, env_steps):
        del env_steps
        parameters = outputs.parameters
        if self.head.action_dtype == "int32":
            return self.head.sample(parameters, seed)  # of equal logits, masked
        return self.head.random(shape_of(parameters)[0], seed)

    def greedy(self, outputs):
        raise self._no_greedy_policy()

    def policy_outputs(self, observation, policy_state=()):
        raise self._no_greedy_policy()

    def _no_greedy_policy(self):
        return ValueError(
            "Expected an agent with a greedy policy, to make a model of it. Received: "
            "a RandomAgent, which has none. `act` gives its actions."
        )

    # Learning nothing

    def optimizers(self):
        return {}

    def prepare(self, rollout, learner_state):
        """Nothing to learn from: `((), learner_state)`."""
        del rollout
        return (), learner_state

    def learn_from(self, batch, seed):
        """No metrics, no updates: `({}, 0)`."""
        del batch, seed
        return {}, tf.constant(0.0)
