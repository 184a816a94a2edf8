/** The network that nodes reach each other by, with a link each way between any two. */
import type { VirtualClock } from "./clock.js";
import { complete } from "./device.js";
import type { SimNode } from "./node.js";

/** The path from one node to another, for overlay and node network alike. */
export interface Link {
  delayMs: number;
  /** Added at random, so packets may overtake each other. */
  jitterMs: number;
  /** Probability. */
  loss: number;
  up: boolean;
}

export class Underlay {
  readonly #links = new Map<string, Link>();

  constructor(
    private readonly nodes: readonly SimNode[],
    private readonly clock: VirtualClock,
    private readonly random: () => number,
  ) {}

  link(from: SimNode, to: SimNode): Link {
    const key = `${from.config.name} ${to.config.name}`;
    const link = this.#links.get(key) ?? { delayMs: 1, jitterMs: 0, loss: 0, up: true };
    this.#links.set(key, link);
    return link;
  }

  /** Carries a packet to the node of that underlay address, as the link allows; a super-packet in its segments. */
  carry(from: SimNode, port: number): (frame: Uint8Array, peer: string, vnetHeader: Uint8Array) => void {
    return (frame, peer, vnetHeader) => {
      const to = this.nodes.find((node) => node.config.underlay === peer);
      if (to === undefined) throw new Error(`${from.config.name} sends to ${peer}, which is no node`);
      const link = this.link(from, to);
      for (const packet of complete(vnetHeader, frame, 0)) {
        if (!link.up || this.random() < link.loss) continue;
        const delayMs = link.delayMs + this.random() * link.jitterMs;
        this.clock.after(delayMs, () => to.receive(port, packet, from.config.underlay));
      }
    };
  }
}
