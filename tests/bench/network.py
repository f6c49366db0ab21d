"""Hosts on this machine: each with network, processes and home of its own and a real sshd, all on one switch, and a cable to
them with or without latency. Everything ends with the script that made it, however that ends: namespaces have no names
here, they live as long as the processes in them."""

import ctypes
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from measure import dies_with_us

CLONE_NEWNET = 0x40000000
US, MAC = "10.77.0.1", "02:00:00:00:00:01"
UPLINK = "bench0"
SSHD = ["/usr/sbin/sshd", "/usr/local/sbin/sshd"]
# Own /root, /srv and /run; then it waits for its cable.
BOOT = """set -e
mount --bind "$DIR/root" /root
mount --bind "$DIR/srv" /srv
mount -t tmpfs tmpfs /run
mkdir /run/sshd
read go
ip link set lo up
ip address add "$ADDRESS/24" dev eth0
ip link set eth0 up
exec "$SSHD" -D -f "$DIR/sshd_config" -E "$DIR/log"
"""
CONFIG = """ListenAddress {address}
HostKey {home}/host_key
PidFile none
UsePAM no
UseDNS no
StrictModes no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin yes
AuthorizedKeysFile {home}/key.pub
Subsystem sftp internal-sftp
"""


def ip(*words, within=None):
    enter = ["nsenter", "-t", str(within), "-n"] if within else []
    done = subprocess.run([*enter, "ip", *words], capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"ip {' '.join(words)}: {done.stderr}")


