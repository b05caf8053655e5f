"""Files that are there whole or not at all, and the error of one that cannot be written: which file, why, and the cure.

What it is: `replacing`, the one way in which a file of the user's is written, and `refused`, the error it raises, for those who must write otherwise (a log
that grows, tokens that are made piece by piece). What it is not: the cache of kernels does without a disk, and says nothing (kernels/cache.py).
Why a file: training, saving, pictures, reports and benchmarks all meet full disks, and nothing of an engine is needed to say so.
"""
import contextlib
import errno
import os

FULL = {errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)}
_ROOM = "make room there, and do the same again"
_CURES = dict.fromkeys(FULL, _ROOM) | {errno.EFBIG: "raise the limit on the size of files (ulimit -f), and do the same again",
                                       errno.ENOENT: "make that directory first, or name another"}
_CURES |= dict.fromkeys((errno.EACCES, errno.EPERM, errno.EROFS, errno.EISDIR, errno.ENOTDIR), "name one that can be written")


def refused(path, error, left=""):
    """The OSError to raise when the system refused to write `path`: it names the file and the cure. left: what else the user should know, as a sentence's end.
    An error that was named already stays as it is."""
    if getattr(error, "explained", False):
        return error
    cure = _CURES.get(error.errno)
    new = OSError(error.errno, f"cannot write {path}: {error.strerror or error}{left}{f'; {cure}' if cure else ''}")
    new.explained = True
    return new


@contextlib.contextmanager
def replacing(path):
    """A binary file to write into that becomes `path` when the block ends without an error; until then, and after an error, `path` is what it was.

    Raises OSError that names the path, on a full disk for one.
    """
    path = os.fspath(path)
    part = f"{path}.{os.getpid()}.part"
    try:
        with open(part, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())                   # the numbers are on the disk before the name is
        os.replace(part, path)
    except OSError as error:
        raise refused(path, error, "; the old file is as it was" if os.path.exists(path) else "") from error
    finally:
        with contextlib.suppress(OSError):
            os.remove(part)
    with contextlib.suppress(OSError):                # the renaming itself; not every file system lets a directory be synchronised
        directory = os.open(os.path.dirname(path) or ".", os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
