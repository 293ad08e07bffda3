"""Programs that try to get out of the sandbox, one way each.

Each is told about a world around it (``W``: paths, process numbers, ports, numbers of system calls) and calls
``escaped`` for whatever it should not have been able to do; what it did to the world is looked at from outside.
"""

from __future__ import annotations

PRELUDE = """
import ctypes, errno, glob, json, os, socket, struct, sys, time
W = json.loads(sys.argv[1])
libc = ctypes.CDLL(None, use_errno=True)
def escaped(what):
    print("escaped:", what, flush=True)
def call(name, *arguments):
    words = [ctypes.c_long(a) if isinstance(a, int) else a for a in arguments]
    return libc.syscall(ctypes.c_long(W["calls"][name]), *words)
def refused(name, *arguments):
    if call(name, *arguments) >= 0 or ctypes.get_errno() not in (errno.EPERM, errno.ENOSYS, errno.EACCES):
        escaped(f"{name}: {os.strerror(ctypes.get_errno())}")
def can(what, *arguments):
    try:
        what(*arguments)
    except (OSError, ValueError):
        return False
    return True
def put(path, text="escaped"):
    with open(path, "w") as file:
        file.write(text)
def tell(path):
    with open(path, "rb") as file:
        print(file.read(100_000).decode("utf-8", "replace"))
"""

