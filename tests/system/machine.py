"""A Debian with its systemd, booted in a container of its own, and spoken to from outside."""

import json
import os
import shutil
import socket
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
CACHE = os.path.join(HERE, "../../target/system")
MIRROR = "http://deb.debian.org/debian"
PACKAGES = "systemd,systemd-sysv,dbus,iproute2,python3-minimal,logrotate"
PATIENCE_S = 90
LANDLOCK = ["landlock_create_ruleset", "landlock_add_rule", "landlock_restrict_self"]


class Failure(Exception):
    """What was wanted did not happen."""


class Unbootable(Failure):
    """No system to try anything in, through no fault of the packages."""


def root_of(suite):
    """A fresh system that nobody has touched, made once and kept."""
    kept = os.path.join(CACHE, suite)
    if not was_made_of(kept + ".done", PACKAGES):
        shutil.rmtree(kept, ignore_errors=True)
        os.makedirs(CACHE, exist_ok=True)
        mirror = nearest_mirror()
        made = subprocess.run(
            ["debootstrap", "--variant=minbase", "--include=" + PACKAGES, suite, kept, mirror],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )
        if made.returncode != 0:
            raise Unbootable(
                f"no Debian {suite} from {mirror}:\n{made.stdout[-2000:]}\n"
                "fix: name a mirror that this machine reaches in DEBIAN_MIRROR"
            )
        with open(kept + ".done", "w") as done:
            done.write(PACKAGES)
    return kept


def nearest_mirror():
    """The one that is asked for, or where this machine has its own packages from, if it is a Debian."""
    if asked := os.environ.get("DEBIAN_MIRROR"):
        return asked
    try:
        known = subprocess.run(
            ["apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages",
             "Origin: Debian", "Label: Debian", "Component: main"],
            capture_output=True, text=True,
        ).stdout.split()
    except FileNotFoundError:
        known = []
    # debootstrap knows no other way, such as apt's mirror+file: or cdrom:.
    return next((uri for uri in known if uri.startswith(("http:", "https:"))), MIRROR)


def was_made_of(done, packages):
    try:
        with open(done) as file:
            return file.read() == packages
    except FileNotFoundError:
        return False


class Machine:
    def __init__(self, suite):
        self.root = os.path.join(CACHE, f"{suite}.{os.getpid()}")
        subprocess.run(["cp", "-a", root_of(suite), self.root], check=True)
        self.console = open(os.path.join(CACHE, suite + ".console"), "w")
        self.nspawn = subprocess.Popen(
            ["systemd-nspawn", "--quiet", "--register=no", "--keep-unit", "--private-network",
             "--machine=polyport-" + suite, "-D", self.root, "--boot",
             # A machine lets its services close themselves in; a container does not, if not told to.
             "--system-call-filter=" + " ".join(LANDLOCK)],
            stdin=subprocess.DEVNULL, stdout=self.console, stderr=subprocess.STDOUT,
        )
        try:
            self.pid = self.until("the container has a first process", self.first_process)
            self.until("its systemd has booted", self.has_booted)
        except Failure as failure:
            self.end()
            raise Unbootable(str(failure)) from failure
        except BaseException:
            self.end()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        try:
            subprocess.run(self.inside("systemctl", "--force", "poweroff"), capture_output=True)
            self.nspawn.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            pass
        self.end()

    def end(self):
        """Without its leave, if it is still there."""
        self.nspawn.kill()
        self.nspawn.wait()
        self.console.close()
        shutil.rmtree(self.root, ignore_errors=True)

    def first_process(self):
        if self.nspawn.poll() is not None:
            raise Failure(f"systemd-nspawn ended with {self.nspawn.returncode}, see "
                          f"{self.console.name}: is this a privileged container?")
        pid = self.nspawn.pid
        with open(f"/proc/{pid}/task/{pid}/children") as children:
            return [child for child in children.read().split() if is_init(child)]

    def has_booted(self):
        state = subprocess.run(self.inside("systemctl", "is-system-running"),
                               capture_output=True, text=True).stdout.strip()
        return state in ("running", "degraded")

    def inside(self, *words):
        return ["nsenter", "-t", self.pid[0], "-a", "--", *words]

    def run(self, script):
        """A shell script within: exit code and everything that it printed."""
        done = subprocess.run(self.inside("/bin/sh", "-c", script), stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        return done.returncode, done.stdout.strip()

    def must(self, script):
        code, text = self.run(script)
        if code != 0:
            raise Failure(f"`{script}` ended with {code}:\n{text}\n{self.journal()}")
        return text

    def journal(self):
        return self.run("journalctl -b --no-pager -n 40 -u 'polyport*'; systemctl status --no-pager "
                        "'polyport*'")[1]

    def until(self, what, wanted):
        """Looks again and again until it is so; returns what it is."""
        end = time.monotonic() + PATIENCE_S
        while True:
            found = wanted()
            if found:
                return found
            if time.monotonic() > end:
                log = self.journal() if hasattr(self, "pid") else ""
                raise Failure(f"waited in vain until {what}\n{log}")
            time.sleep(0.05)

    def put(self, text, path, mode=0o644):
        with open(self.root + path, "w") as file:
            file.write(text)
        os.chmod(self.root + path, mode)

    def copy(self, source, path):
        shutil.copyfile(source, self.root + path)
        os.chmod(self.root + path, 0o644)

    def show(self, unit, what):
        return self.must(f"systemctl show -P {what} {unit}")

    def talk(self, port, said, kind="stream"):
        """What is answered on the container's own loopback."""
        script = (
            "import socket, sys\n"
            f"s = socket.socket(socket.AF_INET, socket.SOCK_{kind.upper()[:6]})\n"
            "s.settimeout(20)\n"
            f"s.connect(('127.0.0.1', {port}))\n"
            f"s.send({said!r})\n"
            "sys.stdout.buffer.write(s.recv(4096))\n"
        )
        done = subprocess.run(["nsenter", "-t", self.pid[0], "-n", sys.executable, "-c", script],
                              capture_output=True)
        return done.stdout

    def load(self, port, peers=20):
        return Load(self, port, peers)


def is_init(pid):
    """It is the container's first process, and not yet or no more one of those that prepare it."""
    try:
        with open(f"/proc/{pid}/comm") as comm:
            return comm.read().strip() in ("systemd", "init")
    except FileNotFoundError:
        return False


class Load:
    """Peers that come and go for as long as this is open."""

    def __init__(self, machine, port, peers):
        self.process = subprocess.Popen(
            ["nsenter", "-t", machine.pid[0], "-n", sys.executable,
             os.path.join(HERE, "load.py"), "127.0.0.1", str(port), str(peers)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )
        self.counts = None

    def __enter__(self):
        self.process.stdout.readline()
        return self

    def __exit__(self, kind, *_):
        text, _ = self.process.communicate("")
        if kind is None:
            self.counts = json.loads(text)
