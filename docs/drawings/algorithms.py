"""The table of the first page: what each algorithm can do, asked of its agents."""

import gymnasium
import numpy as np
from gymnasium import spaces

import kerasrl2 as krl
from kerasrl2._algorithms import built_in
from kerasrl2.agents.keywords import keywords_of
from kerasrl2.distributed.learners import learner_of
from kerasrl2.distributed.workers import Workers

ACTIONS = {
    "`Discrete`": spaces.Discrete(3),
    "`MultiDiscrete`": spaces.MultiDiscrete([2, 3]),
    "`Box`": spaces.Box(-1.0, 1.0, [2], np.float32),
}
WITH_WORKERS = {
    "ReplayLearner": "replay buffer",
    "RolloutLearner": "rollouts",
    "StaleRolloutLearner": "rollouts, at once",
    "GradientServer": "gradients",
}
ORDER = (
    "ppo", "a2c", "trpo", "reinforce", "q_actor_critic", "rnd", "dqn", "rainbow",
    "sac", "tqc", "redq", "crossq", "td3", "ddpg", "discrete_sac", "a3c", "impala",
    "dppo", "apex", "apex_dpg", "random",
)  # fmt: skip


class _Still(gymnasium.Env):
    """An environment in which nothing happens, with any actions."""

    observation_space = spaces.Box(-1.0, 1.0, [2], np.float32)

    def __init__(self, action_space):
        self.action_space = action_space

    def reset(self, seed=None, options=None):
        super().reset(seed=seed)
        return np.zeros(2, np.float32), {}


def table():
    """The table as Markdown; links are those of `docs/index.md`."""
    names = [*ORDER, *sorted(set(built_in()) - set(ORDER))]
    rows = [
        ["algorithm", *ACTIONS, "recurrent", "with workers"],
        ["---", *[":-:"] * len(ACTIONS), ":-:", "---"],
        *map(_row, names),
    ]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _row(name):
    found = krl.agents.registration(name)
    agents = [_agent(found, space) for space in ACTIONS.values()]
    learner = learner_of(next(filter(None, agents)), Workers(1)).__name__
    title = found.agent_class.__name__
    return [
        f"[{title}](algorithms/{name}.md)",
        *("" if agent is None else "yes" for agent in agents),
        "yes" if "recurrent" in keywords_of(found.agent_class) else "",
        WITH_WORKERS[learner],
    ]


def _agent(found, space):
    """A small agent for these actions, or None if the algorithm does not learn them."""
    try:
        return found.agent_class.for_env(lambda: _Still(space), **found.quick)
    except ValueError:
        return None


if __name__ == "__main__":
    print(table())
