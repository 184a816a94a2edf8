/** A network card without a link layer, as a TUN device is: it answers ARP itself and carries bare packets. */
import { arp, ethernet } from "./ethernet.js";
import type { Interface, Station } from "./station.js";

const CARD_MAC = "02:00:00:00:00:01";
const FAR_MAC = "02:00:00:00:00:02";
const IPV4_TYPE = 0x0800;
const ARP_TYPE = 0x0806;
const ETHERNET_BYTES = 14;
const MTU_BYTES = 1500;

/** `send` takes the bare packets that the station sends. */
export function bareCard(station: Station, send: (packet: Uint8Array) => void): Interface {
  const card: Interface = {
    name: "tun",
    mac: CARD_MAC,
    mtuBytes: MTU_BYTES,
    transmit: (frame) => {
      const body = frame.slice(ETHERNET_BYTES);
      if (frame[12] * 256 + frame[13] === IPV4_TYPE) return send(body);
      const asked = body.slice(24, 28).join(".");
      const reply = arp(2, FAR_MAC, asked, CARD_MAC, body.slice(14, 18).join("."));
      station.clock.after(0, () => station.receive(card, ethernet(CARD_MAC, FAR_MAC, ARP_TYPE, reply)));
    },
  };
  return card;
}

/** A bare packet as a frame for the station. */
export function wrap(card: Interface, packet: Uint8Array): Uint8Array {
  return ethernet(card.mac, FAR_MAC, IPV4_TYPE, packet);
}
