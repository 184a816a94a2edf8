import { type ChildProcess, spawn } from "node:child_process";
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { eventually, exec, type Output, ROOT, TestLab } from "./lab.js";

/** What is wrong is said in one sentence with its place, and nothing is made. */
const lab = new TestLab("bad");
const dir = mkdtempSync(join(tmpdir(), "podwire-bad-"));

afterEach(async () => {
  const left = existsSync(lab.runDir);
  await lab.podwire("down", "--all");
  expect({ left }).toEqual({ left: false });
});
afterAll(async () => {
  rmSync(dir, { recursive: true });
  await exec(["ip", "netns", "del", lab.netns]);
});

function write(name: string, text: string): string {
  writeFileSync(join(dir, name), text);
  return name;
}

/** `podwire up` from the folder of the files, so that messages name them as the user does. */
function up(file: string, ...more: string[]): Promise<Output> {
  const cli = [process.execPath, `${ROOT}/dist/cli/main.js`, "up", file, "--netns", lab.netns, "--detach"];
  return exec(["env", "-C", dir, ...cli, ...more], { env: lab.env });
}

/** The sentences of the error, without what `up` told of its progress before. */
const errorOf = ({ stderr }: Output): string => stderr.slice(stderr.indexOf("error: "));

const SERVICES = `
  - { apiVersion: v1, kind: Service, metadata: { name: a }, spec: { type: NodePort, ports: [{ port: 1, nodePort: 30001 }] } }
  - { apiVersion: v1, kind: Service, metadata: { name: b }, spec: { type: NodePort, ports: [{ port: 1, nodePort: 30001 }] } }
`;
const POD =
  "{ apiVersion: v1, kind: Pod, metadata: { name: x }, spec: { containers: [{ name: x, image: nginx }] } }";

describe("a topology that is wrong", () => {
  it.each<[what: string, text: string, error: RegExp]>([
    ["a wrong type", "name: bad\nnodes: two\n", /^2:8: nodes: expected a list, found "two"$/],
    [
      "an unknown field",
      "name: bad\nnodes: 2\nnetwork:\n  pods: { subnetlen: 24 }\n",
      /^4:11: network\.pods\.subnetlen: unknown field; did you mean "subnetLen"\?$/,
    ],
    [
      "a duplicate name",
      "name: bad\nnodes:\n  - { name: a }\n  - { name: a }\n",
      /^4:\d+: nodes\[1\]\.name: a is already taken by nodes\[0\]; choose another$/,
    ],
    [
      "overlapping networks",
      "name: bad\nnodes: 2\nnetwork:\n  services: 10.244.128.0/17\n",
      /^4:\d+: network\.services: 10\.244\.128\.0\/17 overlaps the pod network 10\.244\.0\.0\/16; choose another network$/,
    ],
    [
      "a node port twice",
      `name: bad\nnodes: 1\nmanifests:${SERVICES}`,
      /^5:\d+: manifests\[1\]\.spec\.ports\[0\]\.nodePort: nodePort 30001\/TCP is already taken at .*bad\.yaml:4; /,
    ],
    [
      "an image that is missing",
      `name: bad\nnodes: 1\nmanifests:\n  - ${POD}\n`,
      /^4:\d+: manifests\[0\]\.spec\.containers\[0\]\.image: image "nginx" is neither built in /,
    ],
    [
      "an unknown kind",
      "name: bad\nnodes: 1\nmanifests:\n  - { apiVersion: v1, kind: Secret, metadata: { name: x } }\n",
      /^4:29: manifests\[0\]\.kind: unknown kind "Secret"; supported are Namespace, Pod, /,
    ],
    ["malformed YAML", "name: bad\nnodes: 2\n  more: [\n", /^2:8: malformed YAML: /],
    [
      "a manifest file that is missing",
      "name: bad\nnodes: 1\nmanifests:\n  - file: none.yaml\n",
      /^4:11: manifests\[0\]\.file: none\.yaml: no such file; check the path$/,
    ],
  ])("%s", async (_what, text, error) => {
    const result = await up(write("bad.yaml", text));
    expect(result).toMatchObject({ code: 2, stdout: "" });
    const [line, ...more] = result.stderr.trimEnd().split("\n");
    expect(more).toEqual([]);
    expect(line).toMatch(/^error: bad\.yaml:/);
    expect(line?.slice("error: bad.yaml:".length)).toMatch(error);
    expect(existsSync(`/run/netns/${lab.netns}`)).toBe(false);
  });

  it("a file that is missing", async () => {
    expect(await up("none.yaml")).toEqual({
      code: 2,
      stdout: "",
      stderr: "error: none.yaml:1:1: no such file; check the path\n",
    });
  });

  it("several mistakes at once, in a manifest of its own too", async () => {
    write(
      "web.yaml",
      "apiVersion: v1\nkind: Service\nmetadata: { name: web }\nspec: { ports: [{ prot: 80 }] }\n",
    );
    const result = await up(
      write("bad.yaml", "name: bad\nnodes: 1\nnetz: {}\nmanifests: [{ file: web.yaml }]\n"),
    );
    expect(result.code).toBe(2);
    expect(result.stderr).toMatch(
      /^error: bad\.yaml:3:1: netz: .*\nweb\.yaml:4:\d+: spec\.ports\[0\]\.port: missing; .*\nweb\.yaml:4:\d+: spec\.ports\[0\]\.prot: unknown field; /,
    );
  });
});

