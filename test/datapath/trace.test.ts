import { describe, expect, it } from "vitest";
import { ServiceAction, type Stage, type Tuple, VERDICTS } from "../../src/datapath/index.js";
import { formatIp, TcpFlag } from "../../src/wire/index.js";
import * as h from "./harness.js";

const { syn, ack } = TcpFlag;

function tracing(services = new h.TableServices(), options: h.HarnessOptions = {}): h.Harness {
  const node = new h.Harness(options, services);
  node.trace.enabled = true;
  return node;
}

function tupleText(tuple: Tuple): string {
  return `${formatIp(tuple.src)}:${tuple.sport} > ${formatIp(tuple.dst)}:${tuple.dport}`;
}

/** `hook verdict [reason] [before => after]`. */
function stageText({ hook, verdict, reason, before, after }: Stage): string {
  const change = before && after ? [`${tupleText(before)} => ${tupleText(after)}`] : [];
  return [hook, verdict, ...(reason ? [reason] : []), ...change].join(" ");
}

const WEB = { ip: h.REMOTE_POD, port: 8080, service: "default/web:http", endpoint: "default/web-1" };

describe("observations", () => {
  it("show each stage of a first packet, its Service, and the outer header", () => {
    const node = tracing(new h.TableServices().put(6, h.NODE, 30_001, { ...WEB, masquerade: true }));
    node.learnHost();
    node.inject(h.Id.host, h.tcp({ src: h.HOST, dst: h.NODE, sport: 5000, dport: 30_001, flags: syn }));
    const [seen, ...others] = node.trace.seen;
    expect(others).toEqual([]);
    expect(seen).toMatchObject({
      timeMs: node.nowMs,
      node: "node1",
      inPort: "host",
      outPort: "overlay",
      verdict: "forward",
      service: "default/web:http",
      endpoint: "default/web-1",
      outer: { src: h.ip("192.0.2.1"), dst: h.PEER_2, sport: 8285, dport: 8285 },
      ctState: "NEW",
      reply: false,
      lengthBytes: 40,
      ttl: 63,
      info: "S",
    });
    expect(seen.reason).toBeUndefined();
    expect(seen.packetId).toMatch(/^[0-9a-f]{8}$/);
    expect(tupleText(seen.before)).toBe("10.0.0.254:5000 > 10.0.0.1:30001");
    expect(tupleText(seen.after)).toBe("172.16.1.0:5000 > 172.16.2.9:8080");
    expect(seen.stages.map(stageText)).toEqual([
      "ingress accept",
      "conntrack accept NEW",
      "prerouting dnat 10.0.0.254:5000 > 10.0.0.1:30001 => 10.0.0.254:5000 > 172.16.2.9:8080",
      "route accept overlay",
      "forward accept",
      "postrouting masquerade 10.0.0.254:5000 > 172.16.2.9:8080 => 172.16.1.0:5000 > 172.16.2.9:8080",
      "egress forward",
    ]);
  });

  it("show the Service on later packets and replies too, and where a reply came from", () => {
    const node = tracing(new h.TableServices().put(6, h.VIP, 80, WEB));
    node.inject(h.Id.podA, h.tcp({ src: h.POD_A, dst: h.VIP, sport: 9, dport: 80, flags: syn }));
    const reply = h.tcp({ src: h.REMOTE_POD, dst: h.POD_A, sport: 8080, dport: 9, flags: syn | ack });
    node.inject(h.Id.overlay, reply, { peer: h.PEER_2 });
    const seen = node.trace.seen[1];
    expect(seen).toMatchObject({
      inPort: "overlay",
      outPort: "default/a",
      ctState: "ESTABLISHED",
      reply: true,
      service: "default/web:http",
      endpoint: "default/web-1",
      outer: { src: h.PEER_2, dst: h.ip("192.0.2.1"), sport: 8285, dport: 8285 },
      info: "S.",
    });
    expect(tupleText(seen.after)).toBe("10.254.0.10:80 > 172.16.1.2:9");
  });

  it("give a packet one id on every node it crosses", () => {
    const first = tracing(new h.TableServices().put(17, h.VIP, 53, WEB));
    const second = tracing();
    const sent = h.only(
      first.inject(h.Id.podA, h.udp({ src: h.POD_A, dst: h.VIP, sport: 9, dport: 53, id: 77 })),
    );
    // Node 2, seen from here as node 1: its peer is the one that owns the source's subnet.
    const addresses = {
      ...h.ADDRESSES,
      podSubnet: h.prefix("172.16.2.0/24"),
      bridgeIp: 0xac100201,
      overlayIp: 0xac100200,
    };
    second.datapath.setAddresses(addresses);
    second.datapath.routes.put({ prefix: h.prefix("172.16.1.0/24"), port: h.Id.overlay, nextHop: h.PEER_2 });
    second.inject(h.Id.overlay, sent.frame, { peer: h.PEER_2 });
    expect(second.trace.seen[0]).toMatchObject({ inPort: "overlay", reason: "host-unreachable" });
    expect(second.trace.seen[0].packetId).toBe(first.trace.seen[0].packetId);
  });

  it("name the stage and reason of a refusal, then the error that answers it", () => {
    const refusal = { action: ServiceAction.reject, reason: "no-endpoints", service: "default/web:http" };
    const node = tracing(new h.TableServices().put(6, h.VIP, 80, refusal));
    node.inject(h.Id.podA, h.tcp({ src: h.POD_A, dst: h.VIP, sport: 9, dport: 80, flags: syn }));
    const [refused, error] = node.trace.seen;
    expect(refused).toMatchObject({ verdict: "reject", reason: "no-endpoints", service: "default/web:http" });
    expect(refused.outPort).toBeUndefined();
    expect(refused.after).toEqual(refused.before);
    expect(refused.stages.map(stageText)).toEqual([
      "ingress accept",
      "conntrack accept NEW",
      "prerouting reject no-endpoints",
    ]);
    expect(error).toMatchObject({
      inPort: "local",
      outPort: "default/a",
      verdict: "forward",
      ctState: "UNTRACKED",
      info: "port unreachable",
      ttl: 64,
    });
    expect(error.stages.map(stageText)).toEqual(["route accept default/a", "egress forward"]);
  });

  it("show what the node does itself, and what crosses the bridge", () => {
    const node = tracing();
    node.inject(h.Id.podA, h.echo({ src: h.POD_A, dst: h.ADDRESSES.bridgeIp, icmpId: 5, icmpSeq: 3 }));
    node.inject(h.Id.podA, h.udp({ src: h.POD_A, dst: h.POD_B, sport: 1, dport: 2 }), { to: h.MAC_B });
    const [request, reply, bridged] = node.trace.seen;
    expect(request).toMatchObject({
      verdict: "deliver",
      info: "echo request seq 3",
      before: { sport: 5, dport: 0x800 },
    });
    expect(request.stages.map(stageText).at(-1)).toBe("local deliver");
    expect(reply).toMatchObject({
      inPort: "local",
      outPort: "default/a",
      info: "echo reply seq 3",
      reply: true,
    });
    expect(bridged).toMatchObject({ verdict: "forward", reason: "bridged", outPort: "default/b", ttl: 64 });
    expect(bridged.stages.map(({ hook }) => hook)).toEqual([
      "ingress",
      "conntrack",
      "prerouting",
      "forward",
      "postrouting",
      "egress",
    ]);
  });

  it("say where a packet was stopped", () => {
    const node = tracing();
    const ends = { src: h.POD_A, dst: h.REMOTE_POD, sport: 1, dport: 2 };
    node.inject(h.Id.podA, h.udp({ ...ends, src: h.POD_B }));
    node.inject(h.Id.podA, h.tcp({ ...ends, flags: 0 }));
    node.inject(h.Id.podA, h.udp({ ...ends, ttl: 1 }));
    const stops = node.trace.seen
      .filter(({ inPort }) => inPort !== "local")
      .map(({ ctState, stages }) => [ctState, stageText(stages.at(-1)!)]);
    expect(stops).toEqual([
      ["UNTRACKED", "ingress drop invalid-source-ip"],
      ["INVALID", "conntrack drop ct-invalid"],
      ["NEW", "forward drop ttl-exceeded"],
    ]);
  });

  it("are not made while nobody looks", () => {
    const node = new h.Harness();
    node.inject(h.Id.podA, h.udp({ src: h.POD_A, dst: h.REMOTE_POD, sport: 1, dport: 2 }));
    expect(node.trace.seen).toEqual([]);
  });
});

it("every verdict has a name of its own and a sentence", () => {
  const names = VERDICTS.map(({ outcome, reason }) => `${outcome}:${reason}`);
  expect(new Set(names).size).toBe(names.length);
  for (const { meaning, reason } of VERDICTS) {
    expect(meaning).toMatch(/^\S.*\.$/);
    expect(reason).toMatch(/^[a-z0-9-]*$/);
  }
});
