"""Pickles read without running them: plain values as Python has them, all else inert."""

import argparse
import collections
import datetime
import functools
import io
import math
import pathlib
import pickle
import tracemalloc
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from warmstart import CheckpointError, CorruptCheckpoint, UnsupportedCheckpoint
from warmstart.binary.pickle import COMMON, Attributed, Call, Global, RawArray, load_at, loads

PROTOCOLS = range(6)

KEYS = (
    st.text(max_size=20)
    | st.integers(-(2**63), 2**64 - 1)
    | st.booleans()
    | st.binary(max_size=9)
    | st.none()
    | st.tuples(st.integers(0, 9), st.text(max_size=3))
)
LEAVES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(-(2**2000), 2**2000)
    | st.floats(allow_nan=False)
    | st.complex_numbers(allow_nan=False)
    | st.text()
    | st.binary(max_size=400)
    | st.binary(max_size=400).map(bytearray)
    | st.sets(KEYS, max_size=4)
    | st.frozensets(KEYS, max_size=4)
    | st.datetimes()
    | st.timedeltas()
)


def containers(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return (
        st.lists(inner, max_size=5)
        | st.lists(inner, max_size=5).map(tuple)
        | st.dictionaries(KEYS, inner, max_size=5)
        | st.dictionaries(KEYS, inner, max_size=5).map(collections.OrderedDict)
    )


@pytest.mark.parametrize("protocol", PROTOCOLS)
@given(value=st.recursive(LEAVES, containers, max_leaves=30))
def test_plain_values_come_back_equal(protocol: int, value: Any) -> None:
    assert loads(pickle.dumps(value, protocol)) == value


@given(value=st.recursive(LEAVES, containers, max_leaves=30))
def test_so_they_do_from_python_s_own_slower_writer(value: Any) -> None:
    file = io.BytesIO()
    pickle._Pickler(file, 4).dump(value)  # type: ignore[attr-defined]  # other opcodes than the C one
    assert loads(file.getvalue()) == value


@given(data=st.binary(max_size=300))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    outcome(data)


@given(data=st.data())
def test_any_change_of_a_pickle_is_read_or_refused(data: st.DataObject) -> None:
    whole = pickle.dumps(SAMPLE, data.draw(st.integers(0, 5)))
    at = data.draw(st.integers(0, len(whole) - 1))
    outcome(whole[:at] + data.draw(st.binary(max_size=3)) + whole[at + 1 :])


SAMPLE = {
    "a": [1, 2.5, "x", None],
    "b": collections.OrderedDict(c=(1, 2), d={3}),
    "e": np.arange(6.0).reshape(2, 3),
    "f": argparse.Namespace(g=np.float32(1)),
}


def outcome(data: bytes) -> Any:
    try:
        return loads(data)
    except CheckpointError as error:
        return error


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_every_truncation_is_refused(protocol: int) -> None:
    whole = pickle.dumps(SAMPLE, protocol)
    for size in range(len(whole)):
        with pytest.raises(CorruptCheckpoint):
            loads(whole[:size])


# --- what is not plain ----------------------------------------------------------------------------


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_an_object_is_what_it_is_made_of(protocol: int) -> None:
    found = loads(pickle.dumps(argparse.Namespace(lr=0.1), protocol))
    assert found.function == Global("argparse", "Namespace")
    assert found.state == {"lr": 0.1}


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_partial_keeps_its_parts(protocol: int) -> None:
    found = loads(pickle.dumps(functools.partial(math.hypot, 1, x=2), protocol))
    assert found.function == Global("functools", "partial")
    assert found.state == (Global("math", "hypot"), (1,), {"x": 2}, None)


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("dtype", ["<f4", ">f4", "<i8", "?", "<c8", "<U3"])
def test_an_array_of_numpy_is_described(protocol: int, dtype: str) -> None:
    array = np.zeros((2, 3), dtype, order="F")
    found = loads(pickle.dumps(array, protocol))
    assert isinstance(found, RawArray)
    assert (found.shape, found.fortran_order) == ((2, 3), True)
    assert np.dtype(found.dtype.descr if found.dtype else None) == array.dtype
    assert bytes(found.data) == array.tobytes("F")


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_scalar_of_numpy_is_one(protocol: int) -> None:
    found = loads(pickle.dumps(np.float32(2.5), protocol))
    assert found.scalar
    assert np.frombuffer(found.data, "<f4").tolist() == [2.5]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (pathlib.PurePosixPath("/a/b"), "/a/b"),
        (pathlib.PurePosixPath("a/b"), "a/b"),
        (pathlib.PureWindowsPath("C:/a/b"), "C:\\a\\b"),
        (collections.deque([1, 2], 5), [1, 2]),
        (collections.Counter("aab"), {"a": 2, "b": 1}),
        (collections.defaultdict(list, a=[1]), {"a": [1]}),
        (slice(1, 2), slice(1, 2)),
        (range(3), range(3)),
        (datetime.date(2020, 1, 2), datetime.date(2020, 1, 2)),
        (datetime.UTC, datetime.UTC),
    ],
)
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_value_in_disguise(protocol: int, value: Any, expected: Any) -> None:
    assert loads(pickle.dumps(value, protocol)) == expected


