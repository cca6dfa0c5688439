"""The audit hook: it refuses what a student's code must not do, and reports it.

Python raises an *audit event* before it opens a file, starts a process or a connection, and so on. The
hook lives in a closure that holds only functions written in C, so nothing that Python code replaces can
change what it does. It is there to tell the instructor what was tried. It is no wall: C code raises no
events, and memory can be written without one. The wall is ``confine``.
"""

import os
import posix
import struct
import sys
from collections.abc import Sequence

__all__ = ["install"]

MOST = 100  # attempts; then the process ends
IMPORTS = "<frozen importlib._bootstrap_external>"

NEVER = (
    *(
        "subprocess.",
        "os.system",
        "os.exec",
        "os.fork",
        "os.posix_spawn",
        "os.spawn",
        "os.startfile",
    ),
    *("os.kill", "os.killpg", "signal.pthread_kill", "pty.", "ctypes.", "sys.addaudithook"),
    *(
        "socket.connect",
        "socket.bind",
        "socket.send",
        "socket.get",
        "socket.set",
        "urllib.",
        "ftplib.",
    ),
    *(
        "http.",
        "smtplib.",
        "poplib.",
        "imaplib.",
        "nntplib.",
        "telnetlib.",
        "syslog.",
        "webbrowser.",
    ),
    *(
        "sys.settrace",
        "sys.setprofile",
        "sys._current_",
        "gc.get_",
        "os.chdir",
        "os.fchdir",
        "shell.",
    ),
    *("os.chown", "os.lchown", "os.link", "os.symlink", "os.setxattr", "os.removexattr"),
    *(
        "resource.setrlimit",
        "resource.prlimit",
        "cpython.run_",
        "os.lockf",
        "fcntl.",
        "sqlite3.load",
    ),
)
"""Beginnings of the names of events that are always refused."""
READS = ("os.listdir", "os.scandir", "os.getxattr", "os.listxattr")
WRITES = ("os.mkdir", "os.rmdir", "os.remove", "os.rename", "os.truncate", "os.chmod", "os.utime")
MODULES = ("ctypes", "_ctypes", "cffi", "_cffi_backend")
THREADS, FILES = 32, 64


def install(fd: int, read: Sequence[str], scratch: str) -> None:
    """Refuse from now on everything but reading below ``read`` and writing below ``scratch``.

    Args:
        fd: where a message that says what was tried goes.
        read: folders and files, as real paths.
        scratch: the process's own folder, as a real path; the working directory.
    """
    head, put, hexed = struct.Struct("!2sII").pack, posix.write, bytes.hex
    leave, never, reads, writes = posix._exit, NEVER, READS, WRITES
    kind, starts, enc, dec, split, join = (
        type,
        str.startswith,
        str.encode,
        bytes.decode,
        str.split,
        "/".join,
    )
    append, pop, cut, length, integer = list.append, list.pop, str.__getitem__, len, int
    allowed = tuple(enc(p, "utf-8", "surrogateescape") for p in read)
    own = enc(scratch, "utf-8", "surrogateescape")
    text, raw, dots, sep, none, slice_ = str, bytes, "..", "/", None, slice(None)
    modules, threads, tried = frozenset(MODULES), [0], [0]
    made, add, drop, has, members = set(), set.add, set.discard, set.__contains__, set.copy
    stat, frame, denied, failed = posix.lstat, sys._getframe, PermissionError, OSError
    flag_write = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
    is_a, show, begins, trim, imports = isinstance, repr, bytes.startswith, slice(0, 200), IMPORTS

    def place(path: object) -> bytes | None:
        """The absolute path without ``..``; None when it cannot be told."""
        if is_a(path, raw):
            path = dec(path, "utf-8", "surrogateescape")
        if not is_a(path, text):
            return none
        path = cut(path, slice_)
        parts: list[str] = []
        absolute = starts(path, sep)
        for part in split(path, sep):
            if part == dots:
                if not absolute:
                    return none  # it may be relative to another folder
                if parts:
                    pop(parts)
            elif part and part != ".":
                append(parts, part)
        whole = sep + join(parts)
        return (
            enc(whole, "utf-8", "surrogateescape")
            if absolute
            else own + enc(whole, "utf-8", "surrogateescape")
        )

    def inside(path: bytes | None, folders: tuple[bytes, ...]) -> bool:
        if path is none:
            return False
        for folder in folders:  # noqa: SIM110  ``any`` could be replaced by the student
            if path == folder or begins(path, folder + b"/"):
                return True
        return False

    def refuse(what: str) -> None:
        said = enc(hexed(enc(cut(what, trim), "utf-8", "replace")), "ascii")
        tried[0] += 1
        last = tried[0] >= 100
        said = b'{"op": "' + (b"refused" if last else b"tried") + b'", "hex": "' + said + b'"}'
        try:
            put(fd, head(b"RL", length(said), 0) + said)
        finally:
            if last:
                leave(77)
        raise denied(what + ": refused while marking")

    def count(path: bytes) -> None:
        """At most 64 files and folders that are there at a time."""
        if has(made, path):
            return
        if length(made) >= 64:
            for other in members(made):
                try:
                    stat(other)
                except failed:
                    drop(made, other)
        if length(made) >= 64:
            refuse("wanted to write more than 64 files")
        add(made, path)

    def name(path: object) -> str:
        return (
            cut(path, trim) if kind(path) is text else show(path) if kind(path) is raw else "a path"
        )

    def hook(event: str, args: tuple) -> None:
        if event == "open":
            path, mode, flags = args
            if kind(path) is integer:
                return
            writes_ = (kind(flags) is integer and flags & flag_write) or (
                kind(mode) is text and mode != "r" and mode != "rb"
            )
            found = place(path)
            if found == b"/dev/null":
                return
            if writes_:
                if not inside(found, (own,)):
                    refuse("wanted to write to " + name(path))
                count(found)
            elif not inside(found, allowed) and not inside(found, (own,)):
                refuse("wanted to read " + name(path))
        elif event == "import":
            if args[0] in modules:
                refuse("wanted to import " + args[0])
        elif event == "_thread.start_new_thread":
            threads[0] += 1
            if threads[0] > 32:
                refuse("wanted to start more than 32 threads")
        elif event == "socket.__new__":
            if length(args) > 1 and args[1] != 1:  # AF_UNIX: a pair of sockets within the process
                refuse("wanted to open a socket")
        elif event == "sqlite3.connect":
            if args[0] != ":memory:":
                refuse("wanted to open a database")
        else:
            for start in never:
                if starts(event, start):
                    refuse("wanted to use " + event)
            for start in reads:
                if event == start and kind(args[0]) is not integer and args[0] is not none:
                    path = place(args[0])
                    if not inside(path, allowed) and not inside(path, (own,)):
                        if frame(1).f_code.co_filename == imports:  # a folder of sys.path
                            raise denied("refused while marking")
                        refuse("wanted to list " + name(args[0]))
            for start in writes:
                if event == start and not inside(place(args[0]), (own,)):
                    refuse("wanted to change " + name(args[0]))
            if event == "os.mkdir":
                count(place(args[0]))
            if event == "os.rename" and not inside(place(args[1]), (own,)):
                refuse("wanted to write to " + name(args[1]))

    sys.addaudithook(hook)
