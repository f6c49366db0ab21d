"""The ways to deploy that are measured beside each other. Each says which command makes a step and where the result must be;
none measures itself. Each has a root of its own on every host, and takes all hosts at once, as far as it can."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOTS = "/srv"
STEPS = ["first", "update", "noop", "back"]
# What is desired after each step.
LABEL = {"first": "A", "update": "B", "noop": "B", "back": "A"}
LINK = """cd {root}/releases/{name}
ln -sfn ../../shared/storage storage
ln -sfn ../../../shared/uploads public/uploads
ln -sfn ../../shared/.env .env
test -f public/index.php
cd {root}
"""
SWITCH = "ln -sfn releases/{name} .current.new && mv -T .current.new current\n"


class Tool:
    """One way. `setting` has what all of them need: home, hosts, env, network, sha, trees, bundles."""

    name = ""

    def __init__(self, setting):
        self.setting, self.network = setting, setting.network
        self.root = f"{ROOTS}/{self.name}"
        self.linger = "end"

    def begin(self, hosts, home):
        """New roots, with what outlives releases."""
        self.hosts, self.home = hosts, home
        home.mkdir(parents=True)
        for host in hosts:
            root = host.inside(self.root)
            for path in ("releases", "shared/storage", "shared/uploads"):
                (root / path).mkdir(parents=True)
            (root / "shared/.env").write_text("APP_KEY=x\n")

    def finish(self):
        for host in self.hosts:
            shutil.rmtree(host.inside(self.root))
        shutil.rmtree(self.home)

    def command(self, step):
        raise NotImplementedError

    def env(self):
        return self.setting.env

    def before(self, step):
        """What a person would have done by then, and nobody measures."""

    def check(self, step, thoroughly):
        """Every host must really run what is desired now, or the figure is worth nothing."""
        label = LABEL[step]
        for host in self.hosts:
            root = host.inside(self.root)
            target = os.readlink(root / "current")
            live = root / "releases" / Path(target).name
            found = (live / "public/version.txt").read_text()
            if found != f"{label}\n" or os.readlink(live / "storage") is None:
                sys.exit(f"after `{step}` of {self.name} {host.name} runs {found!r} ({target}), not {label}")
        if thoroughly:
            done = subprocess.run(
                ["diff", "-rq", "--no-dereference", self.setting.trees[label] / "vendor", live / "vendor"],
                capture_output=True,
                text=True,
            )
            if done.returncode != 0:
                sys.exit(f"after `{step}` of {self.name} {host.name} has something else:\n{done.stdout[:2000]}{done.stderr}")

    def everywhere(self, script):
        """A command for each host, all at once: `$1` in it is the host."""
        names = " ".join(host.name for host in self.hosts)
        spread = f"printf '%s\\n' {names} | xargs -P {len(self.hosts)} -n 1 sh -c \"$EACH\" each"
        return ["env", f"EACH={script}", "sh", "-c", spread]

    def remote(self, script):
        """For a line of shell: the script on the host `$1`, which must not contain single quotes."""
        return f"ssh -F {self.network.config} \"$1\" 'set -e\n{script}'"


class Floor(Tool):
    """Nothing at all, over new connections: faster is nobody who logs in."""

    name = "ssh true"

    def begin(self, hosts, home):
        self.hosts = hosts

    def finish(self):
        pass

    def command(self, step):
        return self.everywhere(self.remote("true"))

    def check(self, step, thoroughly):
        pass


class Shell(Tool):
    """The script that people have: one ssh for each host, the bundle through it, ln, mv."""

    name = "tar+ssh"

    def __init__(self, setting):
        super().__init__(setting)
        self.root = f"{ROOTS}/shell"

    def command(self, step):
        name = LABEL[step]
        if step == "noop":
            return None
        link = LINK.format(root=self.root, name=name) if step != "back" else f"cd {self.root}\n"
        script = link + SWITCH.format(name=name)
        if step == "back":
            return self.everywhere(self.remote(script))
        unpack = f"mkdir {self.root}/releases/{name}\ntar xz -C {self.root}/releases/{name}\n"
        return self.everywhere(f"{self.remote(unpack + script)} < {self.setting.bundle(name)}")


class Plain(Shell):
    """The same from the unpacked tree, without compression: less work for processors, more for the wire."""

    name = "tar+ssh, plain"

    def __init__(self, setting):
        super().__init__(setting)
        self.root = f"{ROOTS}/plain"

    def command(self, step):
        name = LABEL[step]
        if step in ("noop", "back"):
            return super().command(step)
        script = LINK.format(root=self.root, name=name) + SWITCH.format(name=name)
        unpack = f"mkdir {self.root}/releases/{name}\ntar x -C {self.root}/releases/{name}\n"
        return self.everywhere(f"tar c -C {self.setting.trees[name]} . | {self.remote(unpack + script)}")


class Rsync(Tool):
    """rsync against the release before, from a tree that is unpacked already, then ln and mv."""

    name = "rsync"

    def command(self, step):
        name = LABEL[step]
        script = SWITCH.format(name=name)
        if step == "back":
            return self.everywhere(self.remote(f"cd {self.root}\n{script}"))
        before = f"--link-dest={self.root}/releases/A/" if step != "first" else ""
        copy = (
            f"rsync -a {before} -e 'ssh -F {self.network.config}' "
            f'{self.setting.trees[name]}/ "$1:{self.root}/releases/{name}/"'
        )
        return self.everywhere(f"{copy} && {self.remote(LINK.format(root=self.root, name=name) + script)}")


PLAYBOOK = """- hosts: all
  gather_facts: false
  vars:
    release: "{{ root }}/releases/{{ name }}"
  tasks:
    - ansible.builtin.file: { path: "{{ release }}", state: directory }
      tags: deploy
    - ansible.builtin.unarchive:
        src: "{{ bundle }}"
        dest: "{{ release }}"
        creates: "{{ release }}/public/index.php"
      tags: deploy
    - ansible.builtin.shell:
        cmd: |
          set -e
          ln -sfn ../../shared/storage storage
          ln -sfn ../../../shared/uploads public/uploads
          ln -sfn ../../shared/.env .env
          test -f public/index.php
        chdir: "{{ release }}"
        creates: "{{ release }}/.env"
      tags: deploy
    - ansible.builtin.file: { src: "releases/{{ name }}", dest: "{{ root }}/current", state: link }
      tags: [deploy, back]
    - ansible.builtin.slurp: { src: "{{ root }}/current/public/version.txt" }
      register: live
      tags: [deploy, back]
    - ansible.builtin.assert: { that: "(live.content | b64decode | trim) == name" }
      tags: [deploy, back]
