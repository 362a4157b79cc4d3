"""Where a variable is frozen in part, its train op leaves that part as it is."""

import numpy as np
import pytest
import tensorflow as tf

import warmstart as ws
from warmstart.sessions.masks import compact
from warmstart.sessions.tf_graph.adamw import AdamW

v1 = tf.compat.v1
HELD = np.s_[:3]

OPTIMIZERS = {
    "descent": lambda: v1.train.GradientDescentOptimizer(0.1),
    "momentum": lambda: v1.train.MomentumOptimizer(0.1, 0.9, use_nesterov=True),
    "adam": lambda: v1.train.AdamOptimizer(0.1),
    "adamw": lambda: AdamW(0.1, 0.1),
    "rmsprop": lambda: v1.train.RMSPropOptimizer(0.1, momentum=0.9),
    "adagrad": lambda: v1.train.AdagradOptimizer(0.1),
    "ftrl": lambda: v1.train.FtrlOptimizer(0.1),
}


@pytest.fixture(params=OPTIMIZERS)
def optimizer(request):
    return OPTIMIZERS[request.param]()


@pytest.fixture(params=[False, True], ids=["dense", "sparse"])
def gathers(request):
    """Whether the gradient is sparse."""
    return request.param


@pytest.fixture
def embedded(graph, resource):
    """A function from an optimizer to a model: rows of `w`, with a penalty on all of it."""

    def make(optimizer, gathers=True, penalty=0.0, **options):
        rows = v1.placeholder(tf.int32, [None])
        w = v1.get_variable("w", [5, 2], initializer=v1.ones_initializer(), use_resource=resource)
        found = tf.gather(w, rows) if gathers else tf.one_hot(rows, 5) @ w
        cost = tf.reduce_sum(found**2)
        cost += penalty * tf.nn.l2_loss(w) if penalty else 0.0
        return ws.TFGraph(inputs=[rows], cost=cost, optimizer=optimizer, **options)

    return make


def train(model, steps=3):
    for _ in range(steps):
        model.train_step((np.array([0, 0, 1, 2, 3, 4], np.int32),))
    return {name: value.copy() for name, value in model.session.read_all().items()}


def frozen_in_part(model, index=HELD):
    model.session.initialize(list(model.session.specs))
    return ws.freeze(model, {"w": index})


@pytest.mark.parametrize("steps", [0, 2], ids=["before-the-train-op", "with-momentum"])
def test_held_under_every_optimizer(embedded, optimizer, gathers, steps):
    model = embedded(optimizer, gathers)
    model.session.initialize(list(model.session.specs))
    train(model, steps)
    frozen = frozen_in_part(model)
    before = {name: value.copy() for name, value in model.session.read_all().items()}
    after = train(model)
    frozen.verify()
    assert (after["w"] != before["w"])[3:].all()
    slots = {name for name, value in before.items() if name != "w" and value.shape == (5, 2)}
    assert bool(slots) == (steps > 0 and type(optimizer).__name__ != "GradientDescentOptimizer")
    for name in slots:
        assert after[name][HELD].tobytes() == before[name][HELD].tobytes()
    frozen.thaw()
    assert (train(model)["w"] != after["w"]).all()


def test_held_under_a_penalty_on_the_whole_variable(embedded):
    model = embedded(v1.train.MomentumOptimizer(0.1, 0.9), penalty=0.1)
    frozen = frozen_in_part(model)
    after = train(model)
    frozen.verify()
    assert not after["w/Momentum"][HELD].any()
    assert after["w/Momentum"][3:].all()


@pytest.mark.parametrize(
    "index",
    [np.s_[1], np.s_[:, 1], np.s_[::2, :1], [0, 4], np.arange(10).reshape(5, 2) % 3 == 0, np.s_[:]],
    ids=["row", "column", "some", "list", "mask", "all"],
)
def test_any_index_of_numpy_may_say_where(embedded, gathers, index):
    model = embedded(v1.train.AdamOptimizer(0.1), gathers)
    frozen = frozen_in_part(model, index)
    elsewhere = np.ones((5, 2), bool)
    elsewhere[index] = False
    after = train(model)
    assert (after["w"] != 1)[elsewhere].all()
    frozen.verify()


def test_parts_of_a_variable_in_pieces(make_model, batch):
    model = make_model(lambda: v1.train.AdamOptimizer(0.1))
    model.train_step(batch)
    before = model.session.read("hidden/kernel").copy()
    frozen = ws.freeze(model, {"hidden/kernel": np.s_[1:3, 1:], "out/kernel": ...})
    assert frozen.names == ("out/kernel", "hidden/kernel")
    for _ in range(3):
        model.train_step(batch)
    moved = model.session.read("hidden/kernel") != before
    assert not moved[1:3, 1:].any()
    assert moved.sum() == moved.size - 4
    frozen.verify()


