"""Packages of other people, with algorithms of their own."""

import textwrap


def install(directory, name, entry_points, **modules):
    """Writes a distribution as `pip` would leave it.

    Args:
        directory: Path of what is to be on `sys.path`.
        name: String, of the distribution; its version is 1.0.
        entry_points: Dictionary of names to `"module:Class"`.
        **modules: Sources of top-level modules, by name.
    """
    directory.mkdir(exist_ok=True)
    info = directory / f"{name.replace('-', '_')}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n"
    )
    lines = [f"{key} = {value}" for key, value in entry_points.items()]
    text = "\n".join(["[kerasrl2.algorithms]", *lines, ""])
    (info / "entry_points.txt").write_text(text)
    for module, source in modules.items():
        (directory / f"{module}.py").write_text(textwrap.dedent(source))
