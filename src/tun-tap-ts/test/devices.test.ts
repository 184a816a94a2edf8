import { execFileSync, spawnSync } from "node:child_process";
import { cpSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterEach, beforeAll, describe, expect, it } from "vitest";
import { moveToNetns, Offload, openTap, openUdp, PacketIo, TunTapError } from "../src/index.js";
import { ip, Lab, nsPath, PACKAGE_ROOT } from "./lab.js";

const lab = new Lab();
afterEach(() => lab.cleanUp());

function errorOf(action: () => unknown): TunTapError {
  try {
    action();
  } catch (error) {
    expect(error).toBeInstanceOf(TunTapError);
    return error as TunTapError;
  }
  throw new Error("expected a TunTapError");
}

describe("devices", () => {
  it("creates a TAP inside a namespace and leaves that of the process alone", () => {
    const { tap, ns } = lab.host("10.77.0.1/24");
    expect(tap.fd).toBeGreaterThan(2);
    expect(tap).toMatchObject({ name: "eth0", mode: "tap", vnetHdr: false, offloads: 0 });
    expect(ip("-n", ns, "-d", "link", "show", "eth0")).toContain("tun type tap pi off vnet_hdr off");
    tap.close();
    expect(ip("-n", ns, "link")).not.toContain("eth0");
    expect(tap.fd).toBe(-1);
    tap.close();
  });

  it("creates a TUN with a name of the kernel's choice and grants offloads", () => {
    const ns = lab.netns();
    const tun = openTap({ mode: "tun", name: "pw%d", netns: nsPath(ns), vnetHdr: true });
    lab.later(() => tun.close());
    expect(tun.name).toBe("pw0");
    expect(tun.offloads & (Offload.csum | Offload.tso4)).toBe(Offload.csum | Offload.tso4);
    expect(ip("-n", ns, "-d", "link", "show", "pw0")).toContain("tun type tun pi off vnet_hdr on");
    const without = openTap({ netns: nsPath(ns), vnetHdr: true, offloads: false });
    lab.later(() => without.close());
    expect(without.offloads).toBe(0);
  });

  it("keeps a persistent device and attaches to it again, with other features", () => {
    const ns = lab.netns();
    const first = openTap({ name: "keep0", netns: nsPath(ns), persist: true });
    const index = ip("-n", ns, "-o", "link", "show", "keep0").split(":")[0];
    first.close();
    const second = openTap({ name: "keep0", netns: nsPath(ns), vnetHdr: true });
    expect(ip("-n", ns, "-o", "link", "show", "keep0").split(":")[0]).toBe(index);
    expect(second.offloads & Offload.csum).toBe(Offload.csum);
    expect(errorOf(() => openTap({ name: "keep0", netns: nsPath(ns) })).message).toContain(
      "another process holds",
    );
    second.setPersist(false);
    second.close();
    expect(ip("-n", ns, "link")).not.toContain("keep0");
  });

  it("moves a device and keeps its descriptor", () => {
    const ns = lab.netns();
    const tap = openTap({ name: `mv${process.pid % 100000}` });
    lab.later(() => tap.close());
    moveToNetns(tap.name, nsPath(ns));
    expect(ip("-n", ns, "link")).toContain(tap.name);
    expect(ip("link")).not.toContain(tap.name);
    tap.setPersist(false);
    expect(errorOf(() => moveToNetns(tap.name, nsPath(ns))).message).toContain("there is no such interface");
  });
});

