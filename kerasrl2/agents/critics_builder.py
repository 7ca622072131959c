"""Builds agents with critics of states and actions for an environment."""

from typing import Literal

from kerasrl2._checks import check_keywords, check_range, plain_numbers
from kerasrl2.agents.keywords import keywords_of
from kerasrl2.agents.owned import looked_at
from kerasrl2.agents.registry import learners
from kerasrl2.agents.replay_builder import Prioritized, made_buffer
from kerasrl2.agents.specs import ObservationSpec, normalizer_for, seen_by_network
from kerasrl2.distributions.bounds import is_continuous, is_discrete
from kerasrl2.layers import actor, critic, seed_weights


class CriticsBuilder:
    """Mixin with `for_env` of agents with `ReplayCritics`.

    Attributes:
        actions: String, `"continuous"` or `"discrete"`, what the agent can do.
        gaussian_std: As of `layers.actor`.
    """

    actions = "continuous"
    gaussian_std = None

    @classmethod
    @plain_numbers
    def for_env(
        cls,
        env,
        network=None,
        critic=None,
        hidden=(256, 256),
        critic_hidden=None,
        activation="relu",
        encoder="auto",
        num_critics=2,
        num_quantiles=None,
        dropout=0.0,
        layer_normalization=False,
        batch_renormalization=False,
        buffer=None,
        buffer_size=1_000_000,
        prioritized: Prioritized = False,
        alpha=0.6,
        beta=0.4,
        n_step=1,
        hindsight: Literal["future", "final", "episode"] | None = None,
        gamma=None,
        normalize_observations=False,
        seed=None,
        **hyperparameters,
    ):
        """Makes an agent whose networks, head and buffer fit an environment.

        Args:
            env: Environment id, callable, `gymnasium.Env` or `envs.Environment`.
            network: Keras model, the actor, or None to build `layers.actor`.
            critic: Keras model, all critics, or None to build `layers.critic`.
            hidden: Sequence of integers, units of the dense layers.
            critic_hidden: Sequence of integers, those of critics; None: as `hidden`.
            activation: String, their Keras activation.
            encoder: `"auto"` (by the space, see `layers.encoder_for`), `"mlp"`,
                `"nature_cnn"`, `"small_cnn"` or `"grid_cnn"`.
            num_critics: Integer, critics `K`.
            num_quantiles: Integer or None, quantiles per critic, if it has any.
            dropout: Float in [0, 1), in critics.
            layer_normalization: Boolean, in critics.
            batch_renormalization: Boolean, in actor and critics.
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
            normalize_observations: Boolean, by running mean and variance; `Discrete`
                ones and pictures of 8 bits stay as they are.
            seed: Integer or None, of weights, actions, sampling and environments.
            **hyperparameters: Keywords of the constructor.

        Returns:
            An agent.

        Raises:
            ValueError: The environment has no continuous actions, or not all of them
                are bounded.
        """
        internal = {"env", "head", "observation_spec"}
        known = set(keywords_of(cls)) - internal
        check_keywords(f"{cls.__name__}.for_env", hyperparameters, known)
        check_range("seed", seed, 0)
        with looked_at(env) as example:
            spec = ObservationSpec.of_space(example.observation_space)
            _check_actions(cls, example)
            head = cls.head_of(example.action_space)
        if normalize_observations:
            hyperparameters["observation_normalizer"] = normalizer_for(spec.for_network)
        normalizer = hyperparameters.get("observation_normalizer")
        layers = {"activation": activation, "encoder": encoder}
        layers["batch_renormalization"] = batch_renormalization
        seen = seen_by_network(spec.for_network, normalizer)
        made = []
        if network is None:
            std = {"gaussian_std": cls.gaussian_std}
            network = actor(seen, head.num_parameters, hidden, **std, **layers)
            made.append(network)
        if critic is None:
            discrete = cls.actions == "discrete"
            critic = _critic(
                seen,
                None if discrete else head.action_shape[0],
                hidden if critic_hidden is None else critic_hidden,
                num_actions=head.num_actions if discrete else None,
                num_critics=num_critics,
                num_quantiles=num_quantiles,
                dropout=dropout,
                layer_normalization=layer_normalization,
                **layers,
            )
            made.append(critic)
        if seed is not None:
            for i, one in enumerate(made):
                seed_weights(one, seed + i)
        buffer = made_buffer(
            buffer, example, buffer_size, prioritized, alpha, beta, n_step, gamma, seed,
            hindsight,
        )  # fmt: skip
        return cls(
            network, critic, head, spec, buffer=buffer, gamma=gamma, seed=seed,
            **hyperparameters,
        )  # fmt: skip


def _check_actions(cls, env):
    """Raises unless an agent's class can learn the actions of an environment."""
    space, other = env.action_space, "discrete"
    if cls.actions == "continuous":
        known, wanted = is_continuous(space), "continuous actions, a Box"
    else:
        known, wanted, other = is_discrete(space), "Discrete actions", "continuous"
    if not known:
        raise ValueError(
            f"Expected an environment with {wanted}: {cls.__name__} learns no others. "
            f"Received: {env.id!r} with {space}. Algorithms that learn {other} ones: "
            f"{', '.join(learners(other))}"
        )


_critic = critic  # `for_env` has a parameter of this name
