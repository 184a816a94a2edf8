import { describe, expect, it } from "vitest";
import { endpoint, type Flow, FlowList, service, slice, synced, TCP, UDP } from "./objects.js";

const PORTS = [{ name: "p", port: 53, nodePort: 30053, protocol: "UDP" }];
const DNS = service("dns", { type: "NodePort", ports: PORTS });
const at = (...ips: string[]) =>
  slice(
    "dns",
    ips.map((ip) => endpoint(ip)),
    [{ name: "p", port: 5353, protocol: "UDP" }],
  );

function flow(
  originalIp: string,
  originalPort: number,
  endpointIp: string,
  protocol = UDP,
  endpointPort = 5353,
): Flow {
  return { protocol, originalIp, originalPort, endpointIp, endpointPort };
}

/** Flows to both endpoints by cluster IP and by node port of two of the node's addresses, and some that are none of its business. */
const TO_A = [
  flow("10.254.0.10", 53, "172.16.1.2"),
  flow("10.0.0.11", 30053, "172.16.1.2"),
  flow("172.16.1.1", 30053, "172.16.1.2"),
];
const TO_B = [flow("10.254.0.10", 53, "172.16.1.3"), flow("10.0.0.11", 30053, "172.16.1.3")];
const UNTRANSLATED = [
  flow("10.254.0.10", 53, "10.254.0.10", UDP, 53),
  flow("10.0.0.11", 30053, "10.0.0.11", UDP, 30053),
];
const OTHERS = [
  flow("10.254.0.11", 53, "172.16.1.2"),
  flow("172.16.1.2", 5353, "172.16.1.2"),
  flow("10.254.0.10", 53, "172.16.1.2", TCP),
];

/** Runs one change on a synced proxy and gives the flows that are left. */
function leftAfter(
  before: string[],
  flows: Flow[],
  change: (from: ReturnType<typeof synced>) => void,
): Flow[] {
  const conntrack = new FlowList();
  const from = synced([DNS], [at(...before)], { conntrack });
  conntrack.flows = [...flows, ...OTHERS];
  change(from);
  from.sync(1);
  expect(from.metrics().staleFlowsDeletedTotal).toBe(flows.length + OTHERS.length - conntrack.flows.length);
  return conntrack.flows.filter((left) => !OTHERS.includes(left));
}

const BOTH = ["172.16.1.2", "172.16.1.3"];

describe("UDP conntrack clean-up (conntrack/cleanup.go CleanStaleEntries)", () => {
  it("removed endpoint: its flows by cluster IP and node port go, others stay", () => {
    expect(
      leftAfter(BOTH, [...TO_A, ...TO_B], (from) => from.onEndpointSliceUpsert(at("172.16.1.3"))),
    ).toEqual(TO_B);
  });

  it("removed slice: flows to all its endpoints go", () => {
    expect(leftAfter(BOTH, [...TO_A, ...TO_B], (from) => from.onEndpointSliceDelete(at()))).toEqual([]);
  });

  it("deleted Service: all flows to its addresses go", () => {
    const flows = [...TO_A, ...TO_B, ...UNTRANSLATED];
    expect(leftAfter(BOTH, flows, (from) => from.onServiceDelete(DNS))).toEqual([]);
  });

  it("from no endpoints to some: flows that lead nowhere go", () => {
    expect(leftAfter([], UNTRANSLATED, (from) => from.onEndpointSliceUpsert(at("172.16.1.2")))).toEqual([]);
  });

  it("from some endpoints to more: nothing goes", () => {
    const flows = [...TO_A, ...UNTRANSLATED];
    expect(leftAfter(["172.16.1.2"], flows, (from) => from.onEndpointSliceUpsert(at(...BOTH)))).toEqual(
      flows,
    );
  });

  it("removed node port: only its flows go", () => {
    const change = service("dns", { ports: [{ name: "p", port: 53, protocol: "UDP" }] });
    expect(leftAfter(BOTH, TO_A, (from) => from.onServiceUpsert(change))).toEqual([TO_A[0]]);
  });

  it("changed cluster IP: flows to the old one go", () => {
    const change = service("dns", { type: "NodePort", clusterIP: "10.254.0.99", ports: PORTS });
    expect(leftAfter(BOTH, TO_A, (from) => from.onServiceUpsert(change))).toEqual(TO_A.slice(1));
  });

  it("removed port: its flows go", () => {
    const change = service("dns", { ports: [{ name: "other", port: 54, protocol: "UDP" }] });
    expect(leftAfter(BOTH, [...TO_A, ...TO_B], (from) => from.onServiceUpsert(change))).toEqual([]);
  });

  it("endpoint that terminates but still serves keeps its flows; they go when it stops serving", () => {
    const health = (a: { ready: boolean; serving: boolean; terminating: boolean }) => ({
      ...at(),
      endpoints: [endpoint("172.16.1.2", a), endpoint("172.16.1.3")],
    });
    const leaving = health({ ready: false, serving: true, terminating: true });
    expect(leftAfter(BOTH, TO_A, (from) => from.onEndpointSliceUpsert(leaving))).toEqual(TO_A);
    const left = health({ ready: false, serving: false, terminating: true });
    expect(leftAfter(BOTH, TO_A, (from) => from.onEndpointSliceUpsert(left))).toEqual([]);
  });

  it("TCP flows stay, so that open connections drain", () => {
    const web = service("web", { type: "NodePort", ports: [{ name: "p", port: 80, nodePort: 30080 }] });
    const flows = [
      flow("10.254.0.10", 80, "172.16.1.2", TCP, 8080),
      flow("10.0.0.11", 30080, "172.16.1.2", TCP, 8080),
    ];
    const conntrack = new FlowList([...flows]);
    const from = synced([web], [slice("web", [endpoint("172.16.1.2")])], { conntrack });
    from.onEndpointSliceDelete(slice("web", []));
    from.sync(1);
    from.onServiceDelete(web);
    from.sync(2);
    expect(conntrack.flows).toEqual(flows);
  });
});
