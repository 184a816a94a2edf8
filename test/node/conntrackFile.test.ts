import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { SNAPSHOT_ADDRESS_BYTES, SNAPSHOT_WORDS } from "../../src/datapath/index.js";
import { ConntrackFile } from "../../src/node/conntrackFile.js";

const dir = mkdtempSync(join(tmpdir(), "podwire-flows-"));
const path = join(dir, "conntrack.bin");
afterAll(() => rmSync(dir, { recursive: true }));

const slice = (connections: number, ipv6: number) => ({
  words: Int32Array.from({ length: connections * SNAPSHOT_WORDS }, (_, i) => i * 0x1234567),
  addresses: Uint8Array.from({ length: ipv6 * SNAPSHOT_ADDRESS_BYTES }, (_, i) => i * 7),
  labels: [["default/web:http", "default/web-1"]] as const,
});
const SAVED = { slices: [slice(2, 1), slice(3, 0)], settings: { "net.x": "7" }, savedAtMs: 77 };
const OWNER = "10.0.0.2 10.244.1.0/24";

const HEAD = `{"version":2,"savedAtMs":1,"owner":"${OWNER}","settings":{}}\n`;

describe("the connection table on disk", () => {
  it("is what was saved, with its time and settings, readable by its owner alone", async () => {
    const file = new ConntrackFile(path, OWNER);
    expect(file.load()).toBeUndefined();
    await file.save(SAVED);
    expect(file.load()).toEqual(SAVED);
    const empty = { slices: [], settings: {}, savedAtMs: 78 };
    file.saveLast(empty);
    expect(file.load()).toEqual(empty);
    expect(statSync(path).mode & 0o777).toBe(0o600);
  });

  it("is the last, though another is still being written", async () => {
    const file = new ConntrackFile(path, OWNER);
    const slow = file.save({ ...SAVED, slices: Array.from({ length: 50 }, () => slice(100, 0)) });
    file.saveLast(SAVED);
    await slow;
    expect(file.load()).toEqual(SAVED);
  });

  it("of another node or subnet is not taken", async () => {
    await new ConntrackFile(path, OWNER).save(SAVED);
    expect(new ConntrackFile(path, "10.0.0.2 10.244.9.0/24").load()).toBeUndefined();
  });

  it("that is damaged is not taken", async () => {
    const file = new ConntrackFile(path, OWNER);
    await file.save(SAVED);
    const good = readFileSync(path);
    const damaged = [
      good.subarray(0, good.length - 1),
      good.subarray(0, 20),
      Buffer.alloc(0),
      Buffer.concat([good, Buffer.from("x")]),
      Buffer.concat([Buffer.from('{"version":1}\n'), good]),
      Buffer.from(`{"version":1,"savedAtMs":1,"owner":"${OWNER}","settings":{}}\n{"end":true}\n`),
      Buffer.from(`{"version":2,"savedAtMs":"1","owner":"${OWNER}","settings":{}}\n{"end":true}\n`),
      Buffer.from(`{"version":2,"savedAtMs":1,"owner":"${OWNER}","settings":{"a":1}}\n{"end":true}\n`),
      Buffer.from(`${HEAD}{"connections":0,"ipv6":0,"labels":[1]}\n{"end":true}\n`),
      Buffer.from(`${HEAD}{"connections":1e9,"ipv6":0,"labels":[]}\n{"end":true}\n`),
      Buffer.from(`${HEAD}{"connections":0,"ipv6":1,"labels":[]}\n{"end":true}\n`),
      Buffer.from(`${HEAD}null\n{"end":true}\n`),
    ];
    for (const bytes of damaged) {
      writeFileSync(path, bytes);
      expect(file.load()).toBeUndefined();
    }
  });
});
