/** The stations that the other tests rely on, two of them on one wire, without any node between. */
import { describe, expect, it } from "vitest";
import { seededRandom, VirtualClock } from "./clock.js";
import { asText, text } from "./packet.js";
import { type Interface, Station } from "./station.js";

function wire(loss = 0, mtuBytes = 1500): { clock: VirtualClock; a: Station; b: Station } {
  const clock = new VirtualClock();
  const random = seededRandom(3);
  const [a, b] = [new Station("a", "10.0.0.1", clock), new Station("b", "10.0.0.2", clock)];
  const card = (to: () => [Station, Interface], mac: string): Interface => ({
    name: "eth0",
    mac,
    mtuBytes,
    transmit: (frame) => {
      if (random() >= loss) clock.after(1, () => to()[0].receive(to()[1], frame));
    },
  });
  const cardA: Interface = card(() => [b, cardB], "02:00:00:00:00:0a");
  const cardB: Interface = card(() => [a, cardA], "02:00:00:00:00:0b");
  a.routes.push({ prefix: "10.0.0.0/24", via: cardA });
  b.routes.push({ prefix: "10.0.0.0/24", via: cardB });
  return { clock, a, b };
}

describe("station", () => {
  it("answers echo, in fragments when it has to", () => {
    const { clock, a, b } = wire();
    a.ping(b.ip, 1, 56);
    a.ping(b.ip, 2, 9000);
    clock.run(100);
    expect(a.echoReplies.map(({ sequence, bytes }) => [sequence, bytes])).toEqual([
      [1, 56],
      [2, 9000],
    ]);
  });

  it("refuses to send more than the link takes without fragmenting", () => {
    const { a, b } = wire();
    expect(() => a.ping(b.ip, 1, 1473, { df: true })).toThrow("message too long");
  });

  it("answers datagrams, and refuses those to closed ports", () => {
    const { clock, a, b } = wire();
    b.serveUdp(53, (datagram) => text(`got ${asText(datagram.payload)}`));
    a.sendUdp(b.ip, 53, text("x"));
    a.sendUdp(b.ip, 54, text("y"));
    clock.run(100);
    expect(a.datagrams.map((datagram) => asText(datagram.payload))).toEqual(["got x"]);
    expect(a.errors).toMatchObject([{ from: b.ip, type: 3, code: 3, quoted: { dport: 54 } }]);
  });

  it.each([0, 0.2])("carries a conversation and closes it, at a loss of %d", (loss) => {
    const { clock, a, b } = wire(loss);
    b.serveTcp(80, (end) => {
      end.onData = (data) => end.write(data.toUpperCase());
      end.onPeerClosed = () => end.close();
    });
    const end = a.connect(b.ip, 80);
    end.write(`${"long ".repeat(1000)}`);
    end.close();
    clock.run(60_000);
    expect(end.input).toBe("LONG ".repeat(1000));
    expect([end.state, end.peerClosed, end.idle]).toEqual(["established", true, true]);
  });

  it("is refused by a closed port", () => {
    const { clock, a, b } = wire();
    const end = a.connect(b.ip, 81);
    clock.run(100);
    expect(end.state).toBe("refused");
  });

  it("resets and notices resets", () => {
    const { clock, a, b } = wire();
    b.serveTcp(80, (end) => {
      end.onData = () => end.abort();
    });
    const end = a.connect(b.ip, 80);
    end.write("x");
    clock.run(100);
    expect(end.state).toBe("reset");
  });

  it("gives up when nobody answers", () => {
    const { clock, a } = wire();
    const end = a.connect("10.0.0.9", 80);
    clock.run(60_000);
    expect(end.state).toBe("timed-out");
  });
});
