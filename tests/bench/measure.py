"""What a command takes: wall and processor time of everything it starts, and its peak memory. Knows no tool."""

import ctypes
import json
import os
import signal
import subprocess
import sys
import tempfile
import time

PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36


class Cost:
    """What one command took: wall and processor seconds of everything it started, peak resident bytes of one process, and,
    where a network was given, the bytes that left for the hosts."""

    def __init__(self, wall, cpu, rss, sent=0):
        self.wall, self.cpu, self.rss, self.sent = wall, cpu, rss, sent


def measure(command, env, cwd, expect=(0,), linger="wait", network=None, quiet=True):
    """Runs it from its start to its end, with written disks. Processes that outlive it (an agent that detached itself, an
    ssh that keeps a connection) are counted, and waited for or ended (`linger="end"`) outside of the wall time."""
    os.sync()
    sent = network.sent() if network else 0
    asked = json.dumps([[str(word) for word in command], env, str(cwd), linger])
    # An interpreter of its own adopts what the command leaves behind, and nothing else of this script's. And it is small:
    # a process starts as a copy of the one that starts it, so that no peak below its 12 MiB can be seen.
    watch = [sys.executable, "-S", __file__]
    watched = subprocess.run(watch, input=asked, stdout=subprocess.PIPE, text=True, preexec_fn=dies_with_us)
    if watched.returncode != 0:
        sys.exit(f"{command} was not measured")
    said = json.loads(watched.stdout)
    if said["status"] not in expect:
        sys.exit(f"{command} ended with {said['status']}:\n{said['output']}")
    if not quiet:
        sys.stderr.write(said["output"])
    return Cost(said["wall"], said["cpu"], said["rss"], network.sent() - sent if network else 0)


def observed(command, env, cwd, linger):
    """In the interpreter of its own."""
    prctl(PR_SET_CHILD_SUBREAPER, 1)
    out = tempfile.TemporaryFile()
    start = time.perf_counter()
    process = subprocess.Popen(
        command, env=env, cwd=cwd, stdin=subprocess.DEVNULL, stdout=out, stderr=out, preexec_fn=dies_with_us
    )
    status, cpu, rss = None, 0.0, 0
    while status is None:
        pid, ended, usage = os.wait4(-1, 0)
        cpu, rss = cpu + usage.ru_utime + usage.ru_stime, max(rss, usage.ru_maxrss * 1024)
        if pid == process.pid:
            wall = time.perf_counter() - start
            status = process.returncode = os.waitstatus_to_exitcode(ended)
    while True:
        if linger == "end":
            for pid in children(os.getpid()):
                os.kill(pid, signal.SIGTERM)
        try:
            _, _, usage = os.wait4(-1, 0)
        except ChildProcessError:
            break
        cpu, rss = cpu + usage.ru_utime + usage.ru_stime, max(rss, usage.ru_maxrss * 1024)
    out.seek(0)
    output = out.read().decode(errors="replace")[-20_000:]
    return {"status": status, "wall": wall, "cpu": cpu, "rss": rss, "output": output}


def children(pid):
    with open(f"/proc/{pid}/task/{pid}/children") as file:
        return [int(child) for child in file.read().split()]


def prctl(what, value):
    ctypes.CDLL(None, use_errno=True).prctl(what, value, 0, 0, 0)


def dies_with_us():
    """For `preexec_fn`: what this script starts in the background does not outlive it, however it ends."""
    prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def duration(seconds):
    return f"{seconds:.2f} s" if seconds >= 1 else f"{seconds * 1000:.0f} ms" if seconds >= 0.01 else f"{seconds * 1000:.1f} ms"


def say(text):
    print(text, file=sys.stderr, flush=True)


def machine():
    model = next((line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), "unknown")
    flags = next((line.split() for line in open("/proc/cpuinfo") if line.startswith("flags")), [])
    sha = "with" if "sha_ni" in flags else "without"
    return f"{os.cpu_count()} cores, {model}, {sha} SHA extensions, Linux {os.uname().release}"


if __name__ == "__main__":
    print(json.dumps(observed(*json.load(sys.stdin))))
