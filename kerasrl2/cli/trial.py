"""One trial of `kerasrl2 tune`, in a process of its own.

The first line of its input is what to play, in JSON. Its output are lines of JSON:
`{"part": 2, "env_steps": 20480, "value": 17.5}` after each evaluation, then one of
`{"value": 21.0}`, `{"diverged": "..."}` and `{"error": "..."}`. When its input ends, so
does the process: nothing goes on when `kerasrl2 tune` is killed.
"""

import json
import os
import signal
import sys
import threading


def main():
    """Plays the trial that the first line of the standard input describes."""
    output = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what environments print is no report
    config = json.loads(sys.stdin.readline())
    threading.Thread(target=_end_with_input, daemon=True).start()

    def say(**message):
        output.write(json.dumps(message) + "\n")
        output.flush()

    try:
        say(value=_play(config, say))
    except Exception as error:
        say(**_failure(error))


def _end_with_input():
    sys.stdin.read()
    if hasattr(os, "killpg") and os.getpgrp() == os.getpid():
        os.killpg(os.getpgrp(), signal.SIGKILL)  # copies in processes, too
    os._exit(1)


def _play(config, say):
    """Trains and returns the last evaluation's mean return."""
    from kerasrl2.cli import machine

    machine.use_compilation_cache()
    from kerasrl2 import agents, envs
    from kerasrl2.cli.environments import options_of, recipe
    from kerasrl2.cli.values import check_kinds
    from kerasrl2.cli.worlds import world
    from kerasrl2.zoo.build import tuned_agent

    check_kinds(config["overrides"], agents.algorithm(config["algorithm"]))
    env, how = recipe(config["env"]), options_of(world(config))
    settings = {**config["overrides"], **config["settings"]}
    machine.set_threads(min(config["threads"], machine.threads_for(settings)))
    steps, reports = config["steps"], config["reports"]
    agent, made, steps = tuned_agent(
        config["algorithm"], env, steps, config["seed"], overrides=settings, **how
    )
    copies = min(config["eval_episodes"], 32)
    validation = envs.make(env, num_envs=copies, **how)
    iterations = -(-steps // agent.loop_on(made).steps_per_iteration)
    reporter = _reporter(say, steps, reports)
    agent.fit(
        made,
        steps=steps,
        epochs=min(reports, iterations),
        verbose=0,
        callbacks=[reporter],
        validation_env=validation,
        validation_episodes=config["eval_episodes"],
    )
    return reporter.value


def _reporter(say, steps, reports):
    import keras

    from kerasrl2.callbacks.reporting import part_of

    class Reporter(keras.callbacks.Callback):
        value = None

        def on_epoch_end(self, epoch, logs=None):
            self.value = float(logs["val_return"])
            env_steps = int(logs["env_steps"])
            part = part_of(env_steps, steps, reports)
            say(part=part, env_steps=env_steps, value=self.value)

    return Reporter()


def _failure(error):
    from kerasrl2.errors import NonFiniteError

    message = " ".join(str(error).split()) or type(error).__name__
    kind = "diverged" if isinstance(error, NonFiniteError) else "error"
    return {kind: message}


if __name__ == "__main__":
    main()
