"""User-Mode Linux's management console: a datagram socket that takes commands such as
`config vec0:…` and `halt`.

Wire format: arch/um/drivers/mconsole.h (magic, version, length, up to 512 bytes; replies: error,
more, length, data).
"""

from __future__ import annotations

import socket
import struct
from pathlib import Path
from types import TracebackType

from lvslab.errors import GuestError

_MAGIC, _VERSION, _MAX_DATA = 0xCAFEBABE, 2, 512
_MOST_REPLIES = 64


class ManagementConsole:
    """One guest's mconsole; a context manager that removes its own socket."""

    def __init__(self, name: str, socket_path: Path, timeout: float = 10.0) -> None:
        """`socket_path`: the guest's socket, `<uml_dir>/<umid>/mconsole`; `timeout` in seconds for
        each answer.
        """
        self._name, self._peer = name, str(socket_path)
        self._own = socket_path.with_name("mconsole-client")
        self._sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._sock.bind(str(self._own))
        self._own.chmod(0o777)  # the guest, which is another user, answers here
        self._sock.settimeout(timeout)

    def __enter__(self) -> ManagementConsole:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._sock.close()
        self._own.unlink(missing_ok=True)

    def __call__(self, command: str) -> str:
        """Send a command; returns the reply's text.

        Raises:
            GuestError: the guest refused it or did not answer.
        """
        data = command.encode()
        if len(data) >= _MAX_DATA:
            raise GuestError(f"{self._name}: management command longer than {_MAX_DATA} bytes: {command}")
        text = b""
        try:
            self._sock.sendto(
                struct.pack("=III", _MAGIC, _VERSION, len(data)) + data.ljust(_MAX_DATA, b"\0"), self._peer
            )
            for _ in range(_MOST_REPLIES):
                reply = self._sock.recv(4096)
                failed, more, length = struct.unpack("=III", reply[:12])
                text += reply[12 : 12 + length]
                if not more:
                    break
        except (OSError, struct.error) as error:
            raise GuestError(
                f"{self._name}: the guest's management console does not answer ({error})"
            ) from error
        if failed:
            raise GuestError(
                f"{self._name}: the guest refused '{command}':"
                f" {text.rstrip(bytes(1)).decode(errors='replace')}"
            )
        return text.rstrip(b"\0").decode(errors="replace")
