import type { ServiceQuery } from "../../datapath/index.js";
import { hash } from "../address-table.js";
import type { Backend, Scheduler } from "./scheduler.js";

/**
 * A client's address decides, so that all its connections meet on one backend, and on all nodes the same.
 *
 * Rendezvous hashing (Thaler and Ravishankar 1998): each backend has a score for the client and the highest wins. A
 * backend that leaves takes only its own clients with it, and one that comes takes only those for whom it scores
 * highest. (IPVS' `sh` looks the client up in a table and moves clients of other backends too.)
 */
export class SourceHash implements Scheduler {
  #backends: readonly Backend[] = [];
  #keys = new Int32Array(0);

  constructor(private readonly digest: (address: number) => number) {}

  update(backends: readonly Backend[]): void {
    this.#backends = backends;
    this.#keys = Int32Array.from(backends, ({ ip, port }) => hash(this.digest(ip), port));
  }

  pick(query: ServiceQuery): Backend | undefined {
    const client = this.digest(query.src | 0) | 0;
    let chosen = 0;
    let highest = -0x80000000;
    for (let i = 0; i < this.#keys.length; i++) {
      const score = hash(client, this.#keys[i]);
      if (score <= highest) continue;
      highest = score;
      chosen = i;
    }
    return this.#backends[chosen];
  }
}
