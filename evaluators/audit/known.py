"""Names, texts and paths that mean something to rules. A rule that is a list is here; one that thinks is not."""

from __future__ import annotations

import re
from collections.abc import Mapping

from evaluators.audit.signs import Severity

Weight = tuple[str, Severity]


def _all(rule: str, severity: Severity, names: str) -> dict[str, Weight]:
    return dict.fromkeys(names.split(), (rule, severity))


USES: Mapping[str, Weight] = {
    **_all(
        "frames",
        "refuse",
        "sys._getframe sys._current_frames sys._current_exceptions sys._getframemodulename sys.settrace sys.setprofile "
        "sys.gettrace sys.getprofile sys.monitoring sys.call_tracing sys.addaudithook threading.settrace "
        "threading.setprofile threading.settrace_all_threads threading.setprofile_all_threads inspect.stack "
        "inspect.currentframe inspect.getouterframes inspect.getinnerframes inspect.trace inspect.getargvalues "
        "inspect.getframeinfo traceback.extract_stack traceback.walk_stack traceback.print_stack "
        "traceback.format_stack traceback.walk_tb gc.get_objects gc.get_referrers gc.get_referents gc.callbacks "
        "gc.garbage tracemalloc.take_snapshot tracemalloc.get_object_traceback types.FrameType bdb.Bdb pdb.set_trace "
        "sys.last_traceback sys.last_value sys.last_exc",
    ),
    **_all(
        "evaluator-process",
        "refuse",
        "sys.orig_argv psutil.Process psutil.process_iter psutil.pids psutil.pid_exists os.ptsname",
    ),
    **_all("evaluator-process", "suspicious", "os.getppid os.getpgid os.getsid os.kill os.killpg os._exit os.abort"),
    **_all("clock", "refuse", "time.clock_settime time.clock_settime_ns freezegun time_machine libfaketime"),
    **_all(
        "network",
        "refuse",
        "socket.create_connection socket.getaddrinfo socket.gethostbyname urllib.request urllib3 http.client requests "
        "httpx aiohttp.ClientSession ftplib smtplib poplib imaplib nntplib telnetlib xmlrpc.client websocket "
        "websockets paramiko webbrowser asyncio.open_connection asyncio.open_unix_connection "
        "multiprocessing.connection.Client",
    ),
    **_all("network", "suspicious", "socket.socket socket.create_server asyncio.start_server http.server socketserver"),
    **_all(
        "background",
        "refuse",
        "os.setsid os.daemon daemon.DaemonContext pty.spawn pty.fork os.forkpty os.posix_spawn os.posix_spawnp",
    ),
    **_all(
        "background",
        "suspicious",
        "atexit.register os.fork threading.Timer threading.Thread _thread.start_new_thread multiprocessing.Process "
        "multiprocessing.Pool multiprocessing.get_context concurrent.futures.ProcessPoolExecutor weakref.finalize "
        "signal.signal signal.setitimer signal.alarm sched.scheduler threading._register_atexit",
    ),
    **_all("sleeping", "suspicious", "time.sleep asyncio.sleep signal.pause signal.sigwait signal.sigtimedwait"),
    **_all(
        "hidden-code",
        "refuse",
        "marshal.loads marshal.load ctypes.pythonapi ctypes.PYFUNCTYPE "
        "importlib.machinery.SourcelessFileLoader importlib.machinery.ExtensionFileLoader _imp.create_dynamic "
        "imp.load_compiled imp.load_dynamic runpy.run_path code.InteractiveInterpreter code.InteractiveConsole "
        "sys.meta_path sys.path_hooks sys.path_importer_cache importlib.abc.Loader importlib.abc.MetaPathFinder "
        "builtins.__build_class__ _ctypes",
    ),
    **_all(
        "hidden-code",
        "suspicious",
        "pickle.loads pickle.load shelve.open dill.loads cloudpickle.loads joblib.load "
        "inspect.getsource inspect.getsourcelines inspect.getmodule random.getstate random.setstate "
        "numpy.random.get_state numpy.random.set_state importlib.util.spec_from_file_location "
        "importlib.machinery.SourceFileLoader runpy.run_module types.ModuleType",
    ),
    **_all(
        "native-calls",
        "suspicious",
        "ctypes.CDLL ctypes.PyDLL ctypes.cdll ctypes.memmove ctypes.memset ctypes.string_at ctypes.cast cffi.FFI "
        "mmap.mmap subprocess.Popen subprocess.run subprocess.call subprocess.check_call subprocess.check_output "
        "os.system os.popen os.execv os.execve os.execvp os.execl os.spawnv os.spawnl asyncio.create_subprocess_exec "
        "asyncio.create_subprocess_shell",
    ),
    **_all(
        "environment",
        "suspicious",
        "os.sched_setaffinity os.sched_setscheduler os.nice os.setpriority resource.setrlimit os.chdir os.chroot "
        "sys.setswitchinterval gc.freeze os.umask os.environb os.environ.copy os.environ.items os.environ.keys "
        "os.environ.values",
    ),
    **_all("patching", "refuse", "unittest.mock mock pytest.MonkeyPatch wrapt forbiddenfruit gorilla"),
}
"""What is used, by its whole dotted name or the first parts of it."""

