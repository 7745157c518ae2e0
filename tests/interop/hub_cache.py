"""Fills a cache by huggingface_hub, or reads one.

    hub_cache.py fill CACHE TYPE NAME     download the whole repository; HF_ENDPOINT says from where
    hub_cache.py read CACHE TYPE NAME     the same from the cache alone

Prints JSON: the folder, the SHA-256 of every file, and what `scan_cache_dir` thinks of the cache.
"""

import hashlib
import json
import os
import sys

os.environ["HF_HUB_DISABLE_XET"] = "1"
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"

try:
    from huggingface_hub import scan_cache_dir, snapshot_download
except ImportError as fault:
    print(fault)
    sys.exit(77)

mode, cache, kind, name = sys.argv[1:]
folder = snapshot_download(name, repo_type=kind, cache_dir=cache, local_files_only=mode == "read")
hashes = {}
for root, _, names in os.walk(folder):
    for file in names:
        path = os.path.join(root, file)
        with open(path, "rb") as content:
            hashes[os.path.relpath(path, folder)] = hashlib.sha256(content.read()).hexdigest()
found = scan_cache_dir(cache)
print(
    json.dumps(
        {
            "folder": folder,
            "files": hashes,
            "warnings": [str(warning) for warning in found.warnings],
            "repos": sorted(f"{repo.repo_type} {repo.repo_id}" for repo in found.repos),
        }
    )
)
