// Registers the devices of a CSV, watches that to its end and tells which were refused.
//
// What a client of registrar needs is all here: a request id, so that a repeated call does nothing
// twice; a deadline for every call; a retry policy; and a watch that goes on where it was cut off,
// so that a restart of the server goes unnoticed.

import { randomUUID } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";

import * as grpc from "@grpc/grpc-js";
import { loadSync } from "@grpc/proto-loader";

import type { ProtoGrpcType } from "./generated/registrar";
import type { Apply__Output as Apply } from "./generated/registrar/v1/Apply";
import type { CheckDevicesResponse__Output as Submitted } from "./generated/registrar/v1/CheckDevicesResponse";
import type { Device__Output as Device } from "./generated/registrar/v1/Device";
import type { ListDevicesResponse__Output as Page } from "./generated/registrar/v1/ListDevicesResponse";
import type { NewDevice } from "./generated/registrar/v1/NewDevice";
import type { RegistrarServiceClient as Client } from "./generated/registrar/v1/RegistrarService";

// Milliseconds. A call may use them up over all its attempts; 100,000 devices are stored well within.
const CALL_DEADLINE = 60_000;
// A watch that lasts longer is begun anew, so that none outlives a connection lost in silence.
const WATCH_DEADLINE = 300_000;
// How long the server may be away before the watch is given up. A restart takes a few seconds.
const PATIENCE = 120_000;

const MIB = 1 << 20;
const OPTIONS: grpc.ChannelOptions = {
  "grpc.service_config": JSON.stringify({
    loadBalancingConfig: [],
    methodConfig: [
      {
        name: [{ service: "registrar.v1.RegistrarService" }],
        // Safe, because what is written here has a request id.
        retryPolicy: {
          maxAttempts: 5,
          initialBackoff: "1s",
          maxBackoff: "5s",
          backoffMultiplier: 2,
          retryableStatusCodes: ["UNAVAILABLE"],
        },
      },
    ],
  }),
  // Only what fits here is sent again. The server takes messages of 16 MiB; the default is 1 MiB.
  "grpc.per_rpc_retry_buffer_size": 17 * MIB,
  "grpc.retry_buffer_size": 64 * MIB,
  "grpc.keepalive_time_ms": 20_000,
  "grpc.keepalive_timeout_ms": 10_000,
  // The default waits up to two minutes before it connects again.
  "grpc.initial_reconnect_backoff_ms": 500,
  "grpc.max_reconnect_backoff_ms": 5_000,
};

/** Connects to a server; the messages are those that the types were generated for. */
function connect(server: string): Client {
  const definition = loadSync("registrar/v1/registrar.proto", {
    includeDirs: [join(__dirname, "../proto")],
    longs: String,
    enums: String,
    defaults: true,
    oneofs: true,
  });
  const loaded = grpc.loadPackageDefinition(definition) as unknown as ProtoGrpcType;
  return new loaded.registrar.v1.RegistrarService(server, grpc.credentials.createInsecure(), OPTIONS);
}

/** One call that answers once, as a promise and with its deadline. */
function call<T>(
  send: (options: grpc.CallOptions, done: grpc.requestCallback<T>) => unknown,
): Promise<T> {
  return new Promise((resolve, reject) => {
    send({ deadline: Date.now() + CALL_DEADLINE }, (error, answer) =>
      error ? reject(error) : resolve(answer as T),
    );
  });
}

/** The devices of a CSV with the columns device_name and nickname, without quotes. */
function read(path: string): NewDevice[] {
  const [header, ...rows] = readFileSync(path, "utf8").replace(/^\ufeff/, "").trimEnd().split(/\r?\n/);
  const columns = header.split(",");
  const [name, nickname] = [columns.indexOf("device_name"), columns.indexOf("nickname")];
  if (name < 0) throw new Error(`${path} has no column device_name`);
  return rows.map((row) => {
    const fields = row.split(",");
    return { deviceName: fields[name], nickname: fields[nickname] ?? "" };
  });
}

