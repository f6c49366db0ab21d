"""soll, as one of the ways to deploy: a new process with new connections each time, and a daemon that keeps them."""

import http.client
import os
import statistics
import subprocess
import sys
import threading
import time

from measure import Cost, dies_with_us
from tools import Tool

SHARED = """
shared_dirs = ["storage", "public/uploads"]
shared_files = [".env"]
required_env = ["APP_KEY"]
"""
HEALTH = '[environments.live.health]\nattempts = 1\n[[environments.live.health.checks]]\nrun = "test -f public/index.php"\n'
ASKED = 20
PATIENCE = 60


class Soll(Tool):
    """`soll apply`. The bundle is fetched, checked and unpacked on the controller for each first and second deployment; the
    agent is on the hosts already, as rsync and Python are for the others (see `bootstrap`)."""

    name = "soll"
    KEEPS = True

    def __init__(self, setting):
        super().__init__(setting)
        self.binary, self.agent = self.program(setting)

    def program(self, setting):
        return setting.binary, setting.agent

    def begin(self, hosts, home):
        super().begin(hosts, home)
        state = home / "state"
        state.mkdir()
        url = f"{self.setting.bundles}/deployment-bundle-{{sha}}.tar.gz"
        text = f'schema = 1\n[apps.web]\nkind = "bundle"\nbundle = {{ url = "{url}" }}\n{SHARED}'
        text += "".join(f'[hosts.{host.name}]\naddress = "{host.name}"\n' for host in hosts)
        names = ", ".join(f'"{host.name}"' for host in hosts)
        sha = self.setting.sha["A"]
        text += f'[environments.live]\nrelease = "{sha}"\nroot = "{self.root}"\nhosts = [{names}]\n{HEALTH}'
        (state / "desired-state.toml").write_text(text)
        self.quiet("git", "init", "-q", "-b", "main")
        self.quiet("git", "add", "-A")
        self.quiet("git", "commit", "-q", "-m", "State")

    def env(self):
        machine = os.uname().machine.upper()
        return self.setting.env | {
            "SOLL_STATE_DIR": str(self.home / "controller"),
            "SOLL_SSH_KEY": str(self.setting.home / "key"),
            "SOLL_KNOWN_HOSTS": str(self.setting.home / "known_hosts"),
            "SOLL_SSH_CONFIG": str(self.network.config),
            f"SOLL_AGENT_{machine}": str(self.agent),
        }

    def quiet(self, *command):
        state = self.home / "state"
        done = subprocess.run(command, cwd=state, env=self.env(), stdin=subprocess.DEVNULL, capture_output=True, text=True)
        if done.returncode != 0:
            sys.exit(f"{command} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
        return done.stdout

    def bootstrap(self):
        """The first contact with a host: puts the agent there, where it is not yet."""
        return [self.binary, "plan"]

    def before(self, step):
        if step == "update":
            self.quiet(self.binary, "release", "live", self.setting.sha["B"])
        if step == "back":
            self.quiet(self.binary, "rollback", "live")

    def command(self, step):
        return [self.binary, "apply"]


class Before(Soll):
    """Another build of soll, beside this one in every turn: what a change costs."""

    name = "soll-before"
    # What its daemon says, and when, is its own affair.
    KEEPS = False

    def program(self, setting):
        return setting.against, setting.against_agent


class Daemon:
    """`soll run` beside the roots that `apply` made: what a pass and a return cost on connections that stand already."""

    def __init__(self, soll):
        self.soll, self.network = soll, soll.network
        self.said = []
        port = 18_484
        command = [soll.binary, "run", "--listen", f"127.0.0.1:{port}"]
        self.process = subprocess.Popen(
            command,
            cwd=soll.home / "state",
            env=soll.env() | {"SOLL_POLL": "1h"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            preexec_fn=dies_with_us,
        )
        threading.Thread(target=self.listen, daemon=True).start()
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
        self.until(lambda: any("live:" in line for _, line in self.said), "makes no pass")

    def listen(self):
        for line in self.process.stdout:
            self.said.append((time.perf_counter(), line.rstrip()))

    def until(self, done, what):
        deadline = time.monotonic() + PATIENCE
        while not done():
            if time.monotonic() > deadline or self.process.poll() is not None:
                sys.exit(f"the daemon {what}:\n" + "\n".join(line for _, line in self.said[-40:]))
            time.sleep(0.002)

    def noop(self):
        """From a commit that changes nothing to what the daemon saw of every host as that commit has it, over the connections
        that stand (its drift scan has a period of its own)."""
        self.observe()
        walls, cpu, sent = [], self.cpu(), self.network.sent()
        for _ in range(ASKED):
            walls.append(self.observe())
        cost = Cost(statistics.median(walls), (self.cpu() - cpu) / ASKED, self.peak())
        cost.sent = (self.network.sent() - sent) // ASKED
        return cost

    def observe(self):
        start = time.perf_counter()
        self.soll.quiet("git", "commit", "--allow-empty", "-qm", "Nothing changes")
        head = self.soll.quiet("git", "rev-parse", "HEAD").strip()
        body = b""

        def seen():
            nonlocal body
            self.connection.request("GET", "/observation")
            answer = self.connection.getresponse()
            body = answer.read()
            # The daemon's commit, and that of its one environment; a program before the board looked when it was asked.
            wanted = 2 if b'"schema":2' in body[:200] else 1
            return answer.status == 200 and body.count(f'"commit":"{head}"'.encode()) >= wanted

        self.until(seen, "does not look as the newest commit has it")
        if body.count(b'"current"') < len(self.soll.hosts):
            sys.exit(f"the daemon does not see the hosts: {body[:2000]!r}")
        return time.perf_counter() - start

    def back(self, label):
        """From the commit to the word that every host is confirmed, for a release that the hosts have already."""
        sha, state = self.soll.setting.sha[label], self.soll.home / "state"
        path = state / "desired-state.toml"
        other = next(value for name, value in self.soll.setting.sha.items() if name != label)
        path.write_text(path.read_text().replace(other, sha))
        before = len(self.said)
        cpu, sent = self.cpu(), self.network.sent()
        start = time.perf_counter()
        self.soll.quiet("git", "commit", "-qam", f"Release {label}")
        ended = lambda: [at for at, line in self.said[before:] if "live" in line and "succeeded" in line]
        self.until(ended, f"does not go to {label}")
        return Cost(ended()[0] - start, self.cpu() - cpu, self.peak(), self.network.sent() - sent)

    def cpu(self):
        fields = open(f"/proc/{self.process.pid}/stat").read().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def peak(self):
        line = next(line for line in open(f"/proc/{self.process.pid}/status") if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024

    def stop(self):
        self.process.terminate()
        try:
            self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
