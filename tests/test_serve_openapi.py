"""server/openapi.json: what the server does is what it says. PyPI's schemathesis makes requests of it, good ones and bad ones.
test_serve_openapi.py JUDGEQ MAKE_FIXTURE [unittest arguments]"""

import json
import os
import re
import subprocess
import sys
import unittest

from serving import Server, Serving

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
MODULES = subprocess.run([os.path.join(ROOT, "tools", "deps.sh"), "--print-schemathesis"], capture_output=True, check=True,
                         encoding="utf-8").stdout.strip()
JUDGEQ, MAKE_FIXTURE = (os.path.abspath(path) for path in sys.argv[1:3])
Serving.PROGRAM, Serving.MAKE_FIXTURE = JUDGEQ, MAKE_FIXTURE
# Not that all requests of its form are taken, and no others: what fields say of each other no form can tell.
CHECKS = ("not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance,unsupported_method,"
          "allow_header_conformance")


class OpenAPI(Serving):
    ARGUMENTS = ("--ctx", "256", "--tokens", "4", "--policy", "streaming", "--budget", "32", "--kv-bytes", "512K", "--quiet",
                 "--context-bytes", "1M")

    @classmethod
    def setUpClass(cls):
        super(Serving, cls).setUpClass()
        cls.make_model(MAKE_FIXTURE, cls.KIND, cls.SPEC)
        os.mkdir(cls.path("contexts"))
        cls.server = Server(JUDGEQ, cls.model, *cls.ARGUMENTS, "--context-dir", cls.path("contexts"))
        cls.addClassCleanup(cls.end)

    def test_it_is_served(self):
        with open(os.path.join(ROOT, "server", "openapi.json"), "rb") as file:
            written = file.read()
        reply = self.server.ask("/openapi.json")
        self.assertEqual((reply.status, reply.headers["Content-Type"], reply.body), (200, "application/json", written))

    def test_every_route_is_in_it(self):
        with open(os.path.join(ROOT, "server", "routes.c"), encoding="utf-8") as file:
            source = file.read()
        routes = {(method.lower(), "/v1" + path) for method, path in re.findall(r'BOTH\("(\w+)", "([^"]+)"', source)}
        routes |= {(method.lower(), path) for method, path in re.findall(r'\{"(\w+)", "([^"]+)", \w', source)}
        routes -= {("get", "/v1/health"), ("get", "/")}  # the same as /health; a page
        paths = json.loads(self.server.ask("/openapi.json").body)["paths"]
        said = {(method, re.sub(r"\{\w+\}", "*", path)) for path, item in paths.items() for method in item if method != "parameters"}
        self.assertEqual(said, routes)

    def test_methods(self):
        reply = self.server.ask("/v1/contexts", method="PUT")
        self.assertEqual((reply.status, reply.headers["Allow"]), (405, "POST, GET, OPTIONS"))

    @unittest.skipUnless(os.path.exists(MODULES), "tools/deps.sh --test provides PyPI's schemathesis")
    def test_schemathesis(self):
        """With a fixed seed: the same requests each time."""
        command = [sys.executable, "-c", "from schemathesis.cli import schemathesis; schemathesis()", "run",
                   self.server.url + "/openapi.json", "--seed", "1", "--max-examples", "12", "--phases", "fuzzing", "--no-shrink",
                   "--checks", CHECKS, "--continue-on-failure", "--request-timeout", "20", "--no-color", "--suppress-health-check", "all"]
        done = subprocess.run(command, cwd=self.folder, env={**os.environ, "PYTHONPATH": MODULES}, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, encoding="utf-8", errors="replace", timeout=280, check=False)
        self.assertEqual(done.returncode, 0, done.stdout[-8000:])
        found = re.search(r"(\d+) generated", done.stdout)
        self.assertGreater(int(found[1]), 100, done.stdout[-2000:])
        self.assertEqual(self.chat().status, 200)


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0], *sys.argv[3:]])