ATTRIBUTES: Mapping[str, Weight] = {
    **_all(
        "frames",
        "refuse",
        "f_back f_locals f_globals f_builtins f_trace tb_frame gi_frame cr_frame ag_frame __globals__ __builtins__ "
        "cell_contents",
    ),
    **_all("hidden-code", "refuse", "co_code co_consts"),
}
"""Attributes of objects whose type the source does not tell."""

NATIVE: Mapping[str, Weight] = {
    **_all("clock", "refuse", "clock_settime clock_settime64 settimeofday stime adjtimex clock_adjtime ntp_adjtime"),
    **_all(
        "evaluator-process",
        "refuse",
        "ptrace process_vm_readv process_vm_writev pidfd_getfd program_invocation_name program_invocation_short_name "
        "__libc_argv _dl_argv __progname getppid",
    ),
    **_all(
        "native-calls",
        "refuse",
        "syscall prctl personality seccomp unshare setns LD_PRELOAD dlmopen __libc_start_main",
    ),
}
"""Functions of the C library that no program needs which only computes."""

PROCESS_PATHS = re.compile(
    r"/proc/(?:self|thread-self|curproc|\d+|[*?\[{$%][^/]*|[a-z]*\{\}[^/]*)"
    r"/(?:cmdline|environ|mem|maps|smaps|fd|fdinfo|root|cwd|exe|task|auxv|stack|syscall|pagemap|ns|map_files|comm)"
)
PROCESS_ROOT = re.compile(r"/proc(?:/|/self|/self/|/thread-self|/\*|/\{\}.*|/\d+/?)?")
MACHINE_PATHS = re.compile(
    r"/proc/(?:cpuinfo|meminfo|stat|loadavg|version|vmstat|uptime|sys/.*|self/(?:status|statm|stat|io|limits|cgroup))"
)
PRELOADS = re.compile(
    r"(?:LD_PRELOAD|LD_AUDIT|LD_BIND_NOW|DYLD_INSERT_LIBRARIES|FAKETIME\w*|libfaketime\S*|faketime|PYTHONSTARTUP|"
    r"PYTHONBREAKPOINT|PYTHONPATH|PYTHONHOME|PYTHONINSPECT|PYTHONUSERBASE|BASH_ENV|GCONV_PATH)(?:=.*)?"
)
PRELOADED = re.compile(r"\b(?:LD_PRELOAD|LD_AUDIT|DYLD_INSERT_LIBRARIES|libfaketime|faketime)\b")
SCHEMAS = re.compile(r"raysearch\.(?:verdict|metrics)/\d*")
RESULTS = frozenset({"result.json", "verdict.json", "metrics.json", "--result"})
TEST_VARIABLES = re.compile(
    r"RAYSEARCH\w*|PYTEST\w*|\w*BENCHMARK\w*|BENCH(?:_\w*)?|\w*_BENCH|\w*CHECKER\w*|\w*EVALUAT\w*|\w*SANDBOX\w*|"
    r"(?:\w+_)?TEST(?:S|ING|_MODE)?|CI|GITHUB_ACTIONS|UNITTEST\w*|\w*PROFIL(?:E|ING)\w*|SEED|\w*_SEED"
)
TUNING_VARIABLES = re.compile(
    r"(?:OMP|GOMP|KMP|OPENBLAS|BLIS|MKL|VECLIB|NUMEXPR|NUMBA|CUDA|CUBLAS|CUDNN|NCCL|NVIDIA|HIP|HSA|ROCM|ROCR|MIOPEN|"
    r"TORCH|TORCHINDUCTOR|PYTORCH|TRITON|XLA|JAX|TF|HF|TRANSFORMERS|TOKENIZERS|VLLM|SGLANG|FLASHINFER|RAYON|MALLOC|"
    r"TCMALLOC|JEMALLOC|TBB|OMPI|UCX|GLOO)_\w+|HOME|TMPDIR|TMP|TEMP|PATH|CC|CXX|CFLAGS|CXXFLAGS|LDFLAGS|LANG|LC_\w+|"
    r"USER|SHELL|TERM|COLUMNS|LINES|XDG_\w+|NUM_THREADS|GOMAXPROCS"
)
TEST_MODULES = frozenset(
    {"pytest", "_pytest", "unittest", "nose", "hypothesis", "doctest", "__main__", "pytest_benchmark"}
)
STARTUP_FILES = frozenset(
    {"sitecustomize.py", "usercustomize.py", "conftest.py", "pytest.ini", "tox.ini", ".pytest.ini", "noxfile.py"}
)
FORCED_EQUALITY = {"__eq__": True, "__ne__": False}
ORDERING = frozenset({"__lt__", "__le__", "__gt__", "__ge__"})
PLAIN_TYPES = frozenset(
    {"int", "float", "str", "bytes", "complex", "list", "tuple", "dict", "set", "frozenset", "bool"}
)
STAND_INS = frozenset(
    {"__array__", "__array_ufunc__", "__array_function__", "__torch_function__", "__torch_dispatch__"}
)
DIGESTS = re.compile(r"(?:hashlib|zlib|binascii|xxhash|mmh3)\.\w+|builtins\.hash")
DIGEST_METHODS = frozenset({"hexdigest", "digest", "intdigest"})
"""Methods whose results recognise an input."""
