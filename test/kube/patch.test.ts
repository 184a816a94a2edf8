import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { jsonPatch } from "../../src/kube/patch/jsonPatch.js";
import { strategicPatch } from "../../src/kube/patch/strategicPatch.js";
import { SERVICE } from "../../src/kube/schemas/core.js";
import { POD } from "../../src/kube/schemas/pod.js";
import { type Lab, service, startLab } from "./harness.js";
import { SERVICES, sendRaw } from "./raw.js";

describe("a JSON patch", () => {
  const document = { a: { "b/c": 1, list: [1, 2] }, d: "e" };
  it.each<[object, unknown]>([
    [
      { op: "add", path: "/a/list/1", value: 9 },
      { ...document, a: { "b/c": 1, list: [1, 9, 2] } },
    ],
    [
      { op: "add", path: "/a/list/-", value: 9 },
      { ...document, a: { "b/c": 1, list: [1, 2, 9] } },
    ],
    [
      { op: "add", path: "/x", value: null },
      { ...document, x: null },
    ],
    [
      { op: "remove", path: "/a/b~1c" },
      { ...document, a: { list: [1, 2] } },
    ],
    [
      { op: "remove", path: "/a/list/0" },
      { ...document, a: { "b/c": 1, list: [2] } },
    ],
    [
      { op: "replace", path: "/d", value: { f: 1 } },
      { ...document, d: { f: 1 } },
    ],
    [{ op: "replace", path: "", value: 1 }, 1],
    [
      { op: "copy", from: "/d", path: "/a/list/0" },
      { ...document, a: { "b/c": 1, list: ["e", 1, 2] } },
    ],
    [
      { op: "move", from: "/a/list", path: "/list" },
      { a: { "b/c": 1 }, d: "e", list: [1, 2] },
    ],
    [{ op: "test", path: "/a", value: { list: [1, 2], "b/c": 1 } }, document],
    [
      { op: "add", path: "/__proto__", value: 1 },
      JSON.parse('{"a":{"b/c":1,"list":[1,2]},"d":"e","__proto__":1}'),
    ],
  ])("%j", (step, expected) => {
    const before = structuredClone(document);
    expect(jsonPatch(document, [step])).toEqual(expected);
    expect(document).toEqual(before);
  });

  it("cannot grow without bound by copies of copies, nor have operations without number", () => {
    const twice = [
      { op: "copy", from: "", path: "/x" },
      { op: "copy", from: "/x", path: "/y" },
    ];
    const many = (times: number) => Array.from({ length: times }, () => twice).flat();
    expect(JSON.stringify(jsonPatch(document, many(10))).length).toBeGreaterThan(10_000);
    expect(() => jsonPatch(document, many(40))).toThrow("may copy 3145728 characters in all");
    const same = { op: "test", path: "/d", value: "e" };
    expect(jsonPatch(document, Array(10_000).fill(same))).toEqual(document);
    expect(() => jsonPatch(document, Array(10_001).fill(same))).toThrow(
      "The allowed maximum operations in a JSON patch is 10000, got 10001",
    );
  });

  it.each<[unknown, string]>([
    [{}, "must be a list of operations"],
    [[1], "must be an object"],
    [[{ op: "grow", path: "/a" }], 'has no operation "grow"'],
    [[{ op: "add", path: "a" }], "must be a JSON pointer"],
    [[{ op: "remove", path: "/none" }], "nothing is at none"],
    [[{ op: "replace", path: "/none", value: 1 }], "nothing is at none"],
    [[{ op: "add", path: "/a/list/3", value: 1 }], "index 3 is out of bounds"],
    [[{ op: "add", path: "/a/list/01", value: 1 }], "index 01 is out of bounds"],
    [[{ op: "add", path: "/d/f", value: 1 }], "neither object nor list"],
    [[{ op: "test", path: "/d", value: "f" }], "testing path /d failed"],
  ])("%j is refused", (patch, why) => {
    expect(() => jsonPatch(document, patch)).toThrow(why);
  });
});