FILES = {
    "write to the system": """
for place in ("/usr/bin/escaped", "/usr/local/escaped", "/etc/escaped", "/escaped", "/run/escaped", "/var/tmp/escaped"):
    if can(put, place): escaped(place)
""",
    "write to the interpreter": """
for place in (sys.prefix, sys.base_prefix, os.path.dirname(os.__file__), os.path.dirname(sys.executable)):
    if can(put, place + "/escaped.pth"): escaped(place)
if can(put, os.__file__): escaped("os.py")
""",
    "change the program under judgement": """
here = W["candidate"] + "/"
tries = [(put, here + "solution.py"), (put, here + "more.py"), (os.unlink, here + "solution.py"),
    (os.rename, here + "solution.py", here + "x"), (os.truncate, here + "solution.py", 0), (os.mkdir, here + "d"),
    (os.chmod, here + "solution.py", 0o777), (os.utime, here + "solution.py", (0, 0)),
    (os.rename, W["candidate"], W["scratch"] + "/moved"), (os.symlink, "/", here + "root"), (os.rmdir, here)]
for what, *arguments in tries:
    if can(what, *arguments): escaped(what.__name__)
""",
    "read what is hidden": """
for place in (W["hidden"], W["secret"], "/etc/shadow", W["home"] + "/.bash_history", os.path.dirname(W["hidden"])):
    if can(tell, place): escaped(place)
    if os.path.isdir(place) and can(os.listdir, place): escaped(place)
""",
    "change what is hidden": """
for what, *more in ((put,), (os.unlink,), (os.truncate, 0), (os.chmod, 0o777), (os.chown, os.getuid(), -1),
    (os.utime, (0, 0)), (os.setxattr, "user.escaped", b"x"), (os.rename, W["scratch"] + "/got")):
    if can(what, W["secret"], *more) or can(what, W["hidden"], *more): escaped(what.__name__)
""",
    "walk out by dots and by the process's own folders": """
os.chdir(W["scratch"])
climbs = ["../" * 20, "/proc/self/root/", "/proc/self/cwd/" + "../" * 20, "/proc/1/root/", "/proc/1/cwd/",
    f"/proc/{W['victim']}/root/", f"/proc/{W['victim']}/cwd/", f"/proc/self/task/{os.getpid()}/root/", "/dev/fd/../../"]
for climb in climbs:
    if can(tell, climb + W["secret"].lstrip("/")): escaped(climb)
    if can(put, climb + "escaped"): escaped(climb)
""",
    "walk out by symbolic links": """
os.chdir(W["scratch"])
goals = (W["secret"], W["hidden"], os.path.dirname(W["secret"]), "/etc/shadow", "/proc/1/environ")
for number, goal in enumerate(goals):
    os.symlink(goal, f"link{number}")
    if can(tell, f"link{number}") or can(put, f"link{number}"): escaped(goal)
os.symlink("link", "loop"); os.symlink("loop", "link")
if can(tell, "loop"): escaped("loop")
""",
    "keep a file by a hard link": """
goals = (W["secret"], W["hidden"], W["candidate"] + "/solution.py", "/etc/passwd", "/usr/bin/env")
for number, goal in enumerate(goals):
    if can(os.link, goal, f"{W['scratch']}/hard{number}"): escaped(goal)
    if can(os.link, goal, f"{os.environ['HOME']}/hard{number}"): escaped(goal)
""",
    "open files by their handles": """
handle = ctypes.create_string_buffer(struct.pack("IiQ", 8, 1, 2) + bytes(128))
refused("open_by_handle_at", os.open(".", os.O_RDONLY), handle, 0)
refused("name_to_handle_at", -100, b"/", handle, ctypes.byref(ctypes.c_int()), 0)
""",
    "leave the root": """
os.mkdir(W["scratch"] + "/jail")
refused("chroot", (W["scratch"] + "/jail").encode())
refused("pivot_root", b".", b".")
if can(os.chroot, "/"): escaped("chroot")
""",
    "leave a program that runs as its owner": """
for mode in (0o4755, 0o6755, 0o2755):
    place = f"{W['scratch']}/set{mode:o}"
    put(place, "#!/bin/sh\\nid\\n")
    can(os.chmod, place, mode)
rights = struct.pack("<5I", 0x2000001, 0xffffffff, 0, 0, 0)
if can(os.setxattr, W["scratch"] + "/set4755", "security.capability", rights): escaped("rights of a file")
""",
    "run a program that runs as its owner": """
import subprocess
before = os.getresuid()
for program in ("/usr/bin/su", "/usr/bin/sudo", "/usr/bin/mount", "/usr/bin/pkexec"):
    if os.path.exists(program):
        subprocess.run([program, "-c", "id"], stdin=subprocess.DEVNULL, capture_output=True, timeout=20)
for what, *more in ((os.setuid, 0), (os.setresuid, 0, 0, 0), (os.setgroups, [0]), (os.setgid, 0)):
    if os.getuid() and can(what, *more): escaped(what.__name__)
if os.getresuid() != before: escaped("another user")
""",
    "make devices": """
import stat
for kind, major, minor in ((stat.S_IFBLK, 8, 0), (stat.S_IFBLK, 254, 0), (stat.S_IFCHR, 1, 1), (stat.S_IFCHR, 5, 0)):
    for place in (W["scratch"], os.environ["HOME"], "/dev"):
        if can(os.mknod, f"{place}/d{major}-{minor}", kind | 0o666, os.makedev(major, minor)): escaped(place)
""",
    "open devices": """
fine = {"null", "zero", "full", "random", "urandom", "tty", "ptmx", "console", "stdin", "stdout", "stderr"}
names = set(os.listdir("/dev")) if can(os.listdir, "/dev") else set()
names |= {"mem", "kmem", "port", "kmsg", "kvm", "fuse", "vda", "sda", "vhost-net", "net/tun", "loop-control",
    "vsock", "input/event0", "hwrng", "userfaultfd", "ppp", "uinput", "watchdog", "ttyS0", "tty0", "nvme0n1", "autofs"}
for name in names - fine:
    if os.path.isdir("/dev/" + name): continue
    for mode in (os.O_RDONLY, os.O_WRONLY):
        if can(os.open, "/dev/" + name, mode | os.O_NONBLOCK): escaped(name)
""",
    "leave something in shared memory": """
for place in ("/dev/shm", "/dev/mqueue", "/tmp", "/var/tmp", "/run/lock", "/run/shm"):
    can(put, place + "/raysearch-escaped")
call("shmget", 0x5ec4e7, 4096, 0o1666); call("msgget", 0x5ec4e7, 0o1666); call("semget", 0x5ec4e7, 1, 0o1666)
call("mq_open", b"raysearch-escaped", os.O_CREAT | os.O_RDWR, 0o666, None)
""",
    "run a program without a file": """
number = os.memfd_create("program")
os.write(number, ("#!/bin/sh\\ncat " + W["secret"] + "; echo escaped: memfd > /escaped && cat /escaped\\n").encode())
import subprocess
print(subprocess.run([f"/proc/self/fd/{number}"], pass_fds=[number], capture_output=True).stdout.decode()
    if can(os.stat, f"/proc/self/fd/{number}") and can(os.listdir, "/proc/self/fd") else "")
if os.fork() == 0:
    call("execveat", number, b"", None, None, 0x1000)
    os._exit(0)
os.wait()
""",
    "load code into other programs": """
for place in ("/etc/ld.so.preload", "/etc/ld.so.conf.d/escaped.conf", "/etc/ld.so.cache", "/etc/profile"):
    if can(put, place): escaped(place)
import subprocess
put(W["scratch"] + "/lib.so", "no library")
for program in ("/usr/bin/passwd", "/usr/bin/su", "/usr/bin/env"):
    if os.path.exists(program):
        subprocess.run([program, "--help"], env={"LD_PRELOAD": W["scratch"] + "/lib.so"}, capture_output=True)
""",
}