def test_a_dict_with_attributes_keeps_them() -> None:
    state = collections.OrderedDict(a=1)
    state._metadata = {"": 1}  # type: ignore[attr-defined]  # as PyTorch does it
    found = loads(pickle.dumps(state, 2))
    assert isinstance(found, Attributed)
    assert (found, found.state) == ({"a": 1}, {"_metadata": {"": 1}})


def test_a_subclass_of_list_and_dict_keeps_its_items() -> None:
    assert loads(pickle.dumps(Many([1, 2]), 2)).appended == [1, 2]
    assert loads(pickle.dumps(Named(a=1), 2)).items == [("a", 1)]


class Many(list[int]):
    """A list with a class of its own."""


class Named(dict[str, int]):
    """A dict with a class of its own."""


def test_strings_of_python_2_are_text_where_they_are_ascii() -> None:
    assert loads(b"\x80\x02(U\x01aU\x01\xe9t.") == ("a", b"\xe9")
    assert loads(b"(S'a'\nS'\\xe9\\n\\''\nt.") == ("a", b"\xe9\n'")


def test_objects_of_python_2_are_inert_too() -> None:
    found = loads(b"(I1\nios\nsystem\n.")
    assert (found.function, found.args) == (Global("os", "system"), (1,))
    assert loads(b"(cos\nsystem\nI1\no.").function == Global("os", "system")


def test_several_in_a_row() -> None:
    data = pickle.dumps(1) + pickle.dumps("two") + b"rest"
    one, end = load_at(data, 0)
    two, end = load_at(data, end)
    assert (one, two, data[end:]) == (1, "two", b"rest")
    with pytest.raises(CorruptCheckpoint, match=r"\d+ bytes follow the pickle, which ends at \d+"):
        loads(data)


def test_large_bytes_stay_views() -> None:
    data = pickle.dumps([b"x" * 5000, b"y"], 4)
    large, small = loads(data, views=True)
    assert (large.obj, small) == (data, b"y")


def test_the_caller_s_builders_and_storages() -> None:
    data = b"\x80\x02ctorch\nSize\nK\x02\x85\x85R(X\x07\x00\x00\x00storageK\x01tQ\x86."
    builders = {**COMMON, ("torch", "Size"): lambda size: size}
    found = loads(data, builders=builders, persistent=lambda key: key)
    assert found == ((2,), ("storage", 1))


def test_what_a_builder_does_not_take_stays_a_call() -> None:
    found = loads(b"\x80\x02ccollections\nOrderedDict\nK\x05\x85R.")
    assert (found.function.name, found.args) == ("OrderedDict", (5,))


# --- code is never run ----------------------------------------------------------------------------

