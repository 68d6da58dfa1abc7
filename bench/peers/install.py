"""Peers are installed when they are first measured, into the user's cache.

Each that is in Python has a virtual environment of its own; those on the JVM are one Maven build.
"""

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from pipeline.local import kafka_jars

JAVA_SOURCES = Path(__file__).parent / "java"
INSTALL_S = 900


class NotInstalledError(Exception):
    """A peer cannot be installed here; the text says why."""


def python_with(name: str, requirements: Sequence[str]) -> str:
    """Give the Python of a virtual environment that has these packages, made if it is not there yet.

    Raises:
        NotInstalledError: pip could not install them.
    """
    folder = _cache() / f"{name}-{_digest(*requirements)}"
    python = folder / "bin" / "python"
    complete = folder / "complete"
    if not complete.exists():
        shutil.rmtree(folder, ignore_errors=True)
        _run([sys.executable, "-m", "venv", str(folder)])
        _run([str(python), "-m", "pip", "install", "--quiet", *requirements])
        complete.touch()
    return str(python)


def classpath_of(module: str) -> str:
    """Give the class path of a peer on the JVM, built if its sources have changed.

    Raises:
        NotInstalledError: Maven is missing, or could not build it.
    """
    sources = sorted(path for path in JAVA_SOURCES.rglob("*") if path.is_file() and "target" not in path.parts)
    folder = _cache() / f"java-{_digest(*(path.read_text() for path in sources))}"
    complete = folder / "complete"
    if not complete.exists():
        maven = shutil.which("mvn")
        if maven is None:
            raise NotInstalledError(
                "mvn is not installed (Debian, Ubuntu: apt install maven; macOS: brew install maven)"
            )
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(JAVA_SOURCES, folder, ignore=shutil.ignore_patterns("target"))
        _run([maven, "-q", "-B", "-f", str(folder / "pom.xml"), "package"])
        complete.touch()
    target = folder / module / "target"
    return f"{target}/*:{target}/lib/*"


def _cache() -> Path:
    return kafka_jars.cache_folder().parent / "peers"


def _digest(*texts: str) -> str:
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()[:12]


def _run(command: Sequence[str]) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=INSTALL_S, check=False, env=environment)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NotInstalledError(str(error)) from error
    if done.returncode != 0:
        raise NotInstalledError(f"{' '.join(command)}\n{(done.stdout + done.stderr).strip()[-1_500:]}")