PROCESSES = {
    "read the environment of others": """
for place in glob.glob("/proc/[0-9]*/environ") + [f"/proc/{pid}/environ" for pid in (1, os.getppid(), W["victim"])]:
    can(tell, place)
""",
    "look at other processes": """
for name in ("cmdline", "status", "maps", "mem", "fd/0", "cwd/.", "stack", "io", "auxv", "mountinfo", "task"):
    place = f"/proc/{W['victim']}/{name}"
    if can(tell, place) or os.path.isdir(place) and can(os.listdir, place): escaped(name)
others = {int(p[6:]) for p in glob.glob("/proc/[0-9]*")} - {1, os.getpid()} if can(os.listdir, "/proc") else set()
if others: escaped(others)
""",
    "trace other processes": """
for pid in (1, os.getppid(), W["victim"]):
    for request in (16, 0x4206):  # PTRACE_ATTACH, PTRACE_SEIZE
        refused("ptrace", request, pid, 0, 0)
refused("ptrace", 0, 0, 0, 0)
""",
    "read and write other processes' memory": """
buffer = ctypes.create_string_buffer(64)
vector = (ctypes.c_void_p * 2)(ctypes.addressof(buffer), 64)
for pid in (1, os.getppid(), W["victim"], os.getpid()):
    refused("process_vm_readv", pid, vector, 1, vector, 1, 0)
    refused("process_vm_writev", pid, vector, 1, vector, 1, 0)
    if can(open, f"/proc/{pid}/mem", "r+b") and pid != os.getpid(): escaped(pid)
refused("kcmp", W["victim"], os.getpid(), 0, 0, 0)
""",
    "end other processes": """
for number in (9, 15, 19):
    for pid in (W["victim"], -W["victim"], os.getppid(), 1):
        can(os.kill, pid, number)
can(os.kill, -1, 23)  # SIGURG, which nobody minds
if can(os.kill, W["victim"], 0): escaped("signal")
print("still here")
""",
    "take hold of other processes": """
number = libc.syscall(ctypes.c_long(434), ctypes.c_long(W["victim"]), ctypes.c_long(0))  # pidfd_open
if number >= 0:
    for signal in (9, 0):
        if libc.syscall(424, number, signal, None, 0) == 0: escaped("pidfd_send_signal")
    refused("pidfd_getfd", number, 0, 0)
refused("process_madvise", max(number, 0), None, 0, 0, 0)
""",
    "slow other processes down": """
victim = W["victim"]
for what, *more in ((os.setpriority, os.PRIO_PROCESS, victim, 19), (os.sched_setaffinity, victim, {0}),
    (os.sched_setscheduler, victim, os.SCHED_IDLE, os.sched_param(0)), (os.setpriority, os.PRIO_USER, 0, 19)):
    if can(what, *more) and what is not os.setpriority: escaped(what.__name__)
limits = (ctypes.c_uint64 * 2)(1, 1)
for limit in range(16):
    if libc.syscall(W["calls"]["prlimit64"], victim, limit, ctypes.byref(limits), None) == 0: escaped(f"limit {limit}")
call("migrate_pages", victim, 0, None, None)
""",
    "use what was left open": """
for number in range(3, 256):
    try:
        os.fstat(number)
    except OSError:
        continue
    escaped(f"file {number}")
    can(os.write, number, b"K")
""",
    "type into a terminal": """
import fcntl
for place in ("/dev/tty", "/dev/console", "/dev/tty0", "/dev/pts/0"):
    if can(os.open, place, os.O_RDWR): escaped(place)
def type_into(number):
    fcntl.ioctl(number, 0x5412, b"e")
for number in (0, 1, 2):
    if can(type_into, number): escaped(number)
try:
    ours, theirs = os.openpty()
except OSError:
    pass
else:
    os.setsid() if os.fork() == 0 else os._exit(os.waitstatus_to_exitcode(os.wait()[1]))
    fcntl.ioctl(theirs, 0x540E, 0)  # it is this session's terminal now
    for request in (0x5412, 0x541C):
        if can(fcntl.ioctl, theirs, request, b"e"): escaped("its own")
""",
}

