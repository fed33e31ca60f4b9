"""Deploys swarm-stack.yml on a Swarm of six engines and checks it as an outsider.

Started by scripts/test-swarm. Every check prints a line; the first that fails ends the test.
"""

import argparse
import glob
import hashlib
import json
import math
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
import traceback

import geoip
import images
import stack
from engines import Failed, Machines, run, until
from outsider import Gone, Load, Outsider, Stats, Store

PLACES = ["new-york", "toronto", "amsterdam", "bangalore", "singapore"]
IMAGE, NEXT = "closeby:latest", "closeby:next"
CENTRAL = "new-york"
# The node whose disk moves, and the place that comes onto the machine which that leaves free.
MOVED, ADDED = "singapore", "oslo"

# The last numbers of outsiders' addresses, and the places that the test's database gives them.
PEOPLE = {
    101: ("GB", "London", 51.51, -0.13),
    102: ("AU", "Sydney", -33.87, 151.21),
    103: ("IN", "Delhi", 28.61, 77.21),
    104: ("US", "Minneapolis", 44.98, -93.27),
    105: ("US", "Boston", 42.36, -71.06),
}
PROXY = 110
# Behind the proxy: addresses that nobody here has.
FORWARDED = {
    "10.77.0.1": ("JP", "Tokyo", 35.68, 139.69),
    "10.77.0.2": ("DE", "Berlin", 52.52, 13.4),
    "10.77.0.3": ("ZA", "Cape Town", -33.92, 18.42),
}

BEGUN = time.monotonic()


def say(text):
    """One line of the report, with the seconds since the start."""
    print(f"[{time.monotonic() - BEGUN:5.0f} s] {text}", flush=True)


def check(holds, what):
    """A check: it holds, or the test ends here."""
    if not holds:
        raise Failed(what)
    say(f"ok: {what}")


def kilometres(here, there):
    """The distance on a sphere: good enough to tell these places apart."""
    (lat1, lon1), (lat2, lon2) = [(math.radians(lat), math.radians(lon)) for lat, lon in (here, there)]
    half = math.sin((lat2 - lat1) / 2) ** 2 + math.cos(lat1) * math.cos(lat2) * math.sin((lon2 - lon1) / 2) ** 2
    return 12742 * math.asin(math.sqrt(half))


