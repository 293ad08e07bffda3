"""Programs that are run cold and warm, to be compared, and some that start them."""

from __future__ import annotations

ENDS = {
    "well": "print('fine')",
    "with a number": "raise SystemExit(3)",
    "with a large number": "raise SystemExit(259)",
    "with a text": "raise SystemExit('no such circle')",
    "with none": "import sys; sys.exit()",
    "at once": "import os; print('lost'); os._exit(5)",
    "with an error": "def inner():\n    return 1 / 0\ninner()",
    "with an error that has a cause": "try:\n    {}['a']\nexcept KeyError as e:\n    raise ValueError('b') from e",
    "with an error of a group": "raise ExceptionGroup('all', [ValueError(1), KeyError(2)])",
    "before it begins": "def f(:\n",
    "in another encoding": "# coding: latin-1\nprint('caf\\xe9')",
    "in bytes that are no text": "x = '\\xff'\nprint(x.encode('ascii'))",
    "by interrupt": "raise KeyboardInterrupt",
    "by a signal of its own": "import os, signal; os.kill(os.getpid(), signal.SIGTERM)",
    "by a signal that nothing stops": "import os; os.kill(os.getpid(), 9)",
    "by a crash": "import ctypes; ctypes.string_at(0)",
    "by an abort": "import os; os.abort()",
    "in a thread's error": "import threading; threading.Thread(target=lambda: 1 / 0).start()",
    "after its threads": "import threading, time\n"
    "threading.Thread(target=lambda: (time.sleep(0.1), print('last'))).start()",
    "before its daemons": "import threading, time\n"
    "threading.Thread(target=time.sleep, args=(99,), daemon=True).start()",
    "with things to do": "import atexit\n"
    "atexit.register(print, 'second'); atexit.register(print, 'first'); print('body')",
    "with an error at the end": "import atexit\natexit.register(lambda: 1 / 0)",
    "with a file not closed": "import sys\nf = open(sys.argv[1] + '/late', 'w')\nf.write('kept')",
    "with a file nowhere": "import sys, json\n"
    "json.f = open(sys.argv[1] + '/late', 'w'); json.f.write('kept'); del json.f",
    "with objects that notice": "class Loud:\n    def __del__(self): print('gone')\n_kept = Loud()\nkept = [Loud()]",
    "without its output": "import sys\nsys.stdout.close()",
    "with output not taken": "import os, sys\nprint('x')\nos.close(1)",
    "in a child": "import os, sys\nif os.fork() == 0: sys.exit(4)\nprint(os.waitstatus_to_exitcode(os.wait()[1]))",
    "in a process pool": "import multiprocessing as m\n"
    "p = m.get_context('fork').Process(target=print, args=('child',))\n"
    "p.start(); p.join(); print(p.exitcode)",
    "in another python": "import subprocess, sys\n"
    "print(subprocess.check_output([sys.executable, '-c', 'print(6 * 7)']))",
    "in a library of C": "import ctypes\nctypes.CDLL(None).printf(b'buffered by C\\n')",
    "deep": "def f(): f()\nf()",
    "by warning": "import warnings\nwarnings.warn('careful')",
    "with numbers": "import numpy\n"
    "print(numpy.linalg.eigvals(numpy.eye(3)).sum(), numpy.ones(9).reshape(3, 3) @ range(3))",
    "with a late library": "import sqlite3\nprint(sqlite3.connect(':memory:').execute('select 1').fetchall())",
}

