"""Builds Q-learning agents for an environment from keywords."""

import functools
from typing import Literal

import keras

from kerasrl2._checks import check_choice, check_keywords, check_range, plain_numbers
from kerasrl2.action_values import (
    CategoricalValues,
    ImplicitQuantileValues,
    QuantileValues,
    ScalarValues,
)
from kerasrl2.agents.keywords import keywords_of
from kerasrl2.agents.owned import looked_at
from kerasrl2.agents.registry import learners
from kerasrl2.agents.replay_builder import Prioritized, made_buffer
from kerasrl2.agents.specs import (
    ObservationSpec,
    normalizer_for,
    seen_by_network,
)
from kerasrl2.distributions import head_for
from kerasrl2.exploration import Boltzmann, EpsilonGreedy, Greedy
from kerasrl2.layers import q_network, recurrent_q_network, seed_weights
from kerasrl2.layers.cells import cell_of

DISTRIBUTIONS = ("scalar", "categorical", "quantile", "implicit_quantile")
EXPLORATIONS = ("auto", "epsilon_greedy", "boltzmann", "greedy")


class QLearningBuilder:
    """Mixin with `for_env` of agents that learn action values."""

    @classmethod
    @plain_numbers
    def for_env(
        cls,
        env,
        network=None,
        hidden=(64, 64),
        activation="relu",
        encoder="auto",
        recurrent: Literal["lstm", "gru"] | None = None,
        recurrent_units=64,
        dueling=False,
        noisy=False,
        distribution="scalar",
        num_atoms=None,
        value_range=(-10.0, 10.0),
        loss="huber",
        buffer=None,
        buffer_size=100_000,
        prioritized: Prioritized = False,
        alpha=0.6,
        beta=0.4,
        n_step=1,
        hindsight: Literal["future", "final", "episode"] | None = None,
        gamma=None,
        exploration="auto",
        initial_epsilon=1.0,
        final_epsilon=0.05,
        epsilon_steps=10_000,
        boltzmann_temperature=1.0,
        normalize_observations=False,
        seed=None,
        **hyperparameters,
    ):
        """Makes an agent whose network, head and buffer fit an environment.

        Args:
            env: Environment id, callable, `gymnasium.Env` or `envs.Environment`.
            network: Keras model, or None to build `layers.q_network` from the next
                arguments.
            hidden: Sequence of integers, units of the dense layers.
            activation: String, their Keras activation.
            encoder: `"auto"` (by the space, see `layers.encoder_for`), `"mlp"`,
                `"nature_cnn"`, `"small_cnn"` or `"grid_cnn"`.
            recurrent: `"lstm"`, `"gru"`, a recurrent cell of Keras or a list of them,
                one above the other, in front of the last hidden layer: the policy
                remembers, and learns from sequences. See `layers.recurrent_q_network`.
            recurrent_units: Integer >= 1, units of a cell with a name.
            dueling: Boolean, separate value and advantage streams.
            noisy: Boolean, `NoisyDense` in the last two layers; without another
                `exploration` the agent then acts greedily.
            distribution: `"scalar"` (expected values only), `"categorical"` (C51),
                `"quantile"` (QR-DQN) or `"implicit_quantile"` (IQN).
            num_atoms: Integer, atoms or quantiles; None: 51, 200 or 32.
            value_range: Two floats, first and last atom of `"categorical"`.
            loss: `"huber"` or `"squared"`, for `"scalar"`.
            buffer: Replay buffer, or None to build one from the next arguments.
            buffer_size: Integer, capacity in transitions.
            prioritized: Boolean, prioritized replay; or `"rank"`, by the rank of the TD
                errors, and `"proportional"`, by their size, which True stands for.
            alpha: Float, exponent of the priorities.
            beta: Float, initial exponent of the importance weights, which rises to 1.
            n_step: Integer, rewards summed in a target.
            hindsight: `"future"`, `"final"` or `"episode"`: which goals that were
                reached take the place of those asked for, in goal-conditioned
                environments; None: none. See `buffers.HindsightReplayBuffer`.
            gamma: Float in [0, 1] or None, discount per env step; None takes that of
                `buffer`, and 0.99 without one.
            exploration: Object of `kerasrl2.exploration`, or `"epsilon_greedy"`,
                `"boltzmann"`, `"greedy"`; `"auto"`: greedy if `noisy`, else
                epsilon-greedy.
            initial_epsilon: Float, epsilon at the start.
            final_epsilon: Float, epsilon from `epsilon_steps` on.
            epsilon_steps: Integer, env steps over which it falls linearly.
            boltzmann_temperature: Float, in units of return.
            normalize_observations: Boolean, by running mean and variance; `Discrete`
                ones and pictures of 8 bits stay as they are.
            seed: Integer or None, of weights, actions, sampling and environments.
            **hyperparameters: Keywords of the constructor.

        Returns:
            An agent.
        """
        internal = {"env", "head", "observation_spec", "q_network", "action_values"}
        known = set(keywords_of(cls)) - internal
        check_keywords(f"{cls.__name__}.for_env", hyperparameters, known)
        check_range("seed", seed, 0)
        check_choice("distribution", distribution, DISTRIBUTIONS)
        with looked_at(env) as example:
            spec = ObservationSpec.of_space(example.observation_space)
            head = head_for(example.action_space)
            if head.kind != "categorical":
                raise ValueError(
                    f"Expected an environment with Discrete actions: {cls.__name__} "
                    f"values each of them. Received: {example.id!r} with "
                    f"{example.action_space}. Algorithms that learn such actions: "
                    f"{', '.join(learners('continuous'))}"
                )
        values = _action_values(distribution, num_atoms, value_range, loss)
        if normalize_observations:
            hyperparameters["observation_normalizer"] = normalizer_for(spec.for_network)
        normalizer = hyperparameters.get("observation_normalizer")
        if network is None:
            build = functools.partial(q_network, fractions=values.takes_fractions)
            if recurrent is not None:
                _check_recurrent(values)
                cell = cell_of(recurrent, recurrent_units)
                build = functools.partial(recurrent_q_network, cell=cell)
            network = build(
                seen_by_network(spec.for_network, normalizer),
                head.num_actions,
                hidden=hidden,
                activation=activation,
                encoder=encoder,
                dueling=dueling,
                noisy=noisy,
                num_atoms=None if values.takes_fractions else values.num_atoms,
            )
            if seed is not None:
                seed_weights(network, seed)
        elif recurrent is not None:
            raise ValueError(
                "Expected `recurrent` or `network`, not both: a network that remembers "
                f"has its cell inside. Received: recurrent={recurrent!r}, and "
                f"{network.name!r}"
            )
        buffer = made_buffer(
            buffer, example, buffer_size, prioritized, alpha, beta, n_step, gamma, seed,
            hindsight,
        )  # fmt: skip
        if isinstance(exploration, str):
            check_choice("exploration", exploration, EXPLORATIONS)
            if exploration == "auto":
                exploration = "greedy" if noisy else "epsilon_greedy"
            epsilon = initial_epsilon, final_epsilon, epsilon_steps
            exploration = _exploration(exploration, *epsilon, boltzmann_temperature)
        elif not callable(exploration):
            raise ValueError(
                f"Expected `exploration` as one of: {', '.join(EXPLORATIONS)}, or an "
                f"object of `kerasrl2.exploration`. Received: {exploration!r}"
            )
        return cls(
            network,
            head,
            spec,
            action_values=values,
            buffer=buffer,
            gamma=gamma,
            exploration=exploration,
            seed=seed,
            **hyperparameters,
        )


def _action_values(distribution, num_atoms, value_range, loss):
    if distribution == "scalar":
        return ScalarValues(loss)
    size = {} if num_atoms is None else {"num_quantiles": num_atoms}
    if distribution == "quantile":
        return QuantileValues(**size)
    if distribution == "implicit_quantile":
        return ImplicitQuantileValues(**size)
    return CategoricalValues(51 if num_atoms is None else num_atoms, *value_range)


def _check_recurrent(values):
    if values.takes_fractions:
        raise ValueError(
            "Expected `recurrent` with the distribution 'scalar', 'categorical' or "
            "'quantile'. Received: 'implicit_quantile', whose network also takes "
            "fractions."
        )


def _exploration(name, initial, final, steps, temperature):
    if name == "greedy":
        return Greedy()
    if name == "boltzmann":
        return Boltzmann(temperature)
    for keyword, value in [("initial_epsilon", initial), ("final_epsilon", final)]:
        check_range(keyword, value, 0.0, 1.0)
    schedule = keras.optimizers.schedules.PolynomialDecay(initial, steps, final)
    return EpsilonGreedy(schedule)