describe("a host side that is in the way", () => {
  const TINY = "name: tiny\nnodes: 1\nnetwork:\n  pods: { network: 10.199.0.0/16 }\n";

  beforeAll(async () => {
    await exec(["ip", "netns", "add", lab.netns]);
    await exec(["ip", "-n", lab.netns, "link", "set", "lo", "up"]);
  });

  it("a route that one of the networks overlaps", async () => {
    const route = ["10.199.5.0/24", "dev", "lo"];
    await exec(["ip", "-n", lab.netns, "route", "add", ...route]);
    const result = await up(write("tiny.yaml", TINY));
    await exec(["ip", "-n", lab.netns, "route", "del", ...route]);
    expect(result.code).toBe(2);
    expect(errorOf(result)).toBe(
      "error: tiny.yaml:4:20: network.pods.network: 10.199.0.0/16 overlaps this host's route 10.199.5.0/24 dev lo; choose another network, or use --netns\n",
    );
  });

  it("a route of IPv6 that one of the networks overlaps", async () => {
    const networks =
      "nodesIPv6: fd00:10::/64, pods: { networkIPv6: 'fd00:10:244::/56' }, servicesIPv6: 'fd00:10:96::/112'";
    const route = ["-6", "-n", lab.netns, "route", "add", "fd00:10:96::/64", "dev", "lo"];
    await exec(["ip", ...route]);
    const result = await up(write("tiny.yaml", `name: tiny\nnodes: 1\nnetwork: { ${networks} }\n`));
    await exec(["ip", ...route.with(4, "del")]);
    expect(result.code).toBe(2);
    expect(errorOf(result)).toMatch(
      /^error: tiny\.yaml:3:\d+: network\.servicesIPv6: fd00:10:96::\/112 overlaps this host's route fd00:10:96::\/64 dev lo; choose another network, or use --netns\n$/,
    );
  });

  /** A program on the lab's host side that holds a port while `act` runs. */
  async function holding<T>(socat: string, shows: RegExp, act: () => Promise<T>): Promise<T> {
    const words = [`--net=/run/netns/${lab.netns}`, "--", "socat", "-u", socat, "STDOUT"];
    const child: ChildProcess = spawn("nsenter", words, { stdio: "ignore" });
    try {
      const sockets = () => lab.host("ss", "-Hnlut");
      await eventually("the port is held", sockets, ({ stdout }) => shows.test(stdout));
      return await act();
    } finally {
      child.kill("SIGKILL");
    }
  }

  it("the overlay's UDP port is taken", async () => {
    const result = await holding("UDP4-RECV:8285", /:8285 /, () => up(write("tiny.yaml", TINY)));
    expect(result.code).toBe(1);
    expect(errorOf(result)).toMatch(/^error: node node-1 cannot run: .*127\.\d+\.\d+\.\d+:8285.*\n$/);
  });

  it.each([[["--store-listen", "127.0.0.1:2379"]], [["--api-port", "2379"]]])(
    "the port of %j is taken",
    async (options) => {
      const listen = "TCP4-LISTEN:2379,fork,reuseaddr";
      const result = await holding(listen, /:2379 /, () => up(write("tiny.yaml", TINY), ...options));
      expect(result.code).toBe(1);
      expect(errorOf(result)).toMatch(/^error: .*127\.0\.0\.1:2379.*\n$/);
    },
  );

  it("no etcd answers", async () => {
    const result = await up(write("tiny.yaml", TINY), "--store", "http://127.0.0.1:2379");
    expect(result.code).toBe(1);
    expect(errorOf(result)).toMatch(/^error: .*127\.0\.0\.1:2379.*\n$/);
  });
});
