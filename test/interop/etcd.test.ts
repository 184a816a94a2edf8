/** The client against Debian's etcd: the suite that our own stores pass, and a restart of the server. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it, onTestFinished } from "vitest";
import { connectStore, getKey, putKey } from "../../src/store/index.js";
import { storeCompliance } from "../store/compliance.js";

interface Etcd {
  readonly endpoint: string;
  stop(): Promise<void>;
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  server.close();
  await once(server, "close");
  if (address === null || typeof address === "string") throw new Error("no port");
  return address.port;
}

function run(dir: string, port: number, peerPort: number): ChildProcess {
  const client = `http://127.0.0.1:${port}`;
  const peer = `http://127.0.0.1:${peerPort}`;
  const args = [
    "--data-dir",
    dir,
    "--log-level",
    "error",
    "--name",
    "test",
    "--initial-cluster",
    `test=${peer}`,
  ];
  args.push("--listen-client-urls", client, "--advertise-client-urls", client);
  args.push("--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer);
  return spawn("etcd", args, { stdio: "ignore" });
}

async function kill(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exit = once(child, "exit");
  child.kill("SIGKILL");
  await exit;
}

async function startEtcd(dir: string, port?: number): Promise<Etcd & { readonly port: number }> {
  const listen = port ?? (await freePort());
  const child = run(dir, listen, await freePort());
  return { endpoint: `http://127.0.0.1:${listen}`, port: listen, stop: () => kill(child) };
}

storeCompliance("Debian's etcd", async () => {
  const dir = mkdtempSync(join(tmpdir(), "podwire-etcd-"));
  const etcd = await startEtcd(dir);
  // Its first call waits until etcd is up.
  const store = connectStore({ endpoints: [etcd.endpoint], timeoutMs: 30_000 });
  await store.range("ready");
  const close = async () => {
    await store.close();
    await etcd.stop();
    rmSync(dir, { recursive: true });
  };
  return { store, close };
});

describe("a restart of etcd", () => {
  it("does not lose a watch's place", async () => {
    const dir = mkdtempSync(join(tmpdir(), "podwire-etcd-"));
    const first = await startEtcd(dir);
    const store = connectStore({ endpoints: [first.endpoint], timeoutMs: 30_000 });
    let last: Etcd = first;
    onTestFinished(async () => {
      await store.close();
      await last.stop();
      rmSync(dir, { recursive: true });
    });
    await putKey(store, "a", Buffer.from("0"));
    const seen: string[] = [];
    for await (const { events } of store.watch("a", { fromRevision: 2 })) {
      seen.push(...events.map(({ kv }) => Buffer.from(kv.value).toString()));
      if (seen.length === 1) {
        await first.stop();
        last = await startEtcd(dir, first.port);
        expect(Buffer.from((await getKey(store, "a"))!.value).toString()).toBe("0");
        await putKey(store, "a", Buffer.from("1"));
      }
      if (seen.length === 2) break;
    }
    expect(seen).toEqual(["0", "1"]);
  });
});
