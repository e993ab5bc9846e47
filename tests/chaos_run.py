"""A run of the soak, whose driver ends again and again."""

import logging
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

SAID = ("error:", "nothing has", "stopped:")  # of what a driver says
GOES_ON = (0, 3, 4, 5, -signal.SIGKILL, -signal.SIGTERM)  # the last: not yet listening


class Run:
    """A run and the driver of the moment, which is started again whenever it ends too early."""

    def __init__(self, name, manifest, url, count, address):
        self.name, self.url, self.count = name, url, count
        self._command = [sys.executable, "-m", "dfp_batch", "submit", manifest, "--output", url]
        self._command += ["--preset", "classical", "--address", address, "--retry-quarantined"]
        self.process, self.done, self.codes, self.messages = None, False, Counter(), []

    def look(self):
        """Start a driver where none is; learn how the last one ended."""
        if self.process is not None and self.process.poll() is None:
            return
        if self.process is not None:
            code = self.process.returncode
            self.codes[code] += 1
            error = self._log.read_text().strip().splitlines()
            said = [line for line in error if line.startswith(SAID)]
            self.messages += [f"{code}: {line[:300]}" for line in said]
            logging.getLogger("chaos").info("%s ended with %d: %s", self.name, code, said)
            assert code in GOES_ON, f"{self.name}: exit code {code}: {error[-30:]}"
            self.done = code == 0
            self.process = None
        if not self.done:
            self.process = self.start()

    def start(self, *more):
        """A driver of this run, with its words in a file."""
        self._log = Path(tempfile.mkstemp(prefix=f"{self.name}-", suffix=".log")[1])
        with open(self._log, "w") as log:
            return subprocess.Popen([*self._command, *more], stdout=log, stderr=log)

    def end(self):
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()