KERNEL = {
    "mount": """
refused("mount", b"none", b"/tmp", b"tmpfs", 0, None)
refused("mount", None, W["candidate"].encode(), None, 32 | 4096, None)
refused("mount", b"/", W["scratch"].encode(), None, 4096, None)
refused("umount2", W["candidate"].encode(), 2)
refused("fsopen", b"tmpfs", 0)
refused("fsmount", 0, 0, 0)
refused("fspick", -100, b"/", 0)
refused("open_tree", -100, b"/", 1)
refused("move_mount", -100, b"/", -100, b"/tmp", 0)
refused("mount_setattr", -100, b"/", 0, ctypes.create_string_buffer(32), 32)
""",
    "make namespaces": """
for flag in (0x20000, 0x2000000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000, 0x80):
    refused("unshare", flag)
    if flag != 0x80:
        ctypes.set_errno(0)
        pid = call("clone", flag | 17, 0, 0, 0, 0)
        if pid == 0: os._exit(0)
        if pid > 0: escaped(f"clone {flag:x}")
arguments = (ctypes.c_uint64 * 11)(0x10000000, 0, 0, 0, 17)
pid = call("clone3", arguments, 88)
if pid == 0: os._exit(0)
if pid > 0: escaped("clone3")
""",
    "enter namespaces": """
for pid in (1, os.getppid(), W["victim"], os.getpid()):
    for kind in ("mnt", "user", "net", "pid"):
        try:
            number = os.open(f"/proc/{pid}/ns/{kind}", os.O_RDONLY)
        except OSError:
            number = 0
        refused("setns", number, 0)
""",
    "start a sandbox in the sandbox": """
import subprocess
for words in (["bwrap", "--ro-bind", "/", "/", "cat", W["secret"]], ["unshare", "-Urm", "cat", W["secret"]],
    ["nsenter", "-t", "1", "-a", "id"], ["chroot", "/", "id"]):
    try:
        if subprocess.run(words, stderr=subprocess.DEVNULL).returncode == 0: escaped(words[0])
    except FileNotFoundError:
        pass
""",
    "keep something in a keyring": """
for ring in (-1, -2, -3, -4, -5):
    refused("add_key", b"user", b"raysearch-escaped", b"x", 1, ring)
    refused("keyctl", 0, ring, 1)
    refused("request_key", b"user", b"anything", None, ring)
can(tell, "/proc/keys")
""",
    "load programs into the kernel": """
refused("bpf", 0, ctypes.create_string_buffer(128), 128)
refused("perf_event_open", ctypes.create_string_buffer(128), 0, -1, -1, 0)
refused("userfaultfd", 0)
refused("userfaultfd", 1)
refused("io_uring_setup", 4, ctypes.create_string_buffer(120))
refused("io_uring_register", 0, 0, None, 0)
""",
    "load modules and kernels": """
refused("init_module", b"x", 1, b"")
refused("finit_module", 0, b"", 0)
refused("delete_module", b"ext4", 0)
refused("kexec_load", 0, 0, None, 1 << 31)
refused("kexec_file_load", -1, -1, 0, None, 1 << 31)
""",
    "set the clock": """
now = (ctypes.c_long * 2)(int(time.time()) + 86400, 0)
refused("clock_settime", 0, now)
refused("settimeofday", now, None)
refused("adjtimex", ctypes.create_string_buffer(256))
refused("clock_adjtime", 0, ctypes.create_string_buffer(256))
""",
    "rename the machine": """
refused("sethostname", b"escaped", 7)
refused("setdomainname", b"escaped", 7)
for name in ("hostname", "domainname"):
    if can(put, "/proc/sys/kernel/" + name): escaped(name)
""",
    "stop the machine": """
refused("reboot", 0xfee1dead, 672274793, 0, None)  # only forbids Ctrl-Alt-Del
refused("swapon", b"/nowhere", 0)
refused("swapoff", b"/nowhere")
refused("acct", b"/nowhere")
refused("syslog", 10, None, 0)
refused("quotactl", 0, None, 0, None)
refused("vhangup")
if "iopl" in W["calls"]:
    refused("iopl", 3)
    refused("ioperm", 0x378, 1, 1)
    refused("modify_ldt", 0, None, 0)
""",
    "give up random addresses": """
before = libc.personality(0xffffffff)
refused("personality", 0x0040000)
refused("personality", 0x0400000)
if libc.personality(0xffffffff) != before: escaped("personality")
""",
    "change the kernel's settings": """
for place in ("/proc/sys/kernel/core_pattern", "/proc/sys/kernel/modprobe", "/proc/sys/vm/overcommit_memory",
    "/proc/sys/kernel/randomize_va_space", "/proc/sys/vm/drop_caches", "/proc/sys/fs/file-max",
    "/proc/sys/net/ipv4/ip_forward", "/proc/sysrq-trigger", "/proc/irq/0/smp_affinity", "/proc/kcore", "/proc/kmem",
    "/proc/1/oom_score_adj", "/proc/timer_list"):
    if can(os.open, place, os.O_WRONLY): escaped(place)
""",
    "change devices' settings": """
for place in ("/sys/kernel/mm/transparent_hugepage/enabled", "/sys/kernel/uevent_helper", "/sys/power/state",
    "/sys/class/net/lo/mtu", "/sys/block/vda/queue/scheduler", "/sys/devices/system/cpu/cpu1/online",
    "/sys/kernel/debug/x", "/sys/kernel/tracing/trace", "/sys/firmware/efi/efivars/x", "/sys/module"):
    if can(os.open, place, os.O_WRONLY): escaped(place)
""",
    "loosen its own limits": """
import resource
for root, folders, files in os.walk("/sys/fs/cgroup"):
    for name in files:
        if can(os.open, f"{root}/{name}", os.O_WRONLY): escaped(name)
    if can(os.mkdir, root + "/raysearch-escaped"): escaped("mkdir")
for limit in (resource.RLIMIT_FSIZE, resource.RLIMIT_CPU, resource.RLIMIT_CORE):
    soft, hard = resource.getrlimit(limit)
    if can(resource.setrlimit, limit, (hard + 1, hard + 1)): escaped(limit)
hoard = []
while len(hoard) < 512:
    hoard.append(bytearray(b"x") * (1 << 20))
escaped("memory")
""",
}

