"""Public names and the modules that define them. `__init__.py` reads the names from this file."""

from .attack.fgsm import fgsm as fgsm
from .attack.fgsm import fgsm_sweep as fgsm_sweep
from .attack.minimal import Minimal as Minimal
from .attack.minimal import minimal_epsilon as minimal_epsilon
from .attack.random_start import random_start as random_start
from .benchmarking.benchmark import benchmark as benchmark
from .benchmarking.result import Benchmark as Benchmark
from .comparison.compare import compare as compare
from .comparison.result import Comparison as Comparison
from .data.dataset import ArrayDataset as ArrayDataset
from .data.dataset import BadSample as BadSample
from .data.dataset import Batch as Batch
from .data.dataset import Dataset as Dataset
from .data.images import ImageDataset as ImageDataset
from .data.load import load_data as load_data
from .errors import CandidateError as CandidateError
from .errors import DataError as DataError
from .errors import IncompleteError as IncompleteError
from .errors import InputError as InputError
from .errors import InvalidRunError as InvalidRunError
from .errors import ModelError as ModelError
from .errors import ResourceError as ResourceError
from .errors import RfgsmError as RfgsmError
from .errors import RunError as RunError
from .errors import SettingError as SettingError
from .errors import UnsafeError as UnsafeError
from .evaluation.evaluate import evaluate as evaluate
from .evaluation.evaluate import sweep as sweep
from .evaluation.result import Evaluation as Evaluation
from .evaluation.result import to_pandas as to_pandas
from .evaluation.transfer import Transfer as Transfer
from .evaluation.transfer import transfer as transfer
from .explanation.explain import explain as explain
from .explanation.result import Explanation as Explanation
from .models.classifier import Classifier as Classifier
from .models.classifier import TorchClassifier as TorchClassifier
from .models.classifier import wrap as wrap
from .models.load import load_classifier as load_classifier
from .models.preprocessing import Preprocessing as Preprocessing
from .references.candidate import Candidate as Candidate
from .references.candidate import load_candidate as load_candidate
from .runs.attack.replay import AttackCheck as AttackCheck
from .runs.attack.replay import check_adversarial as check_adversarial
from .runs.attack.result import SavedAttack as SavedAttack
from .runs.attack.save import save_adversarial as save_adversarial
from .runs.gate import Gate as Gate
from .runs.gate import gate as gate
from .runs.train import train as train
from .stats.rate import Rate as Rate
from .stats.tally import Tally as Tally
from .training.result import Training as Training
from .verification.result import Verification as Verification
from .verification.verify import verify as verify

__all__: list[str]
__version__: str
