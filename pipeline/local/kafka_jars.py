"""Kafka's jars, fetched once per user by Maven into a cache folder, and the Java that runs them."""

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from importlib import resources
from pathlib import Path

from pipeline.errors import MissingToolError, UnavailableError

KAFKA_VERSION = "4.1.0"
_SLF4J_VERSION = "1.7.36"  # the API that this Kafka is built against
_FETCH_S = 600
_MINIMUM_JAVA = 17


def java() -> str:
    """The ``java`` to use: JAVA_HOME's, else the one on PATH.

    Raises:
        MissingToolError: there is none, or it is too old for Kafka.
    """
    home = os.environ.get("JAVA_HOME")
    at_home = Path(home, "bin", "java") if home else None
    found = str(at_home) if at_home is not None and at_home.is_file() else shutil.which("java")
    remedy = (
        f"Kafka needs Java {_MINIMUM_JAVA} or newer. Install it (Debian, Ubuntu: apt install openjdk-17-jre-headless; "
        "macOS: brew install openjdk), or give the address of a running Kafka in AIRTALLY_KAFKA."
    )
    if found is None:
        raise MissingToolError(f"java is not installed. {remedy}")
    try:
        said = subprocess.run([found, "-version"], capture_output=True, text=True, timeout=30, check=True).stderr  # noqa: S603
    except (OSError, subprocess.SubprocessError) as error:  # macOS has a stub that only says where to get Java
        raise MissingToolError(f"{found} does not run: {error}. {remedy}") from error
    version = re.search(r'version "(\d+)', said)
    if version is None or int(version.group(1)) < _MINIMUM_JAVA:
        raise MissingToolError(f"{found} is too old: {said.splitlines()[0] if said else 'no version'}. {remedy}")
    return found


def cache_folder() -> Path:
    """Where the jars of this Kafka version are kept, for all of the user's checkouts."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "airtally" / f"kafka-{KAFKA_VERSION}"


def jars(on_progress: Callable[[str], None]) -> Path:
    """The folder with the jars; fetches them if it is not there yet.

    Raises:
        MissingToolError: Maven is needed and not installed.
        UnavailableError: Maven could not fetch them.
    """
    folder = cache_folder()
    if folder.is_dir():
        return folder
    maven = shutil.which("mvn")
    if maven is None:
        raise MissingToolError(
            "mvn is not installed: it fetches Kafka once. Install it (Debian, Ubuntu: apt install maven; macOS: "
            "brew install maven), or give the address of a running Kafka in AIRTALLY_KAFKA."
        )
    on_progress(f"Kafka: fetching version {KAFKA_VERSION} with Maven (only the first time)")
    folder.parent.mkdir(parents=True, exist_ok=True)
    # Complete or absent: fetched beside the final place, then renamed. Two who fetch at once do no harm to each other.
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as scratch:
        _fetch(maven, Path(scratch))
        try:
            (Path(scratch) / "jars").rename(folder)
        except OSError:
            if not folder.is_dir():
                raise
    return folder


def _fetch(maven: str, scratch: Path) -> None:
    with resources.as_file(resources.files("pipeline.local") / "kafka.pom.xml") as pom:
        shutil.copyfile(pom, scratch / "pom.xml")
    command = [
        *(maven, "-q", "-B", "-f", str(scratch / "pom.xml")),
        *(f"-Dkafka.version={KAFKA_VERSION}", f"-Dslf4j.version={_SLF4J_VERSION}"),
        *("dependency:copy-dependencies", f"-DoutputDirectory={scratch / 'jars'}"),
    ]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_FETCH_S, check=False)  # noqa: S603
    except subprocess.TimeoutExpired as error:
        raise UnavailableError(f"Maven has not fetched Kafka's jars within {_FETCH_S} s: {error.cmd}") from error
    if done.returncode != 0:
        raise UnavailableError(f"Maven could not fetch Kafka's jars.\n{(done.stdout + done.stderr).strip()[-2_000:]}")
