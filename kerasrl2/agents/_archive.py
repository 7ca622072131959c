"""The archive of a saved agent: a zip of three plain members, two of them JSON."""

import json
import shutil
import stat
import zipfile

CONFIG, METADATA, WEIGHTS = "config.json", "metadata.json", "model.weights.h5"
MEMBERS = sorted([CONFIG, METADATA, WEIGHTS])
JSON_BYTES = 16 * 2**20
JSON_DEPTH = 150  # nested networks take 6 levels each
_ENCRYPTED = 0x1 | 0x40 | 0x2000  # flags of the zip format, section 4.4.4 of APPNOTE


def unpack(path, weights_path):
    """Copies the weights out of a saved agent and reads its configuration.

    `agent.save` stores its three members uncompressed, so that no more is written or
    allocated here than the file holds.

    Args:
        path: `pathlib.Path` of the zip.
        weights_path: `pathlib.Path` to write the HDF5 file to.

    Returns:
        The configuration, a dictionary.

    Raises:
        ValueError: The members or their contents are not what `agent.save` writes.
        zipfile.BadZipFile, EOFError, OSError: The zip is damaged.
    """
    with path.open("rb") as file, zipfile.ZipFile(file) as archive:
        members = archive.infolist()
        _check_members(members, path.stat().st_size)
        members = {member.filename: member for member in members}
        _parsed(archive, members[METADATA])
        config = _parsed(archive, members[CONFIG])
        weights = members[WEIGHTS]
        with archive.open(weights) as source, weights_path.open("wb") as target:
            shutil.copyfileobj(source, target, 2**20)
    return config


def _check_members(members, file_size):
    """Raises unless the members are the three of `agent.save`, uncompressed."""
    names = [member.orig_filename for member in members]
    if sorted(names) != MEMBERS:
        received = ", ".join(repr(name[:60]) for name in names[:4])
        more = f" and {len(names) - 4} more" if len(names) > 4 else ""
        raise ValueError(
            f"expected the members {', '.join(MEMBERS)}, each once. Received: "
            f"{received or 'none'}{more}. Save the agent with `agent.save`."
        )
    for member in members:
        kind = stat.S_IFMT(member.external_attr >> 16)
        stored = member.compress_type == zipfile.ZIP_STORED
        if kind not in (0, stat.S_IFREG) or member.flag_bits & _ENCRYPTED:
            problem = "a link, another special file or encrypted"
        elif not stored or member.compress_size != member.file_size:
            problem = (
                f"{member.compress_size:,} bytes compressed from {member.file_size:,}"
            )
        elif member.filename != WEIGHTS and member.file_size > JSON_BYTES:
            problem = f"{member.file_size:,} bytes, more than {JSON_BYTES:,}"
        else:
            continue
        raise ValueError(
            f"expected {member.filename} as a plain uncompressed member. Received: "
            f"{problem}. Save the agent with `agent.save`, do not pack it again."
        )
    declared = sum(member.file_size for member in members)
    if declared > file_size:
        raise ValueError(
            f"expected members that fit into the file of {file_size:,} bytes. "
            f"Received: {declared:,} bytes declared. The file is damaged or forged."
        )


def _parsed(archive, member):
    """The dictionary in a JSON member."""
    try:
        with archive.open(member) as source:
            content = source.read()
        parsed = json.loads(content, parse_constant=_infinity)
    except (RecursionError, ValueError) as error:
        raise ValueError(
            f"expected JSON in {member.filename}. Received: {str(error)[:100]}. The "
            "file is damaged or forged."
        ) from error
    if not isinstance(parsed, dict):
        raise ValueError(
            f"expected a dictionary in {member.filename}. Received: a "
            f"{type(parsed).__name__}. The file is damaged or forged."
        )
    return parsed


def _infinity(name):
    if name == "NaN":
        raise ValueError("NaN")
    return float(name)