class Test:
    """The Swarm, the store on it, and what was acknowledged."""

    def __init__(self, machines, binary):
        self.machines, self.binary = machines, binary
        self.kept, self.large = [], []  # (link, SHA-256)
        self.machine_of = {place: place for place in PLACES}

    # --- making the Swarm

    def make_engines(self):
        """A machine for each place, and one more that no label names; all have the image."""
        self.machines.connect([*PEOPLE, PROXY])
        for name in [*PLACES, "spare"]:
            self.machines.add(name)
        engines = self.machines.engines
        for engine in engines.values():
            engine.wait()
        say(f"{len(engines)} engines run, {engines[CENTRAL].docker('version', '--format', '{{.Server.Version}}').strip()}")
        self.manager = engines[CENTRAL]
        images.make_bases(self.manager, self.binary)
        size = images.build(self.manager, IMAGE, "one")
        images.build(self.manager, NEXT, "two")
        images.spread(self.manager, [engine for engine in engines.values() if engine is not self.manager], [IMAGE, NEXT])
        say(f"the image is {size / 1e6:.1f} MB, built by the classic builder, and imported into each engine")
        self.outsider = Outsider(self.machines.outside, {name: engine.address for name, engine in engines.items()})
        self.store = Store(self.outsider, f"http://{CENTRAL}:8080")
        self.stack = stack.Stack(self.machines.folder, self.manager, self.binary)

    def make_swarm(self):
        """Labels and secrets, as the stack file says."""
        engines = self.machines.engines
        self.manager.docker("swarm", "init", "--advertise-addr", self.manager.address)
        token = self.manager.docker("swarm", "join-token", "--quiet", "worker").strip()

        def joins(engine):
            state = self.manager.docker("node", "ls", "--filter", f"name={engine.name}", "--format", "{{.Status}}").strip()
            if state != "Ready":
                # It can take longer than the command waits, and goes on by itself then.
                engine.docker("swarm", "join", "--token", token, "--advertise-addr", engine.address,
                              f"{self.manager.address}:2377")
            return state == "Ready"
        for engine in engines.values():
            until(f"{engine.name} in the Swarm", lambda joining=engine: joins(joining))
        self.stack.order("node", "update", "--label-add", "closeby.role=central", CENTRAL)
        for place in PLACES:
            self.stack.order("node", "update", "--label-add", f"closeby.place={place}", place)
        self.stack.make_secrets()
        say("the Swarm is made, labelled, and has its secrets")

    def person(self, last=101):
        """An outsider's address."""
        return f"{self.machines.subnet}.{last}"

    def upload_new(self, store, content, name):
        """Uploads what nobody has yet; its link. Where a first answer was lost, the second one says it is there."""
        stats = Stats()
        status, link = store.outsider.do(store.upload, content, name, self.person(), stats)
        if status != 201 and not (status == 200 and stats.retries):
            raise Failed(f"{name}: answered with {status}")
        return link

    # --- deploying

    def overlay(self):
        """What the test puts on top of the stack file: places for its people, and a proxy to believe."""
        path, database = (os.path.join(self.machines.folder, name) for name in ("test.yml", "test.mmdb"))
        places = {f"{self.person(last)}/32": place for last, place in PEOPLE.items()}
        places |= {f"{address}/32": place for address, place in FORWARDED.items()}
        with open(database, "wb") as file:
            file.write(geoip.database(places))
        with open(path, "w") as file:
            # A short end, so that the load meets one, and the whole keeps to its time.
            nodes = "".join(f"  {place}:\n    environment:\n      CLOSEBY_STOP__DRAIN_SECONDS: \"3\"\n" for place in PLACES)
            file.write(f"""version: "3.8"
services:
{nodes}  central:
    environment:
      CLOSEBY_STOP__DRAIN_SECONDS: "3"
      CLOSEBY_GEOIP: /etc/closeby/test.mmdb
      CLOSEBY_GEOIP_PRIVATE: "true"
      CLOSEBY_TRUSTED_PROXIES: "{self.person(PROXY)}"
    configs:
      - source: test-geoip
        target: /etc/closeby/test.mmdb
configs:
  test-geoip:
    file: {database}
""")
        return path

    def nodes(self):
        """What central says of its nodes: place -> object."""
        answer = self.store.look(f"{self.store.base}/api/v1/nodes", self.person())
        if answer.status != 200:
            raise Failed(f"/api/v1/nodes: {answer.status}")
        listed = json.loads(answer.body)["nodes"]
        return {re.sub(r"\W", "-", node["place"]["name"].lower()): node for node in listed}

    def wait_for_nodes(self):
        """Waits until all nodes are healthy; how long that took."""
        def all_healthy():
            nodes = self.nodes()
            return len(nodes) == len(self.machine_of) and all(node["healthy"] for node in nodes.values())
        return until("healthy nodes", all_healthy, 90)[1]

    def ids(self):
        """Who is at each place: place -> node id."""
        return {place: node["id"] for place, node in self.nodes().items()}

    # --- the checks

    def check_one_machine(self):
        """deploy/compose.yml, as its comment says, on a machine that is in no Swarm yet."""
        engine = self.machines.engines["spare"]
        folder = os.path.join(self.machines.folder, "one-machine")
        shutil.copytree("deploy", folder)
        os.mkdir(os.path.join(folder, "secrets"), 0o700)
        for secret in ("signing-root", "join-secret"):
            path = os.path.join(folder, "secrets", secret)
            with open(path, "w") as file:
                file.write(os.urandom(32).hex() + "\n")
            os.chmod(path, 0o444)

        def compose(*words):
            return run("docker-compose", "--project-name", "closeby", "--file", os.path.join(folder, "compose.yml"), *words,
                       env={"DOCKER_HOST": f"unix://{engine.root}/docker.sock"})
        begun = time.monotonic()
        compose("up", "--detach", "--no-build")
        people = Outsider(self.machines.outside, {"localhost": engine.address})
        store, content = Store(people, "http://localhost:8080"), os.urandom(300_000)
        until("a store on one machine", lambda: people.do(store.get, "/readyz", self.person()).status == 200, 60)
        store.token = compose("exec", "-T", "central", "closeby", "token", "new", "--scope", "upload,list").strip()
        link = self.upload_new(store, content, "one-machine.bin")
        sha1 = self.sha1(link)
        volumes = [engine.volume(f"closeby_{place}") for place in ("amsterdam", "new-york")]
        copies = [os.path.exists(os.path.join(volume, "blobs", sha1[:2], sha1[2:4], sha1)) for volume in volumes]
        again, _ = people.do(store.download, link, self.person())
        compose("down", "--volumes")
        check(copies == [True, True] and again == content,
              f"deploy/compose.yml: a store on one machine, started, used and stopped in {time.monotonic() - begun:.0f} s")

    def check_deployment(self):
        """The file as it is, without warnings; everything where its label says."""
        said = self.stack.deploy()
        check(not said, f"swarm-stack.yml deploys as it is, with no variable set and no warning {said}")
        wanted = {place: place for place in PLACES} | {"central": CENTRAL}
        _, took = until("six running services", lambda: self.stack.where() == wanted)
        check(True, f"every service runs where its label says, {took:.0f} s after the deployment")
        took = self.wait_for_nodes()
        check(True, f"five nodes are healthy ({took:.0f} s later)")
        former, _ = self.stack.all_running(6)
        self.stack.deploy(self.overlay())

        def all_new():
            now = self.stack.running()
            are_new = now.keys() == wanted.keys() and not now.items() & former.items()
            return are_new and all(map(self.stack.is_updated, wanted))
        # Half a minute; Swarm can wait a minute more for a task that it gave up before it was placed.
        _, took = until("every service with what the test adds", all_new)
        say(f"what the test adds is deployed, in {took:.0f} s; all are healthy {self.wait_for_nodes():.0f} s later")
        urls = {place: node["public_url"].rstrip("/") for place, node in self.nodes().items()}
        check(urls == {place: f"http://{place}:8081" for place in PLACES}, "each node tells its machine's name for links")
        self.check_secrets("no node has the signing root")

    def check_secrets(self, what):
        """Nodes have the join secret that is in use, central the signing root as well."""
        join, root = (self.stack.docker_name(secret) for secret in ("join-secret", "signing-root"))
        wanted = {place: {join} for place in PLACES} | {"central": {join, root}}
        found = {service: self.stack.secrets_of(service) for service in wanted}
        check(found == wanted, f"{what} ({', '.join(sorted({join, root}))}) {'' if found == wanted else found}")

    def check_access(self):
        """The stack's own rules: uploads and the list take a token, which is made beside central; links open."""
        status = self.store.look(f"{self.store.base}/api/v1/files", self.person()).status
        if status != 401:
            raise Failed(f"the list without a token: {status}")
        try:
            self.outsider.do(self.store.upload, b"nobody's", "nobody.bin", self.person())
        except Gone as refused:
            check("401" in str(refused), "without a token nobody uploads or lists")
        else:
            raise Failed("an upload without a token was taken")
        container = self.stack.container_of(self.manager, "central")
        self.store.token = self.manager.docker("exec", container, "/usr/local/bin/closeby", "token", "new",
                                               "--scope", "upload,list", "--name", "outsiders").strip()
        headers = {"Authorization": f"Bearer {self.store.token}"}
        listed = self.store.look(f"{self.store.base}/api/v1/files", self.person(), headers)
        check(listed.status == 200, "a token that was made beside central counts at once")

    def check_files(self):
        """Upload, two copies on two machines' disks, duplicate, nearest link."""
        blobs = []
        for number in range(24):
            content = random.Random(number).randbytes(200_000 + number)
            link = self.upload_new(self.store, content, f"file%20{number}.bin")
            blobs.append((link, content))
            self.kept.append((link, hashlib.sha256(content).hexdigest()))
        for link, content in blobs:
            on_disk = self.copies_on_disk(link)
            listed = sorted(self.replicas(link))
            if len(on_disk) != 2 or sorted(on_disk) != listed:
                raise Failed(f"{link}: on the disks of {on_disk}, central says {listed}")
            for place in on_disk:
                with open(self.blob_file(place, link), "rb") as file:
                    if file.read() != content:
                        raise Failed(f"{link}: other bytes on {place}")
        check(True, f"{len(blobs)} uploads have two copies each, on two machines' disks, with the right bytes")
        link, content = blobs[0]
        status, again = self.outsider.do(self.store.upload, content, "another%20name.bin", self.person(102))
        check(status == 200 and again == link, "the same content under another name is answered with the link that exists")
        self.check_nearest([link for link, _ in blobs])

    def check_nearest(self, links):
        """Real addresses, and what a trusted proxy says of others."""
        cases = [(self.person(last), {}, place) for last, place in PEOPLE.items()]
        cases += [(self.person(PROXY), {"X-Forwarded-For": f"10.9.9.9, {address}"}, place)
                  for address, place in FORWARDED.items()]
        # Not a proxy: what it says is not believed.
        cases += [(self.person(last), {"X-Forwarded-For": "10.77.0.1"}, PEOPLE[last]) for last in (101, 104)]
        sent = 0
        for link in links:
            replicas = self.replicas(link)
            for source, headers, (_, city, lat, lon) in cases:
                answer = self.store.look(link, source, headers)
                distances = {place: kilometres((lat, lon), at) for place, at in replicas.items()}
                nearest = min(distances, key=distances.get)
                led = re.match(r"http://([^:/]+):8081/", answer.header("location") or "")
                if answer.status != 302 or not led:
                    raise Failed(f"{link} from {city}: {answer.status}")
                # Copies that are about equally near share the load: within 5 % or 50 km, and our sphere's error.
                if distances[led.group(1)] > distances[nearest] * 1.06 + 60:
                    why = self.store.look(f"{self.store.base}/api/v1/blobs/{self.sha1(link)}/replicas", source, headers)
                    raise Failed(f"{link}: {city} ({source}, {headers}) is sent to {led.group(1)}, not to {nearest}: "
                                 f"{why.body.decode()}")
                sent += 1
        content, _ = self.outsider.do(self.store.download, links[0], self.person(103))
        check(hashlib.sha256(content).hexdigest() == self.kept[0][1],
              f"{sent} links lead to the nearest copy: by real addresses, and by X-Forwarded-For through the proxy alone")

    @staticmethod
    def sha1(link):
        """The SHA-1 in a link."""
        return link.split("/d/")[1][:40]

    def replicas(self, link):
        """Where central says a content is: place -> (lat, lon)."""
        sha1 = self.sha1(link)
        answer = self.store.look(f"{self.store.base}/api/v1/blobs/{sha1}", self.person())
        listed = json.loads(answer.body)["replicas"]
        return {re.sub(r"\W", "-", at["place"]["name"].lower()): (at["place"]["lat"], at["place"]["lon"])
                for at in listed if at["state"] == "stored"}

    def blob_file(self, place, link):
        """A copy's file on a machine's disk."""
        sha1 = self.sha1(link)
        volume = self.machines.engines[self.machine_of[place]].volume(f"{stack.NAME}_{place}")
        return os.path.join(volume, "blobs", sha1[:2], sha1[2:4], sha1)

    def copies_on_disk(self, link):
        """At which places a content lies, over all volumes of all engines' disks."""
        sha1 = self.sha1(link)
        found, place_of = [], {machine: place for place, machine in self.machine_of.items()}
        for name, engine in self.machines.engines.items():
            found += [place_of.get(name, name) for _ in glob.glob(engine.volume("*") + f"/blobs/{sha1[:2]}/{sha1[2:4]}/{sha1}")]
        return found

    def copy_at(self, place, link):
        """A copy's bytes, read from its node; nothing where no link leads there."""
        node = f"//{self.machine_of[place]}:8081/"
        answer = self.store.look(link, self.person())
        others = re.findall(r"<([^>]*)>; rel=duplicate", " ".join(answer.all("link")))
        for found in [answer] + [self.store.look(other, self.person()) for other in others]:
            if node in (found.header("location") or ""):
                return self.store.look(found.header("location"), self.person()).body
        return b""

    def check_a_machine_dies(self):
        """Downloads go to the other copy at once, uploads avoid it, it comes back with what it had."""
        victim = "amsterdam"
        theirs = [(link, sha256) for link, sha256 in self.kept if victim in self.replicas(link)]
        if not theirs:
            raise Failed(f"nothing of {len(self.kept)} files is on {victim}")
        engine, former = self.machines.engines[victim], self.stack.all_running(6)[0][victim]
        engine.kill()
        died = time.monotonic()
        stats = Stats()
        for link, sha256 in theirs:
            begun = time.monotonic()
            content, _ = self.outsider.do(self.store.download, link, self.person(101), stats)
            if hashlib.sha256(content).hexdigest() != sha256:
                raise Failed(f"{link}: other bytes")
            stats.ended(time.monotonic() - begun)
        check(stats.slowest < 10, f"{victim} lost its power; {len(theirs)} downloads of what it had went to the other copy: {stats}")
        stats, after = Stats(), []
        for number in range(12):
            content = random.Random(5000 + number).randbytes(300_000)
            begun = time.monotonic()
            _, link = self.outsider.do(self.store.upload, content, f"after-{number}.bin", self.person(102), stats)
            stats.ended(time.monotonic() - begun)
            after.append(link)
            self.kept.append((link, hashlib.sha256(content).hexdigest()))
        wrong = [link for link in after if victim in self.replicas(link) or len(self.replicas(link)) != 2]
        check(not wrong, f"12 uploads went to two living nodes each: {stats}")

        def avoided():
            for link, _ in theirs:
                answer = self.store.look(link, self.person(101))
                if answer.status != 302 or f"//{victim}:" in answer.header("location"):
                    return False
            return True
        until("links that avoid the dead node", avoided, 20)
        took = time.monotonic() - died
        check(took < 45, f"links lead nobody to it any more ({took:.0f} s after it died)")

        engine.start()
        engine.wait()
        # Swarm still lists the task that died with the machine until the machine says so.
        def is_back():
            now = self.stack.running().get(victim, former)
            return now != former and now[0] == victim
        until(f"{victim}'s new task", is_back)
        took = self.wait_for_nodes()
        before = sum(1 for link, _ in theirs if os.path.exists(self.blob_file(victim, link)))
        served = sum(1 for link, sha256 in theirs if hashlib.sha256(self.copy_at(victim, link)).hexdigest() == sha256)
        check(before == served == len(theirs), f"{victim} came back as the node it was and serves the {served} blobs it had ({took:.0f} s)")

    def check_bad_update(self):
        """An image that does not start goes no further than central, which goes back."""
        try:
            self.stack.update("closeby:of-nobody")
        except Failed:
            pass
        else:
            raise Failed("an update to an image that does not exist is said to have worked")

        def is_back():
            state, image = self.stack.ask("central", "{{.UpdateStatus.State}} {{.Spec.TaskTemplate.ContainerSpec.Image}}").split()
            return state == "rollback_completed" and image == IMAGE and len(self.stack.where()) == 6
        until("central's former image", is_back)
        self.wait_for_nodes()
        images_now = {self.stack.ask(place, "{{.Spec.TaskTemplate.ContainerSpec.Image}}") for place in PLACES}
        check(images_now == {IMAGE}, "an image that cannot run is rolled back at central, and the nodes never saw it")

    def check_update(self):
        """Another image and another join secret, one service after another, then another signing root; all
        while people upload and download."""
        large = []
        for number in range(3):
            content = random.Random(9000 + number).randbytes(24_000_000)
            _, link = self.outsider.do(self.store.upload, content, f"large-{number}.bin", self.person())
            large.append((link, hashlib.sha256(content).hexdigest()))
        self.large = large
        self.kept += large
        load = Load(self.store, [self.person(last) for last in (101, 102, 103, 104)], self.kept, large)
        try:
            until("a load that runs", lambda: load.uploads.done >= 20 and load.downloads.done >= 20, 20)
            begun = time.monotonic()
            self.stack.update(NEXT, " ".join(self.stack.change_secret("rotate", "join-secret")))
            took = time.monotonic() - begun
            self.wait_for_nodes()
            self.check_updates_apart()
            self.check_the_root_changes()
            self.check_secrets("services have the changed secrets")
            done = load.downloads.done + load.uploads.done
            until("a load that still runs", lambda: load.downloads.done + load.uploads.done >= done + 20, 30)
        finally:
            load.end()
        say(f"updated in {took:.0f} s under load; uploads: {load.uploads}")
        say(f"    downloads: {load.downloads}; slow downloads: {load.slow}")
        for kind in (load.uploads, load.downloads, load.slow):
            for reason, times in sorted(kind.reasons.items()):
                say(f"    tries repeated because of {reason}: {times}")
        check(not load.failed(), f"no upload and no download failed after its retries {load.failed()[:3] or ''}")
        check(load.slow.resumed > 0, f"{load.slow.resumed} downloads were cut by a node's end and went on where they were")
        self.check_everything_is_there("after the update")

    def check_the_root_changes(self):
        """Central takes another signing root, and the nodes fetch their keys of it by the new join secret."""
        begun = time.monotonic()
        options = self.stack.change_secret("rotate", "signing-root")
        self.stack.order("service", "update", "--quiet", "--detach=false", *options, f"{stack.NAME}_central")

        def has_its_key():
            said = self.manager.docker("logs", self.stack.container_of(self.manager, "central"), errors=True)
            return "every node has its key of the new signing root" in said
        until("keys of the new signing root", has_its_key, 60)
        self.wait_for_nodes()
        took = time.monotonic() - begun
        check(True, f"every node has a key of another signing root, fetched by another join secret ({took:.0f} s)")

    def check_updates_apart(self):
        """No two services were away together."""
        spans = []
        for service in [*PLACES, "central"]:
            task = self.manager.docker("service", "ps", f"{stack.NAME}_{service}", "--filter", "desired-state=running",
                                       "--no-trunc", "--quiet").split()[0]
            told = json.loads(self.manager.docker("inspect", "--type", "task", task))[0]
            if told["Spec"]["ContainerSpec"]["Image"] != NEXT:
                raise Failed(f"{service} runs {told['Spec']['ContainerSpec']['Image']}")
            spans.append((told["CreatedAt"], told["Status"]["Timestamp"], service))
        spans.sort()
        overlaps = [(one, two) for one, two in zip(spans, spans[1:]) if two[0] < one[1]]
        check(not overlaps, f"each service was healthy with the new image before the next one stopped {overlaps or ''}")

    def check_everything_is_there(self, when):
        """Every acknowledged upload can be downloaded, and is what was sent."""
        def fetch(link, sha256):
            content, _ = self.store.download(link, self.person(101))
            return hashlib.sha256(content).hexdigest() == sha256
        asked = [(link, self.outsider.pool.submit(fetch, link, sha256)) for link, sha256 in self.kept]
        lost = []
        for link, answer in asked:
            try:
                if not answer.result():
                    lost.append(f"{link}: other bytes")
            except Gone as error:
                lost.append(f"{link}: {error}")
        check(not lost, f"{when}, all {len(self.kept)} acknowledged uploads are there {lost[:3] or ''}")

    def check_redeployment(self):
        """The stack is removed and deployed again, with the changed secrets alone."""
        volumes = {name: engine.docker("volume", "ls", "--quiet") for name, engine in self.machines.engines.items()}
        before = self.ids()
        self.stack.order("stack", "rm", stack.NAME)

        def is_gone():
            if self.manager.docker("network", "ls", "--quiet", "--filter", f"name={stack.NAME}_cluster").strip():
                return False
            return not any(engine.docker("ps", "--quiet").strip() for engine in self.machines.engines.values())
        _, took = until("the stack's end", is_gone, 90)
        say(f"the stack is gone after {took:.0f} s")
        left = {name: engine.docker("volume", "ls", "--quiet") for name, engine in self.machines.engines.items()}
        check(left == volumes, "`docker stack rm` leaves every volume")
        # The former secrets go with it.
        for secret in stack.SECRETS:
            self.stack.change_secret("retire", secret)
        self.stack.forget_former_secrets()
        self.stack.deploy(self.overlay())
        self.stack.all_running(6)
        self.wait_for_nodes()
        check(self.ids() == before, "deployed again without the former secrets, every node is the one it was")
        self.check_everything_is_there("after stack rm and deploy")

    def check_a_disk_moves(self):
        """A node's volume is brought to another machine, while people upload and download."""
        old, new, volume = self.machines.engines[MOVED], self.machines.engines["spare"], f"{stack.NAME}_{MOVED}"
        before = self.ids()
        theirs = [(link, sha256) for link, sha256 in self.kept[:60] if MOVED in self.replicas(link)]
        load = Load(self.store, [self.person(last) for last in (101, 102)], self.kept, self.large)
        try:
            until("a load that runs", lambda: load.uploads.done >= 5 and load.downloads.done >= 5, 20)
            begun = time.monotonic()
            self.stack.order("service", "scale", "--detach", f"{volume}=0")
            until(f"{MOVED}'s end", lambda: not self.stack.container_of(old, MOVED), 60)
            self.stack.order("node", "update", "--label-rm", "closeby.place", MOVED)
            new.docker("volume", "create", volume)
            run("cp", "--archive", f"{old.volume(volume)}/.", new.volume(volume))
            self.stack.order("node", "update", "--label-add", f"closeby.place={MOVED}", "spare")
            self.stack.order("service", "scale", "--detach", f"{volume}=1")
            self.machine_of[MOVED] = "spare"
            until(f"{MOVED} on the other machine", lambda: self.stack.where().get(MOVED) == "spare")
            until(f"{MOVED}'s new address", lambda: self.nodes()[MOVED]["public_url"].startswith("http://spare:"), 60)
            self.wait_for_nodes()
            took = time.monotonic() - begun
        finally:
            load.end()
        check(self.ids() == before, f"{MOVED}'s disk moved to another machine, and it is the node it was ({took:.0f} s)")
        say(f"    uploads: {load.uploads}; downloads: {load.downloads}; slow downloads: {load.slow}")
        check(not load.failed(), f"meanwhile no upload and no download failed after its retries {load.failed()[:3] or ''}")
        run("rm", "--recursive", old.volume(volume))
        old.docker("volume", "rm", volume)
        wrong = [link for link, sha256 in theirs if MOVED not in self.replicas(link)
                 or hashlib.sha256(self.copy_at(MOVED, link)).hexdigest() != sha256]
        check(theirs and not wrong, f"it serves the {len(theirs)} files that were looked at from where it is now {wrong[:3] or ''}")
        self.check_everything_is_there("after the disk moved")

    def check_a_place_is_added(self):
        """The block in the stack file's comment, on a machine that is free."""
        with open("swarm-stack.yml") as file:
            block = re.search(rf"^#   {ADDED}:\n(?:#   .*\n)+", file.read(), re.M).group()
        block = re.sub(r"^# ", "", block, flags=re.M)
        self.stack.edit(lambda text: text.replace("\nnetworks:\n", f"\n{block}\nnetworks:\n", 1))
        before, (tasks, _) = self.ids(), self.stack.all_running(6)
        self.stack.order("node", "update", "--label-add", f"closeby.place={ADDED}", MOVED)
        self.machine_of[ADDED] = MOVED
        begun = time.monotonic()
        self.stack.deploy(self.overlay())
        until(f"{ADDED}'s task", lambda: self.stack.where().get(ADDED) == MOVED)
        self.wait_for_nodes()
        took = time.monotonic() - begun
        after, (now, _) = self.ids(), self.stack.all_running(7)
        check(before.items() <= after.items() and tasks.items() <= now.items(),
              f"a sixth place was added by the block of the comment ({took:.0f} s), and no other service was restarted")

        def comes_there():
            content = os.urandom(50_000)
            _, link = self.outsider.do(self.store.upload, content, "for-any-place.bin", self.person())
            self.kept.append((link, hashlib.sha256(content).hexdigest()))
            return ADDED in self.replicas(link) and ADDED in self.copies_on_disk(link)
        until(f"an upload with a copy in {ADDED}", comes_there, 60)
        check(True, f"{ADDED} takes its share of the uploads")

    def check_central_moves(self):
        """Central's machine is given up, while people upload; another one takes over with a copy of the ledger."""
        old, new, volume = self.machines.engines[CENTRAL], self.machines.engines["spare"], f"{stack.NAME}_central"
        before = self.ids()
        old.docker("exec", self.stack.container_of(old, "central"), "/usr/local/bin/closeby", "backup", "/data/backup-1")
        uploading = self.outsider.pool.submit(self.store.upload_to_the_last, self.person())
        self.stack.order("service", "scale", "--detach", f"{volume}=0")
        until("central's end", lambda: not self.stack.container_of(old, "central"), 60)
        last = uploading.result()
        self.kept += last
        old.docker("run", "--rm", "--network", "none", "--volume", f"{volume}:/data", IMAGE, "backup", "/data/backup-last")
        folder = os.path.join(self.machines.folder, "backup")
        os.makedirs(folder)
        shutil.copy(os.path.join(old.volume(volume), "backup-last"), os.path.join(folder, "ledger"))
        for path in (folder, os.path.join(folder, "ledger")):
            os.chown(path, 10001, 10001)
        self.stack.order("node", "update", "--label-rm", "closeby.role", CENTRAL)
        self.stack.order("node", "update", "--label-add", "closeby.role=central", "spare")
        new.docker("run", "--rm", "--network", "none", "--volume", f"{volume}:/data", "--volume", f"{folder}:/backup:ro",
                   IMAGE, "restore", "/backup/ledger")
        self.stack.order("service", "scale", "--detach", f"{volume}=1")
        until("central on the other machine", lambda: self.stack.where().get("central") == "spare")
        # Who asks for it by the old name would be led here by DNS; the stack names it after its machine.
        former, self.store = self.store.base, Store(self.outsider, "http://spare:8080", self.store.token, self.store.looks)
        self.kept = [(link.replace(former, self.store.base, 1), sha256) for link, sha256 in self.kept]
        self.wait_for_nodes()
        check(last and self.ids() == before, "central moved to another engine with the ledger's last copy and knows every "
              f"node; {len(last)} uploads were acknowledged between the copy before and its end")
        self.check_everything_is_there("after central moved")
        self.upload_new(self.store, os.urandom(100_000), "after-the-move.bin")
        check(True, "and takes uploads")

    def run(self):
        """All of it."""
        self.make_engines()
        self.check_one_machine()
        self.make_swarm()
        self.check_deployment()
        self.check_access()
        self.check_files()
        self.check_a_machine_dies()
        self.check_bad_update()
        self.check_update()
        self.check_redeployment()
        self.check_a_disk_moves()
        self.check_a_place_is_added()
        self.check_central_moves()
        say(f"of the test's own questions {self.store.looks.retries} were repeated: {self.store.looks.reasons}")

    def tell(self):
        """What the Swarm says, for whoever looks at a failure."""
        try:
            print(self.manager.docker("stack", "ps", stack.NAME, "--no-trunc", check=False))
        except Exception as error:  # It may be what failed.
            print(f"(no answer: {error!r})")
        for name, engine in self.machines.engines.items():
            try:
                print(f"--- the engine {name}\n{engine.log()}")
                for container in engine.docker("ps", "--all", "--quiet", check=False, timeout=10).split()[:4]:
                    shown = subprocess.run(
                        ["/usr/bin/docker", "--host", f"unix://{engine.root}/docker.sock", "logs", "--tail", "8", container],
                        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=10, check=False)
                    print(f"--- {container}\n{shown.stdout.decode(errors='replace')}")
            except Exception as error:
                print(f"(no answer: {error!r})")


