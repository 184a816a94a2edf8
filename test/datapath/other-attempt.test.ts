/** A client's source port comes into use again after an attempt that no endpoint answered. */
import { describe, expect, it } from "vitest";
import { TcpFlag } from "../../src/wire/index.js";
import * as h from "./harness.js";

const { syn, ack } = TcpFlag;
const TCP = 6;
const ENDS = { sport: 4000, dport: 80 };
const ISN = 5_000_000;

function leadTo(services: h.TableServices, ip: number): void {
  services.put(TCP, h.VIP, 80, { ip, port: 8080 });
}

/** A node whose Service has just moved from a pod of another node, which was asked once and is silent, to pod B. */
function movedService(payload = new Uint8Array(0)): h.Harness {
  const node = new h.Harness();
  leadTo(node.services, h.REMOTE_POD);
  const sent = node.inject(h.Id.podA, asked({ seq: ISN, payload }));
  expect(h.only(sent).packet).toMatchObject({ dst: "172.16.2.9", dport: 8080 });
  leadTo(node.services, h.POD_B);
  return node;
}

const asked = (more: object) => h.tcp({ src: h.POD_A, dst: h.VIP, ...ENDS, flags: syn, ...more });

describe("a SYN on a connection to an endpoint that has not answered", () => {
  it.each([
    ["above", ISN + 400_000_000],
    ["just above", ISN + 1],
    ["below", ISN - 400_000_000 + 2 ** 32],
  ])("goes where the Service leads now when its number is %s the first one's", (_, seq) => {
    const node = movedService();
    node.nowMs += 26_000;
    const out = h.only(node.inject(h.Id.podA, asked({ seq: seq % 2 ** 32 })));
    expect(out).toMatchObject({ port: h.Id.podB, packet: { dst: "172.16.1.3", dport: 8080 } });
    const answer = { src: h.POD_B, dst: h.POD_A, sport: 8080, dport: 4000, flags: syn | ack };
    const back = h.only(node.inject(h.Id.podB, h.tcp({ ...answer, seq: 9, ack: (seq + 1) % 2 ** 32 })));
    expect(back.packet).toMatchObject({ src: "10.254.0.10", sport: 80, dport: 4000 });
    expect(node.datapath.conntrackRecords({ dport: 80 })).toMatchObject([{ state: "SYN_RECV" }]);
  });

  it("is led as before when it is the same one again, also without the data that the first one carried", () => {
    for (const first of [0, 1200]) {
      const node = movedService(new Uint8Array(first));
      const out = h.only(node.inject(h.Id.podA, asked({ seq: ISN })));
      expect(out.packet).toMatchObject({ dst: "172.16.2.9", dport: 8080 });
      expect(node.services.queries).toBe(1);
    }
  });

  it("is led as before when it is damaged, or when the endpoint has answered meanwhile", () => {
    const node = movedService();
    const other = asked({ seq: ISN + 1000 });
    const damaged = other.slice();
    damaged[damaged.length - 4] ^= 1;
    expect(node.inject(h.Id.podA, damaged)).toEqual([]);
    const answer = { src: h.REMOTE_POD, dst: h.POD_A, sport: 8080, dport: 4000, flags: syn | ack };
    node.inject(h.Id.overlay, h.tcp({ ...answer, seq: 9, ack: ISN + 1 }), { peer: h.PEER_2 });
    expect(h.only(node.inject(h.Id.podA, other)).packet).toMatchObject({ dst: "172.16.2.9" });
    expect(node.services.queries).toBe(1);
  });
});
