"""From a kernel's source to a program that can be asked for products, by fixed compilers with fixed flags.

A kernel is one file, without a library: it is linked with `host.c` alone, so that no code of its own runs before the
host has closed the door, and it can call nothing that it did not bring along.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import struct
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
SOURCES = {"kernel.c": "cc", "kernel.cpp": "c++"}
COMPILE_S_MAX = 60.0
SOURCE_KB_MAX = 256
STATIC_MB_MAX = 256
OPTIMISE = ("-O3", "-march=native")
"""All of the compiler's own skill that keeps IEEE arithmetic, on all of this machine's instructions; the baseline gets
the same. No -ffast-math: it may drop NaN and infinity, which the rules demand. A kernel may ask for more, function by
function, with pragmas and attributes."""
PLAIN = (
    *("-fno-pic", "-fno-stack-protector", "-fno-asynchronous-unwind-tables", "-U_FORTIFY_SOURCE", "-fno-lto", "-w"),
    *(("-fcf-protection=none",) if platform.machine() == "x86_64" else ()),
)
"""What distributions switch on by default and what needs a C library at run time is off."""
STANDARDS = {
    "kernel.c": ("-std=gnu17",),
    "kernel.cpp": ("-std=gnu++17", "-fno-exceptions", "-fno-rtti", "-fno-threadsafe-statics"),
}
LINK = ("-static", "-nostdlib", "-e", "_start", "--build-id=none", "-z", "noexecstack")
"""The linker itself, not through the compiler, which would obey options that an object file carries."""
SECTIONS = (
    *(".text", ".rodata", ".data", ".bss", ".comment", ".note.GNU-stack", ".note.gnu.property", ".eh_frame"),
    *(".rela", ".group", ".symtab", ".strtab", ".shstrtab", ".llvm_addrsig"),
)
"""What the sections of a kernel's object file may be called, up to a dot."""
CONSTRUCTORS = (".init", ".preinit_array", ".ctors", ".fini", ".dtors")
THREAD_LOCAL = (".tdata", ".tbss")
SEGMENTS = {1: "LOAD", 4: "NOTE", 0x6474E551: "GNU_STACK", 0x6474E552: "GNU_RELRO", 0x6474E553: "GNU_PROPERTY"}
"""What a program may consist of; above all no INTERP, a program that would run before the host."""
WHAT_THERE_IS = "There is no library here but memcpy, memmove, memset and memcmp."


class Unsupported(Exception):
    """This machine cannot build or judge kernels; the message says what it needs."""


class Broken(Exception):
    """A kernel broke a rule. ``rule`` is its short name."""

    def __init__(self, rule: str, detail: str) -> None:
        super().__init__(f"{rule}: {detail}")
        self.rule, self.detail = rule, detail


def check_machine() -> None:
    """Raise `Unsupported` unless kernels can be judged here."""
    if not sys.platform.startswith("linux") or platform.machine() not in ("x86_64", "aarch64"):
        raise Unsupported(
            f"matmul-kernel needs Linux on x86_64 or aarch64 (seccomp, per-process CPU clocks); this is "
            f"{platform.system()} on {platform.machine()}. Run it in a Linux container or machine."
        )


def tool(name: str) -> str:
    """The path of a compiler or binary tool. Raises `Unsupported`."""
    found = shutil.which(name)
    if found is None:
        raise Unsupported(
            f"matmul-kernel compiles programs, but there is no `{name}` in PATH. Install a C and C++ compiler and "
            "binutils: apt-get install gcc g++, or dnf install gcc gcc-c++."
        )
    return found


def source_of(folder: Path) -> Path:
    """The one source file of a candidate. Raises `Broken`."""
    found = [folder / name for name in SOURCES if (folder / name).is_file()]
    if len(found) != 1:
        have = "both are there" if found else "neither is there"
        raise Broken("source", f"a candidate is kernel.c or kernel.cpp; {have}")
    if found[0].stat().st_size > SOURCE_KB_MAX * 1000:
        raise Broken("source", f"{found[0].name} is larger than {SOURCE_KB_MAX} kB")
    return found[0]


