"""What the names of GPU kernels, operators and CUDA calls say about what holds them back."""

from __future__ import annotations

import re
from collections.abc import Iterable

from raysearch.profile import Bound

_KINDS: tuple[tuple[Bound, re.Pattern[str]], ...] = (
    ("network", re.compile(r"nccl|rccl|c10d|all_?reduce|all_?gather|reduce_?scatter|nvshmem|gloo", re.I)),
    ("synchronization", re.compile(r"synchroni[sz]e|aten::item|_local_scalar_dense|cudaEventQuery|StreamWait", re.I)),
    ("memory", re.compile(r"memcpy|memset", re.I)),
    ("compute", re.compile(
        r"gemm|gemv|conv|matmul|::b?mm\b|addmm|addbmm|baddbmm|linear|cutlass|wgrad|dgrad|attention|flash|fmha|sdpa|nvjet"
        r"|einsum|cudnn|Cijk|trsm|fft", re.I)),
    ("overhead", re.compile(
        r"launch|cu(da)?(malloc|free|module|library|ctx|device|func|host|stream|event|mem|graph|kernel|init|get|occupancy)"
        r"|cuMem|compile|jit", re.I)),
    ("memory", re.compile(
        r"copy|elementwise|vectorized|norm|softmax|embedding|index|gather|scatter|clamp|relu|gelu|silu|swiglu|rope|add|mul"
        r"|div|sub|fill|zero|transpose|permute|contiguous|reduce|sum|mean|max|dropout|cat|quant|convert|cast|sort"
        r"|topk", re.I)),
)  # fmt: skip
"""First match first. Products of matrices count as compute and passes over tensors as memory, which holds for large
ones; small matrices (one token of a language model) are bound by memory too."""


def kernel_bound(name: str) -> Bound:
    """What usually holds back the kernel, operator or call ``name``; ``unknown`` if its name does not say."""
    return next((bound for bound, pattern in _KINDS if pattern.search(name)), "unknown")


def covered(spans: Iterable[tuple[float, float]]) -> float:
    """Length of the union of spans (begin, end)."""
    total, reached = 0.0, float("-inf")
    for begin, end in sorted(spans):
        if end > reached:
            total += end - max(begin, reached)
            reached = end
    return total
