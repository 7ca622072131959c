"""Population-based training: members train, copy the better ones, and explore."""

import math
import warnings

import numpy as np

from kerasrl2._checks import check_positive_integer, check_range
from kerasrl2.envs.registry import is_recipe
from kerasrl2.populations.checkpoints import PopulationCheckpoints
from kerasrl2.populations.history import PopulationHistory
from kerasrl2.populations.member import AgentMember, check_same_state
from kerasrl2.populations.ranges import Explore, checked_ranges
from kerasrl2.populations.selection import TruncationSelection


class Population:
    """Population-based training (PBT) on living members.

    Algorithm 1 of Jaderberg et al. (2017), https://arxiv.org/abs/1711.09846. In each
    generation all members train for some steps. Then those that `selection` names
    *exploit*: they copy another one's state, and *explore*: they change the
    hyper-parameters copied with it. The agents stay as they are, so that nothing is
    compiled again: members of equal structure share one compiled program.

    `Population.of_agents` makes agents and draws their first hyper-parameters.

    Args:
        members: List of at least two `Member`s of equal structure, such as
            `AgentMember`.
        ranges: Dictionary of names of hyper-parameters to `(low, high)` or `Range`.
        selection: `TruncationSelection`, the default, or `EloSelection`; or a callable
            with their arguments.
        explore: `Explore`, or a callable with its arguments.
        seed: Integer, of selection and exploration; members have seeds of their own.

    Attributes:
        members: List of the members.
        history: `PopulationHistory` of all generations so far.
        generation: Integer, number of generations so far.

    Example:
    >>> import kerasrl2 as krl
    >>> population = krl.populations.Population.of_agents(
    ...     lambda seed: krl.agents.A2C.for_env("CartPole-v1", hidden=(8,), seed=seed),
    ...     "CartPole-v1",
    ...     size=3,
    ...     ranges={"learning_rate": (1e-4, 1e-1)},
    ... )
    >>> history = population.fit(generations=2, steps=400)
    >>> len(history.history["score"]), len(history.history["score"][0])
    (2, 3)
    """

    def __init__(self, members, ranges, selection=None, explore=None, seed=0):
        self.members = list(members)
        if len(self.members) < 2:
            raise ValueError(
                "Expected a population of at least two members: one alone has nobody "
                f"to copy. Received: {len(self.members)}. `agent.fit` trains one."
            )
        check_range("seed", seed, 0)
        self.ranges = checked_ranges(ranges)
        self.selection = TruncationSelection() if selection is None else selection
        self.explore = Explore() if explore is None else explore
        self._rng = np.random.default_rng(seed)
        self.history, self.generation = PopulationHistory(), 0
        _check_alike(self.members)
        self.numbers()  # raises for unknown names

    @classmethod
    def of_agents(
        cls, make_agent, env, size, ranges, selection=None, explore=None, seed=0,
        num_envs=None, episodes=None, validation_env=None, score=None,
    ):  # fmt: skip
        """A population of agents with hyper-parameters drawn from their ranges.

        Args:
            make_agent: Callable from a seed, an integer, to an `Agent`; all of one
                structure.
            env: Environment id or callable, or an `envs.Environment` in TensorFlow,
                that all members train in.
            size: Integer >= 2, number of members.
            ranges: As for `Population`; they give the first numbers, too.
            selection: As for `Population`.
            explore: As for `Population`.
            seed: Integer; member `i` is made with `seed + i`.
            num_envs: As for `AgentMember`.
            episodes: As for `AgentMember`.
            validation_env: As for `AgentMember`.
            score: As for `AgentMember`.
        """
        check_positive_integer("size", size)
        check_range("seed", seed, 0)
        ranges = checked_ranges(ranges)
        if not is_recipe(env) and not getattr(env, "in_graph", False):
            raise ValueError(
                "Expected `env` as an id or a callable: each member needs an "
                f"environment of its own. Received: {env!r:.100}"
            )
        members = [
            AgentMember(
                make_agent(seed + i), env, num_envs, episodes, validation_env, score
            )
            for i in range(size)
        ]
        made = cls(members, ranges, selection, explore, seed)
        made.draw_numbers()
        return made

    @property
    def best(self):
        """Integer, the index of the member with the highest latest score."""
        scores = self.history.history["score"]
        if not scores:
            raise RuntimeError("Expected `fit` before `best`: there are no scores yet.")
        return int(np.argmax(np.nan_to_num(scores[-1], nan=-np.inf)))

    def draw_numbers(self):
        """Gives all members hyper-parameters drawn from their ranges."""
        for member in self.members:
            drawn = {name: r.draw(self._rng) for name, r in self.ranges.items()}
            member.set_numbers(drawn)

    def numbers(self):
        """List of dictionaries, the hyper-parameters of each member."""
        names = list(self.ranges)
        return [member.get_numbers(names) for member in self.members]

    def fit(
        self, generations, steps, checkpoint_dir=None, resume=False,
        on_generation_end=None,
    ):  # fmt: skip
        """Trains for some generations; another call goes on.

        Args:
            generations: Integer >= 1. With `resume` the number in total.
            steps: Integer >= 1, env steps of each member and generation.
            checkpoint_dir: String or path, where a checkpoint of all members is kept
                after each generation.
            resume: Boolean, whether to go on from the newest checkpoint there, if there
                is one; bit for bit with environments in TensorFlow.
            on_generation_end: None, or a callable from the population and a dictionary
                of the generation's row of the history.

        Returns:
            `PopulationHistory`.

        Raises:
            NonFiniteError: All members came to NaN or infinity in one generation.
            CheckpointError: A checkpoint could not be written, or is of another run.
        """
        check_positive_integer("generations", generations)
        check_positive_integer("steps", steps)
        if resume and checkpoint_dir is None:
            raise ValueError(
                "Expected `checkpoint_dir` with `resume`. Received: resume=True alone."
            )
        end = self.generation + generations
        checkpoints = None
        if checkpoint_dir is not None:
            checkpoints = PopulationCheckpoints(checkpoint_dir)
            if checkpoints.restore_into(self, resume):
                end = generations
        for member in self.members:
            if hasattr(member, "plan"):
                member.plan(steps * (end - self.generation))
        while self.generation < end:
            row = self.advance(steps)
            if checkpoints is not None:
                checkpoints.write(self)
            if on_generation_end is not None:
                on_generation_end(self, row)
        if checkpoints is not None:
            checkpoints.wait()
        return self.history

    def advance(self, steps):
        """One generation: selection by the scores before, if any, then training.

        Selection comes first so that the members end as they were scored.

        Args:
            steps: Integer, env steps of each member.

        Returns:
            Dictionary, this generation's row of the history.
        """
        scores = self.history.history["score"]
        copied = self._evolve(scores[-1]) if scores else {}
        numbers = self.numbers()
        scores = self._train(steps)
        self.generation += 1
        row = {
            "generation": self.generation,
            "score": scores,
            "copied_from": [copied.get(i) for i in range(len(self.members))],
            **{name: [each[name] for each in numbers] for name in self.ranges},
        }
        ratings = getattr(self.selection, "ratings", None)
        if ratings:
            row["rating"] = list(ratings)
        self.history.add(row)
        return row

    def exploit(self, member, donor):
        """Member takes over the state of a donor, both given by index.

        Weights, optimizer and statistics become the same bits. Hyper-parameters,
        learning rates and seeds stay.
        """
        self.members[member].set_state(self.members[donor].get_state())

    def _evolve(self, scores):
        """Selects, copies and explores; returns who copied whom."""
        copied = self.selection(scores, self.members, self._rng)
        # First read, then write: a donor may itself copy another one.
        states = {j: self.members[j].get_state() for j in sorted({*copied.values()})}
        numbers = self.numbers()
        for i, j in sorted(copied.items()):
            self.members[i].set_state(states[j])
            changed = self.explore(numbers[i], numbers[j], self.ranges, self._rng)
            self.members[i].set_numbers(changed)
        return copied

    def _train(self, steps):
        """List of the scores of all members after training.

        A member elsewhere has `begin(steps)`, which returns a callable that waits for
        the score: all begin before the first is waited for.
        """
        waits = [
            member.begin(steps) if hasattr(member, "begin") else None
            for member in self.members
        ]
        scores = [
            float(member.train(steps) if wait is None else wait())
            for member, wait in zip(self.members, waits, strict=True)
        ]
        failures = [getattr(member, "failure", None) for member in self.members]
        if all(failure is not None for failure in failures):
            raise failures[0]
        for i, failure in enumerate(failures):
            if failure is not None:
                warnings.warn(
                    f"Member {i} of the population came to NaN or infinity with "
                    f"{self.members[i].get_numbers(list(self.ranges))}; its score is "
                    f"-inf. {failure!s:.200}",
                    stacklevel=4,
                )
        return [score if not math.isnan(score) else -math.inf for score in scores]

    # Checkpoints

    def state(self):
        """JSON-serializable dictionary of all that is not a member's."""
        selection = getattr(self.selection, "get_state", dict)()
        return {
            "generation": self.generation,
            "rng": self._rng.bit_generator.state,
            "history": self.history.history,
            "selection": selection,
        }

    def set_state(self, state):
        """Restores a result of `state`."""
        self.generation = state["generation"]
        self._rng.bit_generator.state = state["rng"]
        self.history.history = state["history"]
        if hasattr(self.selection, "set_state"):
            self.selection.set_state(state["selection"])


def _check_alike(members):
    first, state = members[0].structure, members[0].get_state()
    for i, member in enumerate(members[1:], 1):
        other = member.get_state()
        check_same_state(other, state, f"population's member 0 (this is member {i})")
        if member.structure != first:
            pairs = zip(first, member.structure, strict=False)
            shown = next((pair for pair in pairs if pair[0] != pair[1]), "more parts")
            raise ValueError(
                "Expected members of equal structure, which differ in numbers and "
                f"seeds alone. Received: member {i} differs from member 0: "
                f"{shown!s:.300}"
            )
