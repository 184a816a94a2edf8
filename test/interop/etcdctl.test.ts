/** Debian's etcdctl against the embedded server, over TCP and over the Unix socket. */
import { type ChildProcessWithoutNullStreams, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  connectStore,
  getKey,
  putKey,
  type Store,
  type StoreServer,
  startStoreServer,
} from "../../src/store/index.js";

let dir: string;
let server: StoreServer;
let store: Store;
let tcp: string;
/** A path in the working directory: etcdctl 3.4 sends the path as :authority, which may not have slashes in it. */
const SOCKET = "unix://store.sock";

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), "podwire-store-"));
  server = await startStoreServer({
    dir: join(dir, "data"),
    listen: ["127.0.0.1:0", `unix:${dir}/store.sock`],
  });
  store = connectStore({ endpoints: server.endpoints });
  tcp = server.endpoints[0].replace("http://", "");
});

afterAll(async () => {
  await store.close();
  await server.close();
  rmSync(dir, { recursive: true });
});

function start(endpoint: string, args: readonly string[]): ChildProcessWithoutNullStreams {
  const env = { ...process.env, ETCDCTL_API: "3" };
  return spawn("etcdctl", [`--endpoints=${endpoint}`, ...args], { cwd: dir, env });
}

/** Runs etcdctl to its end: exit code, what it printed, and its errors. */
async function etcdctl(args: readonly string[], input = "", endpoint = tcp) {
  const child = start(endpoint, args);
  const chunks = { stdout: "", stderr: "" };
  child.stdout.on("data", (chunk) => {
    chunks.stdout += chunk;
  });
  child.stderr.on("data", (chunk) => {
    chunks.stderr += chunk;
  });
  child.stdin.end(input);
  const [code] = await once(child, "close");
  return { code, ...chunks };
}

async function printed(args: readonly string[], input = "", endpoint = tcp): Promise<string> {
  const { code, stdout, stderr } = await etcdctl(args, input, endpoint);
  expect(`${code} ${stderr}`).toBe("0 ");
  return stdout;
}

