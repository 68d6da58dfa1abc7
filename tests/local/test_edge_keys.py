"""The keys of a local edge: made once, by chance, for this user alone."""

import stat
from pathlib import Path

import pytest

from pipeline.edge.pseudonym import Pseudonyms
from pipeline.edge.tokens import Tokens
from pipeline.errors import ConfigurationError
from pipeline.local.edge_keys import edge_keys, known_edge_keys
from pipeline.settings import Settings


def test_they_are_made_once_for_a_folder_and_are_others_elsewhere(tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    assert known_edge_keys(here) is None
    made = edge_keys(here)
    assert edge_keys(here) == known_edge_keys(here) == made
    assert {made.edge_secret, made.edge_token_keys}.isdisjoint(vars(edge_keys(there)).values())


def test_an_edge_takes_them(tmp_path: Path) -> None:
    settings = Settings(**vars(edge_keys(tmp_path)))
    assert len(Pseudonyms.from_settings(settings).of_all("gala", ["me"])[0]) == 22
    token, grant = Tokens.from_settings(settings).mint("cdn-1", 1)
    assert Tokens.from_settings(settings).verify(token).token_id == grant.token_id


def test_nobody_else_reads_them(tmp_path: Path) -> None:
    made = edge_keys(tmp_path)
    assert [(each.name, stat.S_IMODE(each.stat().st_mode)) for each in tmp_path.iterdir()] == [
        ("edge-keys.json", 0o600)
    ]
    assert made.edge_secret not in repr(made)


def test_a_file_that_holds_none_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "edge-keys.json").write_text("{}")
    with pytest.raises(ConfigurationError, match="Delete it"):
        edge_keys(tmp_path)
