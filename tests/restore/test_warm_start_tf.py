"""WarmStartSettings in TensorFlow graphs, with tf.compat.v1.train.warm_start as the oracle."""

import inspect
from contextlib import contextmanager
from itertools import product

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

import warmstart as ws
from warmstart.errors import NoSuchTensor, RestoreError, RuleError
from warmstart.restore.vocab import places_in

v1 = tf.compat.v1

SHAPES = {"emb": (4, 3), "enc/w": (3, 2), "fc/w": (2, 5), "fc/b": (5,)}
OLD = b"b\na\nc\ne\n"
NEW = b"a\nx\nc\ny\nb\n"


@contextmanager
def graph(shapes, *, resource=True, parts=None, optimizer=v1.train.AdamOptimizer, seed=3):
    """Yield a session on a graph with variables of *shapes*, a statistic and an optimizer."""
    with tf.Graph().as_default(), v1.Session() as session:
        v1.set_random_seed(seed)
        v1.enable_resource_variables() if resource else v1.disable_resource_variables()
        split = v1.fixed_size_partitioner(parts) if parts else None
        made = []
        for name, shape in shapes.items():
            cut = split if len(shape) == 2 else None
            made.append(v1.get_variable(name, shape, partitioner=cut))
        v1.get_variable("enc/mean", (3,), trainable=False)
        if optimizer:
            cost = tf.add_n([tf.reduce_sum(tf.square(tf.convert_to_tensor(v))) for v in made])
            optimizer(0.1).minimize(cost, global_step=v1.train.get_or_create_global_step())
        yield session


def values(session):
    """Return the value of every variable, parts by their own names."""
    return {v.op.name: session.run(v) for v in v1.global_variables()}


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """A checkpoint by TensorFlow's Saver after a step, with two vocabularies beside it."""
    path = tmp_path_factory.mktemp("base")
    (path / "old.txt").write_bytes(OLD)
    (path / "new.txt").write_bytes(NEW)
    (path / "classes.txt").write_bytes(b"1\n2\n3\n4\n5\n")
    (path / "kept.txt").write_bytes(b"5\n1\n6\n")
    with graph(SHAPES, seed=1) as session:
        session.run(v1.global_variables_initializer())
        session.run(v1.get_collection(v1.GraphKeys.TRAIN_OP)[0])
        return v1.train.Saver().save(session, str(path / "model"), global_step=7)


@pytest.fixture
def words(base):
    """Return what makes a vocabulary of the words, of TensorFlow's kind or of ours."""

    def make(kind, new="new.txt", old="old.txt", **fields):
        folder = base.rpartition("/")[0]
        sizes = {"new_vocab_size": 5, "num_oov_buckets": 0} | fields
        return kind(new_vocab=f"{folder}/{new}", old_vocab=f"{folder}/{old}", **sizes)

    return make


def by_tensorflow(shapes, *arguments, **options):
    """Return the values after tf.compat.v1.train.warm_start and the initializer."""
    with graph(shapes, **options) as session:
        v1.train.warm_start(*arguments)
        session.run(v1.global_variables_initializer())
        return values(session)


def by_us(shapes, *arguments, **options):
    with graph(shapes, **options) as session:
        ws.WarmStartSettings(*arguments).init(session)
        return values(session)


def equal(a, b):
    return a.keys() == b.keys() and all(np.array_equal(a[name], b[name]) for name in a)


CHOICES = [
    ".*",
    "enc",
    "enc/w:0",
    ".*w",
    ["enc/w:0"],
    ["enc/w", "enc/mean"],
    ["enc/.*"],
    ["fc/w"],
    ["fc/w/Adam:0", "beta1_power"],
    [".*"],
    ["global_step"],
    ["(?!emb|global_step).*"],
    None,
    "",
    [],
]


@pytest.mark.parametrize("resource", [True, False])
@pytest.mark.parametrize("choice", CHOICES, ids=str)
def test_choices(choice, resource, base):
    theirs = by_tensorflow(SHAPES, base, choice, resource=resource)
    assert equal(by_us(SHAPES, base, choice, resource=resource), theirs)


def test_from_a_folder(base):
    folder = base.rpartition("/")[0]
    assert equal(by_us(SHAPES, folder, "enc"), by_tensorflow(SHAPES, folder, "enc"))


@pytest.mark.parametrize("parts", [None, 2])
def test_by_variables(parts, base):
    def chosen():
        return [v for v in v1.global_variables() if v.op.name.startswith(("enc", "emb"))]

    with graph(SHAPES, parts=parts) as session:
        v1.train.warm_start(base, chosen())
        session.run(v1.global_variables_initializer())
        theirs = values(session)
    with graph(SHAPES, parts=parts) as session:
        ws.WarmStartSettings(base, chosen()).init(session)
        assert equal(values(session), theirs)


