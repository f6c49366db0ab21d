#!/usr/bin/env python3
"""A cable with latency and loss, where the kernel has no netem: two TAP devices and whatever comes out of one goes into the
other, later.

    relay.py A B [--delay MS] [--loss PERCENT] [--seed N] [--leashed]

Makes both devices in the network namespace that it is started in (whoever starts it may move them from there), prints
`ready`, and relays until it is ended, or, on a leash, until its standard input ends; the devices end with it. `--delay` is for one direction: a round trip takes twice as
long. Without loss, segments travel in packets of up to 64 KiB, as between a kernel and a network card, so that it keeps
up with a gigabyte per second; with loss every packet is one segment, so that a loss is the loss of one.
"""

import argparse
import collections
import errno
import fcntl
import os
import random
import select
import struct
import time

TUNSETIFF, TUNSETOFFLOAD = 0x400454CA, 0x400454D0
IFF_TAP, IFF_NO_PI, IFF_VNET_HDR = 0x0002, 0x1000, 0x4000
CSUM, TSO4, TSO6, TSO_ECN = 1, 2, 4, 8
LARGEST = 70_000
TOGETHER = 64


def tap(name, whole):
    fd = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(fd, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TAP | IFF_NO_PI | IFF_VNET_HDR))
    fcntl.ioctl(fd, TUNSETOFFLOAD, CSUM if whole else CSUM | TSO4 | TSO6 | TSO_ECN)
    return fd


def relay(a, b, delay, loss, dice, leash):
    # What came out of a device, and when it goes into the other one: in order, because everything waits equally long.
    queues = {a: collections.deque(), b: collections.deque()}
    other = {a: b, b: a}
    while True:
        heads = [queue[0][0] for queue in queues.values() if queue]
        wait = max(0.0, min(heads) - time.monotonic()) if heads else None
        readable, _, _ = select.select([a, b, *leash], [], [], wait)
        if any(fd in readable and not os.read(fd, 4096) for fd in leash):
            return
        for fd in (fd for fd in readable if fd in queues):
            due = time.monotonic() + delay
            for _ in range(TOGETHER):
                try:
                    packet = os.read(fd, LARGEST)
                except BlockingIOError:
                    break
                except OSError as error:
                    # Down for now: nothing comes.
                    if error.errno not in (errno.EIO, errno.EBADFD):
                        raise
                    break
                if not loss or dice.random() >= loss:
                    queues[fd].append((due, packet))
        now = time.monotonic()
        for fd, queue in queues.items():
            while queue and queue[0][0] <= now:
                try:
                    os.write(other[fd], queue.popleft()[1])
                except OSError as error:
                    # As a cable that is pulled out, or a switch that is full.
                    if error.errno not in (errno.EIO, errno.ENOBUFS, errno.EAGAIN, errno.EINVAL, errno.EBADFD):
                        raise


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("devices", nargs=2, metavar="DEVICE")
    parser.add_argument("--delay", type=float, default=0, metavar="MS", help="of one direction")
    parser.add_argument("--loss", type=float, default=0, metavar="PERCENT")
    parser.add_argument("--seed", type=int, default=1, help="of the losses")
    parser.add_argument("--leashed", action="store_true", help="end when standard input ends")
    args = parser.parse_args()
    a, b = (tap(name, whole=args.loss > 0) for name in args.devices)
    print("ready", flush=True)
    relay(a, b, args.delay / 1000, args.loss / 100, random.Random(args.seed), [0] if args.leashed else [])


if __name__ == "__main__":
    main()