class Host:
    """One of them. `dir` is what it has as /root and /srv."""

    def __init__(self, number, home):
        self.name, self.address = f"h{number}", f"10.77.0.{10 + number}"
        self.dir = home / self.name
        for name in ("root", "srv"):
            (self.dir / name).mkdir(parents=True)
        (self.dir / "sshd_config").write_text(CONFIG.format(address=self.address, home=home))
        sshd = next((path for path in SSHD if os.path.exists(path)), None)
        if sshd is None:
            sys.exit("there is no sshd: install openssh-server")
        env = {"DIR": str(self.dir), "ADDRESS": self.address, "SSHD": sshd, "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
        unshare = ["unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
        out = open(self.dir / "boot", "w")
        self.process = subprocess.Popen(
            [*unshare, "sh", "-c", BOOT], env=env, stdin=subprocess.PIPE, stdout=out, stderr=out, preexec_fn=dies_with_us
        )
        apart(self.process)

    def plug(self, bridge, number):
        """Puts a cable between it and the switch, and lets it boot."""
        near, far = f"near{number}", f"far{number}"
        ip("link", "add", near, "type", "veth", "peer", "name", far)
        ip("link", "set", near, "netns", str(bridge))
        ip("link", "set", near, "master", "switch", "up", within=bridge)
        ip("link", "set", far, "netns", str(self.process.pid), "name", "eth0")
        self.process.stdin.write(b"go\n")
        self.process.stdin.close()

    def inside(self, path):
        """Where a path of this host is for us."""
        top, rest = path.lstrip("/").split("/", 1)
        return self.dir / top / rest


class Network:
    """The hosts, and this script as their controller. Takes the whole process into a network namespace."""

    def __init__(self, home, count):
        self.home, self.relay, self.rtt, self.processes = home, None, None, []
        if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNET) != 0:
            sys.exit("a network namespace cannot be made: this needs root")
        ip("link", "set", "lo", "up")
        self.bridge = subprocess.Popen(["unshare", "--net", "sleep", "infinity"], preexec_fn=dies_with_us)
        self.processes.append(self.bridge)
        apart(self.bridge)
        ip("link", "add", "switch", "type", "bridge", within=self.bridge.pid)
        ip("link", "set", "switch", "up", within=self.bridge.pid)
        for name in ("host_key", "key"):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "bench", "-f", home / name], check=True)
        self.hosts = [Host(number, home) for number in range(1, count + 1)]
        self.processes += [host.process for host in self.hosts]
        for number, host in enumerate(self.hosts):
            host.plug(self.bridge.pid, number)
        key = " ".join((home / "host_key.pub").read_text().split()[:2])
        (home / "known_hosts").write_text("".join(f"{host.address} {key}\n" for host in self.hosts))
        common = (
            f"User root\nIdentityFile {home}/key\nIdentitiesOnly yes\nUserKnownHostsFile {home}/known_hosts\n"
            "GlobalKnownHostsFile none\nStrictHostKeyChecking yes\nBatchMode yes\nLogLevel ERROR\n"
        )
        names = "".join(f"Host {host.name}\nHostName {host.address}\n" for host in self.hosts)
        self.config = home / "ssh_config"
        self.config.write_text(f"{names}Host *\n{common}")
        self.connect(0)

    def connect(self, rtt):
        """Changes the cable between us and the switch to one with this round trip, in milliseconds."""
        if rtt == self.rtt:
            return
        if self.relay:
            self.processes.remove(self.relay)
            end(self.relay)
            self.relay = None
        elif self.rtt is not None:
            ip("link", "delete", UPLINK)
        if rtt:
            relay = [sys.executable, str(Path(__file__).parent / "relay.py"), UPLINK, "switch0", "--delay", str(rtt / 2)]
            self.relay = subprocess.Popen(relay, stdout=subprocess.PIPE, preexec_fn=dies_with_us)
            self.processes.append(self.relay)
            if self.relay.stdout.readline() != b"ready\n":
                sys.exit("the relay did not start")
            for name in (UPLINK, "switch0"):
                ip("link", "set", name, "txqueuelen", "10000")
        else:
            ip("link", "add", UPLINK, "type", "veth", "peer", "name", "switch0")
        ip("link", "set", "switch0", "netns", str(self.bridge.pid))
        ip("link", "set", "switch0", "master", "switch", "up", within=self.bridge.pid)
        # The hosts need not notice that this is another cable.
        ip("link", "set", UPLINK, "address", MAC)
        ip("address", "add", f"{US}/24", "dev", UPLINK)
        ip("link", "set", UPLINK, "up")
        self.rtt = rtt
        for host in self.hosts:
            self.wait(host)

    def wait(self, host):
        deadline = time.monotonic() + 30
        command = ["ssh", "-F", str(self.config), "-o", "ConnectTimeout=2", host.name, "true"]
        while time.monotonic() < deadline:
            done = subprocess.run(command, capture_output=True, text=True)
            if done.returncode == 0:
                return
            time.sleep(0.05)
        log = [path.read_text() for path in (host.dir / "boot", host.dir / "log") if path.exists()]
        sys.exit(f"{host.name} does not let us in: {done.stderr}\n{''.join(log)}")

    def sent(self):
        """Bytes that left for the hosts, as the interface counts them: with the headers of Ethernet, IP and TCP, those once
        for segments that the kernel hands on together."""
        for line in open("/proc/net/dev"):
            name, _, counters = line.partition(":")
            if name.strip() == UPLINK:
                return int(counters.split()[8])
        sys.exit(f"{UPLINK} is gone")

    def busy(self):
        """Processor seconds of the relay so far."""
        if not self.relay:
            return 0.0
        fields = Path(f"/proc/{self.relay.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def close(self):
        """Ends the hosts, and whatever was about to talk to them: it lives in the namespace that this script made."""
        for process in reversed(self.processes):
            end(process)
        self.processes = []
        while strays := companions():
            for pid in strays:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
            time.sleep(0.01)


def apart(process):
    """Waits until it has left our network namespace."""
    ours = os.readlink("/proc/self/ns/net")
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline and process.poll() is None:
        if os.readlink(f"/proc/{process.pid}/ns/net") != ours:
            return
        time.sleep(0.002)
    sys.exit(f"a network namespace cannot be made ({process.args[0]} ended with {process.poll()}): this needs root")


def companions():
    """The other processes in our network namespace, those that are over aside."""
    ours, found = os.readlink("/proc/self/ns/net"), []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and int(entry.name) != os.getpid() and os.readlink(entry / "ns/net") == ours:
                found.append(int(entry.name))
        except OSError:
            continue
    return found


def end(process):
    """With everything in its process namespace, where it has one."""
    if process.poll() is None:
        process.send_signal(signal.SIGKILL)
    process.wait()