def test_by_variables_of_another_graph(base):
    with graph({"other": (2, 2)}):
        others = v1.trainable_variables()
    with graph(SHAPES) as session, pytest.raises(RuleError, match="by:\n  other"):
        ws.WarmStartSettings(base, others).init(session)


def test_one_tensor_for_two(base):
    shapes = {"a/w": (3, 2), "b/w": (3, 2), "fc/w": (2, 5)}
    before = {"a/w": "enc/w", "b/w": "enc/w"}
    theirs = by_tensorflow(shapes, base, ".*", None, before)
    assert equal(by_us(shapes, base, ".*", None, before), theirs)


KINDS_OF_VARIABLE = [
    {"resource": True},
    {"resource": False},
    {"resource": True, "parts": 2},
    {"resource": False, "parts": 3},
]


@pytest.mark.parametrize("options", KINDS_OF_VARIABLE, ids=str)
@pytest.mark.parametrize("buckets", [0, 1, 2])
@pytest.mark.parametrize("old_size", [-1, 2])
def test_rows(old_size, buckets, options, base, words):
    shapes = SHAPES | {"emb": (5 + buckets, 3)}

    def infos(kind):
        return {"emb": words(kind, num_oov_buckets=buckets, old_vocab_size=old_size)}

    theirs = by_tensorflow(shapes, base, ".*", infos(v1.train.VocabInfo), **options)
    assert equal(by_us(shapes, base, ".*", infos(ws.VocabInfo), **options), theirs)


GRID = list(product([".*", None, ["emb", "fc/w"], "emb"], [False, True], [0, 2], [None, 9.0]))


@pytest.mark.parametrize("cell", GRID, ids=str)
def test_grid(cell, base, words):
    """Choice x previous name x buckets x backup, with rows of one and columns of another."""
    choice, renamed, buckets, backup = cell
    name = "words" if renamed else "emb"
    shapes = {name: (5 + buckets, 3), "enc/w": (3, 2), "fc/w": (2, 3), "fc/b": (5,)}
    initializer = v1.random_uniform_initializer(backup, backup) if backup else None
    columns = {"new": "kept.txt", "old": "classes.txt", "new_vocab_size": 3, "axis": 1}

    def infos(kind):
        rows = {name: words(kind, num_oov_buckets=buckets, backup_initializer=initializer)}
        return rows if choice == "emb" else {**rows, "fc/w": words(kind, **columns)}

    chosen = {"emb": name, "['emb', 'fc/w']": [name, "fc/w"]}.get(str(choice), choice)
    before = {name: "emb"} if renamed else None
    theirs = by_tensorflow(shapes, base, chosen, infos(v1.train.VocabInfo), before, optimizer=None)
    found = by_us(shapes, base, chosen, infos(ws.VocabInfo), before, optimizer=None)
    assert equal(found, theirs)


@pytest.mark.parametrize("buckets", [0, 2])
def test_columns(buckets, base, words):
    shapes = SHAPES | {"fc/w": (2, 3 + buckets)}
    fields = {"new_vocab_size": 3, "num_oov_buckets": buckets, "axis": 1}

    def info(kind):
        return {"fc/w": words(kind, "kept.txt", "classes.txt", **fields)}

    theirs = by_tensorflow(shapes, base, "fc/w", info(v1.train.VocabInfo))
    assert equal(by_us(shapes, base, "fc/w", info(ws.VocabInfo)), theirs)


def test_tensorflows_own_vocab_info_will_do(base, words):
    infos = {"emb": words(v1.train.VocabInfo)}
    shapes = SHAPES | {"emb": (5, 3)}
    assert equal(by_us(shapes, base, "emb", infos), by_tensorflow(shapes, base, "emb", infos))


