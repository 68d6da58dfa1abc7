"""The keys of a local system's edge: by chance, made once for a folder, for its user's eyes only.

They stay with the data: the same voter must have the same pseudonym as long as a log is counted. Production gets its own by
AIRTALLY_EDGE_SECRET and AIRTALLY_EDGE_TOKEN_KEYS, which always win.
"""

import json
import os
import secrets
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path

from pipeline.errors import ConfigurationError


@dataclass(frozen=True)
class EdgeKeys:
    """In the form of the settings of the same names."""

    edge_secret: str = field(repr=False)
    edge_token_keys: str = field(repr=False)


def known_edge_keys(folder: Path) -> EdgeKeys | None:
    """Give the keys of a folder; None: none were made there.

    Raises:
        ConfigurationError: there is a file that holds none.
    """
    try:
        return EdgeKeys(**json.loads(_file(folder).read_text()))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError) as error:
        raise ConfigurationError(
            f"{_file(folder)} cannot be read ({error}). Delete it to have new keys made: voters then have other pseudonyms"
        ) from None


def edge_keys(folder: Path) -> EdgeKeys:
    """Give the keys of a folder; make them, the first time.

    Raises:
        ConfigurationError: there is a file that holds none, or none can be made there.
    """
    if (known := known_edge_keys(folder)) is not None:
        return known
    made = EdgeKeys(edge_secret=secrets.token_hex(32), edge_token_keys=f"local:{secrets.token_hex(32)}")
    try:
        _write(folder, made)
    except OSError as error:
        raise ConfigurationError(
            f"{folder} cannot be used ({error.strerror}): choose another folder by AIRTALLY_HOME"
        ) from None
    return known_edge_keys(folder) or made


def _write(folder: Path, made: EdgeKeys) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    scratch = _file(folder).with_suffix(f".{os.getpid()}")
    with os.fdopen(os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        json.dump(asdict(made), file)
    try:
        with suppress(FileExistsError):  # another command was quicker: its keys are those of the folder
            os.link(scratch, _file(folder))
    finally:
        scratch.unlink()


def _file(folder: Path) -> Path:
    return folder / "edge-keys.json"
