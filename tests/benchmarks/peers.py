"""The same workloads with other libraries, one JSON line a run.

    DIR/torch/bin/python peers.py {sb3,sbx} {ppo-zoo,ppo-wide,dqn-each-step,...}
    DIR/torch/bin/python peers.py sb3 ppo-recurrent
    DIR/torch/bin/python peers.py sb3 time-to-solve --seed 0
    DIR/torch/bin/python peers.py sb3 trpo-score --env CartPole-v1 --seed 0

The environment: `pip install torch==2.13.0`, then `pip install
stable-baselines3==2.9.2 sbx-rl==0.28.0 'gymnasium[classic-control]==1.4.0'`, for the
Atari workloads `ale-py==0.12.0 opencv-python-headless`; for `ppo-recurrent`, `trpo`,
`tqc` and `crossq`, which are of SB3's own collection, `sb3-contrib==2.9.0`.
"""

import argparse
import json
import os
import time
import warnings

STARTED = time.perf_counter()
warnings.filterwarnings("ignore")
ZOO = {
    "n_steps": 32, "batch_size": 256, "n_epochs": 20, "gae_lambda": 0.8, "gamma": 0.98,
    "ent_coef": 0.0, "learning_rate": 1e-3, "clip_range": 0.2,
}  # fmt: skip
PPO = {
    "ppo-zoo": (8, ZOO, 50_000),
    "ppo-wide": (256, {"n_steps": 32, "batch_size": 2048, "n_epochs": 4}, 100_000),
    "ppo-envpool": (256, {"n_steps": 32, "batch_size": 2048, "n_epochs": 4}, 100_000),
    "ppo-atari": (8, {"n_steps": 128, "batch_size": 256, "n_epochs": 4}, 4_096),
    "ppo-recurrent": (
        8,
        {
            "n_steps": 128,
            "batch_size": 256,
            "n_epochs": 10,
            "gae_lambda": 0.95,
            "gamma": 0.99,
            "ent_coef": 0.0,
            "learning_rate": 1e-3,
            "clip_range": 0.2,
            "policy_kwargs": {"lstm_hidden_size": 64, "net_arch": []},
        },
        10_240,
    ),
}
TRPO = {
    "trpo": (
        8, {"n_steps": 128, "batch_size": 128, "n_critic_updates": 10}, 20_480,
    ),
}  # fmt: skip
TRPO_SCORES = {  # with the settings of kerasrl2's zoo
    "CartPole-v1": (8, {**TRPO["trpo"][1], "gamma": 0.99}, 100_000),
    "Pendulum-v1": (
        16,
        {"n_steps": 256, "batch_size": 256, "n_critic_updates": 10, "gamma": 0.9},
        300_000,
    ),
}
DQN = {
    "dqn-each-step": (
        1,
        {
            "learning_rate": 1e-3, "batch_size": 64, "buffer_size": 100_000,
            "learning_starts": 1000, "target_update_interval": 500, "train_freq": 1,
            "gradient_steps": 1, "policy_kwargs": {"net_arch": [64, 64]},
        },
        10_000,
    ),
    "dqn-zoo": (
        1,
        {
            "learning_rate": 2.3e-3, "batch_size": 64, "buffer_size": 100_000,
            "learning_starts": 1000, "target_update_interval": 10, "train_freq": 256,
            "gradient_steps": 128, "policy_kwargs": {"net_arch": [256, 256]},
        },
        50_000,
    ),
    "dqn-atari": (
        1,
        {
            "learning_rate": 1e-4, "batch_size": 32, "buffer_size": 20_000,
            "learning_starts": 500, "target_update_interval": 1000, "train_freq": 4,
            "gradient_steps": 1,
        },
        4_000,
    ),
}  # fmt: skip
A2C = {"a2c": (8, {"n_steps": 5}, 20_000)}
CONTROL = dict.fromkeys(
    ["sac", "td3", "crossq", "tqc"],
    (
        1,
        {
            "learning_rate": 3e-4, "batch_size": 256, "buffer_size": 100_000,
            "learning_starts": 100, "train_freq": 1, "gradient_steps": 1,
            "policy_kwargs": {"net_arch": [256, 256]},
        },
        3_000,
    ),
)  # fmt: skip
ALL = {**PPO, **TRPO, **A2C, **DQN, **CONTROL}

WORKLOADS = [*ALL, "time-to-solve", "trpo-score"]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("library", choices=["sb3", "sbx"])
    parser.add_argument("workload", choices=WORKLOADS)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--env", choices=[*TRPO_SCORES], default="CartPole-v1")
    arguments = parser.parse_args()
    import torch

    torch.set_num_threads(os.cpu_count())
    if arguments.workload == "time-to-solve":
        time_to_solve(arguments.library, arguments.seed)
        return
    if arguments.workload == "trpo-score":
        trpo_score(arguments.env, arguments.seed)
        return
    name = arguments.workload
    num_envs, hyperparameters, steps = ALL[name]
    model = make(arguments.library, name, num_envs, hyperparameters)
    if arguments.library == "sbx":  # compiles outside the clock
        model.learn(600 if "atari" in name else 2_000)
    started = time.perf_counter()
    model.learn(steps, reset_num_timesteps=True)
    speed = steps / (time.perf_counter() - started)
    report(arguments.library, arguments.workload, "env_steps/s", speed)


