"""Slots are called after their variables, however states are nested, and follow them."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

import warmstart as ws

PARAMS = {"a": {"w": jnp.ones((2, 3)), "b": jnp.ones(3)}, "z": jnp.ones(2)}
NAMES = ("a/b", "a/w", "z")


def slots_and_rest(tx, params=PARAMS):
    specs = ws.session_for(params, optimizer=tx).specs
    slots = sorted(n for n, spec in specs.items() if spec.role == "slot")
    return slots, sorted(n for n, spec in specs.items() if spec.role == "run")


def each(*slots):
    return sorted(f"{name}/{slot}" for name in NAMES for slot in slots)


CASES = {
    "sgd": (optax.sgd(0.1), [], []),
    "momentum": (optax.sgd(0.1, momentum=0.9), each("trace"), []),
    "adam": (optax.adam(0.1), each("mu", "nu"), ["opt_state/ScaleByAdamState/count"]),
    "chained": (
        optax.chain(optax.clip(1.0), optax.adamw(optax.cosine_decay_schedule(0.1, 9))),
        each("mu", "nu"),
        ["opt_state/ScaleByAdamState/count", "opt_state/ScaleByScheduleState/count"],
    ),
    "adafactor": (
        optax.adafactor(0.1),
        each("v", "v_col", "v_row"),
        ["opt_state/FactoredState/count"],
    ),
    "multi steps": (
        optax.MultiSteps(optax.sgd(0.1, momentum=0.9), 2),
        each("acc_grads", "trace"),
        ["opt_state/MultiStepsState/gradient_step", "opt_state/MultiStepsState/mini_step"],
    ),
    "partitioned": (
        optax.partition(
            {"fast": optax.adam(0.1), "slow": optax.sgd(0.1, momentum=0.9)},
            {"a": {"w": "fast", "b": "slow"}, "z": "slow"},
        ),
        ["a/b/trace", "a/w/mu", "a/w/nu", "z/trace"],
        ["opt_state/fast/ScaleByAdamState/count"],
    ),
    "masked": (
        optax.masked(optax.adam(0.1), {"a": {"w": True, "b": False}, "z": False}),
        ["a/w/mu", "a/w/nu"],
        ["opt_state/ScaleByAdamState/count"],
    ),
    "hyperparameters": (
        optax.inject_hyperparams(optax.sgd)(0.1, momentum=0.9),
        each("trace"),
        [
            "opt_state/InjectStatefulHyperparamsState/count",
            "opt_state/InjectStatefulHyperparamsState/hyperparams/learning_rate",
            "opt_state/InjectStatefulHyperparamsState/hyperparams/momentum",
        ],
    ),
    "if finite": (
        optax.apply_if_finite(optax.sgd(0.1, momentum=0.9), 3),
        each("trace"),
        [
            "opt_state/ApplyIfFiniteState/last_finite",
            "opt_state/ApplyIfFiniteState/notfinite_count",
            "opt_state/ApplyIfFiniteState/total_notfinite",
        ],
    ),
    "averaged": (
        optax.chain(optax.sgd(0.1), optax.ema(0.9)),
        each("ema"),
        ["opt_state/EmaState/count"],
    ),
    "twice": (
        optax.chain(optax.trace(0.9), optax.trace(0.5)),
        each("trace", "trace_1"),
        [],
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_a_state_is_named_after_its_variables(case):
    tx, slots, rest = CASES[case]
    assert slots_and_rest(tx) == (slots, rest)


@pytest.mark.parametrize("params", [{"count": jnp.ones(2)}, (jnp.ones(2), jnp.ones(3)),
                                    [jnp.ones(2)], {"mu": {"nu": jnp.ones(2)}}])  # fmt: skip
def test_parameters_called_like_parts_of_a_state_are_told_apart(params):
    slots, rest = slots_and_rest(optax.adam(0.1), params)
    assert len(slots) == 2 * len(jax.tree.leaves(params))
    assert rest == ["opt_state/ScaleByAdamState/count"]


def test_slots_stay_with_their_variables_when_layers_come_and_go():
    tx = optax.adam(0.1)
    old = ws.session_for(PARAMS, optimizer=tx)
    old.assign([(n, np.full_like(old.read(n), i)) for i, n in enumerate(old.specs)
                if old.specs[n].role == "slot"])  # fmt: skip
    new_params = {"0": jnp.ones(2), "a": {"w": jnp.ones((2, 3)), "new": jnp.ones(1)}}
    new = ws.session_for(new_params, optimizer=optax.chain(optax.clip(1.0), tx))
    report = ws.SmartInit(old).init(new)
    assert {n for n in report.loaded if "/m" in n or "/n" in n} >= {"a/w/mu", "a/w/nu"}
    assert (new.read("a/w/mu") == old.read("a/w/mu")).all()
    assert new.read("0/mu").tolist() == [0, 0]
    assert report.slots.lost == {"a TreeSession": ("a/b/mu", "z/mu", "a/b/nu", "z/nu")}
    assert sorted(report.slots.fresh) == ["0", "a/new"]


def test_a_plain_state_of_a_module_is_named_too(net):
    tx = optax.adam(0.1)
    state = tx.init(nnx.state(net, nnx.Param))
    session = ws.session_for(net, optimizer=state)
    session.assign([("norm/scale/mu", np.ones(4, np.float32))])
    assert session.opt_state[0].mu["norm"]["scale"].get_value().tolist() == [1, 1, 1, 1]
