"""Is what a model, a sampler or a kernel says right? For the checkers of targets: docs/model-accuracy.md.

Every check compares a candidate's answers with the reference's and returns a `Check`; `run_checker` is the frame of the
script around them.
"""

from evaluators.accuracy.alignment import Alignment, Step, align
from evaluators.accuracy.check import Bound, Check, Power
from evaluators.accuracy.given import BadAnswer, CheckerError
from evaluators.accuracy.greedy import Greedy, check_forced, check_greedy
from evaluators.accuracy.holm import holm
from evaluators.accuracy.images import check_images, max_difference, psnr, ssim
from evaluators.accuracy.logits import check_logits, check_logprobs, check_topk
from evaluators.accuracy.power import detectable, samples_needed
from evaluators.accuracy.rows import sampling_probabilities
from evaluators.accuracy.sampling import check_categories, check_values
from evaluators.accuracy.script import ask_program, run_checker, verdict, write_verdict
from evaluators.accuracy.structured import check_json
from evaluators.accuracy.tensors import TOLERANCES, Tolerance, check_tensor, rounded_to
from evaluators.accuracy.transcripts import Normalisation, align_texts, check_transcripts
from evaluators.call import Call

__all__ = [
    "TOLERANCES",
    "Alignment",
    "BadAnswer",
    "Bound",
    "Call",
    "Check",
    "CheckerError",
    "Greedy",
    "Normalisation",
    "Power",
    "Step",
    "Tolerance",
    "align",
    "align_texts",
    "ask_program",
    "check_categories",
    "check_forced",
    "check_greedy",
    "check_images",
    "check_json",
    "check_logits",
    "check_logprobs",
    "check_tensor",
    "check_topk",
    "check_transcripts",
    "check_values",
    "detectable",
    "holm",
    "max_difference",
    "psnr",
    "rounded_to",
    "run_checker",
    "samples_needed",
    "sampling_probabilities",
    "ssim",
    "verdict",
    "write_verdict",
]
