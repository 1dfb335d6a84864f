"""What the scripts share: the simulator's own view of what reached it, a relay that changes calls
on their way, and the runner that prints a line for each scenario."""

import http.client
import http.server
import json
import os
import random
import string
import sys
import threading
import time
import traceback
import urllib.request

# Set in src/simulator/mod.rs.
ACCESS_KEY_ID = "simulator"
ACCESS_KEY_SECRET = "simulator-secret"
PRODUCT = "a1Simulator"

# In seconds. Nothing here takes long; this only ends what would never end.
PATIENCE = 120


class Refused(Exception):
    """An HTTP error, in the words of the SDK that raised it."""

    def __init__(self, status, code, message, request_id):
        super().__init__(f"{status} {code}: {message}")
        self.status, self.code, self.message, self.request_id = status, code, message, request_id


class Simulator:
    """The simulator as its tests see it: unsigned, and beside the calls."""

    def __init__(self, address):
        self.address = address
        self._open = urllib.request.build_opener(urllib.request.ProxyHandler({})).open

    def _request(self, path, method="GET", body=None):
        url = f"http://{self.address}/_simulator/{path}"
        request = urllib.request.Request(url, method=method, data=body)
        with self._open(request, timeout=PATIENCE) as answer:
            return [json.loads(line) for line in answer.read().splitlines()]

    def calls_after(self, seq):
        return self._request(f"ledger?after={seq}&names=true")

    def last_seq(self):
        calls = self.calls_after(0)
        return calls[-1]["seq"] if calls else 0

    def devices(self, product=PRODUCT):
        return {row["name"]: row for row in self._request(f"devices?product={product}")}

    def fault(self, name, **fault):
        """Sets a fault for the length of a `with`."""
        return _Fault(self, name, fault)


class _Fault:
    def __init__(self, simulator, name, fault):
        self.simulator, self.path, self.fault = simulator, f"faults/{name}", fault

    def __enter__(self):
        self.simulator._request(self.path, "PUT", json.dumps(self.fault).encode())

    def __exit__(self, *_):
        self.simulator._request(self.path, "DELETE")


class Ledger:
    """The calls since this was made."""

    def __init__(self, simulator):
        self.simulator, self.since = simulator, simulator.last_seq()

    def calls(self):
        return self.simulator.calls_after(self.since)

    def told(self):
        """The calls as (action, code), repeats of one call after another told once, since how
        often a state was asked for depends on the machine."""
        told = []
        for call in self.calls():
            one = (call["action"], call["code"])
            if not told or told[-1] != one:
                told.append(one)
        return told

    def statuses(self):
        return [call["http_status"] for call in self.calls()]

    def only(self):
        calls = self.calls()
        assert len(calls) == 1, f"one call expected, the ledger has {calls}"
        return calls[0]


class Relay:
    """Stands between an SDK and the simulator: passes each call on `times` times, after `change`
    was applied to its path and its body, and answers with the last answer. `change` leaves the
    length as it is."""

    def __init__(self, simulator, change=lambda text: text, times=1):
        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                for _ in range(times):
                    status, headers, answer = self.pass_on(change(body))
                self.send_response_only(status)
                for name, value in headers:
                    if name.lower() not in ("transfer-encoding", "connection"):
                        self.send_header(name, value)
                self.end_headers()
                self.wfile.write(answer)

            def pass_on(self, body):
                connection = http.client.HTTPConnection(simulator.address, timeout=PATIENCE)
                path = change(self.path.encode()).decode()
                connection.putrequest("POST", path, skip_host=True, skip_accept_encoding=True)
                for name, value in self.headers.items():
                    connection.putheader(name, value)
                connection.endheaders(body)
                answer = connection.getresponse()
                whole = answer.status, answer.getheaders(), answer.read()
                connection.close()
                return whole

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.address = "127.0.0.1:%d" % self.server.server_address[1]

    def __enter__(self):
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()


def names(count):
    """Names that nobody else uses."""
    own = "".join(random.choices(string.ascii_lowercase, k=8))
    return [f"{own}-{number:04}" for number in range(1, count + 1)]


def until(question, accept):
    """Asks until the answer is accepted, and returns it."""
    end = time.monotonic() + PATIENCE
    while True:
        answer = question()
        if accept(answer):
            return answer
        assert time.monotonic() < end, f"still {answer} after {PATIENCE} s"
        time.sleep(0.05)


def same(got, expected):
    assert got == expected, f"expected {expected!r}, got {got!r}"


def run(sdk, scenarios):
    """Runs `(title, function)` in turn, and ends the process: with 1 if one of them failed."""
    failed = 0
    for title, scenario in scenarios:
        try:
            scenario(sdk)
            print(f"ok      {sdk.name}: {title}", flush=True)
        except Exception as error:
            failed += 1
            why = f"{type(error).__name__}: {error}".replace("\n", " ")[:1000]
            print(f"FAILED  {sdk.name}: {title}: {why}", flush=True)
            traceback.print_exc(file=sys.stdout)
    return failed


def simulator():
    return Simulator(os.environ["SIMULATOR"])
