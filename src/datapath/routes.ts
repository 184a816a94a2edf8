/** Routes by longest prefix. */
import { formatPrefix, prefixMask } from "../wire/index.js";
import type { Prefix } from "./types.js";

export interface Route {
  readonly prefix: Prefix;
  /** Id of the port that leads there. */
  readonly port: number;
  /** Underlay address of the peer node, for `overlay` and `nodenet` ports; 0 elsewhere. */
  readonly nextHop: number;
  /** Source address of packets that the node itself sends this way; that of the port's network when missing. */
  readonly source?: number;
}

/**
 * Routing table. Prefixes are cut into disjoint ranges on each change, so that a lookup is one binary search however
 * many lengths there are.
 */
export class RouteTable {
  /** Counts changes. */
  version = 0;
  private readonly routes = new Map<string, Route>();
  /** Ranges: each begins at `starts[i]` and ends where the next begins; `owners[i]` is its route. */
  private starts = Uint32Array.of(0);
  private owners: (Route | undefined)[] = [undefined];

  /** Adds a route or replaces the one of the same prefix. @throws RangeError when the prefix has host bits set */
  put(route: Route): void {
    const { address, length } = route.prefix;
    if (!(length >= 0 && length <= 32) || (address & prefixMask(length)) >>> 0 !== address) {
      throw new RangeError(
        `route to ${formatPrefix(route.prefix)}: not a network address; clear its host bits`,
      );
    }
    this.routes.set(formatPrefix(route.prefix), route);
    this.rebuild();
  }

  /** Returns whether there was one. */
  delete(prefix: Prefix): boolean {
    const existed = this.routes.delete(formatPrefix(prefix));
    if (existed) this.rebuild();
    return existed;
  }

  /** The route of the longest prefix that holds the address. */
  lookup(address: number): Route | undefined {
    const { starts } = this;
    let low = 0;
    let high = starts.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >>> 1;
      if (starts[middle] <= address) low = middle;
      else high = middle - 1;
    }
    return this.owners[low];
  }

  /** Whether any route leads by this port to this peer. */
  hasPeer(port: number, nextHop: number): boolean {
    for (const route of this.routes.values())
      if (route.port === port && route.nextHop === nextHop) return true;
    return false;
  }

  /** All routes, by address, the longer prefix last. */
  list(): Route[] {
    return [...this.routes.values()].sort(byAddressThenLength);
  }

  /** Walks the prefixes from left to right with a stack of those that are open. */
  private rebuild(): void {
    this.version = (this.version + 1) | 0;
    const starts = [0];
    const owners: (Route | undefined)[] = [undefined];
    const open: Route[] = [];
    const begin = (start: number, owner: Route | undefined): void => {
      if (starts[starts.length - 1] === start) owners[owners.length - 1] = owner;
      else if (starts.push(start) > 0) owners.push(owner);
    };
    const closeUntil = (start: number): void => {
      while (open.length > 0 && endOf(open[open.length - 1]) <= start) {
        const end = endOf(open.pop() as Route);
        if (end < 2 ** 32) begin(end, open[open.length - 1]);
      }
    };
    for (const route of this.list()) {
      closeUntil(route.prefix.address);
      open.push(route);
      begin(route.prefix.address, route);
    }
    closeUntil(2 ** 32);
    this.starts = Uint32Array.from(starts);
    this.owners = owners;
  }
}

function endOf({ prefix }: Route): number {
  return prefix.address + 2 ** (32 - prefix.length);
}

function byAddressThenLength(a: Route, b: Route): number {
  return a.prefix.address - b.prefix.address || a.prefix.length - b.prefix.length;
}