#: Each would have made the file "sentinel", had a name been imported or a function called.
ATTACKS = {
    "os.system": b"cos\nsystem\n(S'touch %s'\ntR.",
    "posix.system": b"cposix\nsystem\n(S'touch %s'\ntR.",
    "nt.system": b"cnt\nsystem\n(S'touch %s'\ntR.",
    "subprocess": b"csubprocess\ncheck_call\n((lp0\nS'touch'\naS'%s'\natR.",
    "eval": b'c__builtin__\neval\n(S\'open("%s","w")\'\ntR.',
    "exec": b'cbuiltins\nexec\n(S\'open("%s","w")\'\ntR.',
    "open": b"cio\nopen\n(S'%s'\nS'w'\ntR.",
    "import": (
        b"c__builtin__\ngetattr\n(c__builtin__\n__import__\n(S'os'\ntRS'system'\ntR"
        b"(S'touch %s'\ntR."
    ),
    "instance": b"(S'touch %s'\nios\nsystem\n.",
    "object": b"(cos\nsystem\nS'touch %s'\no.",
    "new": b"\x80\x02cos\nsystem\n(S'touch %s'\nt\x81.",
    "stack": b"\x80\x04\x8c\x02os\x8c\x06system\x93(S'touch %s'\ntR.",
    "state": b"cargparse\nNamespace\n)R(dS'__setstate__'\ncos\nsystem\nsbS'touch %s'\nb.",
    "forwarded": b"ccopyreg\n__newobj__\n(cos\nsystem\nS'touch %s'\ntR.",
    "reconstructed": (
        b"ccopy_reg\n_reconstructor\n(cos\nsystem\nc__builtin__\nstr\nS'touch %s'\ntR."
    ),
    "defaultdict": b"ccollections\ndefaultdict\n(cos\nsystem\n(lS'touch %s'\natR.",
    "codecs": b"c_codecs\nencode\n(S'%s'\ncos\nsystem\ntR.",
    "torch": b"ctorch.serialization\nload\n(S'%s'\ntR.",
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_no_code_is_run(attack: str, tmp_path: pathlib.Path) -> None:
    sentinel = tmp_path / "sentinel"
    found = loads(ATTACKS[attack] % str(sentinel).encode())
    assert isinstance(found, Call)
    assert not sentinel.exists()


def test_the_attacks_are_real(tmp_path: pathlib.Path) -> None:
    sentinel = tmp_path / "sentinel"
    pickle.loads(ATTACKS["os.system"] % str(sentinel).encode())
    assert sentinel.exists()


# --- memory and work ------------------------------------------------------------------------------

#: Each claims far more than its bytes.  What it would have done is beside it.
BOMBS = {
    "bytes": b"\x80\x04\x8e" + (2**50).to_bytes(8, "little"),  # a petabyte of bytes
    "bytearray": b"\x80\x05\x96" + (2**50).to_bytes(8, "little"),  # filled with zeros
    "text": b"\x80\x04\x8d" + (2**50).to_bytes(8, "little"),  # a petabyte of text
    "frame": b"\x80\x04\x95" + (2**60).to_bytes(8, "little") + b"N.",  # a read-ahead of as much
    "long": b"\x80\x02\x8b\xff\xff\xff\x7f" + b"\1" * 3000,  # an integer of 2 GB
    "digits": b"L" + b"9" * 100_000 + b"L\n.",  # the square of the digits in time
    "memo": b"\x80\x02Nr\xff\xff\xff\xffp99999999999999\n.",  # a table of that size
    "key": pickle.dumps({(((((1,) * 20,) * 20,) * 20,) * 20,): 1}, 4),  # 160,000 hashes a look
    "bytearray of a number": b"\x80\x03cbuiltins\nbytearray\nJ\xff\xff\xff\x7f\x85R.",  # 2 GB
    "list of a range": (
        b"\x80\x02ccollections\nOrderedDict\ncbuiltins\nrange\nJ\xff\xff\xff\x7f\x85R\x85R."
    ),
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_a_bomb_takes_little_memory(bomb: str) -> None:
    tracemalloc.start()
    try:
        outcome(BOMBS[bomb])
        assert tracemalloc.get_traced_memory()[1] < 3_000_000
    finally:
        tracemalloc.stop()


def test_containers_that_share_parts_stay_shared() -> None:
    # l = []; l = [l, l]; ... sixty times: 2**60 lists, if anything copied them
    found = loads(b"\x80\x02]" + b"q\x000](h\x00h\x00e" * 60 + b".")
    assert found[0] is found[1]


def test_the_same_large_value_is_not_copied_again_and_again() -> None:
    # a set of 100,000 numbers, made anew by each of 100,000 calls: hours, and all memory
    numbers = pickle.dumps(list(range(100_000)), 2)[2:-1]
    calls = b"h\x00h\x01R0" * 100_000
    data = b"\x80\x02c__builtin__\nset\nq\x00" + numbers + b"\x85q\x010" + calls + b"N."
    data = data.replace(b"q\x00]q\x00", b"q\x00]", 1)
    with pytest.raises(CorruptCheckpoint, match="the same large one again and again"):
        loads(data)


def test_values_deep_in_one_another_need_no_recursion() -> None:
    data = b"\x80\x02" + b"]" * 100_000 + b"a" * 99_999 + b"."
    found = loads(data)
    depth = 0
    while found:
        found, depth = found[0], depth + 1
    assert depth == 99_999


def test_a_tuple_deep_in_others_is_no_key() -> None:
    # Python hashes it by recursion in C, which has no limit but the stack: the process dies
    data = b"\x80\x02})" + b"\x85" * 500_000 + b"Ns."
    with pytest.raises(UnsupportedCheckpoint, match="a key is a tuple of more than 64 parts"):
        loads(data)


def test_work_is_linear() -> None:
    # 20,000 tuples that all have one hash would be compared 200 million times
    keys = [(n, 0) for n in range(20_000)]
    with pytest.raises(UnsupportedCheckpoint, match="more than 10000 keys are tuples of numbers"):
        loads(pickle.dumps(dict.fromkeys(keys), 4))


MESSAGES = {
    r"the pickle is cut short: it goes on at byte 3, where the bytes end": b"\x80\x02N",
    r"0x01 is no opcode of a pickle": b"\x01",
    r"the pickle is of protocol 6; 0 to 5 are known": b"\x80\x06N.",
    r"the pickle stops with 2 values, where one is due": b"NN.",
    r"the pickle stops with 0 values, where one is due": b".",
    r"a number has 2000 bytes; 1024 are read": b"\x8b\xd0\x07\0\0" + bytes(2000) + b".",
    r"a string has -1 bytes": b"T\xff\xff\xff\xff.",
    r"a string is not in quotes": b"Sabc\n.",
    r"a name to import is no text": b"NN\x93.",
    r"a number of the extension registry": b"\x82\x01.",
    r"keeps buffers outside of it": b"\x97.",
    r"the pickle refers to 'x' outside of it": b"Px\n.",
    r"the pickle recalls value 7, which it never remembered": b"h\x07.",
    r"the pickle remembers a value as number -1": b"Np-1\n.",
    r"os\.system is to be called with a list, not a tuple": b"cos\nsystem\n]R.",
    r"values are appended to a dict": b"}Na.",
    r"values are added to a dict": b"}(N\x90.",
    r"items are set on a list": b"]NNs.",
    r"the last key of a dict has no value": b"}(Nu.",
    r"a list is given a state": b"]Nb.",
    r"a key is a list, which cannot be one": b"}]Ns.",
    r"a key is a number of more than 64 bits": b"}\x8a\x09" + b"\1" * 9 + b"Ns.",
    r"a key has 70000 characters; 65536 are allowed": b"}X\x70\x11\1\0" + b"x" * 70_000 + b"Ns.",
    r"the pickle makes no sense at its byte 1: list index out of range": b"\x85.",
    r"a NumPy dtype 'f4' has no state like NumPy's": b"cnumpy\ndtype\n(S'f4'\ntRNb.",
    r"a NumPy dtype has the byte order '!'": b"cnumpy\ndtype\n(S'f4'\ntR(I3\nS'!'\nNNtb.",
    r"a NumPy dtype is called 1": b"cnumpy\ndtype\n(I1\ntR.",
    r"a NumPy array has no state like NumPy's": b"cnumpy.core.multiarray\n_reconstruct\n)RNb.",
    r"a NumPy array has a list for a shape, not whole numbers": (
        b"cnumpy.core.numeric\n_frombuffer\n(S'x'\ncnumpy\ndtype\n(S'f4'\ntR]S'C'\ntR."
    ),
    r"a NumPy array is not described as NumPy does it": (
        b"cnumpy.core.numeric\n_frombuffer\n(S'x'\nN)S'C'\ntR."
    ),
    r"the bytes of a NumPy array are None": (
        b"cnumpy.core.numeric\n_frombuffer\n(Ncnumpy\ndtype\n(S'f4'\ntR)S'C'\ntR."
    ),
    r"a NumPy scalar has no dtype": b"cnumpy.core.multiarray\nscalar\n(NtR.",
}


@pytest.mark.parametrize("message", MESSAGES)
def test_what_is_said_of_a_broken_pickle(message: str) -> None:
    with pytest.raises((CorruptCheckpoint, UnsupportedCheckpoint), match=message):
        loads(MESSAGES[message])


NEWOBJ = b"\x80\x02ccopyreg\n__newobj__\nq\x00"


def test_a_call_that_only_calls_another_like_it() -> None:
    # Each level would copy the arguments, and recurse: RecursionError.
    with pytest.raises(CorruptCheckpoint, match="__newobj__ is to be called by another like it"):
        loads(NEWOBJ + b"(" + b"h\x00" * 5000 + b"tR.")


def test_long_arguments_given_again_and_again() -> None:
    # 60,000 calls of 300,000 arguments each: hours out of 600 kB.
    calls = b"cbuiltins\nslice\nq\x00(" + b"N" * 300_000 + b"tq\x010(" + b"h\x00h\x01R" * 60_000
    with pytest.raises(CorruptCheckpoint, match="makes the same large one again and again"):
        loads(b"\x80\x02" + calls + b"t.")