WORLD = """
import ctypes, glob, json, os, pwd, resource, signal, socket, sys, tempfile, threading
def tried(what):
    try:
        return what()
    except OSError as error:
        return error.strerror
libc = ctypes.CDLL(None)
held = (ctypes.c_uint32 * 6)()
libc.capget((ctypes.c_uint32 * 2)(0x20080522, 0), held)
def status():
    wanted = ("NoNewPrivs", "Seccomp", "CapInh", "CapPrm", "CapEff", "CapAmb", "Groups", "Threads", "NSpid", "Sig")
    return [line for line in open("/proc/self/status") if line.startswith(wanted)]
def mounts():
    rows = [line.split() for line in open("/proc/self/mountinfo")]
    return sorted({(row[4], "ro" in row[5].split(",")) for row in rows if not row[4].startswith("/run/raysearch")})
places = "/ /tmp /dev /dev/shm /dev/pts /etc /candidate /target /proc/self/fd".split()
signals = [number for number in signal.valid_signals() if hasattr(number, "name")]
print(json.dumps({
    "argv": sys.argv, "flags": str(sys.flags), "path": sys.path, "cwd": os.getcwd(), "environ": dict(os.environ),
    "main": {name: str(value) for name, value in globals().items() if name.startswith("__")},
    "hash": hash("a"), "bytecode": sys.dont_write_bytecode, "umask": os.umask(0), "nice": os.nice(0),
    "ids": [os.getuid() == os.getgid(), os.getgroups(), os.getuid() == os.geteuid()], "held": list(held),
    "person": tried(lambda: pwd.getpwuid(os.getuid()).pw_name) if os.path.exists("/run/raysearch") else "",
    "limits": {name: resource.getrlimit(number) for name, number in vars(resource).items() if name[:6] == "RLIMIT"},
    "signals": {number.name: str(signal.getsignal(number)).partition(" at ")[0] for number in signals},
    "files": [n for n in range(64) if not isinstance(tried(lambda: os.fstat(n)), str)],
    "streams": [(s.isatty(), s.line_buffering, s.encoding, s.errors, s.seekable()) for s in (sys.stdout, sys.stderr)],
    "stdin": sys.stdin.read(), "session": os.getsid(0) == os.getpid() == os.getpgid(0),
    "parent": os.getppid() if os.path.exists("/run/raysearch") else "", "threads": len(threading.enumerate()),
    "processes": tried(lambda: sorted(os.path.basename(p) for p in glob.glob("/proc/[0-9]*"))),
    "status": tried(status), "dumpable": libc.prctl(3, 0, 0, 0, 0), "mounts": tried(mounts),
    "temporary": tempfile.gettempdir(), "listings": {p: tried(lambda: sorted(os.listdir(p))) for p in places},
    "host": socket.gethostname() if os.path.exists("/run/raysearch") else "",
    "network": tried(socket.if_nameindex), "terminal": tried(lambda: os.openpty()[0] > 2),
    "victim": tried(lambda: open("/proc/self/oom_score_adj").read()), "scratch": os.listdir(sys.argv[1]),
}, sort_keys=True))
"""

LEAVE = """
import ctypes, os, pathlib, signal, socket, sys, tempfile
import numpy
numpy.left = numpy.random.left = "module"
sys.modules["left"] = numpy
sys.path.append(sys.argv[1])
import builtins; builtins.left = "builtin"
os.environ["LEFT"] = "environment"
os.chdir("/"); os.umask(0o77); os.nice(3)
signal.signal(signal.SIGTERM, signal.SIG_IGN)
numpy.random.seed(1)
pathlib.Path(sys.argv[1], "left").write_text("scratch")
for place in ("/tmp", "/dev/shm", os.environ["HOME"], "/", "/run/raysearch", "/candidate", "/var/tmp", "/dev/mqueue"):
    try:
        pathlib.Path(place, "left").write_text("file")
    except OSError:
        pass
libc = ctypes.CDLL(None)
libc.shmget(4242, 4096, 0o1666); libc.msgget(4242, 0o1666); libc.mq_open(b"/left", 0o102, 0o666, None)
libc.syscall(248, b"user", b"left", b"x", 1, -4)
libc.personality(0x40000)
held = [open(__file__) for _ in range(20)]
try:
    named = socket.socket(socket.AF_UNIX); named.bind("\\0left"); named.listen()
except OSError:
    pass
if os.fork() == 0:
    os.setsid()
    signal.pause()
print(numpy.random.rand())
"""

FIND = """
import ctypes, glob, json, os, signal, socket, sys
import numpy, builtins
def tried(what):
    try:
        return what()
    except OSError as error:
        return ""
libc = ctypes.CDLL(None)
inherited = [n for n in range(3, 64) if tried(lambda: os.fstat(n))]
named = tried(lambda: socket.socket(socket.AF_UNIX))
print(json.dumps({
    "state": [name for owner in (numpy, numpy.random, builtins) for name in dir(owner) if name == "left"],
    "modules": [name for name in sys.modules if name == "left"], "path": [p for p in sys.path if "jobs" in p],
    "environ": os.environ.get("LEFT", ""), "cwd": os.getcwd() == "/", "umask": os.umask(0) == 0o77,
    "nice": os.nice(0) > int(sys.argv[2]),
    "signal": signal.getsignal(signal.SIGTERM) == signal.SIG_IGN,
    "files": [p for place in ("/tmp", "/dev/shm", os.environ["HOME"], "/", "/run/raysearch", sys.argv[1], "/dev/mqueue")
        for p in tried(lambda: os.listdir(place)) if "left" in p],
    "queues": max(libc.shmget(4242, 1, 0), libc.msgget(4242, 0), libc.mq_open(b"/left", 0)) >= 0,
    "keys": libc.syscall(249, b"user", b"left", 0, -4) > 0, "layout": libc.personality(0xffffffff) & 0x40000,
    "open": inherited,
    "named": bool(named) and named.connect_ex("\\0left") == 0,
    "processes": [p for p in glob.glob("/proc/[0-9]*") if int(p[6:]) not in (1, os.getpid())],
    "jobs": tried(lambda: os.listdir(os.path.dirname(sys.argv[1]))) if "jobs" in sys.argv[1] else "",
}))
print(numpy.random.rand())
"""

