/** A network card without a link layer, as a TUN device is: it answers for all neighbours itself and carries bare packets. */
import { addressText } from "./address.js";
import {
  ARP_TYPE,
  arp,
  ETHERNET_BYTES,
  ethernet,
  etherTypeOf,
  formatMac,
  IPV4_TYPE,
  IPV6_TYPE,
} from "./ethernet.js";
import { advertisement, solicited } from "./neighbours.js";
import type { Interface, Station } from "./station.js";

const CARD_MAC = "02:00:00:00:00:01";
const FAR_MAC = "02:00:00:00:00:02";
const MTU_BYTES = 1500;

/** `send` takes the bare packets that the station sends. */
export function bareCard(station: Station, send: (packet: Uint8Array) => void): Interface {
  const answer = (type: number, body: Uint8Array) =>
    station.clock.after(0, () => station.receive(card, ethernet(CARD_MAC, FAR_MAC, type, body)));
  const card: Interface = {
    name: "tun",
    mac: CARD_MAC,
    mtuBytes: MTU_BYTES,
    transmit: (frame) => {
      const body = frame.slice(ETHERNET_BYTES);
      if (etherTypeOf(frame) === ARP_TYPE) {
        const [asked, from] = [addressText(body.slice(24, 28)), addressText(body.slice(14, 18))];
        answer(ARP_TYPE, arp(2, FAR_MAC, asked, CARD_MAC, from));
      } else if (formatMac(frame.slice(0, 6)) === FAR_MAC) send(body);
      else {
        const { target, from } = solicited(body);
        answer(IPV6_TYPE, advertisement(target, from, FAR_MAC));
      }
    },
  };
  return card;
}

/** A bare packet as a frame for the station. */
export function wrap(card: Interface, packet: Uint8Array): Uint8Array {
  return ethernet(card.mac, FAR_MAC, packet[0] >> 4 === 6 ? IPV6_TYPE : IPV4_TYPE, packet);
}
