"""The short form of the campaign: a handful of telling faults, and the negative controls, in which it must find fault.

All trials run in one fixture, two side by side; each test looks at the result of its own.
"""

import asyncio
from collections.abc import Mapping
from pathlib import Path

import pytest

from pipeline.errors import MissingToolError
from tests.conftest import CI
from tests.faults import campaign
from tests.faults.campaign import Planned
from tests.faults.catalog import named
from tests.faults.controls import CONTROLS
from tests.faults.trial import Trial
from tests.faults.verdict import Verdict

pytestmark = [pytest.mark.real, pytest.mark.timeout(600)]

SHORT = (
    "tally: killed, started again",
    "Redis: back to an older snapshot",
    "Redis: replies cut",
    "ClickHouse: killed in mid insert",
    "ClickHouse: replies cut",
    "publisher: killed in mid batch",
    "edge: killed in mid request",
    "edge: Kafka away for 10 s",
)
SEED = 1


@pytest.fixture(scope="module")
def trials(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Trial]:
    """The results by the name of the fault or of the control."""
    wanted = {name: Planned(named(name), 0.5, SEED) for name in SHORT}
    wanted |= {name: Planned(named(control.fault), 0.5, SEED, control.workers) for name, control in CONTROLS.items()}
    folder: Path = tmp_path_factory.mktemp("faults")
    try:
        done = asyncio.run(campaign.run(list(wanted.values()), folder, lanes=2))
    except MissingToolError as error:
        if CI:
            pytest.fail(str(error))
        pytest.skip(str(error))
    return dict(zip(wanted, done, strict=True))


def verdict(trial: Trial) -> Verdict:
    """Give the verdict; trouble of the harness is an error of the test, neither pass nor fail of the product."""
    if trial.verdict is Verdict.NONE:
        raise RuntimeError(f"no verdict: {trial.lines}")
    return trial.verdict


@pytest.mark.parametrize("name", SHORT)
def test_a_show_is_counted_exactly_under(name: str, trials: Mapping[str, Trial]) -> None:
    trial = trials[name]
    assert verdict(trial) is Verdict.PASS, trial
    assert (trial.lost, trial.twice) == (0, 0)
    assert trial.ready


@pytest.mark.parametrize("name", CONTROLS)
def test_the_campaign_finds_fault_with(name: str, trials: Mapping[str, Trial]) -> None:
    trial = trials[name]
    assert verdict(trial) is Verdict.FAIL, trial
    if name == "no-question":
        assert trial.stored_twice > 0
    elif name == "hasty-edge":
        assert trial.lost > 0
    else:
        assert trial.twice > 0