def test_rows_and_columns_at_once(tmp_path):
    """As checkpoint_ops has it, which `warm_start` does not offer."""
    from tensorflow.python.training import checkpoint_ops

    for name, data in {"old": OLD, "new": NEW, "classes": b"p\nq\nr", "kept": b"r\ns\np"}.items():
        (tmp_path / name).write_bytes(data)
    w = np.arange(12, dtype=np.float32).reshape(4, 3) + 1
    ws.save_vars({"w": w}, tmp_path / "model")
    nine = v1.random_uniform_initializer(9, 9)
    with tf.Graph().as_default(), v1.Session() as session:
        initializer = checkpoint_ops._load_and_remap_matrix_initializer(
            ckpt_path=str(tmp_path / "model"),
            old_tensor_name="w",
            new_row_vocab_size=5,
            new_col_vocab_size=3,
            old_row_vocab_file=str(tmp_path / "old"),
            new_row_vocab_file=str(tmp_path / "new"),
            old_col_vocab_file=str(tmp_path / "classes"),
            new_col_vocab_file=str(tmp_path / "kept"),
            num_row_oov_buckets=2,
            num_col_oov_buckets=1,
            initializer=nine,
        )
        theirs = session.run(initializer([7, 4]))
    infos = [
        ws.VocabInfo(tmp_path / "new", 5, 2, tmp_path / "old", -1, nine),
        ws.VocabInfo(tmp_path / "kept", 3, 1, tmp_path / "classes", -1, nine, 1),
    ]
    with tf.Graph().as_default(), v1.Session() as session:
        variable = v1.get_variable("w", (7, 4))
        ws.WarmStartSettings(tmp_path / "model", ".*", {"w": infos}).init(session)
        assert np.array_equal(session.run(variable), theirs)


WORDS = st.lists(st.sampled_from("abcdefgh"), min_size=1, max_size=8)
ENDINGS = st.sampled_from(["\n", "\r\n"])


@given(WORDS, st.lists(st.sampled_from("abcdefgh"), min_size=1, unique=True), ENDINGS, st.data())
def test_places_are_tensorflows(tmp_path_factory, new, old, end, data):
    folder = tmp_path_factory.getbasetemp()
    (folder / "new").write_text(end.join(new), newline="")
    (folder / "old").write_text(end.join(old) + end, newline="")
    size = data.draw(st.integers(1, len(new)))
    old_size = data.draw(st.sampled_from([-1, *range(1, len(old) + 1)]))
    theirs, _ = tf.raw_ops.GenerateVocabRemapping(
        new_vocab_file=str(folder / "new"),
        old_vocab_file=str(folder / "old"),
        new_vocab_offset=0,
        num_new_vocab=size,
        old_vocab_size=old_size,
    )
    assert (
        places_in(folder / "new", size, folder / "old", old_size).tolist()
        == theirs.numpy().tolist()
    )


@pytest.mark.parametrize(
    ("new", "old", "sizes"),
    [
        (b"a\n\nb\n", b"a\n", (2, -1)),
        (b"a\n\n", b"a\n", (1, -1)),
        (b"a\n", b"a\n\n", (1, -1)),
        (b"a\n", b"a\nb\na\n", (1, -1)),
        (b"a\n", b"a\n", (2, -1)),
        (b"a\n", b"a\n", (1, 2)),
    ],
)
def test_what_tensorflow_refuses_is_refused(new, old, sizes, tmp_path):
    (tmp_path / "new").write_bytes(new)
    (tmp_path / "old").write_bytes(old)
    with pytest.raises(tf.errors.OpError):
        tf.raw_ops.GenerateVocabRemapping(
            new_vocab_file=str(tmp_path / "new"),
            old_vocab_file=str(tmp_path / "old"),
            new_vocab_offset=0,
            num_new_vocab=sizes[0],
            old_vocab_size=sizes[1],
        )
    with pytest.raises(RuleError):
        places_in(tmp_path / "new", sizes[0], tmp_path / "old", sizes[1])


# Errors that TensorFlow has too


def refused(kind, shapes, *arguments):
    """Check that TensorFlow refuses too, and return our error."""
    with pytest.raises((ValueError, tf.errors.OpError)):
        by_tensorflow(shapes, *arguments)
    with pytest.raises(kind) as caught:
        by_us(shapes, *arguments)
    return str(caught.value)


def test_what_the_checkpoint_lacks(base):
    assert "lacks:\n  head/w" in refused(NoSuchTensor, SHAPES | {"head/w": (1,)}, base)


def test_entries_that_are_not_used(base, words):
    before = {"enc/wrong": "enc/w"}
    assert "enc/wrong" in refused(RuleError, SHAPES, base, ".*", None, before)
    infos = {"enc/wrong": words(v1.train.VocabInfo)}
    assert "enc/wrong" in refused(RuleError, SHAPES, base, ".*", infos)
    infos = {"enc/mean": words(v1.train.VocabInfo)}
    assert "enc/mean" in refused(RuleError, SHAPES, base, None, infos)


def test_a_variable_that_is_too_large(base, words):
    infos = {"emb": words(v1.train.VocabInfo)}
    assert "make 5" in refused(RuleError, SHAPES | {"emb": (6, 3)}, base, "emb", infos)


