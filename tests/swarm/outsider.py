"""People: HTTP from the outsider's network namespace, from addresses of one's own choice."""

import ctypes
import hashlib
import http.client
import os
import random
import re
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

from engines import Failed

# A retry waits `Retry-After` or this, and gives up when all of it took longer than PATIENCE.
PAUSE, PATIENCE = 2.0, 30.0
BROKEN = (OSError, http.client.HTTPException)


class Later(Exception):
    """It did not work now: try again after so many seconds."""

    def __init__(self, seconds, why):
        super().__init__(why)
        self.seconds = seconds


class Gone(Failed):
    """An operation that did not work in all its tries, or was refused."""


class Answer:
    """A response that was read."""

    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    def header(self, name):
        """The first field of a name."""
        return next((value for key, value in self.headers if key.lower() == name), None)

    def all(self, name):
        """All fields of a name."""
        return [value for key, value in self.headers if key.lower() == name]


class Outsider:
    """Asks from the namespace; each thread enters it by itself."""

    def __init__(self, namespace, machines):
        self.machines = machines  # host name -> address
        self._namespace = f"/run/netns/{namespace}"
        self.pool = ThreadPoolExecutor(64, initializer=self.enter)

    def enter(self):
        """Brings this thread into the namespace."""
        libc = ctypes.CDLL(None, use_errno=True)
        handle = os.open(self._namespace, os.O_RDONLY)
        if libc.setns(handle, 0x40000000) != 0:  # CLONE_NEWNET
            raise OSError(ctypes.get_errno(), "setns")
        os.close(handle)

    def do(self, work, *arguments, **options):
        """Runs something in the namespace and waits for it."""
        return self.pool.submit(work, *arguments, **options).result()

    def ask(self, method, url, source, headers=None, body=None, onto=None, timeout=10):
        """One request; in a thread of the pool. `onto` collects what came, even if it breaks off."""
        parts = urlsplit(url)
        address = self.machines.get(parts.hostname)
        if address is None:
            raise Failed(f"{url} names no machine of the Swarm")
        connection = http.client.HTTPConnection(address, parts.port, timeout=timeout, source_address=(source, 0))
        try:
            path = parts.path + (f"?{parts.query}" if parts.query else "")
            if onto is not None and onto.pace():
                # Else the kernel takes megabytes ahead of the reader, and a server's end goes unnoticed.
                connection.connect()
                connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
            connection.request(method, path or "/", body, {"Host": parts.netloc, "Connection": "close", **(headers or {})})
            response = connection.getresponse()
            if onto is None or response.status not in (200, 206):
                return Answer(response.status, response.getheaders(), response.read())
            onto.begin(response.status)
            while chunk := response.read1(65536):
                onto.take(chunk)
            if response.length:
                raise http.client.IncompleteRead(b"", response.length)
            return Answer(response.status, response.getheaders(), b"")
        finally:
            connection.close()


class Received:
    """What a download brought so far. `pace` says how many bytes a second are taken; 0 is as fast as they come."""

    def __init__(self, pace=lambda: 0):
        self.bytes = bytearray()
        self.resumed = False
        self.pace = pace

    def begin(self, status):
        """An answer begins: the whole, or the rest."""
        if status == 200:
            self.bytes.clear()
        else:
            self.resumed = True

    def take(self, chunk):
        """More of it."""
        self.bytes += chunk
        if pace := self.pace():
            time.sleep(len(chunk) / pace)


def judged(answer, wanted):
    """The answer if it is one of the wanted; else it says when to try again, or that it is useless."""
    if answer.status in wanted:
        return answer
    if answer.status in (429, 502, 503, 504):
        raise Later(float(answer.header("retry-after") or PAUSE), f"status {answer.status}")
    raise Gone(f"status {answer.status}: {answer.body[:300]!r}")


def patiently(attempt, stats, progress=lambda: 0):
    """Tries until it works, for PATIENCE in all since it last went on."""
    begun, reached = time.monotonic(), progress()
    while True:
        try:
            return attempt()
        except Later as later:
            wait, why = later.seconds, str(later)
        except BROKEN as error:
            wait, why = PAUSE, repr(error)
        stats.retried(why)
        if progress() != reached:
            begun, reached = time.monotonic(), progress()
        if time.monotonic() - begun + wait > PATIENCE:
            raise Gone(f"tried for {PATIENCE:.0f} s; last: {why}")
        time.sleep(wait)


class Stats:
    """Counts, from many threads."""

    def __init__(self):
        self._lock = threading.Lock()
        self.done, self.failed, self.retries, self.resumed, self.slowest = 0, [], 0, 0, 0.0
        self.reasons = {}

    def retried(self, why):
        """One try did not work."""
        with self._lock:
            self.retries += 1
            why = re.sub(r"\d+\.\d+\.\d+\.\d+|0x\w+", "…", why)[:80]
            self.reasons[why] = self.reasons.get(why, 0) + 1

    def ended(self, seconds, failure=None, resumed=False):
        """One operation is over."""
        with self._lock:
            self.slowest = max(self.slowest, seconds)
            self.resumed += resumed
            if failure is None:
                self.done += 1
            else:
                self.failed.append(failure)

    def __str__(self):
        return (f"{self.done} done, {len(self.failed)} failed, {self.retries} tries repeated, "
                f"{self.resumed} resumed, slowest {self.slowest:.1f} s")


