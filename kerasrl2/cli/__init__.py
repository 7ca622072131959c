"""The command line: `kerasrl2 train`, `resume`, `evaluate`, `plot`, `check`, `list`."""

from kerasrl2.cli.app import app, main

__all__ = ["app", "main"]
