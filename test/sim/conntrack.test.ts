/** Upstream's cases about conntrack (test/e2e/network/conntrack.go, kube_proxy.go), on one node's datapath. */
import { describe, expect, it } from "vitest";
import { CONNTRACK_TIMEOUTS } from "../../src/node/proxy/options.js";
import { formatConntrackLine, formatObservation } from "../../src/observe/index.js";
import { TcpFlag } from "../../src/wire/index.js";
import * as h from "../datapath/harness.js";

const { syn, ack, fin, rst } = TcpFlag;
const BOOM = { ip: h.REMOTE_POD, port: 9000, service: "default/boom:p", endpoint: "default/boom" };

/** A client pod that is connected, through a Service, with a server pod on another node. */
class Connection {
  readonly node: h.Harness;

  constructor(options: h.HarnessOptions = {}) {
    this.node = new h.Harness(options, new h.TableServices().put(6, h.VIP, 9000, BOOM));
    this.node.trace.enabled = true;
    this.client(syn, 1000, 0);
    this.server(syn | ack, 5000, 1001);
    this.client(ack, 1001, 5001);
  }

  client(flags: number, seq: number, acked: number): h.Sent[] {
    const ends = { src: h.POD_A, dst: h.VIP, sport: 11_000, dport: 9000 };
    return this.node.inject(h.Id.podA, h.tcp({ ...ends, flags, seq, ack: acked }));
  }

  server(flags: number, seq: number, acked: number, bytes = 0): h.Sent[] {
    const ends = { src: h.REMOTE_POD, dst: h.POD_A, sport: 9000, dport: 11_000 };
    const packet = h.tcp({ ...ends, flags, seq, ack: acked, payload: new Uint8Array(bytes) });
    return this.node.inject(h.Id.overlay, packet, { peer: h.PEER_2 });
  }

  get line(): string {
    return this.node.datapath.conntrackRecords().map(formatConntrackLine).join("\n");
  }
}

describe("[sig-network] Conntrack", () => {
  it("should drop INVALID conntrack entries [Privileged]", async () => {
    const connection = new Connection();
    // What the boom server injects: an acknowledgement of what was never sent. Untranslated, it would reach the client
    // from an address that it does not know, and the client would reset the server.
    expect(connection.server(ack, 5001, 1_000_000_000, 100)).toEqual([]);
    expect(connection.node.count("drop:ct-invalid")).toBe(1);
    expect(h.only(connection.server(ack, 5001, 1001, 100)).packet).toMatchObject({ src: "10.254.0.10" });
    expect(connection.line).toContain(" ESTABLISHED ");
    // A reset out of window ends nothing.
    expect(connection.server(rst, 4000, 0)).toEqual([]);
    expect(connection.line).toContain(" ESTABLISHED ");
    const headline =
      "# default/a -> Service 10.254.0.10:9000; the server injects a segment out of window, and a reset";
    const lines = connection.node.trace.seen.map((seen) => formatObservation(seen));
    await expect(`${[headline, ...lines, connection.line].join("\n")}\n`).toMatchFileSnapshot(
      "golden/invalid.txt",
    );
  });
});

describe("connection tracking", () => {
  it("lets out-of-window segments pass when nf_conntrack_tcp_be_liberal is set, but no such reset", () => {
    const connection = new Connection({ conntrackTcp: { tcpBeLiberal: true } });
    expect(h.only(connection.server(ack, 5001, 1_000_000_000, 100)).packet.src).toBe("10.254.0.10");
    expect(connection.server(rst, 4000, 0)).toEqual([]);
  });
});

describe("[sig-network] KubeProxy", () => {
  it("should set TCP CLOSE_WAIT timeout [Privileged]", () => {
    const connection = new Connection({ conntrackTimeouts: CONNTRACK_TIMEOUTS });
    expect(connection.line).toMatch(/^tcp +6 86400 ESTABLISHED /);
    connection.client(fin | ack, 1001, 5001);
    connection.server(ack, 5001, 1002);
    expect(connection.line).toMatch(
      /^tcp +6 3600 CLOSE_WAIT src=172.16.1.2 dst=10.254.0.10 sport=11000 dport=9000 /,
    );
  });
});
