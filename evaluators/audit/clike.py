"""Rules for C, C++, CUDA and their like: over words, with comments gone and texts joined."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from evaluators.audit.ground import Ground
from evaluators.audit.known import NATIVE, TEST_VARIABLES, TUNING_VARIABLES, Weight
from evaluators.audit.paths import path_signs
from evaluators.audit.signs import Severity, Sign, clipped

SUFFIXES = frozenset(
    {".c", ".h", ".cc", ".cpp", ".cxx", ".hpp", ".hh", ".cu", ".cuh", ".metal", ".m", ".mm", ".hip", ".cl"}
)
_TOKEN = re.compile(
    r"""(?P<comment>/\*.*?(?:\*/|\Z)|//(?:\\\n|[^\n])*)
    |(?P<raw>(?:u8|[uUL])?R"(?P<tag>[^()\\\s]{0,16})\(.*?\)(?P=tag)")
    |(?P<string>(?:u8|[uUL])?"(?:\\.|[^"\\\n])*")
    |(?P<char>(?:u8|[uUL])?'(?:\\.|[^'\\\n])+')
    |(?P<word>[A-Za-z_$]\w*)
    |(?P<number>\.?\d(?:[eEpP][+-]|[\w.'])*)
    |(?P<space>(?:\s|\\\n)+)
    |(?P<mark>\#\#|->|::|.)""",
    re.DOTALL | re.VERBOSE,
)
_ESCAPE = re.compile(r"\\(x[0-9a-fA-F]+|[0-7]{1,3}|.)", re.DOTALL)
_SIMPLE = {"n": "\n", "t": "\t", "r": "\r", "0": "\0", "a": "\a", "b": "\b", "f": "\f", "v": "\v", "e": "\x1b"}


def _all(rule: str, severity: Severity, names: str) -> dict[str, Weight]:
    return dict.fromkeys(names.split(), (rule, severity))


CALLS: Mapping[str, Weight] = {
    **NATIVE,
    **_all(
        "frames",
        "refuse",
        "backtrace backtrace_symbols unw_step unw_getcontext _Unwind_Backtrace __builtin_return_address",
    ),
    **_all("evaluator-process", "suspicious", "exit _exit quick_exit abort longjmp siglongjmp kill raise getpid"),
    **_all("network", "refuse", "connect getaddrinfo gethostbyname gethostbyaddr sendto curl_easy_perform"),
    **_all("network", "suspicious", "socket bind listen accept"),
    **_all("background", "refuse", "setsid daemon vfork posix_spawn posix_spawnp"),
    **_all(
        "background",
        "suspicious",
        "fork clone clone3 pthread_create thrd_create atexit at_quick_exit on_exit signal sigaction setitimer alarm "
        "timer_create timerfd_create pthread_atfork CreateThread dispatch_async",
    ),
    **_all("sleeping", "suspicious", "sleep usleep nanosleep clock_nanosleep sleep_for sleep_until pause sched_yield"),
    **_all("hidden-code", "refuse", "system popen execl execlp execle execv execvp execvpe execve fexecve"),
    **_all(
        "hidden-code", "suspicious", "dlopen dlsym mprotect LoadLibrary GetProcAddress cuModuleLoad cuModuleLoadData"
    ),
    **_all(
        "native-calls",
        "suspicious",
        "open open64 openat fopen freopen creat mmap shm_open memfd_create ifstream ofstream",
    ),
    **_all("searching", "suspicious", "opendir readdir scandir glob nftw ftw directory_iterator"),
    **_all(
        "environment", "suspicious", "setenv putenv sched_setaffinity setrlimit nice setpriority pthread_setaffinity_np"
    ),
}
CLOCKS = frozenset(
    {
        *("clock_gettime", "gettimeofday", "time", "clock", "times", "getrusage", "clock_getres", "ftime"),
        *("timespec_get", "clock_getcpuclockid", "__vdso_clock_gettime", "mach_absolute_time", "omp_get_wtime"),
        *("cudaEventElapsedTime", "cudaEventRecord", "cudaDeviceSynchronize", "cudaStreamSynchronize"),
        "hipEventElapsedTime",
    }
)
INTERPOSED = CLOCKS | frozenset(
    {
        *(
            "memcmp",
            "strcmp",
            "printf",
            "fprintf",
            "puts",
            "fopen",
            "fwrite",
            "fread",
            "write",
            "read",
            "exit",
            "_exit",
        ),
        *("malloc", "free", "abs", "fabs", "fabsf", "isnan", "isfinite", "isnanf", "rand", "srand", "getenv"),
        "_start",
    }
)
"""Of which a program has none of its own, unless it stands in for the evaluator's."""
RESERVED = frozenset({"main", "static", "float", "double", "int", "return", "if", "for", "while", "const", "restrict"})
OPENERS = frozenset({"fopen", "open", "openat", "ifstream", "ofstream", "fstream", "opendir", "dlopen"})
ATTRIBUTES = frozenset({"constructor", "destructor", "init_priority"})
OUTSIDE = re.compile(r"\.(?:init|fini|preinit|ctors|dtors|text)")
"""Sections of code, and of what runs before and after everything else."""
_SYSTEM_CALL = re.compile(r"\b(?:syscall|sysenter|svc|swi|ecall|int\s+\$?0x80)\b", re.IGNORECASE)
_BYTES = re.compile(r"\.(?:byte|word|long|quad|inst|ascii|octa|hword|4byte|2byte|8byte)\b")


Maker = Callable[..., Sign]


@dataclass(frozen=True, slots=True)
class Token:
    kind: str
    text: str
    line: int


@dataclass(frozen=True, slots=True)
class File:
    """What rules need to know of the rest of a file."""

    path: str
    ground: Ground
    own: Mapping[str, int]
    """Functions and macros that it defines, with their lines."""
    waits: bool
    """Whether it waits for threads or processes."""
    pasting: frozenset[str]
    """Macros that put names together."""


def tokens(text: str) -> list[Token]:
    """Words, numbers, marks and texts; neighbouring texts are one, escapes in them are gone."""
    found: list[Token] = []
    line = 1
    for match in _TOKEN.finditer(text):
        kind = match.lastgroup or "mark"
        if kind == "tag":
            kind = "raw"
        value = match.group()
        if kind == "raw":
            value = value[value.index("(") + 1 : value.rindex(")")]
        if kind in ("string", "char"):
            value = _ESCAPE.sub(_unescaped, value[value.index(value[-1]) + 1 : -1])
        if kind in ("string", "raw"):
            if found and found[-1].kind == "string":
                found[-1] = Token("string", found[-1].text + value, found[-1].line)
            else:
                found.append(Token("string", value, line))
        elif kind not in ("comment", "space"):
            found.append(Token(kind, value, line))
        line += match.group().count("\n")
    return found


def _unescaped(match: re.Match[str]) -> str:
    code = match.group(1)
    if code[0] == "x" and len(code) > 1:
        return chr(int(code[1:], 16) & 0xFF)
    if code[0] in "01234567":
        return chr(int(code, 8) & 0xFF)
    return _SIMPLE.get(code, code)


def clike_signs(path: str, content: bytes, ground: Ground) -> Iterator[Sign]:
    """All signs in one file."""
    text = content.decode("utf-8", "replace").replace("\\\r\n", "\\\n")
    text = re.sub(r"\?\?/\n|\\\n", "", text)  # spliced lines
    lines = text.splitlines()
    found = tokens(text)

    def sign(rule: str, line: int, what: str, severity: Severity = "refuse") -> Sign:
        evidence = lines[line - 1] if 0 < line <= len(lines) else ""
        return Sign(rule, path, line, clipped(what, 120), clipped(evidence), severity)

    own = dict(_definitions(found))
    for name, line in own.items():
        if name in INTERPOSED or name == "main":
            yield sign("shadowing", line, f"defines {name}", "suspicious" if name == "main" else "refuse")
    words = {token.text for token in found if token.kind == "word"}
    waits = bool(words & {"pthread_join", "thrd_join", "join", "wait", "waitpid"})
    file = File(path, ground, own, waits, frozenset(_pasting(found)))
    in_assembly = bool(words & {"asm", "__asm__", "__asm"})
    for place, token in enumerate(found):
        if token.kind in ("string", "char"):
            text = token.text if token.kind == "string" else _spelt(found, place)
            if in_assembly and _SYSTEM_CALL.fullmatch(text.strip()):
                yield sign("native-calls", token.line, "a system call in assembly")
            if OUTSIDE.match(text) and any(
                t.text in ("section", "__section__") for t in found[max(0, place - 3) : place]
            ):
                yield sign("background", token.line, f"section {text}")
            for rule, what, severity in path_signs(text, ground, opened=_is_argument(found, place)):
                yield sign(rule, token.line, what, severity)
        elif token.kind == "word":
            yield from _word(sign, found, place, file)
        elif token.text == "#":
            yield from _directive(sign, found, place, file)
        elif token.text == "(" and [t.text for t in found[place : place + 4]] == ["(", "*", ")", "("]:
            yield sign("hidden-code", token.line, "an address called as a function", "suspicious")


def _pasting(found: Sequence[Token]) -> Iterator[str]:
    """Macros that put names together."""
    for place, token in enumerate(found):
        if token.text == "define" and place and found[place - 1].text == "#":
            line = [t for t in found[place + 1 : place + 60] if t.line == token.line]
            if any(t.text == "##" for t in line):
                yield line[0].text


def _spelt(found: Sequence[Token], place: int) -> str:
    """The text of which the character at ``place`` is the first, of several between commas."""
    if place >= 2 and found[place - 1].text == "," and found[place - 2].kind == "char":
        return ""  # counted with the first
    text, at = "", place
    while at < len(found) and found[at].kind == "char":
        text += found[at].text
        at += 2 if at + 1 < len(found) and found[at + 1].text == "," else len(found)
    return text


def _definitions(found: Sequence[Token]) -> Iterator[tuple[str, int]]:
    """Functions that the file defines at the top, and what it defines by ``#define``."""
    depth = 0
    for place, token in enumerate(found):
        if token.text == "{":
            opener = found[place - 1].text if place else ""
            depth += 0 if opener == "string" or _is_linkage(found, place) else 1
        elif token.text == "}":
            depth = max(0, depth - 1)
        elif token.kind == "word" and depth == 0 and place + 1 < len(found) and found[place + 1].text == "(":
            end = _closing(found, place + 1)
            if end + 1 < len(found) and found[end + 1].text in ("{", "noexcept", "__attribute__", "->", "const"):
                yield token.text, token.line
        if token.text == "#" and place + 2 < len(found) and found[place + 1].text == "define":
            yield found[place + 2].text, token.line


def _is_linkage(found: Sequence[Token], place: int) -> bool:
    """``extern "C" {`` and ``namespace x {`` do not nest."""
    before = [token.text for token in found[max(0, place - 2) : place]]
    return "extern" in before or "namespace" in before


def _closing(found: Sequence[Token], place: int) -> int:
    depth = 0
    for number in range(place, min(len(found), place + 2000)):
        depth += {"(": 1, ")": -1}.get(found[number].text, 0) if found[number].kind == "mark" else 0
        if depth == 0:
            return number
    return len(found)


def _is_argument(found: Sequence[Token], place: int) -> bool:
    """Whether a text is among the arguments of something that opens files."""
    for back in range(place - 1, max(-1, place - 12), -1):
        if found[back].text in OPENERS:
            return True
        if found[back].text in OPENERS:
            return False
    return False


def _word(make: Maker, found: Sequence[Token], place: int, file: File) -> Iterator[Sign]:
    token = found[place]
    before = found[place - 1].text if place else ""
    after = found[place + 1].text if place + 1 < len(found) else ""
    name, bare = token.text, token.text.strip("_")
    if name in file.ground.forbid_names:
        yield make("forbidden", token.line, name)
    if name in ("__asm__", "asm", "__asm") or name.endswith("_asm"):
        yield from _assembly(make, found, place)
    elif bare in ATTRIBUTES and any(
        t.text in ("__attribute__", "__attribute", "[") for t in found[max(0, place - 8) : place]
    ):
        yield make("background", token.line, f"__attribute__(({bare}))")
    elif name in ("ifunc", "__ifunc__", "init_array", "__wrap_main"):
        yield make("background", token.line, name)
    elif name in ("RTLD_NEXT", "dlvsym"):
        yield make("shadowing", token.line, name)
    elif name in ("PROT_EXEC", "PAGE_EXECUTE_READWRITE"):
        yield make("hidden-code", token.line, name, "suspicious")
    elif name in ("environ", "__environ") and before != ".":
        yield make("environment", token.line, name, "suspicious")
    elif name == "__builtin_frame_address" and not (place + 2 < len(found) and found[place + 2].text == "0"):
        yield make("frames", token.line, name)
    elif name == "detach" and before in (".", "->"):
        yield make("background", token.line, "a thread that nobody waits for")
    elif name in ("getenv", "secure_getenv", "__secure_getenv") and after == "(":
        yield from _variable(make, found, place)
    elif name in file.pasting and after == "(":
        yield from _pasted(make, found, place, file)
    else:
        yield from _called(make, token, before, after, file)


def _called(make: Maker, token: Token, before: str, after: str, file: File) -> Iterator[Sign]:
    name = token.text
    if name not in CALLS or name in file.own or before in (".", "->"):
        return
    rule, severity = CALLS[name]
    if (rule == "network" and file.ground.network) or not (
        after == "(" or name in _VALUES or before in ("&", "=", ",", "(")
    ):
        return
    if name in ("pthread_create", "thrd_create", "fork"):
        if file.waits:
            return
        severity = "refuse" if name != "fork" else severity
    yield make(rule, token.line, name, severity)


def _variable(make: Maker, found: Sequence[Token], place: int) -> Iterator[Sign]:
    argument = found[place + 2] if place + 2 < len(found) else found[place]
    variable = argument.text if argument.kind == "string" else ""
    if TEST_VARIABLES.fullmatch(variable):
        yield make("test-mode", found[place].line, f"reads {variable}")
    elif not TUNING_VARIABLES.fullmatch(variable):
        yield make("environment", found[place].line, f"reads {variable or 'a variable'}", "suspicious")


def _pasted(make: Maker, found: Sequence[Token], place: int, file: File) -> Iterator[Sign]:
    """A macro that puts names together: what they are together."""
    pieces = [token.text for token in found[place + 2 : _closing(found, place + 1)] if token.kind == "word"]
    whole = Token("word", "".join(pieces), found[place].line)
    for sign in _called(make, whole, "", "(", file):
        yield make(sign.rule, whole.line, f"{whole.text}, put together from pieces", "refuse")


_VALUES = frozenset({"program_invocation_name", "__progname", "_dl_argv", "__libc_argv", "ifstream", "ofstream"})


def _assembly(make: Maker, found: Sequence[Token], place: int) -> Iterator[Sign]:
    opening = next((n for n in range(place, min(place + 6, len(found))) if found[n].text in ("(", "{")), None)
    if opening is None:
        return
    end = _closing(found, opening) if found[opening].text == "(" else min(len(found), opening + 400)
    code = " ".join(token.text for token in found[opening:end])
    line = found[place].line
    if _SYSTEM_CALL.search(code):
        yield make("native-calls", line, "a system call in assembly")
    if ".incbin" in code or ".include" in code:
        yield make("evaluator-files", line, "assembly that includes files")
    if _BYTES.search(code):
        yield make("hidden-code", line, "assembly given as numbers")
    if re.search(r"\.(?:section|init_array|pushsection|weak|globl|global|set|symver)\b", code):
        yield make("background", line, "assembly that makes sections or symbols", "suspicious")


def _directive(make: Maker, found: Sequence[Token], place: int, file: File) -> Iterator[Sign]:
    words = [token for token in found[place + 1 : place + 40] if token.line == found[place].line]
    if not words:
        return
    kind, line = words[0].text, found[place].line
    if kind in ("include", "include_next", "embed", "import"):
        name = words[1].text if len(words) > 1 and words[1].kind == "string" else "".join(w.text for w in words[1:])
        inner = name.strip("<>")
        last = inner.rpartition("/")[2]
        whole = posixpath.normpath(posixpath.join(posixpath.dirname(file.path), inner))
        if whole.startswith(("/", "..")) or last in file.ground.files:
            yield make("evaluator-files", line, f"#{kind} {inner}")
        elif kind == "embed" or not re.search(r"[\w>\"]", name):
            yield make("data-blobs", line, f"#{kind} {inner}", "suspicious")
    elif kind == "define" and len(words) > 2 and words[1].text in RESERVED:
        yield make("shadowing", line, f"#define {words[1].text}")
