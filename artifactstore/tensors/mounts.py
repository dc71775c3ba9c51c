"""Mounts: file systems behind a network, where mapped pages come one by one and a lost server kills the process

proc_pid_mountinfo(5).
"""

from collections.abc import Collection
from os import makedev
from pathlib import Path

_MOUNTS = Path("/proc/self/mountinfo")
_REMOTE = {"9p", "afs", "beegfs", "ceph", "cifs", "gfs2", "glusterfs", "lustre", "nfs", "nfs4", "ocfs2", "orangefs"}
_REMOTE |= {"pvfs2", "smb3", "smbfs", "virtiofs", "wekafs"}


def remote(devices: Collection[int]) -> set[int]:
    """Those of the devices (`st_dev`) that other machines, or programs (FUSE), answer for; none where nobody tells"""
    try:
        lines = _MOUNTS.read_text(errors="replace").splitlines()
    except OSError:
        return set()
    found = set()
    for line in lines:
        mount, _, kind = line.partition(" - ")
        major, _, minor = mount.split()[2].partition(":")
        if _is_remote(kind.split(" ", 1)[0]):
            found.add(makedev(int(major), int(minor)))
    return found & set(devices)


def _is_remote(kind: str) -> bool:
    return kind in _REMOTE or kind.startswith("fuse")
