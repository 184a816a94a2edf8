import { readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { stripVTControlCharacters } from "node:util";
import { Command } from "commander";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { type DefineCommand, run } from "../../src/cli/program.js";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));
const COMMANDS = readdirSync(`${ROOT}/src/cli/commands`).map((file) => file.replace(/\.ts$/, ""));

const written = { stdout: "", stderr: "" };
const savedRunDir = process.env.PODWIRE_RUN_DIR;

beforeEach(() => {
  // Where no lab is up.
  process.env.PODWIRE_RUN_DIR = "/nonexistent/podwire";
  for (const name of ["stdout", "stderr"] as const) {
    written[name] = "";
    vi.spyOn(process[name], "write").mockImplementation((text) => {
      written[name] += String(text);
      return true;
    });
  }
});
afterEach(() => {
  vi.restoreAllMocks();
  if (savedRunDir === undefined) delete process.env.PODWIRE_RUN_DIR;
  else process.env.PODWIRE_RUN_DIR = savedRunDir;
});

/** Runs a command line; what it wrote comes without colours. */
async function podwire(...args: string[]): Promise<{ code: number; stdout: string; stderr: string }> {
  Object.assign(written, { stdout: "", stderr: "" });
  const code = await run(args);
  return {
    code,
    stdout: stripVTControlCharacters(written.stdout),
    stderr: stripVTControlCharacters(written.stderr),
  };
}

describe("--help", () => {
  it("has found the commands", () => {
    expect(COMMANDS).toEqual(expect.arrayContaining(["up", "down", "get", "trace"]));
  });

  it.each(COMMANDS)("of %s tells each option and argument", async (name) => {
    const module = (await import(`../../src/cli/commands/${name}.ts`)) as { define: DefineCommand };
    const command = new Command(name);
    module.define(command);
    for (const one of [command, ...command.commands]) {
      const help = one.helpInformation();
      expect(help).toContain(`Usage: ${one === command ? name : `${name} ${one.name()}`}`);
      expect(one.options.filter((option) => !option.description)).toEqual([]);
      for (const option of one.options) expect(help).toContain(option.flags);
    }
  });

  it("of the program lists every command", async () => {
    const { code, stdout } = await podwire("--help");
    expect(code).toBe(0);
    const listed = [...stdout.matchAll(/^ {2}([a-z]+) .*$/gm)].map(([, name]) => name);
    expect(listed.filter((name) => name !== "help").sort()).toEqual([...COMMANDS].sort());
  });

  it("is what `help COMMAND` prints", async () => {
    const [long, short] = [await podwire("help", "trace"), await podwire("trace", "--help")];
    expect(long).toEqual(short);
    expect(long.stdout).toMatch(/^Usage: podwire trace /);
    expect(long.code).toBe(0);
  });
});

describe("exit codes", () => {
  it.each([
    [["frob"], "error: unknown command 'frob'\n(podwire --help lists the commands)\n"],
    [
      ["gte", "pods"],
      "error: unknown command 'gte'\n(Did you mean get?)\n(podwire --help lists the commands)\n",
    ],
    [["get", "--frob"], "error: unknown option '--frob'\n(podwire get --help shows its options)\n"],
    [
      ["store", "get"],
      "error: missing required argument 'key'\n(podwire store get --help shows its options)\n",
    ],
    [["get", "frobs"], /^error: the lab doesn't have a resource type "frobs"; these are: ns, /],
    [["get", "pods", "-o", "xml"], /'xml' is invalid\. Allowed choices are wide, json, yaml, name\.\n/],
    [["get", "pods", "-l", "a=b=c"], /'a=b=c' is invalid\. found '=', expected: ',' or 'end of string'\n/],
    [["get", "pods"], "error: no lab is up: podwire up TOPOLOGY\n"],
    [["get", "pods", "--lab", "x"], "error: no lab x is up\n"],
    [["down", "x"], "error: no lab x is up\n"],
    [["scale", "rc/x", "--replicas", "-1"], /'-1' is invalid\. Give a whole number, 0 or more\.\n/],
    [["scale", "svc/x", "--replicas", "1"], "error: svc/x: give rc/NAME or rs/NAME\n"],
    [["scale", "rc", "--replicas", "1"], "error: rc: give rc/NAME or rs/NAME\n"],
    [["delete"], /^error: what is to be deleted\? give TYPE\/NAME, /],
    [["conntrack", "-E", "-e", "OLD"], /^error: -e OLD: give NEW, UPDATES, DESTROY or ALL/],
    [["conntrack", "-e", "NEW"], "error: -e chooses events: give -E too\n"],
    [["conntrack", "-E", "-D"], "error: give one of -L, -D, -C, -E, -F and -S\n"],
    [["conntrack", "-F", "-p", "tcp"], "error: --flush concerns all connections: leave the filters out\n"],
    [["conntrack", "-o", "timestamp"], "error: -o timestamp: only events (-E) have a time\n"],
    [["sysctl"], "error: missing required argument 'node'\n(podwire sysctl --help shows its options)\n"],
    [["conntrack", "-s", "x"], "error: --orig-src x: give an IP address\n"],
    [["up", "x.yaml", "--timeout", "soon"], /'soon' is invalid\. Give a whole number, 1 or more\.\n/],
    [["up", "x.yaml", "--api-port", "70000"], /'70000' is invalid\. Give a whole number, 1 to 65535\.\n/],
    [["up", "x.yaml", "--store-listen", "bogus"], /'bogus' is invalid\. Give ADDRESS:PORT, such as /],
    [["up", "x.yaml", "--store", "etcd"], /'etcd' is invalid\. Give http:\/\/HOST:PORT, /],
    [["up", "x.yaml", "--netns", "a/b"], /^error: --netns a\/b: give a name of letters, digits/],
    [["up", "x.yaml"], "error: x.yaml:1:1: no such file; check the path\n"],
  ] as [string[], string | RegExp][])("%j is 2 and one sentence", async (args, words) => {
    const { code, stdout, stderr } = await podwire(...args);
    expect({ code, stdout }).toEqual({ code: 2, stdout: "" });
    if (typeof words === "string") expect(stderr).toBe(words);
    else expect(stderr).toMatch(words);
  });

  it("nothing to take down is no error", async () => {
    expect(await podwire("down", "--all")).toMatchObject({ code: 0, stderr: "" });
  });

  it("the version is the package's", async () => {
    const { version } = JSON.parse(readFileSync(`${ROOT}/package.json`, "utf8")) as { version: string };
    expect((await podwire("--version")).stdout).toBe(`${version}\n`);
  });
});
