import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { parseSubnetEnv, readSubnetEnv } from "../../src/overlay/index.js";
import { networkOf } from "../../src/overlay/subnet.js";
import { formatSubnetEnv, writeSubnetEnv } from "../../src/overlay/subnet-env.js";

const env = {
  network: { address: 0xac100000, length: 16 },
  subnet: { address: 0xac103500, length: 24 },
  mtuBytes: 1472,
  ipMasq: false,
};
const text =
  "FLANNEL_NETWORK=172.16.0.0/16\nFLANNEL_SUBNET=172.16.53.1/24\nFLANNEL_MTU=1472\nFLANNEL_IPMASQ=false\n";

describe("subnet.env", () => {
  let directory: string;
  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), "podwire-subnet-env-"));
  });
  afterEach(() => rm(directory, { recursive: true }));

  it("is what flannel writes", () => expect(formatSubnetEnv(env)).toBe(text));

  it("round-trips", () => {
    const prefix = (min: number, max: number) =>
      fc
        .tuple(fc.integer({ min: 0, max: 0xffffffff }), fc.integer({ min, max }))
        .map(([a, l]) => networkOf(a, l));
    const any = fc.record({
      network: prefix(8, 28),
      subnet: prefix(10, 30),
      mtuBytes: fc.integer({ min: 548, max: 65507 }),
      ipMasq: fc.boolean(),
    });
    fc.assert(
      fc.property(any, (value) => {
        expect(parseSubnetEnv(formatSubnetEnv(value))).toEqual(value);
      }),
    );
  });

  it.each([
    ["nothing", ""],
    ["no subnet", text.replace(/FLANNEL_SUBNET.*\n/, "")],
    ["no network", text.replace(/FLANNEL_NETWORK.*\n/, "")],
    ["a subnet without a length", text.replace("172.16.53.1/24", "172.16.53.1")],
    ["a length that is too long", text.replace("172.16.53.1/24", "172.16.53.1/240")],
    ["an MTU that is no number", text.replace("1472", "x")],
    ["half a file", text.slice(0, 40)],
  ])("with %s is no previous subnet", (_what, damaged) => expect(parseSubnetEnv(damaged)).toBeUndefined());

  it("is written whole, into a directory made for it, and read back", async () => {
    const path = join(directory, "run", "flannel", "subnet.env");
    await writeSubnetEnv(path, { ...env, mtuBytes: 1400 });
    await writeSubnetEnv(path, env);
    expect(await readFile(path, "utf8")).toBe(text);
    expect(await readSubnetEnv(path)).toEqual(env);
    expect(await readdir(join(directory, "run", "flannel"))).toEqual(["subnet.env"]);
  });

  it("may be missing or damaged", async () => {
    expect(await readSubnetEnv(join(directory, "subnet.env"))).toBeUndefined();
    await writeFile(join(directory, "subnet.env"), "\0\0\0");
    expect(await readSubnetEnv(join(directory, "subnet.env"))).toBeUndefined();
  });
});
