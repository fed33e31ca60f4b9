"""Uploads a file with tuspy as it comes: stops after some chunks, or goes on from a stored URL."""

import os
import sys

from tusclient.client import TusClient
from tusclient.storage.filestorage import FileStorage

CHUNK = 5 << 20

step, endpoint, path, store, offset = sys.argv[1:]
uploader = TusClient(endpoint).uploader(
    path,
    chunk_size=CHUNK,
    store_url=True,
    url_storage=FileStorage(store),
    metadata={"filename": os.path.basename(path), "filetype": "application/x-tuspy"},
    upload_checksum=True,
)
assert uploader.offset == int(offset), f"it stands at {uploader.offset}"
if step == "begin":
    uploader.upload_chunk()
    uploader.upload_chunk()
    print(uploader.url, flush=True)
    # As if it was killed: nothing is tidied up.
    os._exit(0)
uploader.upload()
print(uploader.url)
