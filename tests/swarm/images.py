"""closeby's image, built by the Dockerfile from bases that are made here: nothing is pulled."""

import io
import os
import re
import shutil
import subprocess
import tarfile
import tempfile
from concurrent.futures import ThreadPoolExecutor

from engines import run

BUILD_BASE, RUNTIME_BASE = "closeby-test-build-base:1", "closeby-test-runtime-base:1"
CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"


def archive(files):
    """A tar of path -> (bytes, mode), always the same for the same content."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for path, (content, mode) in sorted(files.items()):
            entry = tarfile.TarInfo(path)
            entry.size, entry.mode = len(content), mode
            tar.addfile(entry, io.BytesIO(content))
    return packed.getvalue()


def read(path):
    """A file's bytes."""
    with open(path, "rb") as file:
        return file.read()


def make_bases(engine, binary):
    """A build base that has the binary already, and a runtime base of its libraries alone."""
    with tempfile.TemporaryDirectory() as folder:
        slim = os.path.join(folder, "closeby")
        shutil.copy(binary, slim)
        subprocess.run(["strip", slim], check=False, capture_output=True)
        built = read(slim)
    busybox = read("/usr/bin/busybox")
    build = {"out/closeby": (built, 0o755)}
    build |= {f"bin/{name}": (busybox, 0o755) for name in ("sh", "mkdir")}
    libraries = re.findall(r"(/\S+) \(0x", run("ldd", binary))
    runtime = {path.lstrip("/"): (read(path), 0o755) for path in libraries}
    # The client of the cluster wants to know whom to trust, though nothing here speaks TLS.
    runtime[CERTIFICATES.lstrip("/")] = (read(CERTIFICATES), 0o644)
    engine.docker("import", "-", BUILD_BASE, stdin=archive(build))
    engine.docker("import", "-", RUNTIME_BASE, stdin=archive(runtime))


def build(engine, tag, revision):
    """Builds the image with the classic builder; its size in bytes."""
    engine.docker(
        "build", "--quiet", "--network", "none", "--tag", tag,
        "--build-arg", f"BUILD_BASE={BUILD_BASE}", "--build-arg", f"RUNTIME_BASE={RUNTIME_BASE}",
        "--build-arg", f"REVISION={revision}", ".",
        env={"DOCKER_BUILDKIT": "0"}, timeout=300,
    )
    return int(engine.docker("image", "inspect", "--format", "{{.Size}}", tag))


def spread(engine, others, tags):
    """Brings the images to every other engine."""
    with tempfile.NamedTemporaryFile(suffix=".tar") as file:
        engine.docker("save", "--output", file.name, *tags)
        with ThreadPoolExecutor(3) as pool:
            list(pool.map(lambda other: other.docker("load", "--input", file.name), others))
