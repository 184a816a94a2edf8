/** The node's ports, by id and, for pods, by address. */
import { formatIp, IPV6_MIN_MTU, linkLocalOfMac, MAC_BYTES } from "../wire/index.js";
import { type AddressBook, NO_HANDLE } from "./ipv6/address-book.js";
import { MacWords } from "./mac-words.js";
import { type PortConfig, PortKind } from "./types.js";

/** An attached port, flat for the packet path. */
export class Port {
  readonly id: number;
  readonly name: string;
  readonly kind: PortKind;
  readonly mtuBytes: number;
  /** 0 when the port may send from any address, and then no packet is routed to it. */
  readonly ip: number;
  /** The same, signed. */
  readonly ip32: number;
  /** Handles of the pod's IPv6 address and of the link-local one that its MAC gives it; 0 when it has none. */
  ip6 = NO_HANDLE;
  linkLocal = NO_HANDLE;
  /** Undefined when the MAC is learned from traffic. */
  readonly mac: Uint8Array | undefined;
  /** The same for comparisons; all zero when there is none. */
  readonly macWords: MacWords;

  constructor(config: PortConfig) {
    this.id = config.id;
    this.name = config.name;
    this.kind = config.kind;
    this.mtuBytes = config.mtuBytes;
    this.ip = config.ip ?? 0;
    this.ip32 = this.ip | 0;
    this.mac = config.mac;
    this.macWords = MacWords.of(config.mac ?? new Uint8Array(MAC_BYTES));
  }
}

/** Least MTU of IPv4 (RFC 791 §3.2). */
const MIN_MTU_BYTES = 68;
const MAX_PORT_ID = 0xffff;

export class Ports {
  /** Pod ports, for flooding. */
  readonly pods: Port[] = [];
  /** The port to the machine, once it is there. */
  host: Port | undefined;
  /** The port to the node's own IP stack, if it has one. */
  node: Port | undefined;
  private readonly byId: (Port | undefined)[] = [];
  /** Keys are signed: a Map finds 32-bit integers without boxing them. */
  private readonly podByIp = new Map<number, Port>();

  constructor(private readonly book?: AddressBook) {}

  /** @throws RangeError when the configuration contradicts itself or another port */
  add(config: PortConfig): Port {
    const port = this.check(new Port(config));
    if (config.ip6 !== undefined) this.addIpv6(port, config.ip6);
    while (this.byId.length <= port.id) this.byId.push(undefined);
    this.byId[port.id] = port;
    if (port.kind === PortKind.host) this.host = port;
    if (port.kind === PortKind.node) this.node = port;
    if (port.kind === PortKind.pod) {
      this.pods.push(port);
      if (port.ip !== 0) this.podByIp.set(port.ip | 0, port);
      if (port.ip6 !== NO_HANDLE) this.podByIp.set(port.ip6 | 0, port);
    }
    return port;
  }

  /** Returns the port that was there. */
  remove(id: number): Port | undefined {
    const port = this.byId[id];
    if (port === undefined) return undefined;
    this.byId[id] = undefined;
    if (this.host === port) this.host = undefined;
    if (this.node === port) this.node = undefined;
    const at = this.pods.indexOf(port);
    if (at >= 0) this.pods.splice(at, 1);
    for (const ip of [port.ip | 0, port.ip6 | 0]) if (this.podByIp.get(ip) === port) this.podByIp.delete(ip);
    this.book?.unpin(port.ip6);
    this.book?.unpin(port.linkLocal);
    return port;
  }

  get(id: number): Port | undefined {
    return this.byId[id];
  }

  pod(ip: number): Port | undefined {
    return this.podByIp.get(ip | 0);
  }

  private addIpv6(port: Port, address: bigint): void {
    const { book } = this;
    const where = `port ${port.id} (${port.name})`;
    if (book === undefined) throw new RangeError(`${where}: this node has no IPv6`);
    if (port.mac === undefined) throw new RangeError(`${where}: a port with an address needs a MAC`);
    if (port.mtuBytes < IPV6_MIN_MTU)
      throw new RangeError(`${where}: the MTU must be at least ${IPV6_MIN_MTU} for IPv6`);
    const handle = book.pin(address);
    if (this.podByIp.has(handle | 0)) {
      book.unpin(handle);
      throw new RangeError(
        `${where}: ${formatIp(book.name(handle))} belongs to another pod; remove that port first`,
      );
    }
    port.ip6 = handle;
    port.linkLocal = book.pin(linkLocalOfMac(port.mac));
  }

  private check(port: Port): Port {
    const where = `port ${port.id} (${port.name})`;
    if (!Number.isInteger(port.id) || port.id < 0 || port.id > MAX_PORT_ID) {
      throw new RangeError(`${where}: the id must be a whole number from 0 to ${MAX_PORT_ID}`);
    }
    if (this.byId[port.id] !== undefined)
      throw new RangeError(`${where}: the id is taken; remove that port first`);
    if (port.kind === PortKind.local)
      throw new RangeError(`${where}: the node itself needs no port; do not add one`);
    if (port.kind === PortKind.host && this.host)
      throw new RangeError(`${where}: there is a host port already`);
    if (port.kind === PortKind.node && this.node)
      throw new RangeError(`${where}: there is a node port already`);
    if (port.mtuBytes < MIN_MTU_BYTES)
      throw new RangeError(`${where}: the MTU must be at least ${MIN_MTU_BYTES}`);
    if (port.mac !== undefined && port.mac.length !== MAC_BYTES) {
      throw new RangeError(`${where}: the MAC must have ${MAC_BYTES} bytes`);
    }
    if (port.ip !== 0 && port.mac === undefined)
      throw new RangeError(`${where}: a port with an address needs a MAC`);
    if (port.ip !== 0 && this.podByIp.has(port.ip | 0)) {
      throw new RangeError(`${where}: ${formatIp(port.ip)} belongs to another pod; remove that port first`);
    }
    return port;
  }
}
