"""The state of a model: checkpoints of every framework read, written, compared and converted
without that framework; live models started from them by exact name; variables frozen and proved
frozen; training that goes on exactly where it was killed.

Every public name is loaded on first use, so `import warmstart` costs no framework and no NumPy.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .doctor.diagnose import diagnose as diagnose
    from .doctor.findings import Diagnosis as Diagnosis
    from .errors import CannotHold as CannotHold
    from .errors import CheckpointError as CheckpointError
    from .errors import CheckpointNotFound as CheckpointNotFound
    from .errors import CorruptCheckpoint as CorruptCheckpoint
    from .errors import FreezeError as FreezeError
    from .errors import MissingDependency as MissingDependency
    from .errors import NameConflict as NameConflict
    from .errors import NoSuchTensor as NoSuchTensor
    from .errors import ProcessError as ProcessError
    from .errors import RestoreError as RestoreError
    from .errors import RestoreMismatch as RestoreMismatch
    from .errors import ResumeError as ResumeError
    from .errors import RuleError as RuleError
    from .errors import SaveError as SaveError
    from .errors import UnknownFormat as UnknownFormat
    from .errors import UnsupportedCheckpoint as UnsupportedCheckpoint
    from .files.convert import convert as convert
    from .files.diff import Diff as Diff
    from .files.diff import diff as diff
    from .files.dump import dump as dump
    from .files.variables import load_checkpoint_vars as load_checkpoint_vars
    from .files.variables import load_chkpt_vars as load_chkpt_vars
    from .files.variables import load_vars as load_vars
    from .files.variables import open as open
    from .files.variables import save_checkpoint_vars as save_checkpoint_vars
    from .files.variables import save_chkpt_vars as save_chkpt_vars
    from .files.variables import save_vars as save_vars
    from .files.verify import Verification as Verification
    from .files.verify import verify as verify
    from .freezing.context import freeze_variables as freeze_variables
    from .freezing.frozen import Frozen as Frozen
    from .freezing.frozen import freeze as freeze
    from .freezing.gradients import FilterNoneGrad as FilterNoneGrad
    from .freezing.gradients import GlobalNormClip as GlobalNormClip
    from .freezing.gradients import GradientProcessor as GradientProcessor
    from .freezing.gradients import MapGradient as MapGradient
    from .freezing.gradients import ScaleGradient as ScaleGradient
    from .freezing.watching import CheckGradient as CheckGradient
    from .freezing.watching import PrintGradient as PrintGradient
    from .freezing.watching import SummaryGradient as SummaryGradient
    from .restore.inverting import inverted as inverted
    from .restore.layouts.rules import carry as carry
    from .restore.report import Report as Report
    from .restore.sessinit import ChainInit as ChainInit
    from .restore.sessinit import DictRestore as DictRestore
    from .restore.sessinit import SaverRestore as SaverRestore
    from .restore.sessinit import SessionInit as SessionInit
    from .restore.sessinit import SmartInit as SmartInit
    from .restore.sessinit import get_model_loader as get_model_loader
    from .restore.verbs import cast as cast
    from .restore.verbs import concatenate as concatenate
    from .restore.verbs import drop as drop
    from .restore.verbs import fit as fit
    from .restore.verbs import flip as flip
    from .restore.verbs import keep as keep
    from .restore.verbs import pad as pad
    from .restore.verbs import rename as rename
    from .restore.verbs import reshape as reshape
    from .restore.verbs import scope as scope
    from .restore.verbs import slice_axis as slice_axis
    from .restore.verbs import split as split
    from .restore.verbs import stack as stack
    from .restore.verbs import transpose as transpose
    from .restore.verbs import unstack as unstack
    from .restore.verbs import vocab as vocab
    from .restore.vocab import VocabInfo as VocabInfo
    from .restore.warm_start import WarmStartSettings as WarmStartSettings
    from .sessions import session_for as session_for
    from .sessions.base import Session as Session
    from .sessions.jax.model import JaxModel as JaxModel
    from .sessions.jax.transform import frozen_transform as frozen_transform
    from .sessions.keras.model import KerasModel as KerasModel
    from .sessions.tf2.model import TFModule as TFModule
    from .sessions.tf_graph.model import TFGraph as TFGraph
    from .sessions.torch.loader import TorchData as TorchData
    from .sessions.torch.model import TorchModel as TorchModel
    from .source import DictSource as DictSource
    from .source import Source as Source
    from .spec import TensorSpec as TensorSpec
    from .train import logger as logger
    from .train.best import MaxSaver as MaxSaver
    from .train.best import MinSaver as MinSaver
    from .train.callback import Callback as Callback
    from .train.config import AutoResumeTrainConfig as AutoResumeTrainConfig
    from .train.config import TrainConfig as TrainConfig
    from .train.config import launch_train as launch_train
    from .train.data import Batches as Batches
    from .train.deep import DeepVerification as DeepVerification
    from .train.deep import verify_deep as verify_deep
    from .train.monitors import JSONWriter as JSONWriter
    from .train.predict import OfflinePredictor as OfflinePredictor
    from .train.predict import PredictConfig as PredictConfig
    from .train.progress import ProgressBar as ProgressBar
    from .train.proof import Moved as Moved
    from .train.proof import first_moved as first_moved
    from .train.prove import ProveFrozen as ProveFrozen
    from .train.repair import Repair as Repair
    from .train.repair import repair as repair
    from .train.retention import Best as Best
    from .train.saver import ModelSaver as ModelSaver
    from .train.tensorboard import TensorBoardWriter as TensorBoardWriter
    from .train.trainer import Trainer as Trainer
    from .train.unfreezing import GradualUnfreezing as GradualUnfreezing
    from .train.update_ops import RunUpdateOps as RunUpdateOps

__version__ = "0.1.0"

#: public name -> the module it stands in
PUBLIC: dict[str, str] = {
    **dict.fromkeys(
        (
            "CannotHold", "CheckpointError", "CheckpointNotFound", "CorruptCheckpoint",
            "FreezeError", "MissingDependency", "NameConflict", "NoSuchTensor", "ProcessError",
            "RestoreError", "RestoreMismatch", "ResumeError", "RuleError", "SaveError",
            "UnknownFormat", "UnsupportedCheckpoint",
        ),
        "errors",
    ),
    "TensorSpec": "spec",
    **dict.fromkeys(("DictSource", "Source"), "source"),
    **dict.fromkeys(
        (
            "open", "load_vars", "load_chkpt_vars", "load_checkpoint_vars",
            "save_vars", "save_chkpt_vars", "save_checkpoint_vars",
        ),
        "files.variables",
    ),
    "convert": "files.convert",
    **dict.fromkeys(("Diff", "diff"), "files.diff"),
    "dump": "files.dump",
    **dict.fromkeys(("Verification", "verify"), "files.verify"),
    "session_for": "sessions",
    "Session": "sessions.base",
    "KerasModel": "sessions.keras.model",
    "TorchModel": "sessions.torch.model",
    "TorchData": "sessions.torch.loader",
    "JaxModel": "sessions.jax.model",
    "frozen_transform": "sessions.jax.transform",
    "TFGraph": "sessions.tf_graph.model",
    "TFModule": "sessions.tf2.model",
    **dict.fromkeys(
        (
            "ChainInit", "DictRestore", "SaverRestore", "SessionInit", "SmartInit",
            "get_model_loader",
        ),
        "restore.sessinit",
    ),
    "VocabInfo": "restore.vocab",
    "WarmStartSettings": "restore.warm_start",
    "Report": "restore.report",
    "carry": "restore.layouts.rules",
    "inverted": "restore.inverting",
    **dict.fromkeys(
        (
            "cast", "concatenate", "drop", "fit", "flip", "keep", "pad", "rename", "reshape",
            "scope", "slice_axis", "split", "stack", "transpose", "unstack",
            "vocab",
        ),
        "restore.verbs",
    ),
    **dict.fromkeys(("Frozen", "freeze"), "freezing.frozen"),
    "freeze_variables": "freezing.context",
    **dict.fromkeys(
        (
            "FilterNoneGrad", "GlobalNormClip", "GradientProcessor", "MapGradient",
            "ScaleGradient",
        ),
        "freezing.gradients",
    ),
    **dict.fromkeys(("CheckGradient", "PrintGradient", "SummaryGradient"), "freezing.watching"),
    "logger": "train",
    **dict.fromkeys(("AutoResumeTrainConfig", "TrainConfig", "launch_train"), "train.config"),
    "Trainer": "train.trainer",
    "Callback": "train.callback",
    "ModelSaver": "train.saver",
    "Best": "train.retention",
    **dict.fromkeys(("DeepVerification", "verify_deep"), "train.deep"),
    **dict.fromkeys(("Repair", "repair"), "train.repair"),
    **dict.fromkeys(("MaxSaver", "MinSaver"), "train.best"),
    "RunUpdateOps": "train.update_ops",
    "ProveFrozen": "train.prove",
    **dict.fromkeys(("Moved", "first_moved"), "train.proof"),
    "GradualUnfreezing": "train.unfreezing",
    "ProgressBar": "train.progress",
    "JSONWriter": "train.monitors",
    "TensorBoardWriter": "train.tensorboard",
    "Batches": "train.data",
    **dict.fromkeys(("OfflinePredictor", "PredictConfig"), "train.predict"),
    "Diagnosis": "doctor.findings",
    "diagnose": "doctor.diagnose",
}  # fmt: skip

#: framework -> the extra that brings it
EXTRAS = {
    "torch": "torch",
    "tensorflow": "tf",
    "keras": "keras",
    "jax": "jax",
    "flax": "jax",
    "optax": "jax",
}

#: Names that a framework must be there for.
NEEDING = (
    "JaxModel", "KerasModel", "TFGraph", "TFModule", "TorchData", "TorchModel", "frozen_transform",
)  # fmt: skip

#: What `from warmstart import *` brings: not what would hide a builtin, nor what needs a framework.
__all__ = [name for name in PUBLIC if name not in ("open", *NEEDING)]


def __getattr__(name: str) -> Any:
    """Import a public name on first use."""
    if name not in PUBLIC:
        raise AttributeError(f"module 'warmstart' has no attribute {name!r}")
    module = imported("." + PUBLIC[name], name)
    value = import_module(".logger", module.__name__) if name == "logger" else getattr(module, name)
    globals()[name] = value
    return value


def imported(module: str, name: str) -> Any:
    """Return the module that *name* stands in, or say which extra it needs."""
    try:
        return import_module(module, __name__)
    except ModuleNotFoundError as error:
        if error.name not in EXTRAS:
            raise
        from .errors import MissingDependency

        extra = f"pip install 'warmstart[{EXTRAS[error.name]}]'"
        raise MissingDependency(f"{name} needs {error.name}: {extra}") from error


def __dir__() -> list[str]:
    return sorted(["__version__", *PUBLIC])