describe("error sentences", () => {
  it.each([
    ["a missing namespace", () => openTap({ netns: "/run/netns/ttt-none" }), "ENOENT", "ip netns add"],
    ["a file that is none", () => openTap({ netns: "/dev/null" }), "EINVAL", "is not a network namespace"],
    ["a name that is too long", () => openTap({ name: "a".repeat(16) }), "EINVAL", "1 to 15 bytes"],
    ["a name of another device", () => openTap({ name: "lo" }), "EINVAL", "not of the same kind"],
    ["moving to nowhere", () => moveToNetns("lo", "/run/netns/ttt-none"), "ENOENT", "ip netns add"],
    ["a name for an address", () => openUdp({ address: "localhost", port: 0 }), "EINVAL", "IPv4 address"],
    [
      "a foreign address",
      () => openUdp({ address: "203.0.113.9", port: 0 }),
      "EADDRNOTAVAIL",
      "no interface",
    ],
    ["a port out of range", () => openUdp({ address: "127.0.0.1", port: 70000 }), "EINVAL", "0 to 65535"],
  ])("%s", (_, action, code, text) => {
    const error = errorOf(action);
    expect(error.code).toBe(code);
    expect(error.message).toMatch(/^cannot [^\n]+$/);
    expect(error.message).toContain(text);
  });

  it("a taken UDP port, a closed socket, a port added twice, sizes out of range", () => {
    const udp = openUdp({ address: "127.0.0.1", port: 0 });
    lab.later(() => udp.close());
    expect(errorOf(() => openUdp({ address: "127.0.0.1", port: udp.port })).message).toContain(
      "another socket",
    );
    const io = new PacketIo({ onBatch: () => 0, onPortError: () => undefined });
    lab.later(() => io.close());
    io.addUdp(udp);
    expect(errorOf(() => io.addUdp(udp)).message).toContain("already");
    udp.close();
    expect(errorOf(() => io.addUdp(udp)).message).toContain("it is closed");
    const tooSmall = () => new PacketIo({ onBatch: () => 0, onPortError: () => undefined, rxBytes: 4096 });
    expect(errorOf(tooSmall).message).toContain("rxBytes must be an integer from");
    io.close();
    const again = openUdp({ address: "127.0.0.1", port: 0 });
    lab.later(() => again.close());
    expect(errorOf(() => io.addUdp(again)).message).toContain("the PacketIo is closed");
  });

  it("no privilege", () => {
    process.seteuid!(65534);
    try {
      const error = errorOf(() => openTap());
      expect(["EPERM", "EACCES"]).toContain(error.code);
      expect(error.message).toContain("run as root or with CAP_NET_ADMIN");
    } finally {
      process.seteuid!(0);
    }
  });
});

describe("error sentences of a fresh process", () => {
  const OPEN = `import(process.argv[1]).then((m) => m.openTap()).catch((e) => console.log(e.code, e.message))`;
  beforeAll(() => {
    const tsc = createRequire(import.meta.url).resolve("typescript/bin/tsc");
    execFileSync(process.execPath, [tsc, "-b"], { cwd: PACKAGE_ROOT });
  });

  it("no /dev/net/tun", () => {
    const script = 'mount -t tmpfs none /dev/net && exec "$@"';
    const entry = join(PACKAGE_ROOT, "dist/index.js");
    const args = ["-m", "sh", "-c", script, "sh", process.execPath, "-e", OPEN, entry];
    const { stdout } = spawnSync("unshare", args, { encoding: "utf8" });
    expect(stdout).toContain("ENOENT");
    expect(stdout).toContain("modprobe tun");
  });

  it("no addon", () => {
    const copy = mkdtempSync(join(tmpdir(), "tun-tap-ts-"));
    lab.later(() => rmSync(copy, { recursive: true }));
    cpSync(join(PACKAGE_ROOT, "dist"), join(copy, "dist"), { recursive: true });
    writeFileSync(join(copy, "package.json"), '{"type":"module"}');
    const loader = createRequire(import.meta.url).resolve("node-gyp-build");
    symlinkSync(dirname(dirname(loader)), join(copy, "node_modules"));
    const args = ["-e", OPEN, join(copy, "dist/index.js")];
    const { stdout } = spawnSync(process.execPath, args, { encoding: "utf8" });
    expect(stdout).toContain("ADDON_MISSING");
    expect(stdout).toContain("install g++, make and python3");
  });
});
