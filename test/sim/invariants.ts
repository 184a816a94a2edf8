/**
 * What must hold for every frame that leaves a node, whatever is being tested: it can be read, its checksums are right (as the
 * device will complete them, of every segment that it will cut),
 * it fits its link, it goes only to whom it is for, and no address shows up where it must not.
 */
import { PortKind } from "../../src/datapath/index.js";
import { inPrefix, isIpv6 } from "./address.js";
import { complete } from "./device.js";
import { ARP_TYPE, ETHERNET_BYTES, etherTypeOf, formatMac, IPV4_TYPE, IPV6_TYPE } from "./ethernet.js";
import type { NodeConfig, PortInfo } from "./node.js";
import { decodeIcmp, decodePacket, decodeQuoted, isFragment, isIcmpError, type Packet } from "./packet.js";

/**
 * `macs` are those of all ports of the node.
 * @throws Error that names the node, the port and what is wrong
 */
export function checkFrame(
  node: NodeConfig,
  port: PortInfo,
  macs: ReadonlySet<string>,
  vnetHeader: Uint8Array,
  frame: Uint8Array,
  peer: string,
): void {
  try {
    const isEthernet = port.kind === PortKind.pod || port.kind === PortKind.host;
    if (isEthernet && !isForPort(port, macs, frame)) return;
    for (const bytes of complete(vnetHeader, frame, isEthernet ? ETHERNET_BYTES : 0)) {
      const packet = decodePacket(bytes);
      if (bytes.length > port.mtuBytes)
        throw new Error(`${bytes.length} bytes on an MTU of ${port.mtuBytes}`);
      if (packet.ttl === 0) throw new Error("TTL 0");
      checkQuote(packet);
      checkPlace(node, port, packet, peer);
    }
  } catch (error) {
    throw new Error(`${node.name}, port ${port.name}: ${(error as Error).message}`);
  }
}

/** Whether it is IP for the port's station. ARP is fine as well, and a frame to a group or for a pod that is gone floods the bridge. */
function isForPort(port: PortInfo, macs: ReadonlySet<string>, frame: Uint8Array): boolean {
  const type = etherTypeOf(frame);
  const dst = formatMac(frame.slice(0, 6));
  if (type === ARP_TYPE) return false;
  if (type !== IPV4_TYPE && type !== IPV6_TYPE) throw new Error(`EtherType ${type.toString(16)}`);
  if (dst !== port.mac && macs.has(dst)) throw new Error(`frame to ${dst} instead of ${port.mac}`);
  return dst === port.mac;
}

function checkQuote(packet: Packet): void {
  if (isFragment(packet) || !isIcmpError(packet)) return;
  const quoted = decodeQuoted(decodeIcmp(packet.body).payload);
  // An error goes to whom the packet came from that it is about.
  if (quoted.src !== packet.dst)
    throw new Error(`ICMP error to ${packet.dst} about a packet from ${quoted.src}`);
}

function checkPlace(node: NodeConfig, port: PortInfo, packet: Packet, peer: string): void {
  const { src, dst } = packet;
  const leak = () =>
    new Error(
      `packet ${src} -> ${dst} must not leave by ${port.name}${peer === "0.0.0.0" ? "" : ` to ${peer}`}`,
    );
  if (port.kind === PortKind.pod || port.kind === PortKind.host) {
    if (dst !== port.ip && dst !== port.ip6 && dst !== port.linkLocal) throw leak();
    return;
  }
  const networks = isIpv6(dst) ? node.ipv6 : node;
  if (networks === undefined) throw leak();
  const { nodeIp, bridgeIp, overlayIp, serviceNetwork, podNetwork, podSubnet } = networks;
  if (port.kind === PortKind.node) {
    if (![nodeIp, bridgeIp, overlayIp, "127.0.0.1", "::1"].includes(dst)) throw leak();
    return;
  }
  if (inPrefix(src, serviceNetwork) || inPrefix(dst, serviceNetwork)) throw leak();
  if (port.kind === PortKind.nodenet) {
    if (src !== nodeIp || inPrefix(dst, podNetwork)) throw leak();
    return;
  }
  if (!inPrefix(src, podSubnet) || !inPrefix(dst, podNetwork) || inPrefix(dst, podSubnet)) throw leak();
}
