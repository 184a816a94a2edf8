/** Containers as real processes in namespaces of the test's own: how they start, end, and outlive their keeper. */
import { existsSync, readFileSync, utimesSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { kill, processStartTime } from "../../src/node/owned.js";
import { type ContainerExit, ContainerProcess, type ContainerSpec } from "../../src/node/pods/container.js";
import { eventually } from "./lab.js";
import { PodLab, parentOf } from "./pod-lab.js";

const PATH = process.env.PATH ?? "";
let lab: PodLab;
let netns: string;
let count = 0;

beforeAll(async () => {
  lab = new PodLab();
  netns = await lab.netns();
});
afterAll(() => lab.close());

function spec(command: readonly string[], more: Partial<ContainerSpec> = {}): ContainerSpec {
  return {
    dir: join(lab.dir, `c${count++}`),
    netns,
    hostname: "web-0",
    command,
    env: { PATH },
    cwd: "/",
    ...more,
  };
}

const ended = (container: ContainerProcess): Promise<ContainerExit> =>
  new Promise((resolve) => container.observe(resolve));

async function runToEnd(wanted: ContainerSpec): Promise<{ exit: ContainerExit; log: string }> {
  const exit = await ended(await ContainerProcess.start(wanted));
  return { exit, log: readFileSync(join(wanted.dir, "log"), "utf8") };
}

const gone = (pid: number) =>
  eventually(
    `end of ${pid}`,
    async () => processStartTime(pid),
    (time) => time === undefined,
  );

describe("a container", () => {
  it("ends with its command's exit code, and both its outputs are its log", async () => {
    const before = Date.now();
    const { exit, log } = await runToEnd(spec(["sh", "-c", "echo out; echo err >&2; exit 3"]));
    expect(exit).toEqual({ exitCode: 3, finishedAtMs: expect.any(Number) });
    expect(exit.finishedAtMs).toBeGreaterThanOrEqual(before - 10);
    expect(log).toBe("out\nerr\n");
  });

  it("is noticed however quickly it ends, once", async () => {
    const exits: ContainerExit[] = [];
    for (let round = 0; round < 10; round++) {
      const wanted = spec(["true"]);
      const container = await ContainerProcess.start(wanted);
      await new Promise<void>((resolve) => container.observe((exit) => resolve(void exits.push(exit))));
      // What used to wake the watch does not tell it again.
      utimesSync(join(wanted.dir, "exit"), 0, 0);
    }
    expect(exits.map(({ exitCode }) => exitCode)).toEqual(Array(10).fill(0));
  });

  it.each([
    ["SIGTERM", 15],
    ["SIGINT", 2],
    ["SIGQUIT", 3],
    ["SIGKILL", 9],
  ] as const)("is ended by %s, and its log is its own", async (name, signal) => {
    const wanted = spec(["sleep", "300"]);
    const container = await ContainerProcess.start(wanted);
    expect(container.running).toBe(true);
    await eventually(
      "the command itself",
      async () => readFileSync(`/proc/${container.pid}/comm`, "utf8"),
      (comm) => comm === "sleep\n",
    );
    expect(container.signal(name)).toBe(true);
    expect(await ended(container)).toMatchObject({ exitCode: 128 + signal, signal });
    expect(container.running).toBe(false);
    expect(container.signal(name)).toBe(false);
    expect(readFileSync(join(wanted.dir, "log"), "utf8")).toBe("");
  });

  it("that ends with a code that is no signal's has none", async () => {
    expect((await runToEnd(spec(["sh", "-c", "exit 255"]))).exit.signal).toBeUndefined();
  });

  it("has its own environment and nothing else, whatever the names", async () => {
    const env = { PATH, "spring.data-url": "a=b c", EMPTY: "", QUOTE: `'"$(id)\`id\`\n`, "-x": "dash" };
    const { log } = await runToEnd(spec(["env", "--null"], { env }));
    const seen = log.split("\0").filter(Boolean);
    expect(seen.sort()).toEqual(
      Object.entries(env)
        .map((pair) => pair.join("="))
        .sort(),
    );
  });

  it("gets its arguments as they are", async () => {
    const { log } = await runToEnd(spec(["printf", "%s|", "a b", "$HOME", "`id`", "", "A=1", "-n"]));
    expect(log).toBe("a b|$HOME|`id`||A=1|-n|");
  });

  it("has its host name, directory and network, and no input", async () => {
    const words = "hostname; pwd; ip -o link | wc -l; readlink /proc/self/fd/0";
    const { log } = await runToEnd(spec(["sh", "-c", words], { cwd: "/usr" }));
    expect(log).toBe("web-0\n/usr\n1\n/dev/null\n");
  });

  it("is found by its own PATH, which the machinery around it does not need", async () => {
    writeFileSync(join(lab.dir, "mine"), "#!/bin/sh\necho found\n", { mode: 0o755 });
    expect((await runToEnd(spec(["mine"], { env: { PATH: lab.dir } }))).log).toBe("found\n");
  });

  it.each([
    ["no such program", ["no-such-program"], 127],
    ["a file that is no program", ["/etc/passwd"], 126],
  ])("of %s says so in its log", async (_what, command, exitCode) => {
    const { exit, log } = await runToEnd(spec(command));
    expect(exit.exitCode).toBe(exitCode);
    expect(log).toContain(command[0]);
  });

  it("cannot start without its namespace, its directory or a command", async () => {
    const nowhere = spec(["true"], { netns: "pwtest-none" });
    await expect(ContainerProcess.start(nowhere)).rejects.toThrow(/could not be started .*pwtest-none/);
    const lost = spec(["true"], { cwd: "/no/such" });
    await expect(ContainerProcess.start(lost)).rejects.toThrow("working directory /no/such does not exist");
    await expect(ContainerProcess.start(spec(["A=1"]))).rejects.toThrow('"A=1" cannot be a command');
    await expect(ContainerProcess.start(spec([]))).rejects.toThrow("cannot be a command");
  });

  it("leaves nothing running when it ends", async () => {
    const { exit, log } = await runToEnd(spec(["sh", "-c", "sleep 300 & echo $!; exit 1"]));
    expect(exit.exitCode).toBe(1);
    await gone(Number(log));
  });

  it("that is started again keeps the last log", async () => {
    const wanted = spec(["sh", "-c", "echo run $$"]);
    const first = (await runToEnd(wanted)).log;
    const second = (await runToEnd(wanted)).log;
    expect(second).not.toBe(first);
    expect(readFileSync(join(wanted.dir, "log.previous"), "utf8")).toBe(first);
  });
});

describe("a container whose keeper is gone", () => {
  it("runs on, and is the same when it is taken up again", async () => {
    const wanted = spec(["sleep", "300"]);
    const first = await ContainerProcess.start(wanted);
    let told = 0;
    first.observe(() => told++);
    first.release();
    const second = ContainerProcess.adopt(wanted.dir);
    expect(second).toMatchObject({ pid: first.pid, startedAtMs: first.startedAtMs, running: true });
    second?.signal("SIGTERM");
    expect(await ended(second as ContainerProcess)).toMatchObject({ exitCode: 143 });
    expect(told).toBe(0);
  });

  it("that ended meanwhile is seen to have ended, at once", async () => {
    const wanted = spec(["sh", "-c", "exit 7"]);
    (await ContainerProcess.start(wanted)).release();
    await eventually("the note of its end", async () => existsSync(join(wanted.dir, "exit")), Boolean);
    const exits: ContainerExit[] = [];
    ContainerProcess.adopt(wanted.dir)?.observe((exit) => exits.push(exit));
    expect(exits).toMatchObject([{ exitCode: 7 }]);
  });

  it("is not there when it never was", () => {
    expect(ContainerProcess.adopt(join(lab.dir, "never"))).toBeUndefined();
  });

  it("is not taken for another process that has its id", async () => {
    const wanted = spec(["sleep", "300"]);
    const real = await ContainerProcess.start(wanted);
    const path = join(wanted.dir, "pid");
    const stat = readFileSync(path, "utf8");
    // As after a reboot: the same id, started at another time.
    writeFileSync(path, stat.replace(` ${processStartTime(real.pid)} `, " 1 "));
    const mistaken = ContainerProcess.adopt(wanted.dir) as ContainerProcess;
    expect(mistaken.pid).toBe(real.pid);
    expect(mistaken.signal("SIGKILL")).toBe(false);
    expect(await ended(mistaken)).toMatchObject({ exitCode: 137 });
    expect(real.running).toBe(true);
    real.signal("SIGKILL");
    await gone(real.pid);
  });

  it("has a note of its process that cannot be read", async () => {
    const wanted = spec(["true"]);
    await runToEnd(wanted);
    writeFileSync(join(wanted.dir, "pid"), "");
    const broken = ContainerProcess.adopt(wanted.dir) as ContainerProcess;
    expect(broken.running).toBe(false);
    expect(broken.signal("SIGKILL")).toBe(false);
  });
});

describe("a container whose shell is killed", () => {
  it("runs on, and its end is noticed all the same", async () => {
    const container = await ContainerProcess.start(spec(["sleep", "300"]));
    const shim = parentOf(container.pid);
    expect(readFileSync(`/proc/${shim}/cmdline`, "utf8")).toContain("podwire-shim");
    kill(shim, "SIGKILL");
    await gone(shim);
    expect(container.running).toBe(true);
    const end = ended(container);
    container.signal("SIGTERM");
    expect(await end).toMatchObject({ exitCode: 137, signal: 9 });
  });

  it("together with its process has ended by SIGKILL", async () => {
    const container = await ContainerProcess.start(spec(["sleep", "300"]));
    const end = ended(container);
    kill(parentOf(container.pid), "SIGKILL");
    kill(container.pid, "SIGKILL");
    expect(await end).toMatchObject({ exitCode: 137 });
  });
});
