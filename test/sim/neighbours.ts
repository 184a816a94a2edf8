/** How a station finds its neighbours' MACs: by ARP, and by neighbour discovery (RFC 4861). */
import { addressBytes, addressText, groupMac, isIpv6, solicitedGroup, solicitedMac } from "./address.js";
import { join } from "./bytes.js";
import type { VirtualClock } from "./clock.js";
import { ARP_TYPE, arp, BROADCAST, ethernet, formatMac, IPV6_TYPE, macBytes } from "./ethernet.js";
import {
  decodeIcmp,
  decodePacket,
  encodeIcmp6,
  encodePacket,
  ICMPV6,
  isFragment,
  type Packet,
} from "./packet.js";
import type { Interface } from "./station.js";

const SOLICITATION = 135;
const ADVERTISEMENT = 136;
const SOLICITED_OVERRIDE = 0x60000000;
const ALL_NODES_MAC = "33:33:00:00:00:01";
/** Shows that no router passed it on (RFC 4861 §7.1). */
const HOP_LIMIT = 255;
const NOBODY = "00:00:00:00:00:00";

export class Neighbours {
  readonly #macs = new Map<string, string>();
  readonly #waiting = new Map<string, ((mac: string) => void)[]>();

  /** `own` are the station's addresses, `sourceTo` the one that it speaks to a neighbour from. */
  constructor(
    private readonly clock: VirtualClock,
    private readonly own: () => readonly string[],
    private readonly sourceTo: (address: string) => string,
  ) {}

  /** Hands the neighbour's MAC to `send`: at once, when it answers, or never. */
  resolve(via: Interface, neighbour: string, send: (mac: string) => void): void {
    const key = `${via.name} ${neighbour}`;
    const mac = this.#macs.get(key);
    if (mac !== undefined) send(mac);
    else {
      this.#waiting.set(key, [...(this.#waiting.get(key) ?? []), send]);
      this.#ask(via, neighbour);
    }
  }

  /** Whether a station with this card takes frames to a MAC. */
  listensTo(via: Interface, mac: string): boolean {
    if (mac === via.mac || mac === BROADCAST || mac === ALL_NODES_MAC) return true;
    return this.own().some((address) => isIpv6(address) && solicitedMac(address) === mac);
  }

  receiveArp(via: Interface, body: Uint8Array): void {
    const senderMac = formatMac(body.slice(8, 14));
    const senderIp = addressText(body.slice(14, 18));
    const targetIp = addressText(body.slice(24, 28));
    if (!this.own().includes(targetIp)) return;
    if (body[7] === 1)
      via.transmit(ethernet(senderMac, via.mac, ARP_TYPE, arp(2, via.mac, targetIp, senderMac, senderIp)));
    this.#learn(via, senderIp, senderMac);
  }

  /** Whether the packet was a solicitation or an advertisement. */
  receiveDiscovery(via: Interface, packet: Packet): boolean {
    if (packet.protocol !== ICMPV6 || isFragment(packet)) return false;
    const { type, rest, payload } = decodeIcmp(packet.body);
    if (type !== SOLICITATION && type !== ADVERTISEMENT) return false;
    if (packet.ttl !== HOP_LIMIT) throw new Error(`neighbour discovery with a hop limit of ${packet.ttl}`);
    const target = addressText(payload.slice(0, 16));
    const mac = formatMac(payload.slice(18, 24));
    if (type === ADVERTISEMENT) {
      if (payload[16] !== 2 || (rest & 0x20000000) === 0)
        throw new Error(`an odd advertisement of ${target}`);
      this.#learn(via, target, mac);
    } else if (this.own().includes(target)) {
      via.transmit(ethernet(mac, via.mac, IPV6_TYPE, advertisement(target, packet.src, via.mac)));
      this.#learn(via, packet.src, mac);
    }
    return true;
  }

  #learn(via: Interface, address: string, mac: string): void {
    const key = `${via.name} ${address}`;
    this.#macs.set(key, mac);
    const waiting = this.#waiting.get(key) ?? [];
    this.#waiting.delete(key);
    for (const send of waiting) send(mac);
  }

  /** Asks three times, one second apart, as Linux does; then the packets are given up. */
  #ask(via: Interface, neighbour: string, tries = 3): void {
    const key = `${via.name} ${neighbour}`;
    if (this.#macs.has(key)) return;
    if (tries === 0) return void this.#waiting.delete(key);
    via.transmit(this.#question(via, neighbour));
    this.clock.after(1000, () => this.#ask(via, neighbour, tries - 1));
  }

  #question(via: Interface, neighbour: string): Uint8Array {
    const source = this.sourceTo(neighbour);
    if (!isIpv6(neighbour))
      return ethernet(BROADCAST, via.mac, ARP_TYPE, arp(1, via.mac, source, NOBODY, neighbour));
    const group = solicitedGroup(neighbour);
    return ethernet(
      groupMac(group),
      via.mac,
      IPV6_TYPE,
      message(SOLICITATION, 0, source, group, neighbour, 1, via.mac),
    );
  }
}

/** A neighbour message with one option, a link-layer address. */
function message(
  type: number,
  rest: number,
  src: string,
  dst: string,
  target: string,
  option: number,
  mac: string,
): Uint8Array {
  const payload = join(addressBytes(target), [option, 1], macBytes(mac));
  const body = encodeIcmp6(src, dst, { type, code: 0, rest, payload });
  const head = { src, dst, ttl: HOP_LIMIT, id: 0, df: true, mf: false, fragmentOffset: 0 };
  return encodePacket({ ...head, protocol: ICMPV6, body });
}

/** A neighbour's answer that `target` is at `mac`. */
export function advertisement(target: string, to: string, mac: string): Uint8Array {
  return message(ADVERTISEMENT, SOLICITED_OVERRIDE, target, to, target, 2, mac);
}

/** What is asked in a solicitation. @throws Error when it is none */
export function solicited(packet: Uint8Array): { readonly target: string; readonly from: string } {
  const { src, body } = decodePacket(packet);
  const { type, payload } = decodeIcmp(body);
  if (type !== SOLICITATION) throw new Error(`ICMPv6 type ${type} instead of a solicitation`);
  return { target: addressText(payload.slice(0, 16)), from: src };
}