describe("etcdctl", () => {
  it.each(["tcp", "unix"])("puts, gets and deletes over %s", async (transport) => {
    const endpoint = transport === "tcp" ? tcp : SOCKET;
    const key = `${transport}/a`;
    expect(await printed(["put", key, "one"], "", endpoint)).toBe("OK\n");
    expect(await printed(["put", key, "two", "--prev-kv"], "", endpoint)).toBe(`OK\n${key}\none\n`);
    expect(await printed(["get", key], "", endpoint)).toBe(`${key}\ntwo\n`);
    expect(Buffer.from((await getKey(store, key))!.value).toString()).toBe("two");
    expect(await printed(["del", key, "--prev-kv"], "", endpoint)).toBe(`1\n${key}\ntwo\n`);
    expect(await printed(["get", key], "", endpoint)).toBe("");
  });

  it("takes an endpoint with a scheme", async () => {
    expect(await printed(["put", "scheme", "x"], "", `http://${tcp}`)).toBe("OK\n");
  });

  it("gets ranges, sorted and limited, now and in the past", async () => {
    for (const [name, value] of [
      ["c", "1"],
      ["a", "3"],
      ["b", "2"],
    ])
      await printed(["put", `range/${name}`, value]);
    const { revision } = await store.range("range/");
    await printed(["put", "range/a", "9"]);
    const names = ["get", "range/", "--prefix", "--keys-only"];
    expect((await printed(names)).split("\n").filter(Boolean)).toEqual(["range/a", "range/b", "range/c"]);
    const descending = ["--order=DESCEND", "--sort-by=CREATE", "--limit=2"];
    expect((await printed([...names, ...descending])).split("\n").filter(Boolean)).toEqual([
      "range/b",
      "range/a",
    ]);
    expect(await printed(["get", "range/a", "--rev", String(revision)])).toBe("range/a\n3\n");
    expect(await printed(["get", "range/b", "range/d"])).toBe("range/b\n2\nrange/c\n1\n");
    expect(await printed(["get", "range/b", "--from-key", "--limit=1"])).toBe("range/b\n2\n");
    const json = JSON.parse(await printed(["get", "range/a", "-w", "json"]));
    expect(json.kvs[0]).toMatchObject({ key: Buffer.from("range/a").toString("base64"), version: 2 });
    expect(json.header).toMatchObject({ raft_term: 1, revision: revision + 1 });
    expect(json.header.cluster_id).toBeGreaterThan(0);
  });

  it("runs transactions", async () => {
    await printed(["put", "txn", "old"]);
    const txn = 'value("txn") = "old"\nversion("none") = "0"\n\nput txn new\nget txn\n\nget none\n\n';
    expect(await printed(["txn"], txn)).toBe("SUCCESS\n\nOK\n\ntxn\nnew\n");
    expect(await printed(["txn"], txn)).toMatch(/^FAILURE\n/);
    const twice = await etcdctl(["txn"], "\nput a 1\nput a 2\n\n\n");
    expect(twice.code).not.toBe(0);
    expect(twice.stderr).toContain("etcdserver: duplicate key given in txn request");
  });

  it("watches", async () => {
    const revision = await putKey(store, "watch/a", Buffer.from("1"));
    const child = start(tcp, ["watch", "watch/", "--prefix", "--prev-kv", "--rev", String(revision)]);
    let output = "";
    const done = new Promise<void>((resolve) => {
      child.stdout.on("data", (chunk) => {
        output += chunk;
        if (output === "PUT\nwatch/a\n1\n") void etcdctl(["del", "watch/a"]);
        if (output.includes("DELETE")) resolve();
      });
    });
    await done;
    child.kill();
    await once(child, "close");
    expect(output).toBe("PUT\nwatch/a\n1\nDELETE\nwatch/a\n1\nwatch/a\n\n");
  });

  it("grants, renews, shows and revokes leases", async () => {
    const granted = await printed(["lease", "grant", "60"]);
    const id = /^lease ([0-9a-f]+) granted with TTL\(60s\)\n$/.exec(granted)?.[1] ?? "";
    await printed(["put", "leased", "x", `--lease=${id}`]);
    expect(await printed(["lease", "list"])).toContain(id);
    expect(await printed(["lease", "keep-alive", "--once", id])).toBe(
      `lease ${id} keepalived with TTL(60)\n`,
    );
    const shown = await printed(["lease", "timetolive", id, "--keys"]);
    expect(shown).toMatch(/granted with TTL\(60s\), remaining\((5\d|60)s\), attached keys\(\[leased\]\)/);
    expect(await printed(["lease", "revoke", id])).toBe(`lease ${id} revoked\n`);
    expect(await getKey(store, "leased")).toBeUndefined();
    const again = await etcdctl(["lease", "revoke", id]);
    expect(again.stderr).toContain("etcdserver: requested lease not found");
    expect(await printed(["lease", "timetolive", id])).toBe(`lease ${id} already expired\n`);
  });

  it("shows status, members and health", async () => {
    const [status] = JSON.parse(await printed(["endpoint", "status", "--cluster", "-w", "json"]));
    expect(status.Endpoint).toBe(tcp);
    expect(status.Status.leader).toBe(status.Status.header.member_id);
    expect(status.Status.dbSize).toBe(statSync(join(dir, "data/journal")).size);
    const members = JSON.parse(await printed(["member", "list", "-w", "json"]));
    expect(members.members).toMatchObject([{ name: "podwire", clientURLs: [tcp] }]);
    const health = await etcdctl(["endpoint", "health"]);
    expect(health.code).toBe(0);
  });

  it("compacts", async () => {
    await putKey(store, "compact", Buffer.from("1"));
    const revision = await putKey(store, "compact", Buffer.from("2"));
    expect(await printed(["compact", String(revision)])).toBe(`compacted revision ${revision}\n`);
    const past = await etcdctl(["get", "compact", "--rev", String(revision - 1)]);
    expect(past.stderr).toContain("etcdserver: mvcc: required revision has been compacted");
    const watch = await etcdctl(["watch", "compact", "--rev", "2"]);
    expect(watch.stderr).toContain("required revision has been compacted");
  });
});
