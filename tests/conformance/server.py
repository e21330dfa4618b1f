"""Starts a real qfs-server, runs checks against it and says what came of them."""

import os
import re
import subprocess
import sys
import tempfile
import time
import traceback


class Served:
    """A server of one small file and one large one."""

    def __init__(self, program):
        self.home = tempfile.TemporaryDirectory(prefix="qfs-conformance-")
        root = os.path.join(self.home.name, "root")
        os.mkdir(root)
        for name, size in (("hello.txt", 5), ("large.bin", 1 << 20)):
            with open(os.path.join(root, name), "wb") as file:
                file.write(bytes(size))
        self.log = open(os.path.join(self.home.name, "log"), "w+b")
        command = [program, "--ip", "127.0.0.1", "--port", "0", "--root", root, "--certs", os.path.join(self.home.name, "certs"), "--allow", "read,write"]
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=self.log)
        said = b""
        for line in self.process.stdout:
            said += line
            if found := re.match(rb"listening on ([\d.]+):(\d+)$", line.strip()):
                self.ip, self.port = found[1].decode(), int(found[2])
                return
        raise SystemExit(f"error: the server ended: {said.decode()}{self.said()}")

    def said(self):
        self.log.seek(0)
        return self.log.read().decode(errors="replace")

    def end(self):
        """Ends it in good order; what went wrong in it, or None."""
        is_alive = self.process.poll() is None
        self.process.terminate()
        code = self.process.wait(30)
        said = self.said()
        self.log.close()
        self.home.cleanup()
        if not is_alive or code != 0 or "panicked" in said:
            return f"the server ended with {code}: {said[-2000:]}"
        return None


# Tries of a check whose connection is reset before the answer was read.
TRIES = 5


def judged(judge, served, lost):
    for _ in range(TRIES - 1):
        try:
            return judge(served)
        except lost:
            pass
    return judge(served)


def run(title, checks, known, wrong, lost=()):
    """Runs the checks, or those whose sections or words are named on the command line. `known` tells what is seen where it is known
    that a requirement does not hold. Exits with 1 when one fails, and when a deviation is another one or none any more."""
    program, *names = sys.argv[1:]
    served, begun = Served(program), time.monotonic()
    failed, deviating, done = 0, 0, 0
    for section, what, judge in checks:
        if names and not any(name == section or name in what for name in names):
            continue
        done += 1
        seen = known.get((section, what))
        try:
            judged(judge, served, lost)
            verdict = "ok" if seen is None else "FAILED: it is listed as a deviation, and holds"
        except wrong as error:
            verdict = f"deviates: {error}" if str(error) == seen else f"FAILED: {error}"
        except Exception:  # noqa: BLE001 - whatever a check stumbles over is shown beside its name
            verdict = f"FAILED: {traceback.format_exc()}"
        failed += verdict.startswith("FAILED")
        deviating += verdict.startswith("deviates")
        if verdict != "ok" or os.environ.get("QFS_CONFORMANCE_VERBOSE"):
            print(f"{section if section.startswith('RFC') else f'{title} §{section}'}, {what}: {verdict}")
    unwell = served.end()
    if unwell:
        print(f"FAILED: {unwell}")
    took = time.monotonic() - begun
    print(f"{title}: {done} requirements, {failed} failed, {deviating} known deviations, {took:.1f} s")
    sys.exit(1 if failed or unwell else 0)
