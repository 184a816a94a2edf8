/** Routes to IPv6 prefixes. */
import { formatIpv6Prefix, type Ipv6Prefix, ipv6Network, ipv6PrefixContains } from "../../wire/index.js";
import { type AddressBook, UNKNOWN_ROUTE } from "./address-book.js";

export interface Route6 {
  readonly prefix: Ipv6Prefix;
  /** Id of the port that leads there. */
  readonly port: number;
  /** Underlay IPv4 address of the peer node, for `overlay` and `nodenet` ports; 0 elsewhere. */
  readonly nextHop: number;
}

/**
 * Routing table. The book remembers each address' route, so the search for the longest prefix is made once for an
 * address and once more after each change.
 */
export class RouteTable6 {
  private readonly routes = new Map<string, Route6>();
  /** Longest prefix first. */
  private sorted: Route6[] = [];

  constructor(private readonly book: AddressBook) {}

  /** Adds a route or replaces the one of the same prefix. @throws RangeError when the prefix has host bits set */
  put(route: Route6): void {
    const { address, length } = route.prefix;
    if (!(length >= 0 && length <= 128) || ipv6Network(address, length) !== address) {
      throw new RangeError(
        `route to ${formatIpv6Prefix(route.prefix)}: not a network address; clear its host bits`,
      );
    }
    this.routes.set(formatIpv6Prefix(route.prefix), route);
    this.rebuild();
  }

  /** Returns whether there was one. */
  delete(prefix: Ipv6Prefix): boolean {
    const existed = this.routes.delete(formatIpv6Prefix(prefix));
    if (existed) this.rebuild();
    return existed;
  }

  /** The route of the longest prefix that holds the address. */
  lookup(handle: number): Route6 | undefined {
    const index = handle & 0x00ffffff;
    const { routeHints } = this.book;
    if (routeHints[index] === UNKNOWN_ROUTE) routeHints[index] = this.search(handle);
    return this.sorted[routeHints[index]];
  }

  /** Whether any route leads by this port to this peer. */
  hasPeer(port: number, nextHop: number): boolean {
    for (const route of this.routes.values())
      if (route.port === port && route.nextHop === nextHop) return true;
    return false;
  }

  /** All routes, the longest prefix first. */
  list(): readonly Route6[] {
    return this.sorted;
  }

  /** One beyond the last route when there is none. */
  private search(handle: number): number {
    const address = this.book.address(handle);
    const index = this.sorted.findIndex(({ prefix }) => ipv6PrefixContains(prefix, address));
    return index < 0 ? this.sorted.length : index;
  }

  private rebuild(): void {
    this.sorted = [...this.routes.values()].sort((a, b) => b.prefix.length - a.prefix.length);
    this.book.forgetRoutes();
  }
}
