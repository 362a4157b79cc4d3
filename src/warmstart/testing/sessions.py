"""What a session owes its users, as tests that the test of an engine inherits.

    class TestMyEngine(SessionContract):
        def make(self):
            model, optimizer = ...
            return session_for(model, optimizer=optimizer), lambda steps: ...

The model is small and made alike each time: a trainable variable or two, an optimizer with a slot.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping

import numpy as np
import pytest

from ..errors import NoSuchTensor
from ..freezing.frozen import freeze, hash_of
from ..restore.resume import resume
from ..restore.sessinit import SmartInit
from ..sessions import session_for
from ..sessions.base import Session
from ..source import DictSource
from ..spec import ROLES, spec_of
from ..train.staging import Staging
from .data import through_a_checkpoint

Train = Callable[[int], None]


class SessionContract(ABC):
    """The tests.  Every method makes a model of its own, so that none depends on another."""

    @abstractmethod
    def make(self) -> tuple[Session, Train]:
        """Return a session on a new model with an optimizer, and what trains it for some steps.

        The model is the same each time, and so is the training, given its state.  All variables
        have values, save those that `initialize` gives one.
        """

    def made(self, steps: int = 0) -> tuple[Session, Train]:
        """Return a session whose variables all have values, after some steps of training."""
        session, train = self.make()
        session.initialize(session.specs)
        train(steps)
        return session, train

    def test_every_variable_says_what_it_is_for(self) -> None:
        session, _ = self.made(steps=1)
        assert {name: spec.name for name, spec in session.specs.items()} == {
            name: name for name in session.specs
        }
        assert {spec.role for spec in session.specs.values()} <= set(ROLES)
        assert {"trainable", "slot"} <= {spec.role for spec in session.specs.values()}

    def test_values_are_as_the_specs_say(self) -> None:
        session, _ = self.made(steps=1)
        for name, spec in session.specs.items():
            assert spec_of(name, session.read(name), spec.role) == spec

    def test_either_name_of_a_tied_variable_reads_the_same(self) -> None:
        session, _ = self.made()
        assert not session.aliases.keys() & session.specs.keys()
        for alias, name in session.aliases.items():
            assert hash_of(session.read(alias)) == hash_of(session.read(name))

    def test_every_variable_can_be_assigned(self) -> None:
        session, _ = self.made(steps=1)
        new = {name: other_values(array) for name, array in copied(session).items()}
        session.assign(new.items())
        assert hashes(session) == {name: hash_of(array) for name, array in new.items()}

    def test_assigning_one_leaves_the_others(self) -> None:
        session, _ = self.made(steps=1)
        before = hashes(session)
        name = trainable(session)[0]
        session.assign([(name, other_values(np.array(session.read(name))))])
        assert changed(before, session) == {name}

    def test_an_array_assigned_is_not_kept(self) -> None:
        session, _ = self.made()
        name = trainable(session)[0]
        array = np.array(session.read(name))
        session.assign([(name, array)])
        before = hashes(session)
        array += 1
        assert changed(before, session) == set()

    def test_an_unknown_name_is_refused(self) -> None:
        session, _ = self.made()
        with pytest.raises(NoSuchTensor):
            session.read("no such variable")
        with pytest.raises(NoSuchTensor):
            session.assign([("no such variable", np.zeros(1))])

    def test_who_watches_the_model_is_told_of_an_assignment(self) -> None:
        session, _ = self.made()
        name = trainable(session)[0]
        told: list[str] = []
        watcher = Listener(told)
        session.watch(watcher)
        session.assign([(name, np.array(session.read(name)))])
        assert told == [name]

    def test_initializing_leaves_what_has_a_value(self) -> None:
        session, _ = self.made(steps=1)
        before = hashes(session)
        assert session.initialize(session.specs) == []
        assert changed(before, session) == set()

    def test_training_moves_what_is_trainable(self) -> None:
        session, train = self.made()
        before = hashes(session)
        train(1)
        assert set(trainable(session)) <= changed(before, session)

    def test_a_staged_state_stays_while_training_goes_on(self) -> None:
        """What a save beside the training reads; and a step later it is told what has moved."""
        session, train = self.made(steps=1)
        before, staging = hashes(session), Staging()
        staged, _ = staging.take(session)
        train(1)
        assert {name: hash_of(staged.read(name)) for name in staged.specs} == before
        moved = changed(before, session) & before.keys()
        _, unchanged = staging.take(session)
        assert unchanged == before.keys() - moved

    def test_what_is_frozen_stays_and_moves_again_when_thawed(self) -> None:
        session, train = self.made(steps=2)  # so that there is momentum
        name, *others = trainable(session)
        frozen = freeze(session, name)
        before = hashes(session)
        train(2)
        assert name not in changed(before, session)
        assert set(others) <= changed(before, session)
        frozen.verify()
        frozen.thaw()
        train(1)
        assert name in changed(before, session)

    def test_freezing_leaves_all_values(self) -> None:
        session, _ = self.made(steps=2)
        before = hashes(session)
        freeze(session, "*").thaw()
        assert changed(before, session) == set()

    def test_a_new_model_goes_on_from_a_saved_one_bit_for_bit(self) -> None:
        session, train = self.made(steps=2)
        roles = {name: spec.role or "" for name, spec in session.specs.items()}
        saved, state = (
            DictSource(copied(session), roles=roles),
            through_a_checkpoint(session.state()),
        )
        train(2)
        other, train_other = self.make()
        resume(other, saved)
        other.load_state(state)
        train_other(2)
        assert hashes(other) == hashes(session)

    def test_a_model_without_slots_yet_gets_them(self) -> None:
        session, _ = self.made(steps=2)
        other, _ = self.make()
        SmartInit(session).init(other)
        assert [hash_of(other.read(name)) for name in slots(session)] == [
            hash_of(session.read(name)) for name in slots(session)
        ]

    def test_a_session_is_its_own(self) -> None:
        session, _ = self.made()
        assert session_for(session) is session


class Listener:
    """A watcher that writes down what it is told."""

    def __init__(self, told: list[str]) -> None:
        self.told = told

    def assigned(self, names: Collection[str]) -> None:
        self.told += names


def trainable(session: Session) -> list[str]:
    """Return the trainable variables of *session*."""
    return [name for name, spec in session.specs.items() if spec.role == "trainable"]


def slots(session: Session) -> list[str]:
    """Return the optimizer's slots in *session*."""
    return [name for name, spec in session.specs.items() if spec.role == "slot"]


def copied(session: Session) -> dict[str, np.ndarray]:
    """Return the values of *session* as they are now."""
    return {name: np.array(session.read(name)) for name in session.specs}


def hashes(session: Session) -> dict[str, str]:
    """Return the hash of every value of *session*."""
    return {name: hash_of(session.read(name)) for name in session.specs}


def changed(before: Mapping[str, str], session: Session) -> set[str]:
    """Return the variables whose value is not what it was *before*."""
    return {name for name, value in hashes(session).items() if before.get(name) != value}


def other_values(array: np.ndarray) -> np.ndarray:
    """Return an array like *array* with another value in every place."""
    one = np.ones((), array.dtype)
    new: np.ndarray = array ^ one if array.dtype == bool else array + one
    return new.astype(array.dtype)