TOUCHES = """
import ctypes, os, pathlib, signal, socket, sys
libc = ctypes.CDLL(None, use_errno=True)
here, scratch = os.getcwd(), sys.argv[1]
def call(*words):
    return lambda: ctypes.set_errno(0) or libc.syscall(*words) or ctypes.get_errno()
tries = {
    "edit": lambda: pathlib.Path(here, "solution.py").write_text("x"),
    "add": lambda: pathlib.Path(here, "more.py").write_text("x"),
    "remove": lambda: os.unlink(here + "/solution.py"),
    "link": lambda: os.link(here + "/solution.py", scratch + "/link"),
    "system": lambda: pathlib.Path("/usr/bin/env").write_text("x"),
    "root": lambda: pathlib.Path("/x").write_text("x"),
    "people": lambda: len(open("/etc/shadow").read()),
    "within": lambda: os.listdir("/run/raysearch/within"),
    "parent": lambda: os.kill(os.getppid(), signal.SIGKILL),
    "first": lambda: os.listdir("/proc/1/fd"),
    "memory": lambda: open("/proc/1/mem", "rb").read(1),
    "user": lambda: os.setuid(0) if os.getuid() else 1 / 0,
    "packet": lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW),
    "host": lambda: socket.sethostname("mine"),
    "trace": lambda: libc.ptrace(16, os.getppid(), 0, 0),
    "mount": lambda: libc.mount(b"none", b"/tmp", b"tmpfs", 0, None),
    "unmount": lambda: libc.umount2(b"/run/raysearch/within", 2),
    "namespace": lambda: libc.unshare(0x10000000),
    "rights": lambda: libc.prctl(47, 2, 21, 0, 0),
}
for name, attempt in tries.items():
    try:
        print(name, attempt())
    except Exception as error:
        print(name, getattr(error, "strerror", None) or error)
"""

OWNER = """
import sys
from pathlib import Path
from raysearch.process import clean_environment
from raysearch.sandbox import Mount, open_sandbox, warmed
from raysearch.target import SandboxLimits

kind, run, name = sys.argv[1:]
folder = Path(name)
candidate, scratch = Mount(folder / "candidate", "/candidate"), Mount(folder / "scratch", "/scratch")
for mount in (candidate, scratch):
    mount.source.mkdir()
(candidate.source / "solution.py").write_text('''
import os, signal, sys, time
for number in (signal.SIGTERM, signal.SIGHUP):
    signal.signal(number, signal.SIG_IGN)
if os.fork() == 0:
    os.setsid()
    open(sys.argv[1] + "/ready", "w")
time.sleep(1000)
''')
warm = warmed(open_sandbox(kind, run=run), ["decimal"], readable=[], writable=[folder])
warm.run([sys.executable, "solution.py", warm.inside(scratch)], cwd=candidate, readable=[candidate],
    writable=[scratch], env=clean_environment(), limits=SandboxLimits(), timeout_s=1000)
"""

PLAIN = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from raysearch.process import clean_environment
from raysearch.sandbox import Mount, open_sandbox, warmed
from raysearch.target import SandboxLimits

folder = Path(sys.argv[1])
candidate, scratch = Mount(folder / "candidate", "/candidate"), Mount(folder / "scratch", "/scratch")
(candidate.source / "solution.py").write_text('''
import os, sys
print(os.getuid(), "decimal" in sys.modules, os.path.exists("/run/raysearch/within/0"), end=" ")
open(sys.argv[1] + "/made", "w")
for what in (lambda: os.kill(os.getppid(), 9), lambda: open(os.getcwd() + "/made", "w"), lambda: os.chmod("/usr", 0)):
    try:
        what()
        print("done", end=" ")
    except OSError:
        pass
print()
''')
with warmed(open_sandbox(sys.argv[2]), ["decimal"], readable=[], writable=[folder]) as warm:
    for _ in range(2):
        done = warm.run([sys.executable, "solution.py", warm.inside(scratch)], cwd=candidate, readable=[candidate],
            writable=[scratch], env=clean_environment(), limits=SandboxLimits(), timeout_s=60)
        print(done.status, done.stdout.strip(), (scratch.source / "made").exists(), done.stderr)
"""
