"""A cluster of two nodes, here on one machine, and an agent whose workers are on both.

    python examples/two_node_cluster.py [--steps N]

On machines of your own, `ray start --head` on the first, `ray start
--address=FIRST:6379` on the others make the cluster, and `Workers(8, address="auto")`
on one of them, or `kerasrl2 train apex CartPole-v1 --workers 8 --address auto`. All
need the same versions of Python, Ray and kerasrl2. Without Ray this says how to get it.
"""

import argparse

import kerasrl2 as krl
from kerasrl2.distributed import Workers, cluster


def main(steps):
    """Starts two nodes with a processor each, trains, and ends them."""
    try:
        cluster.ray_module()  # imports Ray with its sockets on loopback
    except ImportError as error:
        print(error)
        return
    from ray.cluster_utils import Cluster

    nodes = Cluster(
        initialize_head=True,
        head_node_args={"num_cpus": 1, "include_dashboard": False},
    )
    try:
        nodes.add_node(num_cpus=1)
        workers = Workers(2, address=nodes.address, block=32)
        agent = krl.agents.ApeX.for_env(
            "CartPole-v1", batch_size=64, train_frequency=1, seed=0
        )
        with agent:
            history = agent.fit("CartPole-v1", steps=steps, workers=workers)
        for name in ("return", "steps_per_second", "lag", "learner_waits"):
            print(name, [round(value, 2) for value in history.history[name]])
    finally:
        nodes.shutdown()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--steps", type=int, default=40_000)
    main(parser.parse_args().steps)
