"""Takes the network away from this process and from those that it will start.

The audit hook of `ways_out` sees what Python's own modules open. A library that opens sockets in C (grpc, libpq, uvloop) needs
something below it: on Linux, a network namespace of its own (man 7 network_namespaces), where nothing but a private loopback
interface is. Where the process has no right to make one, it makes a user namespace around it, in which it is the same user.
Unix sockets and files stay as they are.
"""

from __future__ import annotations

import os
import socket
import struct

_NEW_USER, _NEW_NETWORK = 0x10000000, 0x40000000
"""CLONE_NEWUSER and CLONE_NEWNET of <sched.h>."""
_SET_INTERFACE_FLAGS, _UP = 0x8914, 0x1
"""SIOCSIFFLAGS and IFF_UP of <net/if.h>."""
_CAPABILITY_VERSION = 0x20080522
"""_LINUX_CAPABILITY_VERSION_3 of <linux/capability.h>."""


def network() -> str:
    """Return the name of the network that this process is in; "" where there are no network namespaces."""
    try:
        return os.readlink("/proc/self/ns/net")
    except OSError:
        return ""


def leave_network() -> bool:
    """Take the network away for good, and return True; False where the system does not permit that, and nothing has changed.

    Call it before threads start.
    """
    if not network():
        return False
    child = os.fork()  # tried in a child first: half of it would leave the program with another user
    if child == 0:
        left = False
        try:
            left = _leave()
        finally:
            os._exit(0 if left else 1)
    return os.waitpid(child, 0)[1] == 0 and _leave()


def _leave() -> bool:
    from ctypes import CDLL, get_errno

    library = CDLL(None, use_errno=True)
    user, group = os.getuid(), os.getgid()
    is_same_user = library.unshare(_NEW_NETWORK) == 0
    if not is_same_user and library.unshare(_NEW_USER | _NEW_NETWORK) != 0:
        raise OSError(get_errno(), os.strerror(get_errno()))
    if not is_same_user:
        _write("setgroups", "deny")
        _write("uid_map", f"{user} {user} 1")
        _write("gid_map", f"{group} {group} 1")
    _start_loopback()
    if not is_same_user:  # in a user namespace of its own a process may do all; the program never could
        header, none = struct.pack("Ii", _CAPABILITY_VERSION, 0), bytes(24)
        if library.capset(header, none) != 0:
            raise OSError(get_errno(), os.strerror(get_errno()))
    return (os.getuid(), os.getgid()) == (user, group)


def _write(name: str, text: str) -> None:
    with open(f"/proc/self/{name}", "w") as file:
        file.write(text)


def _start_loopback() -> None:
    import fcntl

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, _SET_INTERFACE_FLAGS, struct.pack("16sH14x", b"lo", _UP))
