"""The stack on the Swarm, as its operator sees it: what is deployed, where it runs, what it is told."""

import os
import re
import shutil
import subprocess

from engines import Failed, run, until

NAME = "closeby"
SECRETS = ("signing-root", "join-secret")


class Stack:
    """The stack file, the secrets' copies, and the manager that is asked and told."""

    def __init__(self, folder, manager, binary):
        self.manager, self.binary = manager, binary
        self.file, self._edited = "swarm-stack.yml", os.path.join(folder, "edited")
        self._copies, self._numbers = os.path.join(folder, "secrets"), {}
        os.mkdir(self._copies, 0o700)

    # --- the file

    def edit(self, change):
        """From now on another text is deployed, as an operator edits the file."""
        with open(self.file) as file:
            text = change(file.read())
        if self.file != (edited := os.path.join(self._edited, "swarm-stack.yml")):
            shutil.copytree("deploy/swarm", os.path.join(self._edited, "deploy", "swarm"))
            self.file = edited
        with open(edited, "w") as file:
            file.write(text)

    def deploy(self, *more):
        """`docker stack deploy`; what it says on stderr."""
        files = [word for file in (self.file, *more) for word in ("-c", file)]
        command = ["/usr/bin/docker", "--host", f"unix://{self.manager.root}/docker.sock",
                   "stack", "deploy", "--resolve-image", "never", *files, NAME]
        quiet = {key: value for key, value in os.environ.items() if not key.startswith("CLOSEBY_")}
        done = subprocess.run(command, capture_output=True, env=quiet, timeout=120, check=False)
        said = done.stderr.decode().strip()
        if done.returncode != 0:
            raise Failed(f"docker stack deploy: {said}")
        return said

    def update(self, image, options=""):
        """What an operator runs to bring another image."""
        run("sh", "deploy/swarm/update", image, NAME, timeout=600, env={
            "DOCKER_HOST": f"unix://{self.manager.root}/docker.sock", "PATH": "/usr/bin:/bin:/usr/sbin:/sbin",
            "CLOSEBY_UPDATE_OPTIONS": options})

    # --- the secrets

    def make_secrets(self):
        """The first ones, with a copy put away."""
        for secret in SECRETS:
            with open(self._copy(secret), "w") as file:
                file.write(os.urandom(32).hex() + "\n")
            self._create(secret)

    def change_secret(self, how, secret):
        """`closeby secret rotate` or `retire`, and another Docker secret; the options that bring it to a service."""
        run(self.binary, "secret", how, self._copy(secret))
        former = self.docker_name(secret)
        self._create(secret)
        now = self.docker_name(secret)
        return ["--secret-rm", former, "--secret-rm", now,
                "--secret-add", f"source={now},target={secret},uid=10001,gid=10001,mode=0400"]

    def forget_former_secrets(self):
        """Removes what no service uses any more; the stack file names what is used now."""
        def named(text):
            for secret in SECRETS:
                text = re.sub(rf"(?m)^    name: closeby-{secret}(-\d+)?$", f"    name: {self.docker_name(secret)}", text)
            return text
        self.edit(named)
        for secret in SECRETS:
            for number in range(1, self._numbers[secret]):
                self.manager.docker("secret", "rm", self.docker_name(secret, number))

    def docker_name(self, secret, number=None):
        """What Docker calls the one in use, or the one of a number."""
        number = number or self._numbers[secret]
        return f"closeby-{secret}" + (f"-{number}" if number > 1 else "")

    def secrets_of(self, service):
        """The names of a service's secrets."""
        return set(self.ask(service, "{{range .Spec.TaskTemplate.ContainerSpec.Secrets}}{{.SecretName}} {{end}}").split())

    def _copy(self, secret):
        return os.path.join(self._copies, secret)

    def _create(self, secret):
        self._numbers[secret] = self._numbers.get(secret, 0) + 1
        self.manager.docker("secret", "create", self.docker_name(secret), self._copy(secret))

    # --- asking and telling

    def order(self, *words):
        """What an operator tells the manager; again where the Swarm itself changed the object in between."""
        def told():
            self.manager.docker(*words)
            return True
        until(" ".join(words), told)

    def ask(self, service, template):
        """What `docker service inspect` says of a service."""
        return self.manager.docker("service", "inspect", "--format", template, f"{NAME}_{service}").strip()

    def running(self):
        """Each service's running task, of one listing: service -> (machine, task id)."""
        listed = self.manager.docker("stack", "ps", NAME, "--filter", "desired-state=running", "--no-trunc", "--format",
                                     "{{.ID}} {{.Name}} {{.Node}} {{.CurrentState}}")
        found = {}
        for line in listed.splitlines():
            task, name, machine, *state = line.split()
            if state[:1] == ["Running"]:
                found[name.removeprefix(f"{NAME}_").removesuffix(".1")] = (machine, task)
        return found

    def all_running(self, count):
        """What `running` says when so many services run, and how long that took."""
        return until(f"{count} running services", lambda: len(found := self.running()) == count and found)

    def where(self):
        """Where each service runs: service -> machine."""
        return {service: machine for service, (machine, _) in self.running().items()}

    def is_updated(self, service):
        """Whether no update of a service goes on."""
        state = self.ask(service, "{{if .UpdateStatus}}{{.UpdateStatus.State}}{{end}}")
        if "rollback" in state or state == "paused":
            raise Failed(f"{service} is {state}")
        return state in ("", "completed")

    @staticmethod
    def container_of(engine, service):
        """The container that runs a service on an engine; empty where none does."""
        label = f"label=com.docker.swarm.service.name={NAME}_{service}"
        return engine.docker("ps", "--quiet", "--filter", label).strip()
