"""Contexts of judgeq serve: uploaded, listed, used, deleted; what leaves for others; servers that are killed.
test_serve_contexts.py JUDGEQ MAKE_FIXTURE [unittest arguments]"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
import unittest

from serving import Server, Serving, post, wait_until

JUDGEQ, MAKE_FIXTURE = (os.path.abspath(path) for path in sys.argv[1:3])
Serving.PROGRAM, Serving.MAKE_FIXTURE = JUDGEQ, MAKE_FIXTURE
CONTEXTS, CHAT, TEXT = "/v1/contexts", "/v1/chat/completions", "/v1/completions"
DOCUMENT = "in the rain on a string again and the heron sings\n" * 4
METHOD = ("--policy", "streaming", "--budget", "48")
OWN = {"policy": "streaming", "budget": 48}


def judgeq(*arguments):
    return subprocess.run([JUDGEQ, *arguments], capture_output=True, check=True).stdout


class Folders(Serving):
    """Servers with a folder of contexts, which is another one for each test."""
    OPTIONS = ("--context-bytes", "10M")

    @classmethod
    def setUpClass(cls):
        super(Serving, cls).setUpClass()
        cls.make_model(MAKE_FIXTURE, cls.KIND, cls.SPEC)
        cls.document = cls.write("document.txt", DOCUMENT)

    def setUp(self):
        self.contexts = self.path(self.id().rpartition(".")[2])
        os.mkdir(self.contexts)
        self.server = self.start()

    def start(self, *arguments):
        server = Server(JUDGEQ, self.model, "--context-dir", self.contexts, *(arguments or self.OPTIONS))
        self.addCleanup(self.end_well, server)
        return server

    def end_well(self, server):
        """Unless it was killed."""
        status, said = server.stop()
        self.assertIn(status, (0, -signal.SIGKILL), said)
        self.assertNotIn("ERROR: ", said)

    def restart(self, *arguments):
        self.end_well(self.server)
        self.server = self.start(*arguments)

    def upload(self, name="document.kv", text=DOCUMENT, own=None, **more):
        return self.server.ask(CONTEXTS, {"text": text, "name": name, "judgeq": own or OWN, **more})

    def names(self):
        return [context["name"] for context in self.server.ask(CONTEXTS).json["data"]]

    def answer(self, name, server=None):
        reply = (server or self.server).ask(CHAT, {"messages": [{"role": "user", "content": "what sings?"}], "max_tokens": 8,
                                                   "judgeq": {"context": name}})
        self.assertEqual(reply.status, 200, reply.body)
        self.assertGreater(reply.json["usage"]["prompt_tokens_details"]["cached_tokens"], 60)
        return reply.json["choices"][0]["message"]["content"]

    def run_answer(self, path):
        said = judgeq("run", "-m", self.model, "-t", "1", "--json", "--quiet", "--context", path, "-p", "what sings?", "-n", "8",
                      "--temp", "0")
        return json.loads(said)["text"].replace("\0", "\ufffd")

    def ingest(self, path, *arguments):
        judgeq("ingest", "-m", self.model, "-t", "1", "--quiet", *(arguments or METHOD), self.document, "-o", path)
        return path

    def refused(self, reply, status, code, said):
        self.assertEqual(reply.status, status, reply.body)
        self.assertEqual(reply.json["error"]["code"], code)
        self.assertIn(said, reply.json["error"]["message"])
        self.assertNotIn(self.folder, reply.json["error"]["message"])


class Uploads(Folders):
    def test_the_same_file_as_ingest_writes(self):
        made = self.upload()
        self.assertEqual(made.status, 200, made.body)
        stored, ingested = os.path.join(self.contexts, "document.kv"), self.ingest(self.path("ingested.kv"))
        self.assertEqual(self.read(stored), self.read(ingested))
        expected = self.run_answer(ingested)
        self.assertEqual(self.run_answer(stored), expected)
        self.assertEqual(self.answer("document.kv"), expected)
        os.rename(ingested, os.path.join(self.contexts, "ingested.kv"))
        self.assertEqual(self.answer("ingested.kv"), expected)

    def test_what_it_is(self):
        made = self.upload(own={"policy": "streaming", "budget": "25%"}).json
        self.assertEqual((made["object"], made["name"], made["usable"], made["in_use"]), ("context", "document.kv", True, 0))
        self.assertEqual(made["bytes"], os.path.getsize(os.path.join(self.contexts, "document.kv")))
        self.assertEqual(made["budget"], "25%")
        self.assertTrue(made["policy"].startswith("probe="), made["policy"])
        said = json.loads(judgeq("ingest", "-m", self.model, "-t", "1", "--quiet", "--policy", "streaming", "--budget", "25%", "--json",
                                 self.document, "-o", self.path("ingested.kv")))
        for field in "tokens", "rows", "kv_bytes", "policy":
            self.assertEqual(made[field], said[field])
        self.assertLess(abs(made["created"] - time.time()), 60)
        self.assertEqual(made["judgeq"]["tokens_seen"], made["tokens"])
        one = self.server.ask(CONTEXTS + "/document.kv").json
        self.assertEqual(one, {name: value for name, value in made.items() if name != "judgeq"})
        everything = self.server.ask("/contexts").json
        self.assertEqual((everything["data"], everything["bytes"], everything["bytes_most"]), ([one], one["bytes"], 10 << 20))

    def test_forms_texts_and_several_documents(self):
        self.upload("json.kv", None, documents=[DOCUMENT, "again"])
        parts = "".join(f'--boundary\r\nContent-Disposition: form-data; name="{name}"{file}\r\n\r\n{value}\r\n' for name, file, value in [
            ("name", "", "form.kv"), ("file", '; filename="a.txt"', DOCUMENT), ("budget", "", "48"), ("policy", "", "streaming"),
            ("text", "", "again")]) + "--boundary--\r\n"
        reply = self.server.ask(CONTEXTS, parts.encode(), Content_Type="multipart/form-data; boundary=boundary")
        self.assertEqual(reply.status, 200, reply.body)
        reply = self.server.ask(CONTEXTS + "?name=text.kv&budget=48&policy=streaming", f"{DOCUMENT}\nagain\n".encode(),
                                Content_Type="text/plain")
        self.assertEqual(reply.status, 200, reply.body)
        files = {self.read(os.path.join(self.contexts, name)) for name in ("json.kv", "form.kv", "text.kv")}
        self.assertEqual(len(files), 1)
        for body, said in ((parts[:-20], "no whole form"), (parts.replace('"policy"', '"other"'), "other: expected files")):
            reply = self.server.ask(CONTEXTS, body.encode(), Content_Type="multipart/form-data; boundary=boundary")
            self.refused(reply, 400, None, said)
        self.assertRegex(self.server.ask(CONTEXTS, b"in the rain \xff", Content_Type="text/plain").json["name"], r"^context-[0-9a-f]{16}\.kv$")

    def test_a_system_message(self):
        self.upload(system="be brief")
        judgeq("ingest", "-m", self.model, "-t", "1", "--quiet", *METHOD, "--system", "be brief", self.document, "-o", self.path("system.kv"))
        self.assertEqual(self.read(os.path.join(self.contexts, "document.kv")), self.read(self.path("system.kv")))

    def test_a_stream_tells_of_its_progress(self):
        lines = self.server.events(CONTEXTS, {"text": DOCUMENT, "name": "stream.kv", "judgeq": OWN})
        made = json.loads(lines[-2].removeprefix("data: "))
        self.assertEqual((made["name"], lines[-1]), ("stream.kv", "data: [DONE]"))
        self.assertEqual(self.names(), ["stream.kv"])

    def test_a_stream_that_fails(self):
        size = self.upload().json["bytes"]
        self.restart("--context-bytes", str(size - 1))  # its rows would fit
        lines = self.server.events(CONTEXTS, {"text": DOCUMENT, "name": "stream.kv", "judgeq": OWN})
        self.assertIn("exceeds_context_bytes", lines[-1])
        self.assertEqual(os.listdir(self.contexts), [])

    def test_it_goes_on_from_no_conversation(self):
        """Though one begins with the same tokens and has the same method."""
        self.server.ask(CHAT, {"messages": [{"role": "user", "content": DOCUMENT.rstrip() + " again"}], "max_tokens": 1, "judgeq": OWN})
        self.upload()
        self.assertEqual(self.read(os.path.join(self.contexts, "document.kv")), self.read(self.ingest(self.path("alone.kv"))))

    def test_another_file_by_an_old_name(self):
        """Though its tokens and its method are the same."""
        self.upload(own={"policy": "random", "budget": 24})
        first = self.answer("document.kv")
        self.assertEqual(self.server.ask(CONTEXTS + "/document.kv", method="DELETE").status, 200)
        path = self.ingest(os.path.join(self.contexts, "document.kv"), "--policy", "random", "--budget", "24", "--seed", "7")
        other = self.run_answer(path)
        self.assertNotEqual(first, other)  # or this shows nothing
        self.assertEqual(self.answer("document.kv"), other)

    def test_what_is_refused(self):
        self.upload()
        self.refused(self.upload(), 409, "context_exists", "another name")
        for name in "../x", ".x", "a/b", "x" * 129, "", "a.tmp.12.3", "ä":
            self.refused(self.upload(name), 400, None, "letters")
        for body, said in [({}, "document"), ({"text": ""}, "empty"), ({"documents": []}, "document"), ({"documents": [1]}, "text"),
                           ({"text": "a", "documents": ["b"]}, "one"), ({"text": 5}, "text"), ({"text": "a", "judgeq": {"context": "document.kv"}}, "begins with no other"),
                           ({"text": "a", "judgeq": {"policy": "nothing"}}, "nothing"), ({"text": "a", "name": 5}, "text")]:
            self.refused(self.server.ask(CONTEXTS, body), 400, None, said)
        reply = self.upload("long.kv", DOCUMENT * 20)
        self.assertEqual(reply.json["error"]["n_ctx"], 1024)
        self.refused(self.server.ask(CONTEXTS + "/none.kv"), 404, "context_not_found", "none.kv")
        self.refused(self.server.ask(CONTEXTS + "/none.kv", method="DELETE"), 404, "context_not_found", "none.kv")
        self.assertEqual(self.names(), ["document.kv"])
        self.assertEqual(os.listdir(self.contexts), ["document.kv"])

    def test_names_of_what_is_no_file(self):
        os.mkdir(os.path.join(self.contexts, "folder.kv"))
        os.mkfifo(os.path.join(self.contexts, "pipe.kv"))
        os.symlink("nowhere", os.path.join(self.contexts, "link.kv"))
        for name in "folder.kv", "pipe.kv", "link.kv":
            self.refused(self.upload(name), 409, "context_exists", name)
            self.refused(self.server.ask(f"{CONTEXTS}/{name}"), 404, "context_not_found", name)
        self.assertEqual(self.names(), [])

    def test_servers_that_take_none(self):
        self.upload()
        self.restart("--quiet")  # without --context-bytes
        self.assertEqual(self.names(), ["document.kv"])
        self.answer("document.kv")
        for reply in self.upload("other.kv"), self.server.ask(CONTEXTS + "/document.kv", method="DELETE"):
            self.refused(reply, 403, None, "--context-bytes")
        bare = Server(JUDGEQ, self.model)
        self.addCleanup(bare.stop)
        for reply in bare.ask(CONTEXTS), bare.ask(CONTEXTS + "/x"), bare.ask(CONTEXTS, {"text": "a"}), bare.ask(CONTEXTS + "/x", method="DELETE"):
            self.refused(reply, 400, None, "--context-dir")

    def test_two_servers(self):
        done = subprocess.run([JUDGEQ, "serve", "-m", self.model, "--port", "0", "--context-dir", self.contexts, "--context-bytes", "1M"],
                              capture_output=True, encoding="utf-8", timeout=60, check=False)
        self.assertEqual(done.returncode, 1)
        self.assertIn("another server", done.stderr)
        self.upload()
        self.assertEqual(self.answer("document.kv", self.start("--quiet")), self.answer("document.kv"))

    def test_files_that_are_no_contexts(self):
        whole = self.read(self.ingest(os.path.join(self.contexts, "good.kv")))
        other = self.path("other.gguf")
        subprocess.run([MAKE_FIXTURE, "model", "bpe-default", other], check=True)
        judgeq("ingest", "-m", other, "-t", "1", "--quiet", *METHOD, self.document, "-o", os.path.join(self.contexts, "other.kv"))
        for name, content in [("cut.kv", whole[:len(whole) // 2]), ("notes.txt", b"hello"), (".hidden", b"x"), ("model.gguf", self.read(self.model))]:
            with open(os.path.join(self.contexts, name), "wb") as file:
                file.write(content)
        os.mkdir(os.path.join(self.contexts, "folder"))
        found = {context["name"]: context for context in self.server.ask(CONTEXTS).json["data"]}
        self.assertEqual(sorted(found), ["cut.kv", "good.kv", "model.gguf", "notes.txt", "other.kv"])
        self.assertEqual([name for name in sorted(found) if found[name]["usable"]], ["good.kv"])
        for name, said in ("cut.kv", "cut.kv: "), ("notes.txt", "notes.txt: "), ("other.kv", "another model"):
            self.assertIn(said, found[name]["error"])
            self.assertNotIn(self.folder, found[name]["error"])
        self.assertNotIn("hello", json.dumps(found))  # what other files hold is not told
        answer = self.server.ask("/v1/completions", {"prompt": "a", "judgeq": {"context": "notes.txt"}})
        self.assertEqual((answer.status, "hello" in json.dumps(answer.json)), (400, False))
        for name in "notes.txt", "model.gguf":
            self.refused(self.server.ask(f"{CONTEXTS}/{name}", method="DELETE"), 409, "not_a_context", "left alone")
        for name in "folder", ".hidden":
            self.refused(self.server.ask(f"{CONTEXTS}/{name}", method="DELETE"), 404, "context_not_found", name)
        for name in "cut.kv", "other.kv":
            self.assertEqual(self.server.ask(f"{CONTEXTS}/{name}", method="DELETE").status, 200)
        self.assertEqual(sorted(os.listdir(self.contexts)), [".hidden", "folder", "good.kv", "model.gguf", "notes.txt"])


class Room(Folders):
    """What leaves for what."""

    def setUp(self):
        super().setUp()
        self.size = self.upload("a.kv").json["bytes"]
        self.restart("--context-bytes", str(3 * self.size + 100))

    def test_the_least_recently_used_leaves_first(self):
        self.upload("b.kv")
        self.upload("c.kv")
        self.answer("a.kv")
        self.assertEqual(self.upload("d.kv").status, 200)
        self.assertEqual(self.names(), ["a.kv", "c.kv", "d.kv"])
        self.answer("c.kv")
        self.restart("--context-bytes", str(2 * self.size))  # and remembers it
        self.assertEqual(self.names(), ["c.kv", "d.kv"])
        self.assertEqual(self.upload("e.kv").status, 200)
        self.assertEqual(self.names(), ["c.kv", "e.kv"])

    def test_what_is_no_context_stays(self):
        with open(os.path.join(self.contexts, "notes.txt"), "wb") as file:
            file.write(bytes(2 * self.size))
        self.upload("b.kv")
        self.assertEqual(self.names(), ["b.kv", "notes.txt"])
        with open(os.path.join(self.contexts, "notes.txt"), "ab") as file:
            file.write(bytes(self.size))
        self.refused(self.upload("c.kv"), 409, "context_in_use", "ask again later")
        self.assertEqual(self.names(), ["b.kv", "notes.txt"])

    def test_one_that_is_damaged_leaves_by_its_name_only(self):
        """It may be one that somebody is copying there, of a session or of a model."""
        whole, model = self.read(os.path.join(self.contexts, "a.kv")), self.read(self.model)
        for name, content in ("cut.kv", whole[:-self.size // 2]), ("model.gguf", model[:self.size]), ("b.kv", whole):
            with open(os.path.join(self.contexts, name), "wb") as file:
                file.write(content)
            os.utime(os.path.join(self.contexts, name), (1, 1))
        self.restart("--context-bytes", str(3 * self.size))
        self.assertEqual(self.names(), ["a.kv", "cut.kv", "model.gguf"])
        self.assertEqual(self.upload("c.kv").status, 200)
        self.assertEqual(self.names(), ["c.kv", "cut.kv", "model.gguf"])
        self.assertEqual(self.server.ask(CONTEXTS + "/cut.kv", method="DELETE").status, 200)
        self.assertEqual(self.names(), ["c.kv", "model.gguf"])

    def test_one_that_is_replaced_is_read_again(self):
        path, whole = os.path.join(self.contexts, "a.kv"), self.read(os.path.join(self.contexts, "a.kv"))
        for content, usable in (whole[:-100], False), (whole, True):
            with open(path, "wb") as file:
                file.write(content)
            self.assertEqual(self.server.ask(CONTEXTS + "/a.kv").json["usable"], usable)

    def test_one_that_is_too_large_alone(self):
        self.restart("--context-bytes", str(self.size - 1))
        self.assertEqual(self.names(), [])
        self.refused(self.upload("b.kv"), 400, "exceeds_context_bytes", f"has {self.size} bytes, and --context-bytes is {self.size - 1}")
        before = self.server.metric("prompt_tokens_read_total")
        self.restart("--context-bytes", "4K")
        self.refused(self.upload("b.kv"), 400, "exceeds_context_bytes", "48 rows")
        self.assertGreater(before, 0)
        self.assertEqual(self.server.metric("prompt_tokens_read_total"), 0)  # it was not read for that
        self.assertEqual(os.listdir(self.contexts), [])

    def bytes_held(self):
        """Of all files, of which some may be renamed or removed while they are counted."""
        sizes = {}
        for name in os.listdir(self.contexts):
            with contextlib.suppress(FileNotFoundError):
                status = os.stat(os.path.join(self.contexts, name))
                sizes[status.st_ino] = status.st_size
        return sum(sizes.values())

    def test_many_at_once(self):
        replies = []
        threads = [threading.Thread(target=lambda i=i: replies.append(self.upload(f"{i}.kv"))) for i in range(8)]
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            self.assertLessEqual(self.bytes_held(), 3 * self.size + 100)
        for thread in threads:
            thread.join()
        self.assertEqual({reply.status for reply in replies} - {200, 409}, set())
        self.assertEqual(len(self.names()), 3)
        for name in self.names():
            self.assertTrue(self.server.ask(f"{CONTEXTS}/{name}").json["usable"])


class Lasting(Folders):
    """Reads and answers that end later than the tests."""
    SPEC = "longest"  # without a chat template

    def answer(self, name, server=None):
        reply = (server or self.server).ask(TEXT, {"prompt": " what sings?", "max_tokens": 8, "judgeq": {"context": name}})
        self.assertEqual(reply.status, 200, reply.body)
        return reply.json["choices"][0]["text"]

    def test_one_in_use_stays(self):
        size = self.upload("a.kv").json["bytes"]
        self.restart("--context-bytes", str(3 * size + 100))
        self.upload("b.kv")
        self.upload("c.kv")
        body = {"prompt": "a b", "max_tokens": 100000, "stream": True, "judgeq": {"context": "a.kv"}}
        with self.server.connect() as client:
            client.sendall(post(TEXT, json.dumps(body).encode()))
            self.server.wait_for("jobs_answering", 1)
            self.assertEqual(self.server.ask(CONTEXTS + "/a.kv").json["in_use"], 1)
            self.refused(self.server.ask(CONTEXTS + "/a.kv", method="DELETE"), 409, "context_in_use", "a.kv is in use")
            self.upload("d.kv")
            self.upload("e.kv")
            self.assertEqual(self.names(), ["a.kv", "d.kv", "e.kv"])
        wait_until(lambda: self.server.ask(CONTEXTS + "/a.kv").json["in_use"] == 0, "a.kv is in use")
        self.assertEqual(self.server.ask(CONTEXTS + "/a.kv", method="DELETE").json, {"object": "context", "name": "a.kv", "deleted": True})

    def test_a_client_that_leaves(self):
        with self.server.connect() as client:
            body = {"text": DOCUMENT * 150, "name": "left.kv", "judgeq": OWN}
            client.sendall(post(CONTEXTS, json.dumps(body).encode()))
            self.server.wait_for("jobs_reading", 1)
            self.refused(self.upload("left.kv"), 409, "context_exists", "left.kv")
        self.server.wait_for("jobs_cancelled_total", 1)
        self.assertEqual(os.listdir(self.contexts), [])
        self.assertEqual(self.upload("left.kv").status, 200)

    def test_a_name_that_somebody_takes_meanwhile(self):
        path = os.path.join(self.contexts, "taken.kv")
        with self.server.connect() as client:
            client.sendall(post(CONTEXTS, json.dumps({"text": DOCUMENT * 150, "name": "taken.kv", "judgeq": OWN}).encode()))
            self.server.wait_for("jobs_reading", 1)
            with open(path, "wb") as file:
                file.write(b"somebody's")
            reply = b"".join(iter(lambda: client.recv(1 << 16), b""))
        self.assertIn(b" 409 ", reply.partition(b"\r\n")[0])
        self.assertIn(b'"context_exists"', reply)
        self.assertEqual(self.read(path), b"somebody's")
        self.assertEqual(os.listdir(self.contexts), ["taken.kv"])

    def test_kill_and_restart(self):
        for _ in range(2):
            self.upload(f"{len(self.names())}.kv")
        before = self.server.ask(CONTEXTS).json["data"]
        expected = self.answer("0.kv")
        with self.server.connect() as client:
            client.sendall(post(CONTEXTS, json.dumps({"text": DOCUMENT * 150, "name": "half.kv", "judgeq": OWN}).encode()))
            self.server.wait_for("jobs_reading", 1)
            self.server.stop(signal.SIGKILL)
        dead = self.server.process.pid
        for name in f"half.kv.tmp.{dead}.0", f"half.kv.tmp.{os.getpid()}.0":  # another process writes the second
            with open(os.path.join(self.contexts, name), "wb") as file:
                file.write(b"GGUF")
        self.server = self.start()
        self.assertEqual(sorted(os.listdir(self.contexts)), ["0.kv", "1.kv", f"half.kv.tmp.{os.getpid()}.0"])
        after = self.server.ask(CONTEXTS).json["data"]
        self.assertEqual([{**one, "last_used": 0} for one in after], [{**one, "last_used": 0} for one in before])
        self.assertEqual(self.answer("0.kv"), expected)

    def test_killed_at_any_moment(self):
        """Each time a little later: what is there after it can be used, and nothing else is there."""
        body = {"text": DOCUMENT * 15, "judgeq": OWN}
        began, finished, times = time.monotonic(), 0, 12
        self.upload("whole.kv", body["text"])
        takes = time.monotonic() - began
        for i in range(times):
            with self.server.connect() as client:
                client.sendall(post(CONTEXTS, json.dumps({**body, "name": f"{i}.kv"}).encode()))
                if i < times - 1:
                    time.sleep(1.5 * takes * i / times)
                else:
                    client.recv(1)  # the last one is done
                self.server.stop(signal.SIGKILL)
            self.server = self.start()
            found = self.server.ask(CONTEXTS).json["data"]
            self.assertEqual(sorted(os.listdir(self.contexts)), sorted(one["name"] for one in found))
            self.assertTrue(all(one["usable"] for one in found), found)
            finished = len(found) - 1
        self.assertIn(finished, range(1, times))
        self.assertEqual(self.upload("last.kv").status, 200)
        self.assertEqual(len(self.names()), finished + 2)


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0], *sys.argv[3:]])