describe("a strategic merge patch", () => {
  const ports = [
    { name: "a", port: 80, nodePort: 30080 },
    { name: "b", port: 81 },
  ];
  const merged = (patch: object) =>
    (strategicPatch(SERVICE, { spec: { ports } }, { spec: patch }) as { spec: { ports: unknown } }).spec;

  it("merges lists by their key", () => {
    expect(merged({ ports: [{ port: 81, name: "c" }, { port: 82 }] }).ports).toEqual([
      ports[0],
      { name: "c", port: 81 },
      { port: 82 },
    ]);
    expect(merged({ ports: [{ port: 80, $patch: "delete" }] }).ports).toEqual([ports[1]]);
    expect(merged({ ports: [{ port: 90 }, { $patch: "replace" }] }).ports).toEqual([{ port: 90 }]);
    const $order = { "$setElementOrder/ports": [{ port: 81 }, { port: 80 }] };
    expect(merged($order).ports).toEqual([ports[1], ports[0]]);
  });

  it("merges lists as long as a request's body may be, which must not keep the server from others", () => {
    const elements = (value: string) => Array.from({ length: 60_000 }, (_, i) => ({ name: `c${i}`, value }));
    const patch = {
      spec: { containers: [...elements("new"), { name: "c7", $patch: "delete" }, { name: "x" }] },
    };
    const merged = strategicPatch(POD, { spec: { containers: elements("old") } }, patch);
    const expected = elements("new").filter(({ name }) => name !== "c7");
    expect(merged).toEqual({ spec: { containers: [...expected, { name: "x" }] } });
  });

  it("replaces lists that have none, and maps and objects where told", () => {
    const target = { spec: { externalIPs: ["1.1.1.1"], selector: { a: "b", c: "d" } } };
    const patch = (spec: object) => (strategicPatch(SERVICE, target, { spec }) as typeof target).spec;
    expect(patch({ externalIPs: ["2.2.2.2"] }).externalIPs).toEqual(["2.2.2.2"]);
    expect(patch({ selector: { a: null, e: "f" } }).selector).toEqual({ c: "d", e: "f" });
    expect(patch({ selector: { $patch: "replace", e: "f" } }).selector).toEqual({ e: "f" });
    expect(patch({ $retainKeys: ["selector"] })).toEqual({ selector: target.spec.selector });
  });

  it("adds to sets and takes from them", () => {
    const target = { metadata: { finalizers: ["a/1", "b/2"] } };
    const patch = (metadata: object) =>
      (strategicPatch(POD, target, { metadata }) as typeof target).metadata.finalizers;
    expect(patch({ finalizers: ["c/3"] })).toEqual(["a/1", "b/2", "c/3"]);
    expect(patch({ "$deleteFromPrimitiveList/finalizers": ["a/1"] })).toEqual(["b/2"]);
  });

  it("is refused with an unknown directive or an element without its key", () => {
    expect(() => merged({ $patch: "grow" })).toThrow("unknown patch directive grow");
    expect(() => merged({ ports: [{ name: "x" }] })).toThrow("does not contain declared merge key: port");
  });
});

describe("PATCH", () => {
  let lab: Lab;
  beforeAll(async () => {
    lab = await startLab();
    await lab.local.create("services", service("web", { ports: [{ name: "a", port: 80 }] }));
  });
  afterAll(() => lab.close());
  const patch = (type: string, body: unknown) =>
    sendRaw({ socketPath: lab.socketPath }, "PATCH", `${SERVICES}/web`, body, { "content-type": type });

  it("takes each media type", async () => {
    const strategic = await patch("application/strategic-merge-patch+json", {
      spec: { ports: [{ name: "b", port: 81 }] },
    });
    expect(strategic.json).toMatchObject({ spec: { ports: [{ port: 80 }, { port: 81, targetPort: 81 }] } });
    const json = await patch("application/json-patch+json", [
      { op: "test", path: "/spec/ports/0/port", value: 80 },
      { op: "remove", path: "/spec/ports/0" },
    ]);
    expect(json.json).toMatchObject({ spec: { ports: [{ port: 81 }] } });
    const merge = await patch("application/merge-patch+json", { spec: { ports: [{ port: 83 }] } });
    expect(merge.json).toMatchObject({ spec: { ports: [{ port: 83 }] } });
  });

  it("answers a failed test with 422, a malformed patch with 400, server-side apply with 415", async () => {
    const test = [{ op: "test", path: "/kind", value: "Pod" }];
    expect(await patch("application/json-patch+json", test)).toMatchObject({ code: 422 });
    expect(await patch("application/json-patch+json", { a: 1 })).toMatchObject({ code: 400 });
    expect(await patch("application/strategic-merge-patch+json", [])).toMatchObject({ code: 400 });
    expect(await patch("application/apply-patch+yaml", {})).toMatchObject({ code: 415 });
    expect(await patch("application/json-patch+json", [{ op: "replace", path: "", value: 1 }])).toMatchObject(
      {
        code: 400,
      },
    );
  });
});
