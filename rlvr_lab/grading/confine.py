"""What the kernel refuses to a process that runs a student's code: limits, Landlock and a seccomp filter.

The limits work on every Unix. Landlock (files, network, signals) and seccomp (system calls) are Linux only,
need no rights, cannot be taken back, and hold whatever the process does in Python or in C. Where one of
them is missing, only the audit hook of ``guard`` is left: see ``confine``'s result.

Sources: landlock(7) and seccomp(2); numbers of system calls from the x86-64 table of Linux.
"""

import ctypes
import os
import platform
import resource
import struct
import sys
from collections.abc import Sequence
from pathlib import Path

__all__ = ["Bounds", "confine", "readable"]

FILES_OPEN = 256
PROCESSES = 512  # of the user; seccomp refuses new ones in any case
NO_NEW_PRIVS, SET_SECCOMP, DUMPABLE = 38, 22, 4  # prctl

# Landlock: rights on files
READ_FILE, READ_DIR = 1 << 2, 1 << 3
WRITE = (
    1 << 1 | 1 << 4 | 1 << 5 | 1 << 7 | 1 << 8 | 1 << 14
)  # write, remove, make files, folders, truncate
RULE_PATH, CREATE, ADD, RESTRICT = 1, 444, 445, 446

_TABLE = """
fork 57  vfork 58  execve 59  execveat 322  kill 62  tkill 200  rt_sigqueueinfo 129
rt_tgsigqueueinfo 297  pidfd_open 434  pidfd_send_signal 424  pidfd_getfd 438  ptrace 101
process_vm_readv 310  process_vm_writev 311  kcmp 312  socket 41  connect 42  bind 49  listen 50
chmod 90  fchmod 91  fchmodat 268  fchmodat2 452  chown 92  fchown 93  lchown 94  fchownat 260
utime 132  utimes 235  futimesat 261  utimensat 280  setxattr 188  lsetxattr 189  fsetxattr 190
removexattr 197  lremovexattr 198  fremovexattr 199  mknod 133  mknodat 259  symlink 88
symlinkat 266  link 86  linkat 265  mount 165  umount2 166  chroot 161  pivot_root 155  unshare 272
setns 308  setuid 105  setgid 106  setsid 112  setpgid 109  setrlimit 160  keyctl 250  add_key 248
request_key 249  bpf 321  perf_event_open 298  userfaultfd 323  io_uring_setup 425
io_uring_enter 426  io_uring_register 427  open_by_handle_at 304  init_module 175  finit_module 313
kexec_load 246  reboot 169  swapon 167  settimeofday 164  clock_settime 227  sethostname 170
shmget 29  msgget 68  semget 64  mq_open 240
"""
REFUSED = dict(zip(_TABLE.split()[::2], map(int, _TABLE.split()[1::2]), strict=True))
"""System calls that a worker may not make, with their numbers."""
CLONE, CLONE3, TGKILL, PRLIMIT, THREAD = 56, 435, 234, 302, 0x10000


class Bounds:
    """Limits of a worker: bytes of memory above what it has now, and bytes of its largest file."""

    def __init__(self, memory: int = 4 << 30, file: int = 16 << 20) -> None:
        self.memory, self.file = memory, file


def readable(package: Path, data: Path) -> list[Path]:
    """Folders and files that a worker may read: Python, its packages, this package and its data."""
    prefixes = {sys.prefix, sys.base_prefix, sys.exec_prefix, sys.base_exec_prefix}
    packages = {p for p in sys.path if p.endswith(("site-packages", "dist-packages"))}
    system = ["/usr/lib", "/usr/lib64", "/usr/local/lib", "/lib", "/lib64", "/usr/share/zoneinfo"]
    system += [
        "/usr/share/fonts",
        "/etc/localtime",
        "/etc/ld.so.cache",
        "/dev/null",
        "/dev/urandom",
    ]
    system += ["/proc/cpuinfo", "/proc/meminfo", "/proc/mounts", "/sys/devices/system/cpu"]
    found = [Path(p).resolve() for p in sorted(prefixes | packages) if p != "/"] + [package, data]
    return [p for p in found + [Path(p) for p in system] if p.exists()]


def confine(read: Sequence[Path], scratch: Path, bounds: Bounds) -> list[str]:
    """Confine this process for good; returns what is in force."""
    found = [limit(bounds)]
    if sys.platform == "linux" and platform.machine() == "x86_64":
        libc = ctypes.CDLL(None, use_errno=True)
        libc.prctl(DUMPABLE, 0, 0, 0, 0)
        libc.prctl(NO_NEW_PRIVS, 1, 0, 0, 0)
        found += ["Landlock"] * _landlock(libc, read, scratch) + ["seccomp"] * _seccomp(libc)
    return found


