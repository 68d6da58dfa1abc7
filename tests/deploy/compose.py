"""docker-compose.yml as Compose reads it: merged, with the defaults of its variables put in."""

import re
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
FILE = ROOT / "docker-compose.yml"
# ${NAME:-default}; a variable without a default would make `docker compose up` depend on the caller.
_VARIABLE = re.compile(r"\$\{[A-Z_]+(?::-([^}]*))?\}")


def load_compose() -> dict[str, Any]:
    text = _VARIABLE.sub(lambda found: found[1] or "", FILE.read_text("utf-8"))
    document: dict[str, Any] = yaml.safe_load(text)
    return document


def variables_without_default() -> list[str]:
    return [found[0] for found in _VARIABLE.finditer(FILE.read_text("utf-8")) if found[1] is None]


COMPOSE = load_compose()
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = {name: service for name, service in SERVICES.items() if "build" in service}
