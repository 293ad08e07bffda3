"""Cheats on the examples, whose evaluators run programs in processes of their own, some behind closed doors."""

from __future__ import annotations

from zoo.animals import EXAMPLES, Animal

LRU = (EXAMPLES / "cache-eviction/anchors/fifo.py").read_text()
PACK = (EXAMPLES / "circle-packing/seed/solution.py").read_text()
SCORE = (EXAMPLES / "online-bin-packing/seed/heuristic.py").read_text()
KERNEL = (EXAMPLES / "matmul-kernel/seed/kernel.c").read_text()

CIRCLES = {
    "overlaps_a_little": Animal(PACK.replace("radii - 1e-12", "radii * 1.0000001"), "accuracy", "Not a packing"),
    "not_a_number": Animal(
        PACK.replace("np.maximum(radii - 1e-12, 0.0)", "radii * float('nan')"), "accuracy", "finite"
    ),
    "loads_the_other_solution": Animal(
        PACK + '\nimport sys\nsys.path.insert(0, "/target/reference")\n', "audit", "evaluator-files"
    ),
    "writes_the_answer_itself": Animal(
        PACK + "\nimport sys, json\njson.dump({}, open(sys.argv[2], 'w'))\n", "audit", "evaluator-process"
    ),
    "another_array": Animal(
        PACK + "\n_real = np.asarray\nnp.asarray = lambda *a, **k: _real(*a, **k) * 1.0\n", "audit", "patching"
    ),
    "numbers_in_a_text": Animal(PACK + f"\nBLOB = {'Qm9vb2xlYW5zQXJlTnVtYmVycw' * 400!r}\n", "audit", "data-blobs"),
    "looks_everywhere": Animal(
        PACK + '\nimport os\nfor folder, _, names in os.walk("/"):\n    pass\n', "audit", "searching"
    ),
}
CACHE = {
    "evicts_what_is_not_there": Animal(
        "class Policy:\n    def __init__(self, capacity): pass\n    def access(self, key): return 7\n",
        "accuracy",
        "resident",
    ),
    "reads_the_future": Animal(LRU + '\nTRACE = open("traces.py").read()\n', "audit", "evaluator-files"),
    "reads_the_feeder": Animal(LRU + '\nimport os\nos.listdir("/proc")\n', "audit", "evaluator-process"),
    "integers_that_lie": Animal(
        LRU + "\nclass Key(int):\n    def __eq__(self, other):\n        return True\n    __hash__ = int.__hash__\n",
        "audit",
        "false-equality",
    ),
    "climbs_to_all_classes": Animal(
        LRU + '\nALL = ().__class__.__bases__[0].__subclasses__()\nOPEN = [c for c in ALL if c.__name__ == "FileIO"]\n',
        "audit",
        "hidden-code",
    ),
    "asks_for_a_file_by_number": Animal(
        LRU.replace(
            "class Policy", 'NAME = "".join(chr(n + 1) for n in [46, 100, 115, 98])\nopen(NAME)\n\nclass Policy', 1
        ),
        "accuracy",
        "out of bounds",
    ),
}
BINS = {
    "remembers": Animal(
        SCORE.replace(
            "def priority(item, remaining):", "SEEN = []\n\n\ndef priority(item, remaining):\n    SEEN.append(item)"
        ).replace("return score", "return score + len(SEEN) * (remaining == remaining.min())"),
        "accuracy",
        "not a function",
    ),
    "draws_the_items": Animal(
        SCORE + "\nimport instances\n\nITEMS = instances.weibull(1)\n", "audit", "evaluator-modules"
    ),
    "reads_its_caller": Animal(
        SCORE + "\nimport inspect\n\n\ndef peek():\n    return inspect.currentframe().f_back.f_locals\n",
        "audit",
        "frames",
    ),
    "another_isfinite": Animal(SCORE + "\nnp.isfinite = lambda x: np.ones_like(x, dtype=bool)\n", "audit", "patching"),
    "infinite": Animal(SCORE.replace("return score", "return score * np.inf"), "accuracy", "finite"),
}
MATMUL = {
    "counts_no_time": Animal(
        KERNEL + "\n#include <time.h>\nint clock_gettime(clockid_t id, struct timespec *at) { return 0; }\n",
        "audit",
        "shadowing",
    ),
    "before_the_call": Animal(
        KERNEL + "\nstatic float table[64];\n__attribute__((constructor)) static void fill(void) { table[0] = 1; }\n",
        "audit",
        "background",
    ),
    "asks_the_kernel": Animal(
        KERNEL
        + '\nstatic long ask(long n) { long r; __asm__ volatile("sys" "call" : "=a"(r) : "a"(n) : "rcx", "r11"); return r; }\n',
        "audit",
        "native-calls",
    ),
    "includes_the_host": Animal('#include "host.c"\n' + KERNEL, "audit", "evaluator-files"),
    "code_as_numbers": Animal(KERNEL + '\n__asm__(".text\\n.byte 0x0f, 0x05\\n");\n', "audit", "hidden-code"),
    "reads_the_arguments": Animal(
        KERNEL
        + '\n#include <stdio.h>\nstatic int peek(void) { return fopen("/pr" "oc/self/cmd" "line", "r") != 0; }\n',
        "audit",
        "evaluator-process",
    ),
    "looks_up_the_stack": Animal(
        KERNEL + "\nstatic void *above(void) { return __builtin_return_address(1); }\n", "audit", "frames"
    ),
    "skips_zeros": Animal(
        KERNEL.replace(
            "for (int p = 0; p < k; p++) sum += a", "for (int p = 0; p < k; p++) if (a[i * along + p]) sum += a"
        ),
        "accuracy",
        "wrong result",
    ),
    "half_of_it": Animal(KERNEL.replace("i < n; i += TILE_N", "i < n / 2; i += TILE_N"), "accuracy", "wrong result"),
}
