#!/usr/bin/env python3
"""A long and lossy cable: carries Ethernet frames between two TAP devices that it makes, each way after a delay, and drops
some. The caller puts the devices where they belong (a bridge, another network namespace) once `ready` was printed; it ends
when its standard input does.

    relay.py NEAR FAR --delay-ms 100 --loss-percent 1 [--seed 1]     # 200 ms for a round trip
"""

import argparse
import collections
import fcntl
import os
import random
import select
import struct
import sys
import time

TUNSETIFF, IFF_TAP, IFF_NO_PI = 0x400454CA, 0x0002, 0x1000
LONGEST = 65536  # of a frame
BURST = 64  # frames from one side before the other one gets its turn
QUEUE = 4000  # frames under way: what comes when so many are there is lost, as in a router


def tap(name):
    fd = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(fd, TUNSETIFF, struct.pack("16sH", name.encode(), IFF_TAP | IFF_NO_PI))
    return fd


def receive(fd):
    for _ in range(BURST):
        try:
            yield os.read(fd, LONGEST)
        except BlockingIOError:
            return
        except OSError:  # the device is down for now
            return


def main():
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("near")
    words.add_argument("far")
    words.add_argument("--delay-ms", type=float, default=0, help="one way")
    words.add_argument("--loss-percent", type=float, default=0)
    words.add_argument("--seed", type=int, default=1)
    asked = words.parse_args()
    delay, loss, dice = asked.delay_ms / 1000, asked.loss_percent / 100, random.Random(asked.seed)
    near, far = tap(asked.near), tap(asked.far)
    other = {near: far, far: near}
    under_way = collections.deque()
    print("ready", flush=True)
    while True:
        wait = None if not under_way else max(0, under_way[0][0] - time.monotonic())
        ready, _, _ = select.select([near, far, sys.stdin], [], [], wait)
        if sys.stdin in ready and not os.read(sys.stdin.fileno(), 4096):
            return
        for fd in (near, far):
            if fd in ready:
                for frame in receive(fd):
                    if dice.random() >= loss and len(under_way) < QUEUE:
                        under_way.append((time.monotonic() + delay, other[fd], frame))
        now = time.monotonic()
        while under_way and under_way[0][0] <= now:
            _, fd, frame = under_way.popleft()
            try:
                os.write(fd, frame)
            except OSError:  # its device is down, or full: lost
                pass


if __name__ == "__main__":
    main()
