"""Registers the devices of a CSV, watches that to its end and tells which were refused.

What a client of registrar needs is all here: a request id, so that a repeated call does nothing
twice; a deadline for every call; a retry policy; and a watch that goes on where it was cut off,
so that a restart of the server goes unnoticed.
"""

import argparse
import csv
import json
import random
import sys
import time
import uuid

import grpc
from registrar.v1 import registrar_pb2 as pb
from registrar.v1 import registrar_pb2_grpc as rpc

# Seconds. A call may use them up over all its attempts; 100,000 devices are stored well within.
CALL_DEADLINE = 60
# A watch that lasts longer is begun anew, so that none outlives a connection lost in silence.
WATCH_DEADLINE = 300
# How long the server may be away before the watch is given up. A restart takes a few seconds.
PATIENCE = 120

MIB = 1 << 20
SERVICE_CONFIG = {
    "methodConfig": [
        {
            "name": [{"service": "registrar.v1.RegistrarService"}],
            # Safe, because what is written here has a request id.
            "retryPolicy": {
                "maxAttempts": 5,
                "initialBackoff": "1s",
                "maxBackoff": "5s",
                "backoffMultiplier": 2,
                "retryableStatusCodes": ["UNAVAILABLE"],
            },
        }
    ]
}
OPTIONS = [
    ("grpc.service_config", json.dumps(SERVICE_CONFIG)),
    # Only what fits here is sent again. The server takes messages of 16 MiB; the default is 256 KiB.
    ("grpc.per_rpc_retry_buffer_size", 17 * MIB),
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    # The default waits up to two minutes before it connects again.
    ("grpc.initial_reconnect_backoff_ms", 500),
    ("grpc.max_reconnect_backoff_ms", 5_000),
]
MISSED = [
    pb.DEVICE_OUTCOME_INVALID,
    pb.DEVICE_OUTCOME_FAILED,
    pb.DEVICE_OUTCOME_UNKNOWN,
    pb.DEVICE_OUTCOME_CANCELLED,
]


def read(path):
    """The devices of a CSV with the columns device_name and, if wanted, nickname."""
    with open(path, encoding="utf-8-sig", newline="") as file:
        rows = csv.DictReader(file)
        if "device_name" not in (rows.fieldnames or []):
            raise ValueError(f"{path} has no column device_name")
        return [
            pb.NewDevice(device_name=row["device_name"], nickname=row.get("nickname") or "")
            for row in rows
        ]


def submit(service, devices, product_key, request_id):
    """Has the devices checked, and the valid ones registered, without another call."""
    request = pb.CheckDevicesRequest(
        product_key=product_key,
        devices=devices,
        after_check=pb.AFTER_CHECK_REGISTER_VALID,
        request_id=request_id,
    )
    return service.CheckDevices(request, timeout=CALL_DEADLINE).apply


def watch(service, apply):
    """Yields the apply at each later change until it has settled, whatever becomes of the server."""
    failures, last_sign = 0, time.monotonic()
    while True:
        request = pb.WatchApplyRequest(apply_id=apply.apply_id, after_revision=apply.revision)
        try:
            for message in service.WatchApply(request, timeout=WATCH_DEADLINE):
                failures, last_sign = 0, time.monotonic()
                if not message.heartbeat:
                    apply = message.apply
                    yield apply
            return
        except grpc.RpcError as error:
            # The first cuts a watch off, the second ends one that is long, and both lose nothing.
            cut_off = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)
            if error.code() not in cut_off or time.monotonic() - last_sign > PATIENCE:
                raise
            tell(f"the watch was cut off; going on after revision {apply.revision}")
        # At random, so that not all clients of a restarted server come back in one moment.
        time.sleep(random.uniform(0.5, 1) * min(5, 0.5 * 2**failures))
        failures += 1


def missed(service, apply_id):
    """Yields every device that did not make it."""
    token = ""
    while True:
        request = pb.ListDevicesRequest(apply_id=apply_id, outcomes=MISSED, page_token=token)
        page = service.ListDevices(request, timeout=CALL_DEADLINE)
        yield from page.devices
        token = page.next_page_token
        if not token:
            return


def show(apply):
    counts = apply.counts
    print(
        f"{apply.apply_id} at revision {apply.revision}: "
        f"{pb.ApplyStatus.Name(apply.status).removeprefix('APPLY_STATUS_')}, "
        f"{counts.created} of {counts.total} created",
        flush=True,
    )


def tell(text):
    print(text, file=sys.stderr, flush=True)


def run(arguments):
    devices = read(arguments.file)
    with grpc.insecure_channel(arguments.server, options=OPTIONS) as channel:
        service = rpc.RegistrarServiceStub(channel)
        tell(f"submitting {len(devices)} devices with request id {arguments.request_id}")
        apply = submit(service, devices, arguments.product_key, arguments.request_id)
        show(apply)
        for apply in watch(service, apply):
            show(apply)
        everyone = True
        for device in missed(service, apply.apply_id):
            everyone = False
            outcome = pb.DeviceOutcome.Name(device.outcome).removeprefix("DEVICE_OUTCOME_")
            print(f"{device.device_name}: {outcome}, {device.reason.message}")
        return 0 if everyone else 2


class Parser(argparse.ArgumentParser):
    def error(self, message):
        self.print_usage(sys.stderr)
        self.exit(1, f"error: {message}\n")  # 2 means that devices were refused


def main():
    parser = Parser(
        description=__doc__.splitlines()[0],
        epilog="Exits with 0 if every device was created, 2 if some were not, 1 if anything else failed.",
    )
    parser.add_argument("file", help="a CSV with the columns device_name and, if wanted, nickname")
    parser.add_argument("--server", default="127.0.0.1:50051")
    parser.add_argument("--product-key", default="a1Simulator")
    parser.add_argument(
        "--request-id",
        default=str(uuid.uuid4()),
        help="the same id with the same file again goes on with the same apply",
    )
    try:
        return run(parser.parse_args())
    except grpc.RpcError as error:
        tell(f"error: {error.code().name}: {error.details()}")
    except (OSError, ValueError, csv.Error) as error:
        tell(f"error: {error}")
    return 1


if __name__ == "__main__":
    sys.exit(main())
