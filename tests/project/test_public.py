"""Every public name resolves, says what it is, and stands the same in every list of them."""

import ast
from pathlib import Path

import pytest

import warmstart
from warmstart import MissingDependency

#: What the design promises (section 3).  Names beyond these may be public too.
PROMISED = """
open load_vars load_chkpt_vars load_checkpoint_vars save_vars save_chkpt_vars save_checkpoint_vars
convert diff verify CheckpointError session_for SmartInit get_model_loader SaverRestore DictRestore
ChainInit WarmStartSettings VocabInfo SessionInit freeze_variables freeze ScaleGradient TorchModel
TFGraph TrainConfig AutoResumeTrainConfig launch_train Trainer Callback ModelSaver MinSaver MaxSaver
RunUpdateOps ProgressBar JSONWriter TensorBoardWriter Batches PredictConfig OfflinePredictor logger
Source TensorSpec Diff Verification Report Session Frozen KerasModel
"""


def typed_names() -> dict[str, str]:
    """Return name -> module of the imports that type checkers see, under TYPE_CHECKING."""
    tree = ast.parse(Path(warmstart.__file__).read_text())
    block = next(node for node in tree.body if isinstance(node, ast.If))
    imports = [node for node in block.body if isinstance(node, ast.ImportFrom)]
    return {alias.asname: node.module for node in imports for alias in node.names}


@pytest.mark.parametrize("name", warmstart.PUBLIC)
def test_it_resolves_and_has_a_docstring(name: str) -> None:
    assert getattr(warmstart, name).__doc__


def test_the_design_is_covered() -> None:
    assert set(PROMISED.split()) - set(warmstart.PUBLIC) == set()


def test_all_agrees_with_the_table() -> None:
    assert set(warmstart.PUBLIC) - set(warmstart.__all__) == {"open", *warmstart.NEEDING}
    assert set(warmstart.__all__) < set(warmstart.PUBLIC)


def test_dir_lists_every_public_name() -> None:
    assert set(dir(warmstart)) == {"__version__", *warmstart.PUBLIC}


def test_type_checkers_see_the_same_names() -> None:
    assert typed_names() == warmstart.PUBLIC


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'warmstart' has no attribute 'laod_vars'"):
        warmstart.laod_vars  # noqa: B018


@pytest.mark.parametrize(
    ("name", "package", "extra"),
    [
        ("TorchModel", "torch", "torch"),
        ("TFGraph", "tensorflow", "tf"),
        ("JaxModel", "flax", "jax"),
        ("KerasModel", "keras", "keras"),
    ],
)
def test_a_missing_framework_is_told_with_its_extra(
    name: str, package: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(module: str, anchor: str) -> None:
        raise ModuleNotFoundError(f"No module named {package!r}", name=package)

    monkeypatch.setattr(warmstart, "import_module", missing)
    monkeypatch.delitem(vars(warmstart), name, raising=False)
    with pytest.raises(
        MissingDependency, match=rf"{name} needs {package}: .*'warmstart\[{extra}\]'"
    ):
        getattr(warmstart, name)


def test_another_missing_module_is_not_taken_for_a_framework(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def missing(module: str, anchor: str) -> None:
        raise ModuleNotFoundError("No module named 'numpy'", name="numpy")

    monkeypatch.setattr(warmstart, "import_module", missing)
    monkeypatch.delitem(vars(warmstart), "TorchModel", raising=False)
    with pytest.raises(ModuleNotFoundError, match="No module named 'numpy'"):
        warmstart.TorchModel  # noqa: B018
