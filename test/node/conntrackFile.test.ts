import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { SNAPSHOT_WORDS } from "../../src/datapath/index.js";
import { ConntrackFile } from "../../src/node/conntrackFile.js";

const dir = mkdtempSync(join(tmpdir(), "podwire-flows-"));
const path = join(dir, "conntrack.bin");
afterAll(() => rmSync(dir, { recursive: true }));

const SNAPSHOT = {
  words: Int32Array.from({ length: 2 * SNAPSHOT_WORDS }, (_, i) => i * 0x1234567),
  labels: [["default/web:http", "default/web-1"]] as const,
};
const OWNER = "10.0.0.2 10.244.1.0/24";

describe("the connection table on disk", () => {
  it("is what was saved, with its time, readable by its owner alone", async () => {
    const file = new ConntrackFile(path, OWNER);
    expect(file.load()).toBeUndefined();
    await file.save(SNAPSHOT, 77);
    expect(file.load()).toEqual({ snapshot: SNAPSHOT, savedAtMs: 77 });
    file.saveNow({ ...SNAPSHOT, labels: [] }, 78);
    expect(file.load()).toEqual({ snapshot: { ...SNAPSHOT, labels: [] }, savedAtMs: 78 });
    expect(statSync(path).mode & 0o777).toBe(0o600);
  });

  it("of another node or subnet is not taken", async () => {
    await new ConntrackFile(path, OWNER).save(SNAPSHOT, 77);
    expect(new ConntrackFile(path, "10.0.0.2 10.244.9.0/24").load()).toBeUndefined();
  });

  it("that is damaged is not taken", async () => {
    const file = new ConntrackFile(path, OWNER);
    await file.save(SNAPSHOT, 77);
    const good = readFileSync(path);
    const damaged = [
      good.subarray(0, good.length - 1),
      good.subarray(0, 20),
      Buffer.alloc(0),
      Buffer.concat([Buffer.from('{"version":2}\n'), good]),
      Buffer.from(`{"version":1,"savedAtMs":1,"owner":"${OWNER}","labels":[1]}\n`),
      Buffer.from(`{"version":1,"savedAtMs":"1","owner":"${OWNER}","labels":[]}\n`),
    ];
    for (const bytes of damaged) {
      writeFileSync(path, bytes);
      expect(file.load()).toBeUndefined();
    }
  });
});
