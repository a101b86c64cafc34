"""The engine from outside: what is sent and received in which node, typed; the programs' start and
end.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from types import TracebackType
from typing import Any

from lvslab.errors import LabError, UsageError
from lvslab.lab.nodes import LabHost, LabMachine
from lvslab.lab.program import SPARE_SECONDS, NodeProgram
from lvslab.traffic.engine.results import Flows, Received, Sent
from lvslab.traffic.engine.stream import MAX_SECONDS, Stream

ALL, IPV4, IPV6 = 0x0003, 0x0800, 0x86DD
"""Ethertypes that a receiver can be asked for (linux/if_ether.h)."""

ONE_WORKER_RATE = 150_000.0
"""Packets a second up to which one thread sends a stream with a rate, unless the stream says
otherwise.
"""


def _program(name: str, node: LabHost | None, spec: Mapping[str, Any], descriptor: int) -> NodeProgram:
    """Start the program `<name>_program` of the engine, whose `spec` names the descriptor that it
    inherits.

    Raises:
        LabError: it did not start; the message is its own.
    """
    role = "sender" if name == "send" else "receiver"
    title = f"{role} on {spec['interface']}{f' of {node.name}' if node else ''}"
    module = f"lvslab.traffic.engine.{name}_program"
    return NodeProgram(title, module, [json.dumps(spec)], node, [descriptor])


class Engine:
    """Sends and receives on one interface."""

    def __init__(self, node: LabMachine | None, interface: str) -> None:
        """
        Args:
            node: the node that has the interface; None: the network namespace of the calling
                thread.

        Raises:
            UsageError: the node is not on the machine's own kernel.
        """
        if node is not None and not isinstance(node, LabHost):
            raise UsageError(
                f"traffic engine in {node.name}: it runs only on the machine's own kernel; take another node,"
                " or the switch's end of the guest's link"
            )
        self._node, self._interface = node, interface

    def send(self, stream: Stream) -> Sent:
        """Send a stream and wait for its end.

        Raises:
            UsageError: the stream cannot be made.
            LabError: it cannot be sent.
        """
        with self.start(stream) as sending:
            return sending.wait()

    def start(self, stream: Stream) -> Sending:
        """Send a stream in the background: a context manager, at whose end sending ends.

        Raises:
            UsageError: the stream cannot be made.
        """
        return Sending(self._node, self._interface, stream)

    def receiver(
        self,
        *,
        flows: bool = False,
        sample: int = 0,
        ethertype: int = ALL,
        slots: int = 1 << 17,
        room: int = 128,
        quiet: float = 0.05,
    ) -> Receiver:
        """A receiver, as a context manager: from its beginning to its end everything that comes in
        at the interface is counted.

        Args:
            flows: count also by flow.
            sample: keep every n-th frame, at most 100,000; 0: none.
            ethertype: of the frames to receive, `IPV4`, `IPV6` or another; `ALL`.
            slots: frames that the ring holds for a reader that is late; what comes when it is full
                is reported as dropped.
            room: bytes to keep of each frame at least: for `flows` up to the ports, for `sample`
                what is wanted of it.
            quiet: seconds without a frame that make the end, after the block was left.
        """
        return Receiver(self._node, self._interface, flows, sample, ethertype, slots, room, quiet)


class Sending:
    """A stream that is being sent."""

    def __init__(self, node: LabHost | None, interface: str, stream: Stream) -> None:
        from lvslab.traffic.engine.compile import compile_stream

        self._node, self._interface, self._stream = node, interface, stream
        self._frames = compile_stream(stream)
        self._workers = stream.workers or _workers(stream)
        self._seconds = MAX_SECONDS if stream.seconds is None else stream.seconds
        self._program: NodeProgram | None = None
        self._sent: Sent | None = None

    def __enter__(self) -> Sending:
        """Start; when this returns the first packet is about to go.

        Raises:
            LabError: the program did not start.
        """
        memory = os.memfd_create("lvslab-frames")
        try:
            with os.fdopen(memory, "wb", closefd=False) as file:
                file.write(self._frames.buffer.data)
            spec = {
                "interface": self._interface,
                "descriptor": memory,
                "stride": self._frames.stride,
                "lengths": self._frames.lengths,
                "count": self._stream.planned,
                "rate": self._stream.rate,
                "seconds": self._seconds,
                "workers": self._workers,
            }
            self._program = _program("send", self._node, spec, memory)
        finally:
            os.close(memory)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._program is not None
        try:
            if error is None:
                self.stop()
        finally:
            self._program.close()

    def stop(self) -> Sent:
        """End it now unless it has ended; what was sent.

        Raises:
            LabError: the kernel refused to send.
        """
        if self._program is not None:
            self._program.tell_to_end()
        return self._result(SPARE_SECONDS)

    def wait(self) -> Sent:
        """Wait until all was sent or the stream's time is over; what was sent.

        Raises:
            LabError: the kernel refused to send.
        """
        return self._result(self._seconds + SPARE_SECONDS)

    def check(self) -> None:
        """Make sure that nothing has failed so far.

        Raises:
            LabError: the kernel refused to send.
        """
        if self._program is not None and not self._program.running:
            self._result(SPARE_SECONDS)

    def _result(self, seconds: float) -> Sent:
        if self._sent is None:
            if self._program is None:
                raise LabError(f"sender on {self._interface}: not started; use it as a context manager")
            said = self._program.totals(seconds)
            self._sent = Sent(
                planned=self._stream.planned, wanted_rate=self._stream.rate, workers=self._workers, **said
            )
        return self._sent


def _workers(stream: Stream) -> int:
    if len(stream.templates) > 1 or (stream.rate is not None and stream.rate <= ONE_WORKER_RATE):
        return 1
    return len(os.sched_getaffinity(0))


class Receiver:
    """A receiver that runs while the block is entered.

    Attributes:
        result: what it received; there when the block was left.
    """

    result: Received

    def __init__(
        self,
        node: LabHost | None,
        interface: str,
        flows: bool,
        sample: int,
        ethertype: int,
        slots: int,
        room: int,
        quiet: float,
    ) -> None:
        self._node, self._flows, self._sample, self._quiet = node, flows, sample, quiet
        self._spec = {"interface": interface, "flows": flows, "sample": sample, "quiet": quiet}
        self._spec |= {"ethertype": ethertype, "slots": slots, "room": room}
        self._memory = -1
        self._program: NodeProgram | None = None

    def __enter__(self) -> Receiver:
        """Start it; when this returns frames are received.

        Raises:
            LabError: the program did not start.
        """
        self._memory = os.memfd_create("lvslab-received")
        try:
            self._program = _program(
                "receive", self._node, {**self._spec, "descriptor": self._memory}, self._memory
            )
        except BaseException:
            os.close(self._memory)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._program is not None
        try:
            if error is None:
                self._program.tell_to_end()
                self.result = self._read(self._program.totals(SPARE_SECONDS + self._quiet))
        finally:
            self._program.close()
            os.close(self._memory)

    def _read(self, said: dict[str, Any]) -> Received:
        import numpy as np

        flows: Flows | None = None
        samples: tuple[tuple[float, bytes], ...] = ()
        with os.fdopen(self._memory, "rb", closefd=False) as file:
            file.seek(0)
            if self._flows:
                flows = Flows(np.load(file), np.load(file))
            if self._sample:
                times, lengths, data = np.load(file), np.load(file), np.load(file).tobytes()
                ends = np.cumsum(lengths)
                samples = tuple(
                    (stamp / 1e9, data[end - length : end])
                    for stamp, length, end in zip(
                        times.tolist(), lengths.tolist(), ends.tolist(), strict=True
                    )
                )
        first, last = (None if said[key] is None else said[key] / 1e9 for key in ("first", "last"))
        return Received(**{**said, "first": first, "last": last}, flows=flows, samples=samples)
