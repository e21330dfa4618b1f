"""Makes a container in an Azurite: container.py http://HOST:PORT NAME. Its account and key are those that every Azurite has."""

import base64
import hashlib
import hmac
import sys
import urllib.request
from email.utils import formatdate

ACCOUNT = "devstoreaccount1"
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="

service, name = sys.argv[1:]
headers = {"x-ms-date": formatdate(usegmt=True), "x-ms-version": "2021-08-06"}
# The method, eleven headers that are not sent, those of Azure, and what is asked for.
signed = ["PUT", *[""] * 11, *(f"{key}:{value}" for key, value in headers.items())]
signed += [f"/{ACCOUNT}/{ACCOUNT}/{name}", "restype:container"]
signature = hmac.digest(base64.b64decode(KEY), "\n".join(signed).encode(), hashlib.sha256)
headers["Authorization"] = f"SharedKey {ACCOUNT}:{base64.b64encode(signature).decode()}"
request = urllib.request.Request(f"{service}/{ACCOUNT}/{name}?restype=container", headers=headers, method="PUT")
with urllib.request.urlopen(request, timeout=10):
    pass
