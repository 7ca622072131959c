"""What other libraries published for the same algorithm and environment.

The best of the figures found, whatever their number of steps, which is beside it: each
is from the library's own page of benchmarks. `rl-zoo` are single runs, evaluated over
many episodes; `SLM-Lab` moving averages of training returns over four sessions;
`sb3-contrib` means of three to five seeds. LunarLander-v2 differs a little from v3.
"""

PUBLISHED = {  # (algorithm, environment): (return, env steps, where)
    ("a2c", "CartPole-v1"): ("500", 500_000, "rl-zoo"),
    ("a2c", "Acrobot-v1"): ("-83.4", 500_000, "rl-zoo"),
    ("a2c", "Pendulum-v1"): ("-163", 1_000_000, "rl-zoo"),
    ("crossq", "Pendulum-v1"): ("-146", 300_000, "SLM-Lab"),
    ("ddpg", "Pendulum-v1"): ("-152", 20_000, "rl-zoo"),
    ("discrete_sac", "CartPole-v1"): ("406", 200_000, "SLM-Lab"),
    ("dqn", "CartPole-v1"): ("500", 50_000, "rl-zoo"),
    ("dqn", "Acrobot-v1"): ("-74", 100_000, "sb3-contrib"),
    ("dqn", "LunarLander-v3"): ("195", 100_000, "sb3-contrib, v2"),
    ("dqn", "MountainCar-v0"): ("-100.8", 120_000, "rl-zoo"),
    ("ppo", "CartPole-v1"): ("500", 100_000, "rl-zoo"),
    ("ppo", "Acrobot-v1"): ("-73.5", 1_000_000, "rl-zoo"),
    ("ppo", "CartPoleNoVel-v1"): ("500", 100_000, "rl-zoo"),
    ("ppo", "LunarLander-v3"): ("242", 1_000_000, "rl-zoo, v2"),
    ("ppo", "MountainCarContinuous-v0"): ("88.3", 20_000, "rl-zoo"),
    ("ppo", "Pendulum-v1"): ("-172", 100_000, "rl-zoo"),
    ("reinforce", "CartPole-v1"): ("483", 200_000, "SLM-Lab"),
    ("sac", "LunarLanderContinuous-v3"): ("260", 500_000, "rl-zoo, v2"),
    ("sac", "Pendulum-v1"): ("-151", 300_000, "SLM-Lab"),
    ("td3", "Pendulum-v1"): ("-152", 20_000, "rl-zoo"),
    ("tqc", "Pendulum-v1"): ("-151", 20_000, "rl-zoo"),
    ("trpo", "CartPole-v1"): ("500", 100_000, "rl-zoo"),
    ("trpo", "Pendulum-v1"): ("-175", 100_000, "rl-zoo"),
}
