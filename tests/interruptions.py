"""What the tests of judgeq train share: a run that is interrupted again and again until it is done."""

import os
import signal
import subprocess


def interrupt_until_done(test, command, output, number, seconds, n_steps, done=lambda code: code == 0):
    """Starts command(*options) again and again, each time `seconds` longer, until done(status), and sends it the signal
    `number`. Every time in between, it must have ended by it, or with a message. Returns how often it was interrupted."""
    for attempt in range(200):
        resume = ["--resume"] if os.path.exists(output + ".checkpoint") else []
        process = subprocess.Popen(command("--checkpoint-every", "0", *resume), stderr=subprocess.PIPE)
        try:
            process.wait(0.01 + seconds * attempt)
        except subprocess.TimeoutExpired:
            process.send_signal(number)
        said = process.communicate(timeout=60)[1].decode()
        if done(process.returncode):
            return attempt
        test.assertIn(process.returncode, (128 + number, -number), said)  # by it: before there was a handler, or SIGKILL
        if process.returncode > 0 and said:
            test.assertRegex(said, f"interrupted after step [0-9]+ of {n_steps}; --resume continues")
    return test.fail("never done")


def check_ends_the_same(test, suffixes):
    """However often a run of test.interrupt_until_done is interrupted, it leaves the files of one that was not."""
    whole = test.path("reference.gguf")
    test.succeed(whole)
    for name, number in ("int", signal.SIGINT), ("kill", signal.SIGKILL):
        with test.subTest(name):
            interrupted = 0
            for trial in range(10):  # a machine may pause for longer than a whole run takes
                output = test.path(f"{name}{trial}.gguf")
                interrupted = test.interrupt_until_done(output, number)
                for suffix in suffixes:
                    test.assertEqual(test.read(output + suffix), test.read(whole + suffix))
                if interrupted > 0:
                    break
            test.assertGreater(interrupted, 0)
