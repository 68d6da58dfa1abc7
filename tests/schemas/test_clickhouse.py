"""The table of what an analyst can ask is what the migrations make."""

import re

from .publisher import SCHEMAS

CREATED = re.compile(r"CREATE (?:TABLE|VIEW) IF NOT EXISTS (\w+).*^COMMENT '(.*)'$", re.MULTILINE | re.DOTALL)


def test_the_page_names_each_table_and_view_by_its_comment() -> None:
    created = [CREATED.search(path.read_text("utf-8")) for path in (SCHEMAS / "clickhouse").glob("*.sql")]
    made = {found.group(1): found.group(2).replace("''", "'") for found in created if found}
    assert len(made) == len(created)
    lines = (
        (SCHEMAS / "README.md")
        .read_text("utf-8")
        .partition("## Asking the archive")[2]
        .partition("## ")[0]
        .splitlines()
    )
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("| `")]
    assert {name.strip("`"): what for name, what, _ in cells} == made
