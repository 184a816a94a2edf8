import { describe, expect, it } from "vitest";
import type { Observation } from "../../src/datapath/index.js";
import { TraceFilter, TraceFilterError, type TraceFilterSpec } from "../../src/observe/index.js";
import {
  all,
  dropped,
  icmpError,
  ip,
  nameOf,
  ping,
  rejected,
  synAckAtFirstNode,
  synAckAtSecondNode,
  synAtFirstNode,
  synAtSecondNode,
} from "./samples.js";

const web = [synAtFirstNode, synAtSecondNode, synAckAtSecondNode, synAckAtFirstNode];

function shown(spec: TraceFilterSpec, observations: readonly Observation[] = all): Observation[] {
  const filter = new TraceFilter(spec);
  return observations.filter((one) => filter.matches(one, nameOf));
}

describe("the trace filter", () => {
  it("shows everything without criteria", () => {
    expect(shown({})).toEqual(all);
  });

  it.each<[string, TraceFilterSpec, readonly Observation[]]>([
    ["pod by port name, and its connections everywhere", { pod: ["default/myweb-x2"] }, web],
    ["pod without its namespace", { pod: ["client"] }, [rejected, ping, icmpError, dropped]],
    ["pod of another namespace", { pod: ["other/client"] }, []],
    ["Service, also where it is not known", { service: ["myweb"] }, web],
    ["Service with its namespace", { service: ["default/myweb"] }, web],
    ["Service with its port", { service: ["default/myweb:http"] }, web],
    ["Service with another port", { service: ["default/myweb:https"] }, []],
    ["address", { address: ["10.0.0.12"] }, [...web, icmpError]],
    ["prefix", { address: ["10.254.0.0/16"] }, [rejected]],
    ["port before the rewrite", { port: ["30001"] }, web],
    ["port, which an ICMP identifier is not", { port: ["77"] }, []],
    ["node", { node: ["k8s-node-2"] }, [synAtSecondNode, synAckAtSecondNode]],
    ["verdict", { verdict: ["drop"] }, [dropped]],
    ["verdict with its reason", { verdict: ["reject:no-endpoints"] }, [rejected]],
    ["verdict with another reason", { verdict: ["drop:no-endpoints"] }, []],
    ["protocol by name", { protocol: ["icmp"] }, [ping, icmpError]],
    ["protocol by number", { protocol: ["50"] }, [dropped]],
    ["either of two values", { verdict: ["drop", "reject"] }, [rejected, dropped]],
    [
      "both of two criteria",
      { service: ["myweb"], node: ["k8s-node-2"] },
      [synAtSecondNode, synAckAtSecondNode],
    ],
  ])("by %s", (_what, spec, expected) => {
    expect(shown(spec)).toEqual(expected);
  });

  it("follows a connection only once it was seen to fit", () => {
    expect(shown({ service: ["myweb"] }, [synAtSecondNode, synAtFirstNode, synAtSecondNode])).toEqual([
      synAtFirstNode,
      synAtSecondNode,
    ]);
  });

  it("forgets the oldest of many connections", () => {
    const filter = new TraceFilter({ address: ["10.0.0.12"] });
    expect(filter.matches(synAtFirstNode)).toBe(true);
    expect(filter.matches(synAtSecondNode)).toBe(true);
    for (let i = 0; i < 5000; i++) {
      const before = { ...synAtFirstNode.before, src: ip("10.1.0.0") + i };
      filter.matches({ ...synAtFirstNode, before, after: before });
    }
    expect(filter.matches(synAtSecondNode)).toBe(false);
  });

  it.each<[TraceFilterSpec, string]>([
    [{ pod: ["a/b/c"] }, '"a/b/c" is not a valid pod to filter by: give NAME or NAMESPACE/NAME.'],
    [
      { address: ["10.0.0.300"] },
      '"10.0.0.300" is not a valid address to filter by: give an address or a prefix such as 172.16.0.0/16.',
    ],
    [{ port: ["80", "70000"] }, '"70000" is not a valid port to filter by: give a number from 1 to 65535.'],
  ])("says what is wrong with %j", (spec, message) => {
    expect(() => new TraceFilter(spec)).toThrow(new TraceFilterError(message));
  });

  it.each<TraceFilterSpec>([
    ...["", "A", "a b", "/a", "a/"].flatMap((text) => [
      { pod: [text] },
      { service: [text] },
      { node: [text] },
    ]),
    ...["", "10.0.0.1/24", "10.0.0", "web"].map((text) => ({ address: [text] })),
    ...["", "0", "-1", "http", "1e3"].map((text) => ({ port: [text] })),
    ...["", "dropped", "drop:", "drop:A"].map((text) => ({ verdict: [text] })),
    ...["", "256", "TCP", "toString"].map((text) => ({ protocol: [text] })),
  ])("refuses %j", (spec) => {
    expect(() => new TraceFilter(spec)).toThrow(TraceFilterError);
  });
});
