import type { ServiceQuery } from "../../datapath/index.js";
import type { Backend, ConnectionCounter, Scheduler } from "./scheduler.js";

/** The backend with the fewest open connections through this node (IPVS' `lc`); among equals, round-robin. */
export class LeastConnection implements Scheduler {
  #backends: readonly Backend[] = [];
  #next = 0;

  constructor(private readonly connections: ConnectionCounter) {}

  update(backends: readonly Backend[]): void {
    this.#backends = backends;
    this.#next = 0;
  }

  pick({ protocol }: ServiceQuery): Backend | undefined {
    const count = this.#backends.length;
    let least = Number.MAX_SAFE_INTEGER;
    let chosen = 0;
    for (let i = 0; i < count; i++) {
      const at = this.#next + i < count ? this.#next + i : this.#next + i - count;
      const { ip, port } = this.#backends[at];
      const open = this.connections.openConnections(protocol, ip, port);
      if (open >= least) continue;
      least = open;
      chosen = at;
    }
    this.#next = chosen + 1 < count ? chosen + 1 : 0;
    return this.#backends[chosen];
  }
}
