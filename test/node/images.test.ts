/** What an image name stands for, and how a container's own command and arguments change it. */
import { describe, expect, it } from "vitest";
import type { Container } from "../../src/kube/index.js";
import { type ImageTable, resolveImage, UnknownImageError } from "../../src/node/images/index.js";

const TABLE: ImageTable = {
  "mysql:8": { command: ["mysqld", "--user=root"], args: ["--port", "3306"], env: { LANG: "C" } },
};
const container = (more: Partial<Container>): Container => ({ name: "c", ...more }) as Container;

describe("an image of the table", () => {
  it.each<[string, Partial<Container>, string[]]>([
    ["its own command and arguments", {}, ["mysqld", "--user=root", "--port", "3306"]],
    ["other arguments", { args: ["-v"] }, ["mysqld", "--user=root", "-v"]],
    ["another command, without the image's arguments", { command: ["sh"] }, ["sh"]],
    ["both", { command: ["sh", "-c"], args: ["true"] }, ["sh", "-c", "true"]],
    [
      "empty lists, which say nothing",
      { command: [], args: [] },
      ["mysqld", "--user=root", "--port", "3306"],
    ],
  ])("runs %s", (_what, more, command) => {
    expect(resolveImage(container({ image: "mysql:8", ...more }), TABLE)).toEqual({
      command,
      env: { LANG: "C" },
    });
  });
});

describe("podwire/echo", () => {
  it("runs under this Node.js and is told the container's ports", () => {
    const ports = [{ containerPort: 8080 }, { containerPort: 53, protocol: "UDP" }];
    const { command, env } = resolveImage(container({ image: "podwire/echo", ports }), {});
    expect(command[0]).toBe(process.execPath);
    expect(command[1]).toMatch(/images\/echo\.js$/);
    expect(env).toEqual({ PODWIRE_PORTS: "8080/TCP,53/UDP" });
  });

  it("needs no ports, and any tag will do", () => {
    expect(resolveImage(container({ image: "podwire/echo:1.2" }), {}).env).toEqual({});
  });

  it("gives way to an entry of that name", () => {
    const table = { "podwire/echo": { command: ["mine"] } };
    expect(resolveImage(container({ image: "podwire/echo" }), table).command).toEqual(["mine"]);
  });
});

it.each(["nginx", "mysql", "podwire/echoes", "constructor", undefined])(
  "image %s stands for nothing",
  (image) => {
    expect(() => resolveImage(container({ image }), TABLE)).toThrow(UnknownImageError);
  },
);