def main():
    """Runs the test; whatever happens, nothing stays behind."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--binary", required=True, help="the closeby to test")
    parser.add_argument("--keep", action="store_true", help="leave everything up until Enter is pressed")
    arguments = parser.parse_args()

    def stopped(number, _):
        raise KeyboardInterrupt(f"signal {number}")
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, stopped)
    machines = Machines()
    test = Test(machines, os.path.abspath(arguments.binary))
    status = 1
    try:
        test.run()
        status = 0
    except Exception as error:  # Also what nobody thought of: it is told with what the engines say.
        test.tell()
        if not isinstance(error, Failed):
            traceback.print_exc(file=sys.stdout)
        say(f"FAILED: {error if isinstance(error, Failed) else repr(error)}")
    except KeyboardInterrupt:
        say("stopped before its end")
    finally:
        if arguments.keep and sys.stdin.isatty():
            input(f"DOCKER_HOST=unix://{machines.folder}/{CENTRAL}/docker.sock  Enter ends it ")
        # A second Ctrl-C does not leave engines behind.
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        try:
            machines.close()
            say("everything that was started is stopped" if status else "passed; everything that was started is stopped")
            sys.stdout.flush()
        finally:
            # Threads of a failed test can still be waiting for an answer.
            os._exit(status)


if __name__ == "__main__":
    main()