def test_another_width(base, words):
    infos = {"emb": words(v1.train.VocabInfo)}
    assert "emb" in refused(RestoreError, SHAPES | {"emb": (5, 2)}, base, "emb", infos)


def test_other_choices():
    with pytest.raises(ValueError, match="must be a `list` or `str`"):
        by_tensorflow(SHAPES, "base", 3)
    with pytest.raises(TypeError, match="vars_to_warm_start is a regex"):
        ws.WarmStartSettings("base", 3)


def test_slots_chosen_beside_a_variable_may_be_absent_here(tmp_path):
    """TensorFlow refuses, so that no list can name a variable that is trained with Adam."""
    ws.save_vars({"enc/w": np.ones((3, 2), np.float32)}, tmp_path / "model")
    with pytest.raises(ValueError, match="enc/w/Adam"):
        by_tensorflow(SHAPES, str(tmp_path / "model"), ["enc/w"])
    with graph(SHAPES) as session:
        report = ws.WarmStartSettings(tmp_path / "model", ["enc/w"]).init(session)
        assert report.loaded == ("enc/w",)
        assert values(session)["enc/w"].tolist() == np.ones((3, 2)).tolist()


# Object-based checkpoints


def object_checkpoint(path):
    """Write a TF2 checkpoint of a module; return its path."""
    module = tf.Module()
    module.table = tf.Variable(tf.reshape(tf.range(12.0), (4, 3)), name="emb")
    module.inner = tf.Module()
    module.inner.w = tf.Variable(tf.ones((3, 2)), name="enc/w")
    return tf.train.Checkpoint(module=module).save(str(path / "ckpt"))


def test_an_object_based_checkpoint(tmp_path, words):
    path = object_checkpoint(tmp_path)
    shapes = {"emb": (5, 3), "enc/w": (3, 2)}
    theirs = by_tensorflow(shapes, path, ".*", {"emb": words(v1.train.VocabInfo)})
    assert equal(by_us(shapes, path, ".*", {"emb": words(ws.VocabInfo)}), theirs)
    shapes = {"other": (4, 3)}
    before = {"other": "module/table/.ATTRIBUTES/VARIABLE_VALUE"}
    theirs = by_tensorflow(shapes, path, ".*", None, before)
    assert equal(by_us(shapes, path, ".*", None, before), theirs)


def test_an_object_based_checkpoint_that_lacks_a_variable(tmp_path):
    path = object_checkpoint(tmp_path)
    assert "gone" in refused(NoSuchTensor, {"emb": (4, 3), "gone": (1,)}, path)


# What goes beyond TensorFlow


@pytest.mark.parametrize("dtype", ["float64", "float16", "bfloat16", "int32"])
def test_any_dtype_and_rank(dtype, tmp_path):
    old = np.arange(24).reshape(2, 4, 3).astype(tf.as_dtype(dtype).as_numpy_dtype)
    ws.save_vars({"w": old}, tmp_path / "model")
    new, before = NEW.decode().split(), OLD.decode().split()
    with tf.Graph().as_default(), v1.Session() as session:
        variable = v1.get_variable("w", (2, 6, 3), dtype, initializer=v1.zeros_initializer())
        info = ws.VocabInfo(new, 5, 1, before, axis=1)
        ws.WarmStartSettings(tmp_path / "model", ".*", {"w": info}).init(session)
        found = session.run(variable)
    assert found.dtype == old.dtype
    assert np.array_equal(found[:, [0, 2, 4]], old[:, [1, 2, 0]])
    assert not found[:, [1, 3, 5]].any()


def test_an_old_size_counts_for_columns_too(base, words):
    """TensorFlow passes over `old_vocab_size` on axis 1."""
    shapes = SHAPES | {"fc/w": (2, 3)}
    fields = {"new_vocab_size": 3, "axis": 1, "old_vocab_size": 2}
    found = by_us(
        shapes, base, "fc/w", {"fc/w": words(ws.VocabInfo, "kept.txt", "classes.txt", **fields)}
    )
    assert not found["fc/w"][:, [0, 2]].any()
    assert found["fc/w"][:, 1].all()


