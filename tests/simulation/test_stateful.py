"""The same worlds and steps with Hypothesis as the driver: what it finds, it makes small."""

import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from .archive import ArchiveWorld
from .broken import OffsetApart
from .seeds import ARCHIVE, TALLY, step_of
from .tally import TallyWorld
from .world import InvariantError, World

SEEDS = st.integers(0, 1 << 16)
NUMBERS = st.tuples(*[st.integers(0, 50)] * 4)
QUICK = settings(max_examples=25, stateful_step_count=100, deadline=None)


def names(kinds: dict[str, int]) -> st.SearchStrategy[str]:
    """Choose a step, each as often as the other driver does."""
    return st.sampled_from([name for name, weight in kinds.items() for _ in range(weight)])


class Show(RuleBasedStateMachine):
    """A show in one of the worlds."""

    world: World

    def step(self, name: str, numbers: tuple[int, ...]) -> None:
        step_of(self.world, name, numbers)()

    @invariant()
    def holds(self) -> None:
        self.world.check()

    def teardown(self) -> None:
        self.world.close()


class TallyShow(Show):
    """A show that the tally folds."""

    @initialize(seed=SEEDS)
    def begin(self, seed: int) -> None:
        self.world = TallyWorld(seed)

    @rule(name=names(TALLY), numbers=NUMBERS)
    def step(self, name: str, numbers: tuple[int, ...]) -> None:
        super().step(name, numbers)


class ArchiveShow(Show):
    """A show that the archive stores."""

    @initialize(seed=SEEDS)
    def begin(self, seed: int) -> None:
        self.world = ArchiveWorld(seed)

    @rule(name=names(ARCHIVE), numbers=NUMBERS)
    def step(self, name: str, numbers: tuple[int, ...]) -> None:
        super().step(name, numbers)


class ApartShow(TallyShow):
    """A show whose ledgers take an offset apart from its effect."""

    @initialize(seed=SEEDS)
    def begin(self, seed: int) -> None:
        self.world = TallyWorld(seed, OffsetApart())


@pytest.mark.parametrize("show", [TallyShow, ArchiveShow])
def test_hypothesis_finds_nothing(show: type[Show]) -> None:
    run_state_machine_as_test(show, settings=QUICK)


def test_hypothesis_would_find_something() -> None:
    thorough = settings(QUICK, max_examples=200, phases=[Phase.generate], report_multiple_bugs=False)
    with pytest.raises(InvariantError):
        run_state_machine_as_test(ApartShow, settings=thorough)
