"""Training state known by name alone."""

from warmstart.restore.slots import OBJECT_GRAPH, training_only
from warmstart.spec import TensorSpec


def specs(*names: str, shape: tuple[int, ...] = (2,)) -> dict[str, TensorSpec]:
    return {name: TensorSpec(name, "float32", shape) for name in names}


def test_slots_of_variables_that_are_there() -> None:
    there = specs("fc/w", "fc/w/Adam", "fc/w/Adam_1", "fc/w/ExponentialMovingAverage", "Adam/w")
    assert training_only(there) == {"fc/w/Adam", "fc/w/Adam_1"}


def test_counters_are_scalars() -> None:
    assert training_only(specs("global_step", "opt/beta1_power_1", shape=())) == {
        "global_step",
        "opt/beta1_power_1",
    }
    assert training_only(specs("global_step")) == set()


def test_objects_of_tensorflow_2() -> None:
    value = "/.ATTRIBUTES/VARIABLE_VALUE"
    model, slot = "model/w" + value, "model/w/.OPTIMIZER_SLOT/optimizer/m" + value
    of_optimizer, counter = "optimizer/iter" + value, "save_counter" + value
    there = specs(model, slot, of_optimizer, counter, OBJECT_GRAPH)
    assert training_only(there) == there.keys() - {model}


def test_what_an_optimizer_of_keras_3_trains_is_the_models() -> None:
    value = "/.ATTRIBUTES/VARIABLE_VALUE"
    trained = "optimizer/_trainable_variables/0" + value
    there = specs(trained, "optimizer/_variables/2" + value, OBJECT_GRAPH)
    assert training_only(there) == there.keys() - {trained}


def test_an_optimizer_scope_alone_says_nothing() -> None:
    assert training_only(specs("optimizer/w")) == set()
