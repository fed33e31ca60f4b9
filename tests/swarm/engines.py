"""Several Docker engines on one machine, each with a network address, a host name and disks of its own.

A bridge, and for each engine a network namespace with a veth. There is no default route in them: an
engine's attempt to pull an image fails at once, and the local one is used. Each engine is the first
process of a PID namespace: ending that one process ends its containers with it, as when the power goes.
Everything is undone by `Machines.close`.
"""

import ctypes
import http.client
import os
import shutil
import signal
import subprocess
import tempfile
import time

# Bind the cgroups aside, because a fresh sysfs (for the namespace's own network) hides them.
BOOT = """
set -e
mount --make-rprivate /
mount -t proc proc /proc
mount --rbind /sys/fs/cgroup "$ROOT/cgroup"
mount -t sysfs sysfs /sys
mount --rbind "$ROOT/cgroup" /sys/fs/cgroup
mkdir -p /run/docker
mount -t tmpfs tmpfs /run/docker
hostname "$NAME"
ip link set lo up
# Not exec: somebody must collect the containers' orphans.
dockerd --data-root "$ROOT/data" --exec-root "$ROOT/exec" --host "unix://$ROOT/docker.sock" \
    --pidfile "$ROOT/docker.pid" --cgroup-parent "$CGROUP" --exec-opt native.cgroupdriver=cgroupfs \
    --log-level warn >>"$ROOT/log" 2>&1 &
wait $!
"""

BRIDGE_FILTER = "/proc/sys/net/bridge/bridge-nf-call-iptables"
# The number of the outsider's cable; the machines' begin at 11.
OUTSIDE = 99


class Failed(Exception):
    """A check or a step of the test did not come out as it must."""


def run(*command, check=True, stdin=None, timeout=300, env=None, errors=False):
    """Runs a command to its end; its output as text, with its `errors` in front where they are wanted."""
    done = subprocess.run(
        command, input=stdin, capture_output=True, timeout=timeout, check=False,
        env=None if env is None else {**os.environ, **env},
    )
    if check and done.returncode != 0:
        said = (done.stderr + done.stdout).decode(errors="replace").strip()
        raise Failed(f"{' '.join(command)}: status {done.returncode}: {said}")
    return ((done.stderr if errors else b"") + done.stdout).decode(errors="replace")


def until(what, ask, seconds=240):
    """Asks until the answer is something; what it was and how long it took.

    What changes meanwhile can also be missing in an answer, or half there: then it is asked again, too. The limit
    that goes without saying is for what the engines decide, on a busy machine; what the store decides has its own.
    """
    begun, last = time.monotonic(), None
    while time.monotonic() - begun < seconds:
        try:
            found = ask()
            if found:
                return found, time.monotonic() - begun
            last = "not so yet"
        except (OSError, http.client.HTTPException, subprocess.TimeoutExpired, Failed, LookupError, ValueError) as error:
            last = error
        time.sleep(0.2)
    raise Failed(f"{what}: not within {seconds} s ({last!r})")


def end_with_us():
    """An engine ends even when the test is killed without a word."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


class Engine:
    """One engine."""

    def __init__(self, machines, name, number):
        self.name, self.number = name, number
        self.address = f"{machines.subnet}.{number}"
        self.machines = machines
        self.root = os.path.join(machines.folder, name)
        self.namespace = f"{machines.tag}-{name}"
        self.cgroup = f"/{machines.tag}/{name}"
        self.process = None
        os.makedirs(os.path.join(self.root, "cgroup"))

    def start(self):
        """Starts the engine, or starts it again on the disk it had."""
        self.machines.plug(self.namespace, self.number, [self.address])
        for stale in ("docker.pid", "docker.sock"):
            if os.path.exists(os.path.join(self.root, stale)):
                os.remove(os.path.join(self.root, stale))
        shutil.rmtree(os.path.join(self.root, "exec"), ignore_errors=True)
        self.process = subprocess.Popen(
            ["nsenter", f"--net=/run/netns/{self.namespace}", "unshare", "--mount", "--uts", "--pid", "--fork",
             "--kill-child=KILL", "sh", "-c", BOOT],
            env={**os.environ, "ROOT": self.root, "NAME": self.name, "CGROUP": self.cgroup},
            stdin=subprocess.DEVNULL, stdout=open(os.path.join(self.root, "log"), "ab"), stderr=subprocess.STDOUT,
            preexec_fn=end_with_us,
        )

    def wait(self):
        """Waits until the engine answers."""
        def answers():
            if self.process.poll() is not None:
                raise Failed(f"the engine {self.name} ended:\n{self.log()}")
            return self.docker("info", "--format", "{{.ID}}", check=False).strip()
        until(f"the engine {self.name}", answers)

    def log(self):
        """The end of what it said, without what every engine says on a kernel without IPVS."""
        with open(os.path.join(self.root, "log"), errors="replace") as file:
            lines = [line[:600] for line in file if "kernel parameter" not in line]
        return "\n".join([line.strip() for line in lines if "fatal" in line][-3:] + [line.strip() for line in lines[-2:]])

    def kill(self):
        """As when the power goes: engine, containers and all, without a word, and nobody refuses a connection.

        The network goes, too: on a bridge from before, what is left of a dead container can answer for the
        address of a new one.
        """
        if self.process is not None:
            run("ip", "-n", self.namespace, "link", "set", "eth0", "down", check=False)
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()
            self.process = None
            self.machines.unplug(self.namespace, self.number)

    def docker(self, *arguments, **options):
        """Runs the client that belongs to the engine."""
        return run("/usr/bin/docker", "--host", f"unix://{self.root}/docker.sock", *arguments, **options)

    def volume(self, name):
        """Where a volume's files are, seen from this machine."""
        return os.path.join(self.root, "data", "volumes", name, "_data")


