/** What a {@link Datapath} is made of. */
import type { TcpTracking } from "./conntrack/settings.js";
import type { ConntrackTimeouts } from "./conntrack/state.js";
import type { AddressBook } from "./ipv6/address-book.js";
import type { FrameSink, NodeAddresses, PolicyResolver, ServiceResolver, TraceSink } from "./types.js";

/** The node's own ends of the tunnels; for traces only. */
export interface UnderlayEnds {
  /** Underlay IPv4 address of the node. */
  readonly address: number;
  /** UDP port of the overlay, the same on every node. */
  readonly overlayPort: number;
  /** UDP port of the emulated node network. */
  readonly nodenetPort: number;
}

export interface DatapathOptions {
  /** Node name, for traces. */
  readonly name: string;
  readonly addresses: NodeAddresses;
  /** All frames live here; packets of the node's own are built in `[scratchStart, scratchEnd)`. */
  readonly arena: Uint8Array;
  readonly scratchStart: number;
  readonly scratchEnd: number;
  readonly sink: FrameSink;
  readonly services: ServiceResolver;
  /** Everything is allowed when missing. */
  readonly policies?: PolicyResolver;
  readonly trace: TraceSink;
  /** Uniform in [0, 1). */
  readonly random: () => number;
  /** MAC of the bridge, which is the pods' gateway. */
  readonly bridgeMac: Uint8Array;
  /** MAC of the node's end of the host TAP. */
  readonly hostPortMac: Uint8Array;
  readonly underlay?: UnderlayEnds;
  /** The handles of IPv6 addresses, which the proxy shares; needed when the node's addresses have IPv6. */
  readonly addressBook?: AddressBook;
  /** Most connections; 262,144 as Linux when missing. */
  readonly conntrackMax?: number;
  readonly conntrackTimeouts?: Partial<ConntrackTimeouts>;
  readonly conntrackTcp?: Partial<TcpTracking>;
  /** Whether frames between pods of the node pass conntrack and NAT (net.bridge.bridge-nf-call-iptables). Default true. */
  readonly bridgeNetfilter?: boolean;
  /** flannel's --ip-masq. Default true. */
  readonly ipMasq?: boolean;
}
