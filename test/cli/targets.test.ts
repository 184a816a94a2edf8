import { describe, expect, it } from "vitest";
import { CliError, Exit } from "../../src/cli/context.js";
import { findResource, parseTargets, typeName } from "../../src/cli/targets.js";
import { RESOURCES } from "../../src/kube/index.js";

const parsed = (...words: string[]) => parseTargets(words).map(({ info, names }) => [info.name, ...names]);

describe("resource types", () => {
  it.each([
    ["po", "pods"],
    ["pod", "pods"],
    ["Pods", "pods"],
    ["svc", "services"],
    ["rc", "replicationcontrollers"],
    ["rs", "replicasets"],
    ["replicaset.apps", "replicasets"],
    ["rs.apps", "replicasets"],
    ["ep", "endpoints"],
    ["Endpoints", "endpoints"],
    ["endpointslice", "endpointslices"],
    ["ns", "namespaces"],
    ["no", "nodes"],
    ["ev", "events"],
  ])("%s is %s", (word, name) => {
    expect(findResource(word).name).toBe(name);
  });

  it("what kubectl writes before a name is understood again", () => {
    for (const info of RESOURCES) expect(findResource(typeName(info))).toBe(info);
    expect(RESOURCES.map(typeName)).toEqual(
      expect.arrayContaining(["pod", "replicaset.apps", "endpointslice.discovery.k8s.io"]),
    );
  });

  it("an unknown one is named, with those there are, and ends with the code for wrong usage", () => {
    const error = errorOf(() => findResource("deploy"));
    expect(error.message).toBe(
      `the lab doesn't have a resource type "deploy"; these are: ns, no, po, rc, svc, ep, ev, rs, endpointslices, netpol, ing, ingressclasses, servicecidrs, ip`,
    );
    expect(error.exitCode).toBe(Exit.usage);
  });
});

describe("targets", () => {
  it("are a type with names, types with commas, TYPE/NAME words, or all", () => {
    expect(parsed("pods")).toEqual([["pods"]]);
    expect(parsed("svc", "web", "db")).toEqual([["services", "web", "db"]]);
    expect(parsed("pods,svc")).toEqual([["pods"], ["services"]]);
    expect(parsed("pods,svc", "web")).toEqual([
      ["pods", "web"],
      ["services", "web"],
    ]);
    expect(parsed("rc/web", "svc/web")).toEqual([
      ["replicationcontrollers", "web"],
      ["services", "web"],
    ]);
    expect(parsed("all")).toEqual([["pods"], ["replicationcontrollers"], ["services"], ["replicasets"]]);
  });

  it.each([[["pod/"]], [["pod/a/b"]], [["pod/a", "svc"]]])("%j is refused", (words) => {
    const error = errorOf(() => parseTargets(words));
    expect(error.message).toMatch(/give TYPE\/NAME, such as pod\/web-1$/);
    expect(error.exitCode).toBe(Exit.usage);
  });
});

function errorOf(act: () => unknown): CliError {
  try {
    act();
  } catch (error) {
    if (error instanceof CliError) return error;
    throw error;
  }
  throw new Error("nothing was thrown");
}