class Machines:
    """The network, the engines, and the outsider's namespace."""

    def __init__(self):
        self.tag = f"cby{os.getpid() % 100000}"
        self.folder = tempfile.mkdtemp(prefix="closeby-swarm-")
        self.engines = {}
        self.undo = []
        self.subnet = self._free_subnet()

    @staticmethod
    def _free_subnet():
        """The first three numbers of a /24 that this machine does not use."""
        routes = run("ip", "-4", "route", "show", "table", "all")
        for third in range(77, 177):
            subnet = f"192.168.{third}"
            if subnet + "." not in routes:
                return subnet
        raise Failed("no private network is free for the test")

    def connect(self, outsiders):
        """Makes the bridge and the outsider's namespace with these addresses' last numbers."""
        policy = run("iptables", "-S", "FORWARD").split("\n", 1)[0].split()[-1]
        if policy != "ACCEPT":
            self.undo.append(lambda: run("iptables", "-P", "FORWARD", policy))
            run("iptables", "-P", "FORWARD", "ACCEPT")
        if os.path.exists(BRIDGE_FILTER):
            with open(BRIDGE_FILTER) as file:
                former = file.read()
            if former.strip() != "0":
                self.undo.append(lambda: self._write(BRIDGE_FILTER, former))
                self._write(BRIDGE_FILTER, "0")
        bridge = self.tag
        self.undo.append(lambda: run("ip", "link", "del", bridge, check=False))
        run("ip", "link", "add", bridge, "type", "bridge")
        run("ip", "link", "set", bridge, "up")
        self.outside = f"{self.tag}-outside"
        self.undo.append(lambda: self.unplug(self.outside, OUTSIDE))
        self.plug(self.outside, OUTSIDE, [f"{self.subnet}.{last}" for last in outsiders])

    @staticmethod
    def _write(path, text):
        with open(path, "w") as file:
            file.write(text)

    def plug(self, name, number, addresses):
        """Makes a network namespace and a cable from it to the bridge."""
        near, far = self._cable(number), "eth0"
        run("ip", "netns", "add", name)
        # A machine keeps its hardware address: what its neighbours remember of it stays true.
        run("ip", "link", "add", near, "type", "veth",
            "peer", "name", far, "address", f"02:00:00:00:00:{number:02x}", "netns", name)
        run("ip", "link", "set", near, "master", self.tag, "up")
        for address in addresses:
            run("ip", "-n", name, "addr", "add", f"{address}/24", "dev", far)
        run("ip", "-n", name, "link", "set", far, "up")
        run("ip", "-n", name, "link", "set", "lo", "up")

    def unplug(self, name, number):
        """Undoes it, with all that was made in the namespace."""
        # It would end with the namespace, but that stays for as long as something in it is being ended.
        run("ip", "link", "del", self._cable(number), check=False)
        run("ip", "netns", "del", name, check=False)

    def _cable(self, number):
        return f"{self.tag}v{number}"

    def add(self, name):
        """Makes a machine and starts its engine."""
        engine = Engine(self, name, len(self.engines) + 11)
        self.engines[name] = engine
        self.undo.append(lambda: self.unplug(engine.namespace, engine.number))
        engine.start()
        return engine

    def close(self):
        """Stops and undoes everything, the newest first."""
        steps = [engine.kill for engine in self.engines.values()] + self.undo[::-1]
        for step in [*steps, self._remove_cgroups, lambda: shutil.rmtree(self.folder)]:
            try:
                step()
            except Exception as error:  # Whatever it is, the other steps are still to be done.
                print(f"test-swarm: while cleaning up: {error!r}", flush=True)

    def _remove_cgroups(self):
        base = "/sys/fs/cgroup"
        roots = [base] + [os.path.join(base, entry) for entry in os.listdir(base)]
        for root in roots:
            for folder, _, _ in os.walk(os.path.join(root, self.tag), topdown=False):
                # What was killed a moment ago can still be on its way out.
                for _ in range(50):
                    try:
                        os.rmdir(folder)
                        break
                    except FileNotFoundError:
                        break
                    except OSError:
                        time.sleep(0.1)
