"""Costs as a file."""

from pathlib import Path

import pytest

from pipeline.capacity.costs import Costs, read_costs
from pipeline.errors import SettingError


@pytest.mark.parametrize("text", ['{"worker_s": 2e-6}', '{"machine": "x", "costs": {"worker_s": 2e-6}}'])
def test_what_is_given_wins_over_the_default(tmp_path: Path, text: str) -> None:
    path = tmp_path / "costs.json"
    path.write_text(text)
    assert read_costs(path) == Costs(worker_s=2e-6)


@pytest.mark.parametrize("text", ["", "[]", '{"worker_s": "2"}', '{"worker": 1}', '{"worker_s": -1}', '{"costs": 1}'])
def test_something_else_is_refused_by_name(tmp_path: Path, text: str) -> None:
    path = tmp_path / "costs.json"
    path.write_text(text)
    with pytest.raises(SettingError, match=r"--costs .*costs\.json"):
        read_costs(path)
    with pytest.raises(SettingError, match="absent"):
        read_costs(tmp_path / "absent.json")