@pytest.mark.parametrize(
    "initializer",
    [
        tf.constant_initializer(9.0),
        v1.constant_initializer(9.0),
        v1.random_uniform_initializer(9, 9),
        tf.keras.initializers.Constant(9.0),
        lambda shape, dtype: np.full(shape, 9.0, dtype),
        lambda shape, dtype: tf.fill(shape, tf.constant(9, dtype)),
    ],
    ids=["tf", "v1", "v1 random", "keras", "numpy", "function of tensors"],
)
@pytest.mark.parametrize("finalized", [False, True])
def test_initializers_of_tensorflow_and_keras(initializer, finalized, base, words):
    infos = {"emb": words(ws.VocabInfo, backup_initializer=initializer)}
    with graph(SHAPES | {"emb": (5, 3)}) as session:
        operations = len(session.graph.get_operations())
        ws.WarmStartSettings(base, "emb", infos).init(session)
        found = values(session)["emb"]
        grown = {op.type for op in session.graph.get_operations()[operations:]}
    assert grown <= {"VarIsInitializedOp", "Identity"}
    assert found[[1, 3]].tolist() == [[9, 9, 9]] * 2


def test_random_initializers_keep_to_the_seed_of_the_graph(base, words):
    infos = {"emb": words(ws.VocabInfo, backup_initializer=v1.random_normal_initializer())}

    def rows(seed):
        return by_us(SHAPES | {"emb": (5, 3)}, base, "emb", infos, seed=seed)["emb"]

    assert np.array_equal(rows(1), rows(1))
    assert not np.array_equal(rows(1), rows(2))
    assert rows(1)[[1, 3]].std() > 0


@pytest.mark.parametrize("parts", [None, 2])
@pytest.mark.parametrize("initialized", [True, False])
def test_the_models_own_rows(initialized, parts, base, words):
    infos = {"emb": words(ws.VocabInfo, backup_initializer="model")}
    with graph(SHAPES | {"emb": (5, 3)}, parts=parts, optimizer=None) as session:
        if initialized:
            session.run(v1.global_variables_initializer())
            own = np.concatenate([session.run(v) for v in v1.global_variables("emb")])
        ws.WarmStartSettings(base, "emb", infos).init(session)
        found = np.concatenate([session.run(v) for v in v1.global_variables("emb")])
    assert np.array_equal(found[[0, 2, 4]], ws.load_vars(base)["emb"][[1, 2, 0]])
    assert found[[1, 3]].all()
    if initialized:
        assert np.array_equal(found[[1, 3]], own[[1, 3]])


@pytest.mark.parametrize("parts", [None, 2])
@pytest.mark.parametrize(("choice", "slots"), [(["emb"], False), ("emb", True)])
def test_slots_follow_their_rows(choice, slots, parts, base, words):
    saved = ws.load_vars(base)
    infos = {"emb": words(ws.VocabInfo, num_oov_buckets=1)}
    with graph(SHAPES | {"emb": (6, 3)}, parts=parts) as session:
        report = ws.WarmStartSettings(base, choice, infos, slots=slots).init(session)
        found = ws.session_for(session).read_all()
    assert set(report.loaded) == {"emb", "emb/Adam", "emb/Adam_1"}
    for name in report.loaded:
        assert np.array_equal(found[name][[0, 2, 4]], saved[name][[1, 2, 0]])
        assert not found[name][[1, 3, 5]].any()


def test_new_rows_of_slots_are_what_the_optimizer_begins_with(tmp_path, words):
    def adagrad(rate):
        return v1.train.AdagradOptimizer(rate, initial_accumulator_value=0.25)

    with graph(SHAPES, optimizer=adagrad, seed=1) as session:
        session.run(v1.global_variables_initializer())
        session.run(v1.get_collection(v1.GraphKeys.TRAIN_OP)[0])
        path = v1.train.Saver().save(session, str(tmp_path / "model"))
    with graph(SHAPES | {"emb": (5, 3)}, optimizer=adagrad) as session:
        ws.WarmStartSettings(path, "emb", {"emb": words(ws.VocabInfo)}, slots=True).init(session)
        found = values(session)["emb/Adagrad"]
    assert found[[1, 3]].tolist() == [[0.25] * 3] * 2
    assert (found[[0, 2, 4]] > 0.25).all()


def test_training_goes_on(base, words):
    infos = {"emb": words(ws.VocabInfo)}
    with graph(SHAPES | {"emb": (5, 3)}) as session:
        ws.WarmStartSettings(base, [".*"], infos).init(session)
        before = values(session)
        session.run(v1.get_collection(v1.GraphKeys.TRAIN_OP)[0])
        after = values(session)
    assert after["global_step"] == before["global_step"] + 1
    assert np.isfinite(after["emb"]).all()
    assert not np.array_equal(after["emb"], before["emb"])


def test_what_may_be_left_out_of_a_vocabulary_is_what_tensorflow_lets_out():
    def arguments(kind):
        return [(p.name, p.default) for p in inspect.signature(kind).parameters.values()]

    assert arguments(ws.VocabInfo) == arguments(tf.compat.v1.train.VocabInfo)