def build(source: Path, folder: Path, name: str) -> Path:
    """Compile the kernel ``source``, link it with the host; the program is ``folder/name``.

    Raises `Broken` where the source is to blame, `Unsupported` where the machine is.
    """
    check_machine()
    host = folder / "host.o"
    if not host.exists():
        command = [tool("cc"), "-c", *OPTIMISE, *PLAIN, "-std=gnu11", "-ffreestanding"]
        # Else the compiler finds that the loop of memcpy is one, and calls it.
        made = _run([*command, "-fno-tree-loop-distribute-patterns", "-o", str(host), str(HERE / "host.c")], folder)
        if made.returncode:
            raise Unsupported(f"the compiler of this machine does not compile host.c:\n{_beginning(made.stderr)}")
    kernel, program = folder / f"{name}.o", folder / name
    copy = folder / f"{name}{source.suffix}"  # nothing of the candidate's folder can be included
    copy.write_bytes(source.read_bytes())
    flags = [*OPTIMISE, *PLAIN, *STANDARDS[f"kernel{source.suffix}"]]
    made = _run([tool(SOURCES[f"kernel{source.suffix}"]), "-c", *flags, "-o", str(kernel), copy.name], folder)
    if made.returncode:
        raise Broken("compile", f"{source.name} does not compile:\n{_beginning(made.stderr, copy.name, source.name)}")
    inspect(kernel)
    made = _run([tool("ld"), *LINK, "-o", str(program), str(host), str(kernel)], folder)
    if made.returncode:
        raise Broken("link", f"{WHAT_THERE_IS} The linker says:\n{_beginning(made.stderr, copy.name, source.name)}")
    loaded = segments(program.read_bytes())
    if strange := [kind for kind, _ in loaded if kind not in SEGMENTS]:
        raise Broken("sections", f"the linked program has a segment of type {strange[0]:#x}, which no kernel needs")
    if sum(size for _, size in loaded) > STATIC_MB_MAX << 20:
        raise Broken("memory", f"static data is limited to {STATIC_MB_MAX} MB")
    return program


def inspect(kernel: Path) -> None:
    """Hold a compiled kernel against the rules for what it may contain. Raises `Broken`."""
    listed = _run([tool("nm"), "--defined-only", "--extern-only", "--format=posix", str(kernel)], kernel.parent)
    # Weak ones (inline functions and templates of C++) give way to those of the host.
    symbols = dict(line.split()[:2] for line in listed.stdout.splitlines())
    strong = {name: kind for name, kind in symbols.items() if kind not in ("W", "V", "u")}
    if strong.pop("matmul", None) != "T":
        hint = ' In C++, declare it extern "C".' if any("matmul" in name for name in symbols) else ""
        raise Broken("symbols", f"there is no global function matmul.{hint}")
    if strong:
        raise Broken("symbols", f"only matmul may be global; make these static: {', '.join(sorted(strong)[:10])}")
    headers = _run([tool("readelf"), "--sections", "--wide", str(kernel)], kernel.parent).stdout
    for name in re.findall(r"^ *\[ *[1-9]\d*\] +(\S+)", headers, re.MULTILINE):
        if name.startswith(CONSTRUCTORS):
            raise Broken(
                "constructor",
                f"nothing of a kernel runs before or after matmul, but it has constructors or destructors ({name}); "
                "make tables constant, or fill them in matmul",
            )
        if name.startswith(THREAD_LOCAL):
            raise Broken("thread-local", "there are no threads here, and no thread-local variables")
        if not any(name == known or name.startswith(f"{known}.") for known in SECTIONS):
            raise Broken("sections", f"a kernel is plain code and data; it may have no section {name[:60]!r}")


def segments(program: bytes) -> list[tuple[int, int]]:
    """Type and size in memory of each program header of a 64-bit little-endian ELF file (elf(5))."""
    (start,) = struct.unpack_from("<Q", program, 32)
    step, count = struct.unpack_from("<HH", program, 54)
    headers = (struct.unpack_from("<IIQQQQQQ", program, start + number * step) for number in range(count))
    return [(header[0], header[6]) for header in headers]


def _run(command: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a tool in ``folder``. Raises `Broken` where it takes too long: only source can make it."""
    try:
        return subprocess.run(
            command,
            cwd=folder,
            env={**os.environ, "LC_ALL": "C"},  # what is read and passed on is in English
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=COMPILE_S_MAX,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise Broken("compile", f"compiling takes more than {COMPILE_S_MAX:g} s") from None


def _beginning(text: str, name: str = "", shown: str = "") -> str:
    """The first lines of what a tool said, where the first mistake is, about the file as its author knows it."""
    lines = (text.replace(name, shown) if name else text).strip().splitlines()
    return "\n".join(line[:300] for line in lines[:25])