/** Has the devices checked, and the valid ones registered, without another call. */
async function submit(
  client: Client,
  devices: NewDevice[],
  productKey: string,
  requestId: string,
): Promise<Apply> {
  const request = { productKey, devices, afterCheck: "AFTER_CHECK_REGISTER_VALID", requestId } as const;
  const answer = await call<Submitted | undefined>((options, done) =>
    client.checkDevices(request, options, done),
  );
  return answer!.apply!;
}

/** Yields the apply at each later change until it has settled, whatever becomes of the server. */
async function* watch(client: Client, apply: Apply): AsyncGenerator<Apply> {
  let failures = 0;
  let lastSign = Date.now();
  for (;;) {
    const request = { applyId: apply.applyId, afterRevision: apply.revision };
    try {
      for await (const message of client.watchApply(request, { deadline: Date.now() + WATCH_DEADLINE })) {
        failures = 0;
        lastSign = Date.now();
        if (!message.heartbeat) {
          apply = message.apply;
          yield apply;
        }
      }
      return;
    } catch (error) {
      // The first cuts a watch off, the second ends one that is long, and both lose nothing.
      const cutOff = [grpc.status.UNAVAILABLE, grpc.status.DEADLINE_EXCEEDED];
      if (!cutOff.includes((error as grpc.ServiceError).code) || Date.now() - lastSign > PATIENCE) throw error;
      console.error(`the watch was cut off; going on after revision ${apply.revision}`);
    }
    // At random, so that not all clients of a restarted server come back in one moment.
    await sleep((0.5 + Math.random() / 2) * Math.min(5_000, 500 * 2 ** failures));
    failures += 1;
  }
}

/** Yields every device that did not make it. */
async function* missed(client: Client, applyId: string): AsyncGenerator<Device> {
  let pageToken = "";
  do {
    const outcomes = ["INVALID", "FAILED", "UNKNOWN", "CANCELLED"] as const;
    const request = { applyId, pageToken, outcomes: outcomes.map((it) => `DEVICE_OUTCOME_${it}` as const) };
    const page = (await call<Page | undefined>((options, done) =>
      client.listDevices(request, options, done),
    ))!;
    yield* page.devices;
    pageToken = page.nextPageToken;
  } while (pageToken !== "");
}

function show(apply: Apply): void {
  const { created, total } = apply.counts!;
  const status = apply.status.replace("APPLY_STATUS_", "");
  console.log(`${apply.applyId} at revision ${apply.revision}: ${status}, ${created} of ${total} created`);
}

/** Returns 0 if every device was created, and 2 if some were not. */
async function run(): Promise<number> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      server: { type: "string", default: "127.0.0.1:50051" },
      "product-key": { type: "string", default: "a1Simulator" },
      // The same id with the same file again goes on with the same apply.
      "request-id": { type: "string", default: randomUUID() },
    },
  });
  if (positionals.length !== 1) {
    throw new Error("usage: run [--server HOST:PORT] [--product-key KEY] [--request-id ID] FILE");
  }
  const devices = read(positionals[0]);
  const client = connect(values.server!);
  console.error(`submitting ${devices.length} devices with request id ${values["request-id"]}`);
  let apply = await submit(client, devices, values["product-key"]!, values["request-id"]!);
  show(apply);
  for await (apply of watch(client, apply)) show(apply);
  let code = 0;
  for await (const device of missed(client, apply.applyId)) {
    code = 2;
    const outcome = device.outcome.replace("DEVICE_OUTCOME_", "");
    console.log(`${device.deviceName}: ${outcome}, ${device.reason?.message ?? ""}`);
  }
  client.close();
  return code;
}

run().then(
  (code) => (process.exitCode = code),
  (error: Error) => {
    console.error(`error: ${error.message}`);
    process.exit(1);
  },
);