class Store:
    """The store, as people see it."""

    def __init__(self, outsider, base, token=None, looks=None):
        self.outsider, self.base, self.token = outsider, base, token
        self.looks = looks or Stats()

    def get(self, path, source, headers=None):
        """One question to central; in a thread of the pool."""
        return self.outsider.ask("GET", self.base + path, source, headers)

    def look(self, url, source, headers=None):
        """A patient question, from a thread of the test."""
        def attempt():
            answer = self.outsider.ask("GET", url, source, headers)
            return answer if answer.status < 500 else judged(answer, ())
        try:
            return self.outsider.do(patiently, attempt, self.looks)
        except Gone as error:
            raise Failed(f"{url}: {error}") from error

    def upload(self, content, name, source, stats=None):
        """Uploads patiently: (status, link)."""
        answer = patiently(lambda: self._upload(content, name, source), stats or Stats())
        return answer.status, answer.body.decode().strip()

    def _upload(self, content, name, source):
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        return judged(self.outsider.ask("PUT", f"{self.base}/{name}", source, headers, content, timeout=20), (200, 201))

    def upload_to_the_last(self, source):
        """Uploads until one fails; what was acknowledged, as (link, SHA-256)."""
        acknowledged = []
        while True:
            content = os.urandom(50_000)
            try:
                answer = self._upload(content, "to-the-last.bin", source)
            except (*BROKEN, Later, Gone):
                return acknowledged
            acknowledged.append((answer.body.decode().strip(), hashlib.sha256(content).hexdigest()))

    def download(self, link, source, stats=None, pace=lambda: 0):
        """Downloads patiently and goes on where it was; a copy that does not answer is left for another."""
        received, stats = Received(pace), stats or Stats()

        def attempt():
            first = judged(self.outsider.ask("GET", link, source), (302,))
            asked = [first.header("location")]
            others = [re.match(r"<([^>]*)>; rel=duplicate", field) for field in first.all("link")]
            others = [found.group(1) for found in others if found]
            while True:
                try:
                    return self._read(asked[-1], source, received)
                except (*BROKEN, Later) as error:
                    if not others:
                        raise
                    stats.retried(repr(error))
                    lasting = judged(self.outsider.ask("GET", others.pop(0), source), (302,))
                    asked.append(lasting.header("location"))
        patiently(attempt, stats, lambda: len(received.bytes))
        return bytes(received.bytes), received.resumed

    def _read(self, url, source, received):
        start = len(received.bytes)
        headers = {"Range": f"bytes={start}-"} if start else {}
        answer = self.outsider.ask("GET", url, source, headers, onto=received, timeout=6)
        judged(answer, (200, 206))


class Load:
    """Uploads and downloads that go on until they are told to stop; from each source one of each kind.

    A slow download is of `large`, and takes several times as long as a node takes to stop; each source has three,
    so that some node surely meets one at its end. When the load ends, they take what is left at once.
    """

    PAUSE = 0.2
    SLOW, SLOW_OF_EACH = 800_000, 3  # bytes a second, downloads

    def __init__(self, store, sources, kept, large):
        self.store, self.kept, self.large = store, kept, large  # kept: (link, sha256), grows
        self.stop = threading.Event()
        self.uploads, self.downloads, self.slow = Stats(), Stats(), Stats()
        pool = store.outsider.pool
        self.running = [pool.submit(self._upload, source, seed) for seed, source in enumerate(sources)]
        self.running += [pool.submit(self._download, source, seed, kept, self.downloads, lambda: 0)
                         for seed, source in enumerate(sources)]
        self.running += [pool.submit(self._download, source, seed, large, self.slow, self._slow)
                         for seed, source in enumerate(sources * self.SLOW_OF_EACH)]

    def _slow(self):
        return 0 if self.stop.is_set() else self.SLOW

    def end(self):
        """Stops, and waits for what goes on."""
        self.stop.set()
        for task in self.running:
            task.result()

    def failed(self):
        """What did not work in all its tries."""
        return self.uploads.failed + self.downloads.failed + self.slow.failed

    def _upload(self, source, seed):
        order, number = random.Random(seed), 0
        while not self.stop.wait(self.PAUSE):
            number += 1
            content = order.randbytes(order.choice((1, 1000, 100_000, 600_000, 5_000_000)) + number)
            begun = time.monotonic()
            try:
                _, link = self.store.upload(content, f"load-{seed}-{number}.bin", source, self.uploads)
                self.kept.append((link, hashlib.sha256(content).hexdigest()))
                self.uploads.ended(time.monotonic() - begun)
            except Exception as error:  # Also what nobody thought of is told, and the load goes on.
                self.uploads.ended(time.monotonic() - begun, f"{source} {number}: {error!r}")

    def _download(self, source, seed, files, stats, pace):
        order = random.Random(1000 + seed)
        while not self.stop.wait(self.PAUSE):
            link, sha256 = order.choice(files)
            begun = time.monotonic()
            try:
                content, resumed = self.store.download(link, source, stats, pace)
                right = hashlib.sha256(content).hexdigest() == sha256
                stats.ended(time.monotonic() - begun, None if right else f"{link}: other bytes", resumed)
            except Exception as error:
                stats.ended(time.monotonic() - begun, f"{source} {link}: {error!r}")


socket.setdefaulttimeout(10)