def test_the_part_may_have_a_gradient_that_is_not_finite(graph):
    w = v1.get_variable("w", [2], initializer=v1.zeros_initializer())
    x = v1.placeholder(tf.float32, [2])
    summary, clip = ws.SummaryGradient(), ws.GlobalNormClip(5.0)
    model = ws.TFGraph(
        inputs=[x],
        cost=tf.reduce_sum(x * w),
        optimizer=v1.train.GradientDescentOptimizer(1.0),
        gradprocs=[summary, clip],
    )
    frozen_in_part(model, np.s_[:1])
    model.train_step((np.float32([np.nan, 3]),))
    assert model.session.read("w").tolist() == [0, -3]
    assert summary.arrays()["w-grad"].tolist() == [0, 3]


def test_two_freezings_hold_what_either_does(embedded):
    model = embedded(v1.train.AdamOptimizer(0.1))
    first, second = frozen_in_part(model, np.s_[:2]), frozen_in_part(model, np.s_[1:3])
    train(model)
    first.verify()
    second.verify()
    first.thaw()
    after = train(model)
    assert (after["w"][0] != 1).all()
    second.verify()


def test_whole_and_in_part_at_once(embedded):
    model = embedded(v1.train.AdamOptimizer(0.1))
    part = frozen_in_part(model)
    whole = ws.freeze(model, "w")
    other = ws.freeze(model, {"w": np.s_[4]})
    assert (train(model)["w"] == 1).all()
    whole.thaw()
    after = train(model)
    assert (after["w"] != 1).all(1).tolist() == [False, False, False, True, False]
    part.verify()
    other.verify()


def test_what_a_constraint_writes_is_put_back(graph):
    v1.get_variable("w", [2], initializer=v1.ones_initializer(), constraint=lambda w: w * 0.5)
    (w,) = v1.trainable_variables()
    x = v1.placeholder(tf.float32, [])
    model = ws.TFGraph(
        inputs=[x], cost=x * tf.reduce_sum(w), optimizer=v1.train.GradientDescentOptimizer(0.1)
    )
    frozen_in_part(model, np.s_[0])
    model.train_step((1.0,))
    np.testing.assert_allclose(model.session.read("w"), [1, 0.45])


def test_a_ready_train_op_is_refused(graph):
    w = v1.get_variable("w", [2])
    cost = tf.reduce_sum(w**2)
    train_op = v1.train.GradientDescentOptimizer(0.1).minimize(cost)
    model = ws.TFGraph(inputs=[], cost=cost, train_op=train_op)
    with pytest.raises(ws.FreezeError, match=r"w: only a train op made for it leaves a part of a"):
        frozen_in_part(model, np.s_[0])


def test_a_ready_train_op_beside_ones_own_is_named(embedded):
    model = embedded(v1.train.AdamOptimizer(0.1))
    v1.train.GradientDescentOptimizer(0.1).minimize(tf.reduce_sum(v1.trainable_variables()[0]))
    with pytest.raises(ws.FreezeError, match=r"  w   by GradientDescent/update_w/"):
        frozen_in_part(model)


def test_only_what_is_trained_has_parts(make_model):
    model = make_model(OPTIMIZERS["adam"])
    with pytest.raises(ws.FreezeError, match="hidden/bn/moving_mean: only trainable variables can"):
        ws.freeze(model, {"hidden/bn/moving_mean": np.s_[0], "hidden/kernel": np.s_[0]})
    assert ws.freeze(model, {"hidden/kernel": np.s_[0]}).names == ("hidden/kernel",)


def test_a_finalized_graph_is_refused(embedded):
    model = embedded(v1.train.AdamOptimizer(0.1))
    train(model)
    model.graph.finalize()
    with pytest.raises(ws.FreezeError, match="the graph is finalized, so its train op cannot"):
        frozen_in_part(model)


@pytest.mark.parametrize(
    ("mask", "shape"),
    [
        (np.array([[True, True], [False, False]]), (2, 1)),
        (np.array([[True, False], [True, False]]), (1, 2)),
        (np.ones((3, 4), bool), (1, 1)),
        (np.eye(2, dtype=bool), (2, 2)),
        (np.array(True), ()),
    ],
)
def test_masks_are_small(mask, shape):
    small = compact(mask)
    assert small.shape == shape
    assert (np.broadcast_to(small, mask.shape) == mask).all()