def limit(bounds: Bounds) -> str:
    """Set the limits of the process."""
    ends = {
        resource.RLIMIT_AS: _taken("self") + bounds.memory,
        resource.RLIMIT_FSIZE: bounds.file,
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_NOFILE: FILES_OPEN,
        resource.RLIMIT_NPROC: PROCESSES,
    }
    for what, end in ends.items():
        _, hard = resource.getrlimit(what)
        end = end if hard == resource.RLIM_INFINITY else min(end, hard)
        try:
            resource.setrlimit(what, (end, end))
        except (ValueError, OSError):  # macOS has no limit of the address space
            continue
    return "limits"


def _taken(pid: int | str) -> int:
    """Bytes of the address space of a process."""
    if sys.platform != "linux":
        return 0
    return int(Path(f"/proc/{pid}/statm").read_text().split()[0]) * resource.getpagesize()


def squeeze(pid: int, memory: int | None) -> None:
    """Let a process take so many bytes more than it has now; None: as many as its hard limit says."""
    if sys.platform != "linux":
        return
    try:
        _, hard = resource.prlimit(pid, resource.RLIMIT_AS)
        soft = hard if memory is None else _taken(pid) + memory
        if hard != resource.RLIM_INFINITY:
            soft = min(soft, hard)
        resource.prlimit(pid, resource.RLIMIT_AS, (soft, hard))
    except (OSError, ValueError):  # it has ended
        return


def _landlock(libc: ctypes.CDLL, read: Sequence[Path], scratch: Path) -> bool:
    """No file outside ``read`` and ``scratch``, no TCP, no signal to a process outside."""
    version = libc.syscall(CREATE, None, ctypes.c_size_t(0), 1)
    if version < 1:
        return False
    files = (1 << 13) - 1 | (1 << 13 if version >= 2 else 0) | (1 << 14 if version >= 3 else 0)
    files |= 1 << 15 if version >= 5 else 0
    net, scoped = 3 if version >= 4 else 0, 3 if version >= 6 else 0
    asked = struct.pack("QQQ", files, net, scoped)[
        : 24 if version >= 6 else 16 if version >= 4 else 8
    ]
    ruleset = libc.syscall(CREATE, asked, ctypes.c_size_t(len(asked)), 0)
    if ruleset < 0:
        return False
    rules = [(p, READ_FILE | READ_DIR if p.is_dir() else READ_FILE) for p in read]
    rules += [(scratch, (READ_FILE | READ_DIR | WRITE) & files), (Path("/dev/null"), READ_FILE | 2)]
    for path, rights in rules:
        fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
        rule = struct.pack("=Qi", rights, fd)
        done = libc.syscall(ADD, ruleset, RULE_PATH, rule, 0)
        os.close(fd)
        if done:
            return False
    done = libc.syscall(RESTRICT, ruleset, 0)
    os.close(ruleset)
    return done == 0


def _seccomp(libc: ctypes.CDLL) -> bool:
    """Refuse the system calls of ``REFUSED``, new processes, and signals to other processes."""
    permit, deny, unknown = 0x7FFF0000, 0x00050001, 0x00050026  # allow; EPERM; ENOSYS
    load, equal, set_, least, back = 0x20, 0x15, 0x45, 0x35, 0x06
    number, architecture, first, third = 0, 4, 16, 32
    code: list[tuple[int, int, int, int]] = [
        (load, 0, 0, architecture),
        (equal, 1, 0, 0xC000003E),
        (back, 0, 0, deny),
        (load, 0, 0, number),
        (least, 0, 1, 0x40000000),  # the x32 calls
        (back, 0, 0, deny),
        (equal, 0, 1, CLONE3),  # its flags cannot be read here; the library falls back to clone
        (back, 0, 0, unknown),
        (equal, 0, 4, CLONE),
        (load, 0, 0, first),
        (set_, 1, 0, THREAD),
        (back, 0, 0, deny),
        (back, 0, 0, permit),
        (equal, 0, 4, TGKILL),
        (load, 0, 0, first),
        (equal, 1, 0, os.getpid()),
        (back, 0, 0, deny),
        (back, 0, 0, permit),
        (equal, 0, 6, PRLIMIT),  # reading the own limits is harmless
        (load, 0, 0, third),
        (equal, 0, 2, 0),
        (load, 0, 0, third + 4),
        (equal, 1, 0, 0),
        (back, 0, 0, deny),
        (back, 0, 0, permit),
    ]
    for call in sorted(REFUSED.values()):
        code += [(equal, 0, 1, call), (back, 0, 0, deny)]
    code.append((back, 0, 0, permit))
    program = b"".join(struct.pack("HBBI", *line) for line in code)
    held = ctypes.create_string_buffer(program)

    class Program(ctypes.Structure):
        _fields_ = [("length", ctypes.c_ushort), ("lines", ctypes.c_void_p)]

    whole = Program(len(code), ctypes.cast(held, ctypes.c_void_p))
    return libc.prctl(SET_SECCOMP, 2, ctypes.byref(whole), 0, 0) == 0