NETWORK = {
    "reach the machine over IP": """
for family, place in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1"), (socket.AF_INET, W["address"])):
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        try:
            with socket.socket(family, kind) as reach:
                reach.settimeout(2)
                reach.connect((place, W["port"]))
                reach.send(b"escaped")
                if kind == socket.SOCK_STREAM: escaped(place)
        except OSError:
            pass
""",
    "reach the machine by the name of a socket": """
for name in (W["named"], "\\0" + W["abstract"], "/run/docker.sock", "/run/dbus/system_bus_socket", "/dev/log"):
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_SEQPACKET):
        try:
            with socket.socket(socket.AF_UNIX, kind) as reach:
                reach.connect(name)
                escaped(name)
        except OSError:
            pass
""",
    "redirect a pair of sockets": """
for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_SEQPACKET):
    for name in (W["datagrams"], "\\0" + W["abstract"]):
        try:
            one, other = socket.socketpair(socket.AF_UNIX, kind)
        except OSError:
            continue
        if can(one.connect, name): escaped("connect")
        if can(one.sendto, b"escaped", name) and kind == socket.SOCK_DGRAM: escaped("sendto")
        if can(one.sendmsg, [b"escaped"], [], 0, name) and kind == socket.SOCK_DGRAM: escaped("sendmsg")
""",
    "talk to the kernel over netlink": """
for protocol in range(32):
    try:
        link = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, protocol)
    except OSError:
        continue
    if protocol: escaped(f"netlink {protocol}")
    if can(link.bind, (0, 0xffff)) and protocol: escaped("groups")
names = [name for _, name in socket.if_nameindex()] if can(socket.if_nameindex) else []
if set(names) - {"lo"}: escaped(names)
""",
    "open sockets of every family": """
fine = {socket.AF_UNIX, socket.AF_INET, socket.AF_INET6, socket.AF_NETLINK} if W["own_network"] else set()
for family in range(50):
    for kind in (1, 2, 3, 4, 5, 10):
        for protocol in (0, 1, 3, 255, 0x300):
            number = call("socket", family, kind | 0x800, protocol)
            if number >= 0:
                os.close(number)
                if family not in fine or kind not in (1, 2, 3, 5): escaped(f"family {family}, kind {kind}")
                if family in (socket.AF_INET, socket.AF_INET6) and kind == 3: escaped("raw")
    if family != 1 and call("socketpair", family, 1, 0, (ctypes.c_int * 2)()) >= 0: escaped(f"pair of {family}")
""",
    "wait for somebody to come in": """
def listen(family, place):
    with socket.socket(family) as door:
        door.bind(place)
        door.listen()
if not W["own_network"]:
    for family, place in ((socket.AF_INET, ("0.0.0.0", 0)), (socket.AF_INET6, ("::", 0)), (socket.AF_UNIX, "\\0x"),
        (socket.AF_UNIX, W["scratch"] + "/door")):
        if can(listen, family, place): escaped(place)
""",
}

BOMBS = {
    "a tree too deep for paths": """
os.chdir(W["scratch"])
for _ in range(400):
    os.mkdir("d" * 200); os.chdir("d" * 200)
put("file")
""",
    "a hundred thousand empty files": """
os.chdir(W["scratch"])
for number in range(3000): os.close(os.open(str(number), os.O_CREAT))
""",
    "a file of a terabyte": """
with open(W["scratch"] + "/sparse", "wb") as file:
    file.truncate(1 << 40)
escaped("size")
""",
    "folders that nobody may enter": """
for name in ("a", "b"):
    os.mkdir(f"{W['scratch']}/{name}"); put(f"{W['scratch']}/{name}/file"); can(os.chmod, f"{W['scratch']}/{name}", 0)
""",
}
"""Each is over the limits that it is given, or leaves something that is awkward to remove."""
