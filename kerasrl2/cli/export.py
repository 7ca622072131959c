"""`kerasrl2 export`."""

import typer

from kerasrl2._checks import check_choice
from kerasrl2.cli.trained import beside, trained

_NAMES = {
    "saved_model": "saved_model",
    "tflite": "policy.tflite",
    "onnx": "policy.onnx",
}


def export(run, format, output, best=False):
    """Writes the policy of a trained agent.

    Args:
        run: Path of a run directory or of a file that `agent.save` wrote.
        format: String, of `Agent.export`.
        output: Path, or None for one in the run or beside the file.
        best: Boolean, the run's best agent instead of its last.
    """
    check_choice("--format", format, tuple(_NAMES))
    output = beside(run, _NAMES[format]) if output is None else output
    agent, _ = trained(run, best)
    agent.export(output, format=format)
    typer.echo(f"wrote {output}")
