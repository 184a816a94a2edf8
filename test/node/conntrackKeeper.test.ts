/** What one node process leaves to the next, through a real file. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, it } from "vitest";
import { readSysctl, writeSysctls } from "../../src/datapath/index.js";
import { ConntrackFile } from "../../src/node/conntrackFile.js";
import { keepConntrack } from "../../src/node/conntrackKeeper.js";
import * as h from "../datapath/harness.js";

const dir = mkdtempSync(join(tmpdir(), "podwire-keep-"));
const path = join(dir, "conntrack.bin");
afterAll(() => rmSync(dir, { recursive: true }));

const UDP = "net.netfilter.nf_conntrack_udp_timeout";
const MAX = "net.netfilter.nf_conntrack_max";

/** A node process; its words are collected. */
function start(options: h.HarnessOptions = {}) {
  const node = new h.Harness(options);
  const words: string[] = [];
  node.datapath.conntrack.setTime(node.nowMs);
  const file = new ConntrackFile(path, "owner");
  const stop = keepConntrack(node.datapath, file, (level, message) => words.push(`${level} ${message}`));
  return { node, words, stop };
}

it("the next process has the connections and what was set, but what was configured is its own", () => {
  const first = start();
  first.node.inject(h.Id.podA, h.udp({ src: h.POD_A, dst: h.REMOTE_POD, sport: 1, dport: 2 }));
  writeSysctls(first.node.datapath.conntrack, { [UDP]: "7" });
  first.stop();
  const second = start({ conntrackTimeouts: { icmp: 5 } });
  expect(second.words).toEqual(["info 1 open connections go on"]);
  expect(readSysctl(second.node.datapath.conntrack, UDP)).toBe(7);
  expect(readSysctl(second.node.datapath.conntrack, "net.netfilter.nf_conntrack_icmp_timeout")).toBe(5);
  second.stop();
  const third = start();
  expect(readSysctl(third.node.datapath.conntrack, UDP)).toBe(7);
  third.stop();
});

it("a setting that the next process cannot hold is left out with a word", () => {
  const first = start();
  writeSysctls(first.node.datapath.conntrack, { [MAX]: "1000" });
  first.stop();
  const second = start({ conntrackMax: 10 });
  expect(second.words).toEqual([
    `warn a setting of the process before does not hold any more: ${MAX}=1000: give a whole number, 1 to 10`,
    "info 1 open connections go on",
  ]);
  second.stop();
});

it("a table that cannot be saved is said", () => {
  const { words, stop } = start();
  rmSync(dir, { recursive: true });
  writeFileSync(dir, "");
  stop();
  expect(words[words.length - 1]).toMatch(/^warn connections are not saved: ENOTDIR/);
});