def make(library, name, num_envs, hyperparameters, **more):
    from stable_baselines3.common.env_util import make_atari_env, make_vec_env
    from stable_baselines3.common.vec_env import VecFrameStack

    if library == "sb3":
        import stable_baselines3 as lib

        more["device"] = "cpu"
    else:
        import sbx as lib
    policy = "MlpPolicy"
    if "atari" in name:
        import ale_py
        import gymnasium

        gymnasium.register_envs(ale_py)
        games = make_atari_env("SpaceInvadersNoFrameskip-v4", num_envs)
        envs, policy = VecFrameStack(games, 4), "CnnPolicy"
    elif name == "ppo-envpool":
        envs = pool(num_envs)
    else:
        world = "Pendulum-v1" if name in CONTROL else "CartPole-v1"
        envs = make_vec_env(world, num_envs, seed=more.get("seed"))
    if name == "trpo" or (name in ("crossq", "tqc") and library == "sb3"):
        import sb3_contrib as lib
    of_name = {"sac": "SAC", "td3": "TD3", "crossq": "CrossQ", "tqc": "TQC"}
    of_name |= {"a2c": "A2C", "trpo": "TRPO"}
    default = "DQN" if name in DQN else "PPO"
    algorithm = getattr(lib, of_name.get(name, default))
    if name == "ppo-recurrent":
        from sb3_contrib import RecurrentPPO as algorithm

        policy = "MlpLstmPolicy"
    return algorithm(policy, envs, **hyperparameters, **more)


def pool(num_envs):
    """EnvPool's CartPoles as a `VecEnv`, which starts episodes in the same step."""
    import envpool
    import numpy as np
    from stable_baselines3.common.vec_env import VecEnv, VecMonitor

    class Pool(VecEnv):
        def __init__(self):
            self.pool = envpool.make(
                "CartPole-v1", env_type="gymnasium", num_envs=num_envs
            )
            spaces = self.pool.observation_space, self.pool.action_space
            super().__init__(num_envs, *spaces)

        def reset(self):
            return self.pool.reset()[0]

        def step_async(self, actions):
            self.actions = actions.astype(np.int32)

        def step_wait(self):
            observation, reward, terminated, truncated, _ = self.pool.step(self.actions)
            done = terminated | truncated
            infos = [{} for _ in range(num_envs)]
            if done.any():
                ended = np.flatnonzero(done)
                for index in ended:
                    infos[index]["terminal_observation"] = observation[index]
                    infos[index]["TimeLimit.truncated"] = bool(
                        truncated[index] and not terminated[index]
                    )
                observation = observation.copy()
                observation[ended] = self.pool.reset(ended.astype(np.int32))[0]
            return observation, reward, done, infos

        def get_attr(self, attr_name, indices=None):
            return [None] * num_envs

        def set_attr(self, attr_name, value, indices=None):
            raise NotImplementedError

        def env_method(self, method_name, *arguments, indices=None, **keywords):
            raise NotImplementedError

        def env_is_wrapped(self, wrapper_class, indices=None):
            return [False] * num_envs

        def close(self):
            self.pool.close()

    return VecMonitor(Pool())


def time_to_solve(library, seed):
    """From the process' start to a 20-episode evaluation of at least 475."""
    from stable_baselines3.common.callbacks import (
        EvalCallback,
        StopTrainingOnRewardThreshold,
    )
    from stable_baselines3.common.env_util import make_vec_env

    def linear(start):
        return lambda left: left * start

    hyperparameters = {**ZOO, "learning_rate": linear(1e-3), "clip_range": linear(0.2)}
    model = make(library, "ppo-zoo", 8, hyperparameters, seed=seed)
    stop = StopTrainingOnRewardThreshold(475, verbose=0)
    test = make_vec_env("CartPole-v1", 8, seed=seed + 1000)
    evaluate = EvalCallback(
        test, stop, n_eval_episodes=20, eval_freq=10_000 // 8, verbose=0
    )
    model.learn(100_000, evaluate)
    seconds = time.perf_counter() - STARTED
    solved = evaluate.best_mean_reward >= 475
    report(library, "time-to-solve", "s", seconds if solved else float("nan"))


def trpo_score(env_id, seed):
    """Greedy return over 100 episodes after the budget of kerasrl2's zoo."""
    from importlib.metadata import version

    from sb3_contrib import TRPO
    from stable_baselines3.common.env_util import make_vec_env
    from stable_baselines3.common.evaluation import evaluate_policy

    num_envs, hyperparameters, steps = TRPO_SCORES[env_id]
    envs = make_vec_env(env_id, num_envs, seed=seed)
    model = TRPO("MlpPolicy", envs, seed=seed, device="cpu", **hyperparameters)
    model.learn(steps)
    test = make_vec_env(env_id, 8, seed=10_000 + seed)
    value, _ = evaluate_policy(model, test, 100, deterministic=True, warn=False)
    line = {"library": "sb3-contrib", "algorithm": "trpo", "env": env_id, "seed": seed}
    line |= {"steps": model.num_timesteps, "return": round(float(value), 1)}
    names = ("sb3_contrib", "stable_baselines3", "torch", "gymnasium")
    line["versions"] = {name: version(name) for name in names}
    print(json.dumps(line), flush=True)


def report(library, workload, unit, value):
    line = {"library": library, "workload": workload, "unit": unit}
    print(json.dumps({**line, "value": round(value, 2)}), flush=True)


if __name__ == "__main__":
    main()
