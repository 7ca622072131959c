"""Registers an environment when imported, as third-party packages do."""

import gymnasium

gymnasium.register("Registered-v0", "tests.envs.worlds:ThreeSteps")