"""


class Ansible(Tool):
    """A play with as few tasks as the job has, pipelining, and a fork for each host; its own defaults otherwise."""

    name = "Ansible"

    def __init__(self, setting):
        super().__init__(setting)
        self.root = f"{ROOTS}/ansible"
        self.venv = environment(setting.cache)

    def begin(self, hosts, home):
        super().begin(hosts, home)
        lines = [f"{host.name} ansible_python_interpreter={self.python()}" for host in hosts]
        (home / "inventory").write_text("\n".join(lines) + "\n")
        (home / "play.yml").write_text(PLAYBOOK)

    def python(self):
        return "/usr/bin/python3" if os.path.exists("/usr/bin/python3") else sys.executable

    def env(self):
        # The sockets of its connections must have short names.
        sockets = self.setting.home / "cp"
        sockets.mkdir(exist_ok=True)
        return self.setting.env | {
            "PATH": f"{self.venv}/bin:{self.setting.env['PATH']}",
            "ANSIBLE_PIPELINING": "1",
            "ANSIBLE_FORKS": str(len(self.hosts)),
            "ANSIBLE_SSH_ARGS": f"-F {self.network.config} -C -o ControlMaster=auto -o ControlPersist=60s",
            "ANSIBLE_SCP_EXTRA_ARGS": f"-F {self.network.config}",
            "ANSIBLE_SFTP_EXTRA_ARGS": f"-F {self.network.config}",
            "ANSIBLE_SSH_CONTROL_PATH_DIR": str(sockets),
            "ANSIBLE_HOME": str(self.setting.home / "ansible"),
            "ANSIBLE_LOCAL_TEMP": str(self.setting.home / "ansible/tmp"),
            "ANSIBLE_NOCOLOR": "1",
            "LC_ALL": "C.UTF-8",
        }

    def command(self, step):
        name = LABEL[step]
        values = f"root={self.root} name={name} bundle={self.setting.bundle(name)}"
        tag = "back" if step == "back" else "deploy"
        play = ["ansible-playbook", "-i", str(self.home / "inventory"), "-t", tag, "-e", values]
        return [*play, str(self.home / "play.yml")]


def environment(cache):
    """Ansible from PyPI, in an environment of its own that later runs find again."""
    venv = cache / "ansible"
    if not (venv / "bin/ansible-playbook").exists():
        print(f"installing ansible-core into {venv}", file=sys.stderr, flush=True)
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(venv)], check=True)
        subprocess.run([str(venv / "bin/pip"), "install", "--quiet", "ansible-core"], check=True)
    return venv
