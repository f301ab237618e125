"""Whom requests are for: names that a browser may send. test_serve_hosts.py JUDGEQ MAKE_FIXTURE [unittest arguments]"""

import os
import socket
import sys
import unittest

from serving import Server, Serving

JUDGEQ, MAKE_FIXTURE = (os.path.abspath(path) for path in sys.argv[1:3])
Serving.PROGRAM, Serving.MAKE_FIXTURE = JUDGEQ, MAKE_FIXTURE


def get(server, *headers):
    return server.send("\r\n".join(["GET /health HTTP/1.1", "Connection: close", *headers, "", ""]).encode())


class Hosts(Serving):
    ARGUMENTS = ("--host-name", "Proxy.example.org", "--host-name", "box")
    OURS = ("127.0.0.1", "127.0.0.1:{}", "192.168.1.7:80", "[::1]", "[::1]:{}", "localhost", "LocalHost:{}", "localhost.", "a.localhost:1",
            "proxy.example.org", "PROXY.EXAMPLE.ORG:443", "box")
    OTHERS = ("evil.example", "evil.example:{}", "localhost.evil.example", "evillocalhost", "127.0.0.1.evil.example", "1.2.3", "::1",
              "[evil.example]", "", "box.evil.example", "x" * 300, "localhost@evil.example", ".localhost.evil")

    def test_names(self):
        for host in self.OURS:
            with self.subTest(host):
                self.assertIn(b'{"status":"ok"}', get(self.server, "Host: " + host.format(self.server.port)))
        for host in self.OTHERS:
            with self.subTest(host):
                got = get(self.server, "Host: " + host.format(self.server.port))
                self.assertTrue(got.startswith(b"HTTP/1.1 403"), got)
                self.assertIn(b"--host-name", got)

    def test_a_page_of_a_name_that_points_here(self):
        got = get(self.server, "Host: evil.example", "Origin: http://evil.example")
        self.assertTrue(got.startswith(b"HTTP/1.1 403"), got)
        got = self.server.send(b"GET /health HTTP/1.0\r\n\r\n")  # no browser's
        self.assertIn(b'{"status":"ok"}', got)

    def test_no_browser_can_reach_other_addresses_so(self):
        """Their names are not known here."""
        server = Server(JUDGEQ, self.model, "--host", "0.0.0.0")
        self.addCleanup(server.stop)
        self.assertIn(b'{"status":"ok"}', get(server, "Host: server.example.org"))

    @unittest.skipUnless(socket.has_ipv6 and os.path.exists("/proc/net/if_inet6"), "no IPv6 here")
    def test_ipv6(self):
        server = Server(JUDGEQ, self.model, "--host", "::1")
        self.addCleanup(server.stop)
        with socket.create_connection(("::1", server.port), timeout=30) as connection:
            connection.sendall(b"GET /health HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n")
            self.assertIn(b" 403 ", connection.recv(1 << 16))


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0], *sys.argv[3:]])
