/** Sandboxes with real TAPs: made, taken up again by a later process, and removed with everything in them. */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { netnsExists, netnsPids, processStartTime, readOwned } from "../../src/node/owned.js";
import {
  type PodAttacher,
  podMac,
  type SandboxRecord,
  type SandboxStore,
} from "../../src/node/pods/sandbox.js";
import { run } from "../../src/node/run.js";
import { eventually } from "./lab.js";
import { NETWORK, PodLab, TapAttacher, within } from "./pod-lab.js";

let lab: PodLab;
let count = 2;
beforeAll(() => {
  lab = new PodLab();
});
afterAll(() => lab.close());

function newRecord(): SandboxRecord {
  const ip = `172.16.53.${count++}`;
  return {
    uid: `uid-${count}`,
    namespace: "default",
    name: `pod-${count}`,
    netns: lab.netnsName(),
    ip,
    mac: podMac(ip),
  };
}

interface Link {
  readonly address: string;
  readonly mtu: number;
  readonly flags: readonly string[];
  readonly addr_info: readonly {
    readonly family: string;
    readonly local: string;
    readonly prefixlen: number;
  }[];
}

async function eth0(netns: string): Promise<Link> {
  const [link] = JSON.parse(await run("ip", ["-n", netns, "-j", "addr", "show", "dev", "eth0"])) as Link[];
  return link ?? expect.fail("no eth0");
}

async function expectWhole(record: SandboxRecord): Promise<void> {
  const link = await eth0(record.netns);
  expect(link).toMatchObject({ address: record.mac, mtu: NETWORK.mtuBytes });
  expect(link.flags).toContain("UP");
  expect(link.addr_info).toMatchObject([
    { family: "inet", local: record.ip, prefixlen: NETWORK.prefixLength },
  ]);
  const routes = await run("ip", ["-n", record.netns, "route", "show", "default"]);
  expect(routes.trim()).toBe(`default via ${NETWORK.gateway} dev eth0`);
  expect((await within(record.netns, ["ping", "-c1", "-W1", "127.0.0.1"])).code).toBe(0);
}

function expectNothing(sandboxes: SandboxStore, record: SandboxRecord): void {
  expect(netnsExists(record.netns)).toBe(false);
  expect(existsSync(sandboxes.podDir(record.uid))).toBe(false);
  expect(sandboxes.list()).not.toContainEqual(record);
}

describe("a sandbox", () => {
  it("has its link, address, gateway and loopback, is in the journal, and goes without a trace", async () => {
    const attacher = lab.attacher();
    const sandboxes = lab.sandboxes(attacher);
    const record = newRecord();
    await sandboxes.create(record, NETWORK);
    await expectWhole(record);
    expect(sandboxes.list()).toContainEqual(record);
    expect(readOwned(lab.journalPath)).toContainEqual({ kind: "netns", name: record.netns });
    await sandboxes.remove(record);
    expectNothing(sandboxes, record);
    expect(attacher.taps.size).toBe(0);
    await sandboxes.remove(record);
  });

  it("is journaled before anything is made", async () => {
    const journaled: boolean[] = [];
    const record = newRecord();
    const peek: PodAttacher = {
      attach: () => void journaled.push(readOwned(lab.journalPath).some(({ name }) => name === record.netns)),
      detach: () => {},
    };
    // No device is opened, so that the sandbox cannot be finished.
    await expect(lab.sandboxes(peek).create(record, NETWORK)).rejects.toThrow(/eth0/);
    expect(journaled).toEqual([true]);
  });

  it("that fails leaves nothing, and says why", async () => {
    const record = newRecord();
    const refuse: PodAttacher = {
      attach: () => {
        throw new Error("no more TAPs");
      },
      detach: () => {},
    };
    const sandboxes = lab.sandboxes(refuse);
    await expect(sandboxes.create(record, NETWORK)).rejects.toThrow("no more TAPs");
    expectNothing(sandboxes, record);
  });

  it("is taken up by a later process with its link as it was", async () => {
    const record = newRecord();
    const attacher = lab.attacher();
    await lab.sandboxes(attacher).create(record, NETWORK);
    attacher.close();
    const later = new TapAttacher();
    const sandboxes = lab.sandboxes(later);
    expect(sandboxes.list()).toContainEqual(record);
    expect(sandboxes.adopt(record)).toBe(true);
    await expectWhole(record);
    expect((await eth0(record.netns)).flags).toContain("LOWER_UP");
    await sandboxes.remove(record);
    expectNothing(sandboxes, record);
  });

  it("is not taken up when its namespace is gone or it was never finished", async () => {
    const attacher = lab.attacher();
    const sandboxes = lab.sandboxes(attacher);
    const lost = newRecord();
    await sandboxes.create(lost, NETWORK);
    attacher.close();
    await run("ip", ["netns", "del", lost.netns]);
    expect(sandboxes.adopt(lost)).toBe(false);
    await sandboxes.remove(lost);
    expectNothing(sandboxes, lost);

    // As a process leaves it that is killed between the namespace and its link.
    const half = newRecord();
    mkdirSync(sandboxes.podDir(half.uid));
    writeFileSync(join(sandboxes.podDir(half.uid), "sandbox.json"), JSON.stringify(half));
    await run("ip", ["netns", "add", half.netns]);
    expect(sandboxes.list()).toContainEqual(half);
    expect(sandboxes.adopt(half)).toBe(false);
    expect(attacher.taps.size).toBe(0);
    await sandboxes.remove(half);
    expectNothing(sandboxes, half);
  });

  it("whose record is torn was never made", () => {
    const sandboxes = lab.sandboxes();
    mkdirSync(sandboxes.podDir("torn"));
    writeFileSync(join(sandboxes.podDir("torn"), "sandbox.json"), '{"uid":"to');
    expect(sandboxes.list().map(({ uid }) => uid)).not.toContain("torn");
    expect(existsSync(sandboxes.podDir("torn"))).toBe(false);
  });

  it("takes all its processes with it: children that left, that ignore SIGTERM, and that go on forking", async () => {
    const sandboxes = lab.sandboxes();
    const record = newRecord();
    await sandboxes.create(record, NETWORK);
    const pids = join(lab.dir, "pids");
    const script = join(lab.dir, "stubborn");
    writeFileSync(script, 'trap "" TERM\necho $$ >>"$1"\nwhile :; do sleep "$2"; done\n');
    const start = (...words: string[]) =>
      within(record.netns, ["sh", "-c", '"$@" >/dev/null 2>&1 </dev/null &', "sh", ...words]);
    await start("setsid", "sh", script, pids, "300");
    await start("sh", script, pids, "300");
    await start("sh", script, pids, "0.01");
    const read = async () => (existsSync(pids) ? readFileSync(pids, "utf8").trim().split("\n") : []);
    const started = await eventually("three processes", read, (lines) => lines.length === 3);
    expect(await netnsPids(record.netns)).toEqual(expect.arrayContaining(started.map(Number)));
    await sandboxes.remove(record);
    expect(started.map((pid) => processStartTime(Number(pid)))).toEqual([undefined, undefined, undefined]);
  });
});
