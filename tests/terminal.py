"""A terminal for the tests that look at what a command shows on one."""

import os
import pty
import threading
import time


class Terminal:
    """Commands write to `file`; end() returns all of it. The file stays open here until everything is read, and a mark of
    ours says when that is: where the last writer closes a terminal, what was not yet read of it may be lost."""

    MARK = b"\0end of the terminal"  # no command writes a NUL, and a newline would become two characters

    def __init__(self):
        self._master, self.file = pty.openpty()
        self._shown = b""
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self):
        while not self._shown.endswith(self.MARK):
            self._shown += os.read(self._master, 65536)

    def wait_until_written(self, part=b""):
        """Returns once something was written, `part` in it; false after a minute without."""
        for _ in range(6000):
            if self._shown and part in self._shown:
                return True
            time.sleep(0.01)
        return False

    def end(self):
        """What was written. Once only, after the commands have ended."""
        os.write(self.file, self.MARK)
        self._reader.join(timeout=60)
        os.close(self.file)
        os.close(self._master)
        if not self._shown.endswith(self.MARK):
            raise TimeoutError(f"the terminal ends with {self._shown[-80:]}")
        return self._shown.removesuffix(self.MARK).decode().replace("\r\n", "\n")
